"""`letterlock dns`: look names up with every step of the proof, and see to the records a domain needs.

Exit codes: 0 found or right, 1 absent or wrong, 2 could not look up (a bogus answer too).
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from letterlock.admd.domain_facts import facts_of
from letterlock.admd.settings import FILE_NAME
from letterlock.cli.dns_zone import zone
from letterlock.cli.output import Exit, answer, fail, json_option, safe, sentence_of
from letterlock.cli.resolver_options import ResolverOptions, opened, resolver_options
from letterlock.cli.settings_option import load, settings_option
from letterlock.errors import Malformed, PeerFault, SettingsFault
from letterlock.formats import domain as domains
from letterlock.formats.dns import rdata_text, types
from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.dns.rdata import Rdata
from letterlock.host.drive_decisions import drive
from letterlock.host.resolver.exchange import Exchange, Server
from letterlock.hostmaster.check import Finding, Standing, compare
from letterlock.hostmaster.publish import publish
from letterlock.hostmaster.records import DomainFacts, Importance, WantedRecord, wanted_records, zone_text
from letterlock.protocols.dns.tsig import TsigKey
from letterlock.trust.primitives.peer_chain import read_pem

P = ParamSpec("P")
R = TypeVar("R")
_PATH = click.Path(path_type=Path)


@click.group()
def dns() -> None:
    """Look up names with proof; the records a domain needs; zones."""


dns.add_command(zone)


@dns.command()
@click.argument("name")
@click.argument("type", default="A")
@click.option("--trace", is_flag=True, help="Show every step of the validation with its evidence.")
@json_option
@resolver_options
def lookup(name: str, type: str, trace: bool, as_json: bool, asking: ResolverOptions) -> None:  # click's name for it
    """Look up NAME and TYPE and say whether the answer is proved.

    Exit code: 0 found, 1 there is none, 2 could not look up.
    """
    try:
        types.number(type)
        question = Question("" if name == "." else domains.to_ascii(name, underscores=True), type.upper())
    except Malformed as error:
        if not name.isascii() or error.clause == "RFC 3597 section 5":
            fail(str(error), Exit.USAGE, as_json=as_json)
        question = Question(name.removesuffix(".").lower(), type.upper())  # "*.wild" and other names that hosts lack

    async def ask() -> Answer:
        async with opened(asking, as_json=as_json) as resolver:
            return await resolver.ask(question)

    found = asyncio.run(ask())
    answer(_answer_value(found), as_json=as_json, lines=_answer_lines(found, trace=trace))
    code = {Outcome.FOUND: Exit.OK, Outcome.FAILED: Exit.UNKNOWN}.get(found.outcome, Exit.WRONG)
    raise SystemExit(code)


def _answer_value(found: Answer) -> dict[str, object]:
    return {
        "name": found.question.name,
        "type": found.question.type,
        "outcome": found.outcome.value,
        "security": found.security.value,
        "records": [rdata_text.write(data) for data in found.records],
        "canonical_name": found.canonical_name,
        "ttl_seconds": found.ttl_seconds,
        "reason": found.reason,
        "extended_error": found.extended_error,
        "evidence": [
            {"subject": step.subject, "finding": step.finding, "clause": step.clause} for step in found.evidence
        ],
    }


def _answer_lines(found: Answer, *, trace: bool) -> list[str]:
    lines = [
        f"{found.canonical_name or found.question.name}. {found.ttl_seconds} IN {found.question.type} {_shown(data)}"
        for data in found.records
    ]
    word = found.security.value
    summary = f"; {found.outcome.value}, {word}"
    if found.reason:
        summary += f": {safe(found.reason)}"
    if found.extended_error is not None:
        summary += f" (extended error {found.extended_error})"
    lines.append(summary)
    if trace:
        lines += [
            f";   {safe(step.subject)}: {safe(step.finding)}" + (f"  [{step.clause}]" if step.clause else "")
            for step in found.evidence
        ]
    return lines


def _shown(data: Rdata) -> str:
    return safe(rdata_text.write(data))


def _facts_options(command: Callable[P, R]) -> Callable[P, R]:
    for option in (
        click.option("--host", "host_name", default="", help="The mail server's name; mail.DOMAIN if left out."),
        click.option("--address", "addresses", multiple=True, help="An address of the mail server."),
        click.option("--certificate", "certificates", multiple=True, type=_PATH, help="Its certificate, PEM."),
        click.option("--dkim", "dkim", multiple=True, metavar="SELECTOR=RECORD", help="A DKIM key record."),
        click.option("--reports", "report_address", default="", help="The address that reports go to."),
        click.option("--issuer", "issuers", multiple=True, help="Who may issue certificates (CAA)."),
    ):
        command = option(command)
    return settings_option(command)


@dns.command()
@click.argument("domain")
@_facts_options
@json_option
def records(domain: str, settings_file: Path, as_json: bool, **given: Any) -> None:  # Any: what click parsed
    """Print the records DOMAIN needs, as zone text, the required ones first.

    What is not given comes from the settings file, if it is that of DOMAIN.
    """
    wanted = wanted_records(_facts(domain, settings_file, given, as_json=as_json))
    value = [_wanted_value(record) for record in wanted]
    answer(value, as_json=as_json, lines=zone_text(wanted).splitlines())


@dns.command()
@click.argument("domain")
@click.option("--update", "primary", metavar="ADDRESS[:PORT]", help="Let this name server make the changes (RFC 2136).")
@click.option("--key", "key_file", type=_PATH, help="File with its update key: [ALGORITHM:]NAME:SECRET.")
@click.option("--origin", default="", help="The zone to update, if it is not DOMAIN itself.")
@_facts_options
@json_option
@resolver_options
def check(
    domain: str,
    primary: str | None,
    key_file: Path | None,
    origin: str,
    settings_file: Path,
    as_json: bool,
    asking: ResolverOptions,
    **given: Any,
) -> None:
    """Hold what DOMAIN publishes against what it needs, and print the difference.

    With --update the difference is published at once. Exit code: 0 right (or made right), 1 something required is
    missing or something is wrong, 2 could not look up.
    """
    facts = _facts(domain, settings_file, given, as_json=as_json)
    server, key = _update_target(primary, key_file, as_json=as_json)

    async def ask() -> tuple[tuple[Finding, ...], int]:
        async with opened(asking, as_json=as_json) as resolver:
            findings = await drive(compare(wanted_records(facts)), resolver)
        if server is None or key is None:
            return findings, 0
        exchange = Exchange()
        try:
            changed = await publish(origin or facts.domain, findings, server, key, exchange, int(time.time()))
        finally:
            await exchange.aclose()
        return findings, changed

    try:
        findings, changed = asyncio.run(ask())
    except PeerFault as fault:
        fail(fault.problem, Exit.WRONG, as_json=as_json)
    lines = _finding_lines(findings)
    if server is not None:
        lines.append(f"{changed} record(s) changed at {server}")
    answer([_finding_value(found) for found in findings], as_json=as_json, lines=lines)
    published = [found for found in findings if server is None or found.standing is Standing.UNKNOWN]
    raise SystemExit(_exit_code(tuple(published)))


def _update_target(
    primary: str | None, key_file: Path | None, *, as_json: bool
) -> tuple[Server | None, TsigKey | None]:
    if primary is None:
        return None, None
    if key_file is None:
        fail("--update needs --key", Exit.USAGE, as_json=as_json)
    try:
        return Server.parse(primary), TsigKey.parse(key_file.read_text(encoding="ascii").strip())
    except (Malformed, OSError, ValueError) as error:
        fail(sentence_of(error), Exit.USAGE, as_json=as_json)


def _exit_code(findings: tuple[Finding, ...]) -> Exit:
    if any(found.standing is Standing.WRONG for found in findings):
        return Exit.WRONG
    if any(found.standing is Standing.MISSING and found.importance is Importance.REQUIRED for found in findings):
        return Exit.WRONG
    if any(found.standing is Standing.UNKNOWN for found in findings):
        return Exit.UNKNOWN
    return Exit.OK


def _facts(domain: str, settings_file: Path, given: dict[str, Any], *, as_json: bool) -> DomainFacts:
    try:
        name = domains.to_ascii(domain)
        facts = DomainFacts(name, f"mail.{name}")
        file = settings_file / FILE_NAME if settings_file.is_dir() else settings_file
        if file.exists() and name in (settings := load(file, as_json=as_json)).local_domains:
            facts = facts_of(settings, name)
        dkim = tuple(text.partition("=")[::2] for text in given["dkim"])
        chains = [read_pem(path.read_bytes()) for path in given["certificates"]]
        changed: dict[str, Any] = {
            "host_name": domains.to_ascii(given["host_name"]) if given["host_name"] else "",
            "addresses": tuple(str(ipaddress.ip_address(text)) for text in given["addresses"]),
            "dkim": tuple((selector, record.encode()) for selector, record in dkim),
            "certificates": tuple(chain[0] for chain in chains),
            "report_address": given["report_address"],
            "certificate_policy": given["issuers"],
        }
        return replace(facts, **{key: value for key, value in changed.items() if value})
    except SettingsFault as fault:
        fail("\n".join(fault.problems), Exit.SETTINGS, as_json=as_json)
    except (Malformed, OSError, ValueError) as error:
        fail(sentence_of(error), Exit.USAGE, as_json=as_json)


def _wanted_value(record: WantedRecord) -> dict[str, object]:
    return {
        "name": record.owner,
        "type": record.type,
        "data": rdata_text.write(record.data),
        "ttl_seconds": record.ttl,
        "importance": record.importance.value,
        "why": record.why,
    }


def _finding_value(found: Finding) -> dict[str, object]:
    return {
        "name": found.owner,
        "type": found.type,
        "standing": found.standing.value,
        "importance": found.importance.value,
        "security": found.security.value,
        "reason": found.reason,
        "diff": found.diff(),
    }


def _finding_lines(findings: tuple[Finding, ...]) -> list[str]:
    lines = []
    for found in findings:
        mark = {Standing.RIGHT: "ok", Standing.UNKNOWN: "??"}.get(found.standing, "!!")
        lines.append(f"{mark} {found.owner} {found.type} ({found.importance.value}): {safe(found.reason)}")
        lines += [f"   {safe(line)}" for line in found.diff()]
    return lines
