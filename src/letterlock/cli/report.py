"""`letterlock report`: what other domains report about our mail, who sends as us, and what to do about it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from letterlock.cli.output import COUNT, DAYS, Exit, answer, fail, json_option, safe, table
from letterlock.cli.settings_option import load, settings_option
from letterlock.errors import Malformed, Unavailable
from letterlock.formats.reports import dmarc_aggregate, failure, tlsrpt
from letterlock.host.ledger import Ledger
from letterlock.postmaster.advise import Advice
from letterlock.postmaster.advise import advise as judge
from letterlock.postmaster.aggregate import Reporter
from letterlock.postmaster.receive import Received, receive, receive_path
from letterlock.postmaster.report_store import ReportStore, StoredReport
from letterlock.postmaster.send import drafts_of, last_interval
from letterlock.postmaster.senders import Group, View, view

P = ParamSpec("P")
R = TypeVar("R")


def database_option(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command `--database FILE`, as its parameter `database`; without it, that of the installation."""
    return click.option(
        "--database",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The report database; without it, reports.sqlite in the data folder of --config.",
    )(settings_option(command))


def _open(database: Path | None, settings_file: Path, as_json: bool) -> ReportStore:
    if database is None:
        settings = load(settings_file, as_json=as_json)
        database = settings.path(settings.data) / "reports.sqlite"
    try:
        return ReportStore(database)
    except Unavailable as fault:
        fail(str(fault), Exit.UNAVAILABLE, as_json=as_json)


@click.group()
def report() -> None:
    """Read DMARC and TLS reports, and see who sends as you."""


@report.command(name="import")
@click.argument("paths", nargs=-1, required=True)
@database_option
@json_option
def import_(paths: tuple[str, ...], database: Path | None, settings_file: Path, as_json: bool) -> None:
    """Take reports in from files, folders (Maildirs, too) or, for `-`, standard input.

    XML, JSON, zip, gzip and messages are read. Exit 1 where something could not be; it is kept and named.
    """
    store = _open(database, settings_file, as_json)
    now = int(time.time())
    results: list[Received] = []
    for path in paths:
        if path == "-":
            results += receive(store, sys.stdin.buffer.read(), "standard input", now)
        elif not Path(path).exists():
            results.append(Received(path, "broken", "", False, ("there is no such file",)))
        else:
            results += receive_path(store, Path(path), now)
    store.close()
    value = [
        {
            "source": one.source,
            "kind": one.kind,
            "domain": one.domain,
            "new": one.is_new,
            "problems": list(one.problems),
        }
        for one in results
    ]
    lines = [
        f"{safe(one.source)}: {one.kind}{f' for {safe(one.domain)}' if one.domain else ''}"
        f"{'' if one.is_new else ', not new'}{''.join(f'; {safe(problem)}' for problem in one.problems)}"
        for one in results
    ]
    new = sum(one.is_new for one in results)
    answer(value, as_json=as_json, lines=[*lines, f"{new} new of {len(results)}"])
    raise SystemExit(Exit.WRONG if any(one.kind == "broken" for one in results) else Exit.OK)


def _stored_json(one: StoredReport) -> dict[str, object]:
    return {
        "number": one.number,
        "kind": one.kind,
        "organization": one.organization,
        "report_id": one.report_id,
        "domain": one.domain,
        "begin": one.begin,
        "end": one.end,
        "policy": one.policy,
        "messages": one.messages,
        "passed": one.passed,
        "defects": list(one.defects),
        "source": one.source,
    }


@report.command(name="list")
@click.option("--domain", default="", help="Only reports about this domain.")
@click.option("--kind", type=click.Choice(["aggregate", "tls", "failure", "broken"]), help="Only reports of this kind.")
@database_option
@json_option
def list_(domain: str, kind: str | None, database: Path | None, settings_file: Path, as_json: bool) -> None:
    """List the reports that came in, the newest first."""
    store = _open(database, settings_file, as_json)
    found = list(store.reports(domain=domain.lower(), kind=kind or ""))
    rows = [
        (
            str(one.number),
            one.kind,
            _day(one.begin),
            safe(one.domain) or "-",
            f"{one.passed}/{one.messages}",
            safe(one.organization) or "-",
            "; ".join(map(safe, one.defects)),
        )
        for one in found
    ]
    lines = (
        table(("number", "kind", "from", "domain", "passed", "reporter", "defects"), rows) if rows else ["no reports"]
    )
    answer([_stored_json(one) for one in found], as_json=as_json, lines=lines)


