"""`letterlock explain FILE`: the whole story of a message's authenticity, with its evidence, and of who handed it over."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from letterlock.cli import smime_files, smime_mail
from letterlock.cli.explain_ledger import ledger_lines, written_down
from letterlock.cli.look_ups import at_option, moment, read_message, run, zone_option
from letterlock.cli.output import Exit, answer, fail, json_option, safe
from letterlock.cli.smime_mail import keys_options
from letterlock.cli.smime_messages import proof_lines, proof_value
from letterlock.cli.verdicts import (
    arc_json,
    arc_lines,
    dkim_json,
    dkim_lines,
    dmarc_json,
    dmarc_lines,
    exit_code,
    spf_json,
    spf_lines,
    standing_json,
    standing_lines,
)
from letterlock.errors import LetterlockError, SettingsFault
from letterlock.formats import authentication_results
from letterlock.formats.imf.header import Header, read_header
from letterlock.formats.imf.trace import received
from letterlock.mta.border.client import Standing, Weights, examine, judge
from letterlock.postmaster import failures
from letterlock.postmaster.aggregate import Reporter
from letterlock.trust import authenticate, dmarc
from letterlock.trust.ask import Decision, together
from letterlock.trust.authenticate import Authentication, Client, Findings
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.smime.decrypt import KeyRing
from letterlock.trust.smime.proof import Proof, Trust, prove
from letterlock.trust.smime.unwrap import unwrap

_SEEN_ADDRESS = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f:.]+)\]", re.IGNORECASE)


@click.command()
@click.argument("file", default="-")
@click.option("--ip", "address", help="The address of the client that handed the message over.")
@click.option("--helo", default="", help="The name it gave with EHLO.")
@click.option("--mail-from", help="The reverse path; without it, Return-Path of the message.")
@click.option("--failure-report", is_flag=True, help="Print the failure report that this message would cause.")
@click.option("--authserv-id", default="localhost", help="The name of this verifier.")
@click.option("--anchor", "anchors", type=smime_files.FILE, multiple=True, help="S/MIME authorities to trust.")
@click.option(
    "--config",
    type=click.Path(exists=True, path_type=Path),
    help="Tell also what the server with these settings wrote down when it came, and trust whom it trusts with S/MIME.",
)
@keys_options
@zone_option
@at_option
@json_option
def explain(
    file: str,
    address: str | None,
    helo: str,
    mail_from: str | None,
    failure_report: bool,
    authserv_id: str,
    zone: Path | None,
    server: str | None,
    at: int | None,
    anchors: tuple[Path, ...],
    config: Path | None,
    keys: Path | None,
    keys_password_file: Path | None,
    as_json: bool,
) -> None:
    """Tell who vouches for a message (FILE or standard input), and why: SPF, DKIM, ARC and DMARC.

    Without --ip, the client is the one in the topmost Received field; without that, SPF is left out. Exit as DMARC
    ends: 0 for pass, 2 where a look-up failed, 1 otherwise.
    """
    octets = read_message(file, as_json=as_json)
    header = read_header(octets)
    client, source = _client(header, address, helo, mail_from, as_json)
    checks = authenticate.Authentication(header, client, receiver=authserv_id)
    checks.feed(octets[header.body_start :])
    findings, standing = run(_judge(checks, client, moment(at)), zone, server, as_json=as_json)
    if failure_report:
        _print_failure_report(header, findings, client, authserv_id, moment(at), as_json)
        return
    proof = _smime(octets, anchors, config, moment(at), keys, keys_password_file, as_json=as_json)
    entries = _written_down(config, header, as_json=as_json) if config is not None else None
    results = authenticate.authentication_results(findings, authserv_id, client)
    results = dataclasses.replace(results, results=(*standing.results(), *results.results))
    field = authentication_results.write(results).decode()
    value = {
        "client": {"address": client.address, "helo": client.helo, "mail_from": client.mail_from, "source": source}
        if client
        else None,
        "standing": standing_json(standing),
        "spf": spf_json(findings.spf) if findings.spf else None,
        "helo": spf_json(findings.helo) if findings.helo else None,
        "dkim": dkim_json(findings.dkim),
        "arc": arc_json(findings.arc),
        "dmarc": dmarc_json(findings.dmarc),
        "smime": None if proof is None else proof_value(proof),
        "ledger": entries,
        "authentication_results": field.partition(":")[2].strip().replace("\r\n", "\n"),
    }
    lines = [*_lines(findings, standing, field, client, source), *(["", *proof_lines(proof)] if proof else [])]
    lines += ["", *ledger_lines(entries)] if entries is not None else []
    answer(value, as_json=as_json, lines=lines)
    raise SystemExit(exit_code(findings.dmarc.result.value))


def _judge(checks: Authentication, client: Client | None, now: int) -> Decision[tuple[Findings, Standing]]:
    """Judge the message and the client that handed it over, at the same time."""
    decisions: list[Decision[object]] = [checks.judge(now)]
    if client is not None:
        decisions.append(_judge_client(client))
    findings, *rest = yield from together(decisions)
    assert isinstance(findings, Findings)
    standing = rest[0] if rest else Standing()
    assert isinstance(standing, Standing)
    return findings, standing


def _judge_client(client: Client) -> Decision[object]:
    facts = yield from examine(client.address, ())
    return (yield from judge(facts, client.helo, frozenset(), Weights()))


def _written_down(config: Path, header: Header, *, as_json: bool) -> list[dict[str, Any]]:
    try:
        return written_down(config, header)
    except SettingsFault as fault:
        fail("\n".join(fault.problems), Exit.SETTINGS, as_json=as_json)
    except LetterlockError as error:
        fail(safe(str(error)), Exit.UNAVAILABLE, as_json=as_json)


def _smime(
    octets: bytes,
    anchors: tuple[Path, ...],
    config: Path | None,
    now: int,
    keys_file: Path | None,
    password_file: Path | None,
    *,
    as_json: bool,
) -> Proof | None:
    """Return what S/MIME signatures prove, or None for a message that has no S/MIME."""
    try:
        ring, trusted = KeyRing(), [Anchor.of(each) for path in anchors for each in smime_files.certificates(path)]
        if keys_file is not None:
            store = smime_mail.open_store(keys_file, password_file)
            ring = smime_mail.ring_of(store)
            trusted += map(Anchor.of, store.anchors())
        if config is not None:
            trusted += _anchors_of_server(config)
    except SettingsFault as fault:
        fail("\n".join(fault.problems), Exit.SETTINGS, as_json=as_json)
    except LetterlockError as error:
        fail(safe(str(error)), Exit.USAGE, as_json=as_json)
    unwrapped = unwrap(octets, ring)
    if not unwrapped.layers and not unwrapped.parts:
        return None
    return prove(
        read_header(octets), unwrapped, Trust(datetime.datetime.fromtimestamp(now, datetime.UTC), tuple(trusted))
    )


def _anchors_of_server(config: Path) -> tuple[Anchor, ...]:
    from letterlock.admd import settings
    from letterlock.admd.smime_files import smime_anchors  # only --config loads the server's side

    return smime_anchors(settings.load(config))


def _print_failure_report(
    header: Header, findings: Findings, client: Client | None, name: str, now: int, as_json: bool
) -> None:
    """Print the redacted report as it would go to the addresses in ruf; nothing is sent."""
    record = findings.dmarc.record
    if client is None or record is None or not failures.is_wanted(findings.dmarc, findings):
        fail("no failure report is asked for: give --ip, and a message that fails at a domain with ruf", Exit.WRONG,
             as_json=as_json)  # fmt: skip
    reporter = Reporter(name, f"postmaster@{name}", name)
    disposition = "refused" if findings.dmarc.disposition is dmarc.Policy.REJECT else "delivered"
    _, octets = failures.compose(
        header, findings, client, record.ruf, reporter, disposition=disposition, incidents=1, now=now
    )
    click.echo(octets.decode().replace("\r\n", "\n"), nl=False)


def _client(
    header: Header, address: str | None, helo: str, mail_from: str | None, as_json: bool
) -> tuple[Client | None, str]:
    """Return the client and where it is known from: the options, or the topmost Received field."""
    source = "options"
    if address is None:
        trace = received(header)
        seen = _SEEN_ADDRESS.search(trace[0].from_info) if trace else None
        if seen is None:
            return None, ""
        address, helo, source = seen[1], helo or trace[0].from_name, "Received"
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        if source == "Received":
            return None, ""
        fail(f"--ip: {error}", Exit.USAGE, as_json=as_json)
    reverse_path = header.text("Return-Path") if mail_from is None else mail_from
    return Client(address, helo, reverse_path.strip().removeprefix("<").removesuffix(">")), source


def _lines(findings: Findings, standing: Standing, field: str, client: Client | None, source: str) -> Iterable[str]:
    yield _summary(findings)
    yield ""
    if client is not None and source == "Received":
        yield f"{client.address} ({safe(client.helo)}) handed it over, says the topmost Received field."
    if standing.facts is not None:
        yield from standing_lines(standing)
    if findings.spf is not None:
        yield from spf_lines(findings.spf)
    if findings.helo is not None:
        yield f"SPF of the EHLO name {findings.helo.result.value}: {safe(findings.helo.reason)}"
    yield from dkim_lines(findings.dkim)
    yield from arc_lines(findings.arc)
    yield from dmarc_lines(findings.dmarc)
    yield ""
    yield from (safe(line) for line in field.rstrip().splitlines())


def _summary(findings: Findings) -> str:
    verdict = findings.dmarc
    who = safe(verdict.author_domain)
    match verdict.result:
        case dmarc.Result.PASS:
            return f"{who} vouches for this message."
        case dmarc.Result.FAIL:
            return f"{who} does not vouch for this message, and asks receivers to {_request(verdict)}."
        case dmarc.Result.NONE:
            return f"{who} does not say whether its mail can be recognised."
        case dmarc.Result.TEMPERROR:
            return "It could not be told who vouches for this message; a look-up failed. Try again."
        case dmarc.Result.PERMERROR:
            return "Nobody can vouch for this message as it is."


def _request(verdict: dmarc.Verdict) -> str:
    match verdict.applied_policy:
        case dmarc.Policy.REJECT:
            return "refuse it"
        case dmarc.Policy.QUARANTINE:
            return "treat it as suspicious"
        case _:
            return "do nothing about it"
