"""`letterlock dane`: check what servers show against their TLSA records, and make such records.

Exit codes: 0 authentic, 1 not authentic or without usable records, 2 could not look up or connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from pathlib import Path

import click

from letterlock.admd.domain_facts import facts_of
from letterlock.cli.output import Exit, answer, fail, json_option, safe, sentence_of
from letterlock.cli.resolver_options import ResolverOptions, opened, resolver_options
from letterlock.cli.settings_option import load, settings_option
from letterlock.errors import Malformed, PeerFault
from letterlock.formats import domain as domains
from letterlock.formats.address import Address
from letterlock.formats.dns import rdata_text
from letterlock.formats.dns.rdata import Smimea, Tlsa
from letterlock.host.drive_decisions import drive
from letterlock.host.probe_tls import StartTls, probe_tls
from letterlock.host.resolver.interface import Resolver
from letterlock.host.stream import Endpoint, TlsFailed
from letterlock.host.tls import TlsState, authenticated_client
from letterlock.hostmaster.check import Finding, Standing, compare
from letterlock.hostmaster.records import wanted_records
from letterlock.hostmaster.roll_over import RollOver, Stage, tlsa_waits
from letterlock.trust.dane.authenticate import ALL_USAGES, SMTP_USAGES, TlsaVerdict, authenticate
from letterlock.trust.dane.owner_names import smimea_name
from letterlock.trust.dane.plan import Fate, Host, Plan, Requirement, plan_delivery, plan_host
from letterlock.trust.dane.records import PKIX_EE, PKIX_TA, associate, describe
from letterlock.trust.primitives import peer_chain

_PATH = click.Path(path_type=Path)


@click.group()
def dane() -> None:
    """Check and make TLSA and SMIMEA records."""


@dane.command()
@click.argument("target", metavar="HOST[:PORT]")
@click.option("--starttls", type=click.Choice([kind.value for kind in StartTls]), help="Speak this before TLS.")
@click.option("--mx", is_flag=True, help="HOST is a domain: check every mail exchanger of it.")
@json_option
@resolver_options
def check(target: str, starttls: str | None, mx: bool, as_json: bool, asking: ResolverOptions) -> None:
    """Connect to HOST and hold the certificates it shows against its TLSA records.

    The port is 25 if left out. Exit code: 0 every server is authentic, 1 one is not, 2 could not tell.
    """
    name, _, port = target.partition(":")
    if port and not port.isdigit():
        fail(f"{target}: write HOST or HOST:PORT", Exit.USAGE, as_json=as_json)
    try:
        host = domains.to_ascii(name)
    except Malformed as error:
        fail(str(error), Exit.USAGE, as_json=as_json)
    number = int(port or 25)
    talk = StartTls(starttls) if starttls else StartTls.SMTP if number in (25, 587) else None
    plan, results = asyncio.run(_check_all(asking, host, number, talk, mx=mx, as_json=as_json))
    value = {
        "domain": plan.domain,
        "fate": plan.fate.value,
        "reason": plan.reason,
        "skipped": plan.skipped,
        "servers": [_result_value(*result) for result in results],
    }
    lines = [f"?? {safe(sentence)}" for sentence in plan.skipped or (() if results else (plan.reason,))]
    lines += [_result_line(*result) for result in results]
    answer(value, as_json=as_json, lines=lines)
    raise SystemExit(_exit_code(plan, results))


_Result = tuple[Host, str, TlsaVerdict | str]


async def _check_all(
    asking: ResolverOptions, host: str, port: int, talk: StartTls | None, *, mx: bool, as_json: bool
) -> tuple[Plan, list[_Result]]:
    async with opened(asking, as_json=as_json) as resolver:
        plan = await _plan(resolver, host, port, mx=mx)
    results = [
        (server, address, await _judge(server, Endpoint(address, port), talk))
        for server in plan.hosts
        for address in server.addresses
    ]
    return plan, results


async def _judge(server: Host, endpoint: Endpoint, talk: StartTls | None) -> TlsaVerdict | str:
    """Return the verdict on what the server shows; a sentence where it shows nothing."""
    try:
        if any(record.usage in (PKIX_TA, PKIX_EE) for record in server.tlsa):
            with contextlib.suppress(TlsFailed):
                state = await probe_tls(endpoint, server.sni, starttls=talk, context=authenticated_client())
                return _verdict(server, state)
        return _verdict(server, await probe_tls(endpoint, server.sni, starttls=talk))
    except PeerFault as fault:
        return fault.problem


def _verdict(server: Host, state: TlsState) -> TlsaVerdict:
    now = int(time.time())
    names = server.reference_names
    return authenticate(server.tlsa, state.peer_chain, names, now, usages=ALL_USAGES, validated=state.validated_chain)


async def _plan(resolver: Resolver, host: str, port: int, *, mx: bool) -> Plan:
    # RFC 7672 section 3.1.3: the usages that rest on trusted roots count for services, not for mail exchangers.
    usages = SMTP_USAGES if port == 25 else ALL_USAGES
    return await drive(plan_delivery(host, port) if mx else plan_host(host, port, usages), resolver)


def _result_value(host: Host, address: str, verdict: TlsaVerdict | str) -> dict[str, object]:
    reached = isinstance(verdict, TlsaVerdict)
    return {
        "host": host.name,
        "address": address,
        "requirement": host.requirement.value,
        "why": host.reason,
        "records": [rdata_text.write(record) for record in host.tlsa],
        "authentic": verdict.is_authentic if isinstance(verdict, TlsaVerdict) else None,
        "reason": verdict.reason if isinstance(verdict, TlsaVerdict) else verdict,
        "matched": describe(verdict.record)
        if reached and isinstance(verdict, TlsaVerdict) and verdict.record
        else None,
    }


def _result_line(host: Host, address: str, verdict: TlsaVerdict | str) -> str:
    where = f"{host.name} [{address}]"
    if isinstance(verdict, str):
        return f"?? {where}: {safe(verdict)}"
    if host.requirement is not Requirement.AUTHENTICATED:
        return f"-- {where}: not authenticated: {safe(host.reason)}"
    return f"{'ok' if verdict.is_authentic else '!!'} {where}: {safe(verdict.reason)}"


def _exit_code(plan: Plan, results: list[_Result]) -> Exit:
    if any(isinstance(verdict, TlsaVerdict) and not verdict.is_authentic for _, _, verdict in results):
        return Exit.WRONG
    if plan.fate is Fate.DEFER or plan.skipped or any(isinstance(verdict, str) for _, _, verdict in results):
        return Exit.UNKNOWN
    return Exit.OK if results else Exit.WRONG


@dane.command()
@click.argument("certificate", type=_PATH)
@click.option("--usage", type=click.IntRange(0, 3), default=3, show_default=True)
@click.option("--selector", type=click.IntRange(0, 1), default=1, show_default=True)
@click.option("--matching-type", type=click.IntRange(0, 2), default=1, show_default=True)
@click.option("--name", default="", help="The owner name, such as _25._tcp.mail.example.org.")
@json_option
def tlsa(certificate: Path, usage: int, selector: int, matching_type: int, name: str, as_json: bool) -> None:
    """Print the TLSA record of a PEM CERTIFICATE."""
    der, key = _read(certificate, as_json=as_json)
    record = Tlsa(usage, selector, matching_type, associate(der, key, selector, matching_type))
    _print_record(name.removesuffix("."), "TLSA", record, as_json=as_json)


@dane.command()
@click.argument("address")
@click.argument("certificate", type=_PATH)
@click.option("--usage", type=click.IntRange(0, 3), default=3, show_default=True)
@click.option("--selector", type=click.IntRange(0, 1), default=0, show_default=True)
@click.option("--matching-type", type=click.IntRange(0, 2), default=0, show_default=True)
@json_option
def smimea(address: str, certificate: Path, usage: int, selector: int, matching_type: int, as_json: bool) -> None:
    """Print the SMIMEA record that publishes a PEM CERTIFICATE for ADDRESS."""
    try:
        owner = smimea_name(Address.parse(address))
    except Malformed as error:
        fail(f"{address}: {error}", Exit.USAGE, as_json=as_json)
    der, key = _read(certificate, as_json=as_json)
    record = Smimea(usage, selector, matching_type, associate(der, key, selector, matching_type))
    _print_record(owner, "SMIMEA", record, as_json=as_json)


def _read(path: Path, *, as_json: bool) -> tuple[bytes, bytes]:
    try:
        found = peer_chain.read(peer_chain.read_pem(path.read_bytes())[0])
    except (Malformed, OSError) as error:
        fail(sentence_of(error, path), Exit.USAGE, as_json=as_json)
    return found.der, found.public_key


def _print_record(owner: str, kind: str, record: Tlsa, *, as_json: bool) -> None:
    data = rdata_text.write(record)
    line = f"{owner}. IN {kind} {data}" if owner else f"IN {kind} {data}"
    answer({"name": owner, "type": kind, "data": data}, as_json=as_json, lines=[line])


@dane.command()
@settings_option
@json_option
@resolver_options
def ready(settings_file: Path, as_json: bool, asking: ResolverOptions) -> None:
    """Tell whether the next TLS key (tls.next_key) may be used: its TLSA record is known to every cache.

    The time counts from when the key's file was written; publish its record then. Exit code: 0 it may, 1 not yet, 2
    could not look up.
    """
    settings = load(settings_file, as_json=as_json)
    if settings.tls.next_key is None:
        fail("tls.next_key names no key; make one and publish its record first", Exit.SETTINGS, as_json=as_json)
    try:
        facts = facts_of(settings)
        written = int(settings.path(settings.tls.next_key).stat().st_mtime)
    except (Malformed, OSError) as error:
        fail(sentence_of(error), Exit.SETTINGS, as_json=as_json)
    wanted = [record for record in wanted_records(facts) if record.type == "TLSA"]

    async def ask() -> tuple[Finding, ...]:
        async with opened(asking, as_json=as_json) as resolver:
            return await drive(compare(wanted), resolver)

    # One for each port. Where a service has no record nobody relies on one; for SMTP there must be one.
    smtp = f"_{facts.smtp_port}._tcp.{facts.host_name}"
    findings = [
        finding for finding in asyncio.run(ask()) if finding.owner == smtp or finding.standing is not Standing.MISSING
    ]
    diff = tuple(line for finding in findings for line in finding.diff())
    found = next((finding for finding in findings if finding.standing is not Standing.RIGHT), findings[0])
    rolling = RollOver(tlsa_waits(facts.ttl), written, confirmed=found.standing is Standing.RIGHT)
    stage = rolling.stage(int(time.time()))
    since = datetime.datetime.fromtimestamp(written + rolling.waits.before_use, datetime.UTC)
    sentence = {
        Standing.RIGHT: stage.value
        if stage is Stage.READY
        else f"{stage.value}; it may be from {since:%Y-%m-%d %H:%M} UTC",
        Standing.UNKNOWN: f"could not look up: {found.reason}",
    }.get(found.standing, f"its record is not published as it should be: {found.reason}")
    value = {"ready": stage is Stage.READY, "reason": sentence, "diff": diff}
    answer(value, as_json=as_json, lines=[safe(sentence), *diff])
    if found.standing is Standing.UNKNOWN:
        raise SystemExit(Exit.UNKNOWN)
    raise SystemExit(Exit.OK if stage is Stage.READY else Exit.WRONG)