def _day(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d")


@report.command()
@click.argument("number", type=COUNT)
@click.option("--raw", is_flag=True, help="Print the document as it came.")
@database_option
@json_option
def show(number: int, raw: bool, database: Path | None, settings_file: Path, as_json: bool) -> None:
    """Show one report whole."""
    found = _open(database, settings_file, as_json).report(number)
    if found is None:
        fail(f"there is no report {number}", Exit.WRONG, as_json=as_json)
    stored, content = found
    if raw:
        sys.stdout.buffer.write(content)
        return
    details, lines = _details(stored, content)
    heading = (
        f"{stored.kind} report {safe(stored.report_id)} of {safe(stored.organization) or 'unknown'} "
        f"about {safe(stored.domain) or 'unknown'}, {_day(stored.begin)} to {_day(stored.end)}, {safe(stored.policy)}"
    )
    defects = [f"defect: {safe(defect)}" for defect in stored.defects]
    answer({**_stored_json(stored), **details}, as_json=as_json, lines=[heading, *defects, *lines])


def _details(stored: StoredReport, content: bytes) -> tuple[dict[str, object], list[str]]:
    try:
        match stored.kind:
            case "aggregate":
                return _aggregate_details(dmarc_aggregate.parse(content))
            case "tls":
                return _tls_details(tlsrpt.parse(content))
            case "failure":
                parsed = failure.parse(content)
                return {"source_ip": parsed.source_ip, "header": parsed.reported_header}, [
                    f"from {safe(parsed.source_ip)}, {safe(parsed.auth_failure)} failed: {safe(parsed.identity_alignment)}",
                    *map(safe, parsed.reported_header.splitlines()),
                ]
            case _:
                return {}, []
    except Malformed as error:
        return {}, [str(error)]


def _aggregate_details(parsed: dmarc_aggregate.AggregateReport) -> tuple[dict[str, object], list[str]]:
    rows = [
        (
            safe(one.source_ip),
            str(one.messages),
            one.disposition,
            one.dkim,
            one.spf,
            safe(one.header_from),
            ", ".join(
                [f"dkim {safe(found.domain)}={safe(found.result)}" for found in one.dkim_results]
                + [f"spf {safe(found.domain)}={safe(found.result)}" for found in one.spf_results]
            ),
        )
        for one in parsed.records
    ]
    value: dict[str, object] = {
        "records": [
            {
                "source_ip": one.source_ip,
                "count": one.messages,
                "disposition": one.disposition,
                "dkim": one.dkim,
                "spf": one.spf,
                "header_from": one.header_from,
                "envelope_from": one.envelope_from,
                "envelope_to": one.envelope_to,
                "reasons": [found._asdict() for found in one.reasons],
                "dkim_results": [found._asdict() for found in one.dkim_results],
                "spf_results": [found._asdict() for found in one.spf_results],
            }
            for one in parsed.records
        ]
    }
    return value, table(("address", "messages", "disposition", "dkim", "spf", "from", "results"), rows) if rows else []


def _tls_details(parsed: tlsrpt.TlsReport) -> tuple[dict[str, object], list[str]]:
    lines = []
    policies: list[object] = []
    for policy in parsed.policies:
        lines.append(
            f"{policy.policy_type} {safe(policy.domain)}: {policy.successful} sessions worked, {policy.failed} failed"
        )
        lines += [
            f"  {safe(one.result_type)}: {one.sessions} to {safe(one.receiving_mx) or 'unknown'} {safe(one.reason_code)}"
            for one in policy.failures
        ]
        policies.append(
            {
                "policy_type": policy.policy_type,
                "domain": policy.domain,
                "successful": policy.successful,
                "failed": policy.failed,
                "failures": [{"result_type": one.result_type, "sessions": one.sessions} for one in policy.failures],
            }
        )
    return {"policies": policies}, lines


def _view(
    domain: str, days: int, known: tuple[str, ...], database: Path | None, settings_file: Path, as_json: bool
) -> View:
    store = _open(database, settings_file, as_json)
    since = int(time.time()) - days * 86_400 if days else 0
    found = view(domain.lower().rstrip("."), store.rows(domain=domain.lower().rstrip("."), since=since), known)
    store.close()
    return found


def window_options(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command `--days` and `--known-sender`."""
    command = click.option(
        "--known-sender", "known", multiple=True, help="A provider's domain that sends on behalf of this one."
    )(command)
    return click.option("--days", type=DAYS, default=0, help="Only reports of the last days; 0 is all.")(command)


@report.command()
@click.argument("domain")
@window_options
@database_option
@json_option
def senders(
    domain: str, days: int, known: tuple[str, ...], database: Path | None, settings_file: Path, as_json: bool
) -> None:
    """Show who sends as a domain: ours and right, ours and misconfigured, forwarders, strangers."""
    found = _view(domain, days, known, database, settings_file, as_json)
    value = {
        "domain": found.domain,
        "days": found.days,
        "reporters": found.reporters,
        "groups": {group.name.lower(): found.messages(group) for group in Group},
        "senders": [
            {
                "name": one.name,
                "group": one.group.name.lower(),
                "messages": one.messages,
                "dkim_aligned": one.dkim_aligned,
                "spf_aligned": one.spf_aligned,
                "refused": one.refused,
                "addresses": sorted(one.addresses)[:100],
                "reporters": sorted(one.reporters)[:100],
                "problem": one.problem,
            }
            for one in found.senders
        ],
    }
    rows = [
        (
            one.group.value,
            str(one.messages),
            str(one.dkim_aligned),
            str(one.spf_aligned),
            str(one.refused),
            safe(one.name),
            one.problem,
        )
        for one in found.senders
    ]
    headings = ("group", "messages", "dkim", "spf", "refused", "sender", "what is wrong")
    answer(value, as_json=as_json, lines=table(headings, rows) if rows else [f"no reports about {safe(domain)}"])


@report.command()
@click.argument("domain")
@window_options
@database_option
@json_option
def advise(
    domain: str, days: int, known: tuple[str, ...], database: Path | None, settings_file: Path, as_json: bool
) -> None:
    """Say whether p=quarantine or p=reject is safe now, with the figures, and what to fix first."""
    found = judge(_view(domain, days, known, database, settings_file, as_json))
    value = {
        "domain": found.domain,
        "recommended": found.recommended,
        "days": found.days,
        "reporters": found.reporters,
        "ours": found.ours,
        "ours_failing": found.ours_failing,
        "forwarded": found.forwarded,
        "forwarded_failing": found.forwarded_failing,
        "strangers": found.strangers,
        "policies": [
            {"policy": one.policy, "safe": one.is_safe, "obstacles": list(one.obstacles)} for one in found.judgements
        ],
        "fixes": list(found.fixes),
    }
    answer(value, as_json=as_json, lines=_advice_lines(found))


def _advice_lines(found: Advice) -> list[str]:
    lines = [
        f"{safe(found.domain)}: {found.reporters} receivers reported over {found.days} days.",
        f"  {found.ours} messages are ours, {found.ours_failing} of them fail.",
        f"  {found.forwarded} were forwarded, {found.forwarded_failing} of them fail.",
        f"  {found.strangers} came from strangers.",
    ]
    for one in found.judgements:
        lines.append(f"p={one.policy} is {'safe' if one.is_safe else 'not safe yet'}.")
        lines += [f"  {obstacle}" for obstacle in one.obstacles]
    if found.fixes:
        lines += ["Fix first:", *(f"  {number}. {safe(fix)}" for number, fix in enumerate(found.fixes[:10], 1))]
    return lines


@report.command()
@click.option("--today", is_flag=True, help="The day so far instead of the last whole day.")
@click.option("--domain", default="", help="Print the report to this domain as XML.")
@settings_option
@json_option
def preview(today: bool, domain: str, settings_file: Path, as_json: bool) -> None:
    """Show the aggregate reports that go out for a day (UTC), before they do."""
    settings = load(settings_file, as_json=as_json)
    reporter = Reporter(
        settings.reports.organization or settings.domain, f"postmaster@{settings.domain}", settings.domain
    )
    begin, end = last_interval(int(time.time()), 86_400)
    if today:
        begin, end = end, end + 86_400
    try:
        ledger = Ledger.open(settings.path(settings.data) / "ledger.sqlite")
    except Unavailable as fault:
        fail(str(fault), Exit.UNAVAILABLE, as_json=as_json)
    drafts = drafts_of(ledger, reporter, begin, end)
    ledger.close()
    if domain:
        found = next((one.report for one in drafts if one.report.policy.domain == domain.lower()), None)
        if found is None:
            fail(f"no report goes to {domain}", Exit.WRONG, as_json=as_json)
        click.echo(dmarc_aggregate.write(found).decode())
        return
    value = [
        {
            "domain": one.report.policy.domain,
            "policy": one.report.policy.p,
            "rua": [uri.uri for uri in one.record.rua],
            "messages": one.report.messages,
            "rows": len(one.report.records),
            "report_id": one.report.report_id,
        }
        for one in drafts
    ]
    rows = [
        (
            safe(one.report.policy.domain),
            str(one.report.messages),
            str(len(one.report.records)),
            ", ".join(safe(uri.uri) for uri in one.record.rua),
        )
        for one in drafts
    ]
    lines = table(("domain", "messages", "rows", "to"), rows) if rows else ["no reports go out"]
    answer(value, as_json=as_json, lines=lines)
