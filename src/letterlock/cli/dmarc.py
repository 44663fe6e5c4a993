"""`letterlock dmarc`: check a result, lint a record, build one."""

from __future__ import annotations

from pathlib import Path

import click

from letterlock.cli.look_ups import run, zone_option
from letterlock.cli.output import Exit, answer, fail, json_option, safe
from letterlock.cli.verdicts import dmarc_json, dmarc_lines, exit_code
from letterlock.errors import Malformed
from letterlock.formats import domain as domains
from letterlock.trust import dmarc as trust_dmarc
from letterlock.trust.dmarc import Policy
from letterlock.trust.dmarc import lint as linting

_RESULTS = frozenset(("none", "neutral", "pass", "fail", "softfail", "policy", "temperror", "permerror"))
_POLICIES = click.Choice([policy.value for policy in Policy])


@click.group()
def dmarc() -> None:
    """Check what the domain in From vouches for (RFC 9989)."""


def _identifier(text: str, as_json: bool) -> trust_dmarc.Identifier:
    result, _, domain = text.partition(":")
    if result not in _RESULTS:
        fail(f"{text!r}: write RESULT:DOMAIN, such as pass:example.org", Exit.USAGE, as_json=as_json)
    return trust_dmarc.Identifier(_domain(domain, as_json) if domain else "", result)


def _domain(text: str, as_json: bool) -> str:
    try:
        return domains.to_ascii(text, underscores=True)
    except Malformed as error:
        fail(f"{text!r}: {error}", Exit.USAGE, as_json=as_json)


@dmarc.command()
@click.option("--from", "author", required=True, help="The domain in From.")
@click.option("--spf", "spf_result", metavar="RESULT:DOMAIN", help="What SPF found for MAIL FROM.")
@click.option("--dkim", "dkim_results", metavar="RESULT:DOMAIN", multiple=True, help="What DKIM found; repeatable.")
@zone_option
@json_option
def check(
    author: str,
    spf_result: str | None,
    dkim_results: tuple[str, ...],
    zone: Path | None,
    server: str | None,
    as_json: bool,
) -> None:
    """Judge by the results of SPF and DKIM; exit 0 for pass, 2 where a look-up failed, 1 otherwise."""
    spf = _identifier(spf_result, as_json) if spf_result else None
    dkim = tuple(_identifier(text, as_json) for text in dkim_results)
    decision = trust_dmarc.judge((_domain(author, as_json),), spf, dkim)
    verdict = run(decision, zone, server, as_json=as_json)
    answer(dmarc_json(verdict), as_json=as_json, lines=dmarc_lines(verdict))
    raise SystemExit(exit_code(verdict.result.value))


@dmarc.command()
@click.argument("domain")
@click.option("--record", help="Look at this text instead of what the domain publishes.")
@zone_option
@json_option
def lint(domain: str, record: str | None, zone: Path | None, server: str | None, as_json: bool) -> None:
    """Find what is wrong with the record that applies to a domain; exit 1 where something is."""
    report = run(linting.lint(_domain(domain, as_json), record), zone, server, as_json=as_json)
    value = {
        "domain": report.domain,
        "record_domain": report.record_domain or None,
        "record": report.record.text if report.record else None,
        "errors": list(report.errors),
        "warnings": list(report.warnings),
    }
    lines = [f"{safe(report.domain)}: {safe(report.record.text) if report.record else 'no record'}"]
    lines += [f"  error: {safe(one)}" for one in report.errors] + [f"  warning: {safe(one)}" for one in report.warnings]
    answer(value, as_json=as_json, lines=lines)
    raise SystemExit(Exit.UNKNOWN if not report.is_known else Exit.WRONG if report.errors else Exit.OK)


@dmarc.command()
@click.option("--policy", type=_POLICIES, default="none", show_default=True, help="p=: for the domain.")
@click.option("--subdomains", type=_POLICIES, help="sp=: for subdomains that exist.")
@click.option("--nonexistent", type=_POLICIES, help="np=: for subdomains that do not.")
@click.option("--reports-to", multiple=True, help="rua=: an address for aggregate reports.")
@click.option("--failures-to", multiple=True, help="ruf=: an address for failure reports.")
@click.option("--strict-dkim", is_flag=True, help="adkim=s.")
@click.option("--strict-spf", is_flag=True, help="aspf=s.")
@click.option("--testing", is_flag=True, help="t=y: one policy lower, while you watch.")
@json_option
def build(
    policy: str,
    subdomains: str | None,
    nonexistent: str | None,
    reports_to: tuple[str, ...],
    failures_to: tuple[str, ...],
    strict_dkim: bool,
    strict_spf: bool,
    testing: bool,
    as_json: bool,
) -> None:
    """Write a record."""
    try:
        record = linting.build(
            Policy(policy),
            subdomains=Policy(subdomains) if subdomains else None,
            nonexistent=Policy(nonexistent) if nonexistent else None,
            reports_to=reports_to,
            failures_to=failures_to,
            strict_dkim=strict_dkim,
            strict_spf=strict_spf,
            is_testing=testing,
        )
    except Malformed as error:
        fail(str(error), Exit.USAGE, as_json=as_json)
    answer({"record": record}, as_json=as_json, lines=[record])
