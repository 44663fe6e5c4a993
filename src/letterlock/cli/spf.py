"""`letterlock spf`: check a client, lint a record, build one."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import click

from letterlock.cli.look_ups import at_option, moment, run, zone_option
from letterlock.cli.output import Exit, answer, fail, json_option, safe
from letterlock.cli.verdicts import exit_code, spf_json, spf_lines
from letterlock.errors import Malformed
from letterlock.trust import spf as trust_spf
from letterlock.trust.spf import lint as linting


@click.group()
def spf() -> None:
    """Check which addresses may send mail for a domain (RFC 7208)."""


@spf.command()
@click.option("--ip", "address", required=True, help="The client's IP address.")
@click.option("--helo", default="", help="The name it gave with EHLO.")
@click.option("--mail-from", default="", help="The reverse path; empty is the null sender, judged by EHLO.")
@click.option("--receiver", default="unknown", help="The name of this receiver, for explanations.")
@zone_option
@at_option
@json_option
def check(
    address: str,
    helo: str,
    mail_from: str,
    receiver: str,
    zone: Path | None,
    server: str | None,
    at: int | None,
    as_json: bool,
) -> None:
    """Judge a client as a receiver would; exit 0 for pass, 2 where a look-up failed, 1 otherwise."""
    if not helo and not mail_from:
        fail("give --mail-from, --helo or both", Exit.USAGE, as_json=as_json)
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        fail(f"--ip: {error}", Exit.USAGE, as_json=as_json)
    decision = trust_spf.judge(address, helo, mail_from, receiver=receiver, now=moment(at))
    verdict = run(decision, zone, server, as_json=as_json)
    answer(spf_json(verdict), as_json=as_json, lines=spf_lines(verdict))
    raise SystemExit(exit_code(verdict.result.value))


@spf.command()
@click.argument("domain")
@click.option("--record", help="Look at this text instead of what the domain publishes.")
@zone_option
@json_option
def lint(domain: str, record: str | None, zone: Path | None, server: str | None, as_json: bool) -> None:
    """Find what is wrong with a domain's record and everything it includes; exit 1 where something is."""
    report = run(linting.lint(domain.lower().rstrip("."), record), zone, server, as_json=as_json)
    value = {
        "domain": report.domain,
        "record": report.record,
        "lookups": report.lookups,
        "void_lookups": report.void_lookups,
        "ipv4_addresses": report.ipv4_addresses,
        "ipv6_networks": report.ipv6_networks,
        "includes": list(report.includes),
        "flattened": report.flattened or None,
        "findings": [{"severity": one.severity.value, "message": one.message} for one in report.findings],
    }
    lines = [
        f"{safe(report.domain)}: {safe(report.record or 'no record')}",
        f"  {report.lookups} of 10 look-ups, {report.void_lookups} of 2 void; "
        f"{report.ipv4_addresses:,} IPv4 addresses and {report.ipv6_networks:,} IPv6 /64 networks may send",
        *(f"  {one.severity.value}: {safe(one.message)}" for one in report.findings),
        *([f"  without look-ups: {safe(report.flattened)}"] if report.flattened and report.lookups else []),
    ]
    answer(value, as_json=as_json, lines=lines)
    if any(one.severity is linting.Severity.UNKNOWN for one in report.findings):
        raise SystemExit(Exit.UNKNOWN)
    raise SystemExit(Exit.WRONG if any(one.severity is linting.Severity.ERROR for one in report.findings) else Exit.OK)


@spf.command()
@click.option("--ip", "addresses", multiple=True, help="An address or network that sends.")
@click.option("--mx", is_flag=True, help="The domain's mail exchangers send, too.")
@click.option("--a", "own_address", is_flag=True, help="The domain's own address sends, too.")
@click.option("--include", "includes", multiple=True, help="A provider's domain whose record counts.")
@click.option(
    "--all",
    "rest",
    type=click.Choice(["fail", "softfail", "neutral"]),
    default="fail",
    show_default=True,
    help="What every other address is.",
)
@json_option
def build(
    addresses: tuple[str, ...], mx: bool, own_address: bool, includes: tuple[str, ...], rest: str, as_json: bool
) -> None:
    """Write a record; without any sender, `v=spf1 -all`."""
    try:
        record = linting.build(addresses, mx=mx, own_address=own_address, includes=includes, rest=rest)
    except (ValueError, Malformed) as error:
        fail(str(error), Exit.USAGE, as_json=as_json)
    answer({"record": record}, as_json=as_json, lines=[record])
