"""From the ledger to aggregate reports: one for each policy domain and interval, made of what was decided in it.

Standards: RFC 9990 (Aggregate Reports; Handling Domains in Reports; DKIM Signatures in Aggregate Reports).
Limits: `_MOST_ROWS` rows a report, 100 signatures a row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from letterlock.formats.reports.dmarc_aggregate import (
    AggregateReport,
    DkimResult,
    PolicyPublished,
    Reason,
    Record,
    SpfResult,
    merge,
)
from letterlock.host.ledger import Entry
from letterlock.trust.dmarc import record as dmarc_record
from letterlock.trust.dmarc.record import Policy
from letterlock.trust.dmarc.record import Record as PolicyRecord

_MOST_ROWS = 50_000
_MOST_ERRORS = 10
_ENFORCED = {"delivered": "none", "junk": "quarantine", "refused": "reject"}


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports: an organization's name, the contact address, and the domain reports are sent from."""

    organization: str
    email: str
    domain: str
    extra_contact_info: str = ""
    generator: str = "Letterlock"


@dataclass(frozen=True, slots=True)
class Drafted:
    """A report and the record that asks for it."""

    report: AggregateReport
    record: PolicyRecord


def draft(entries: Iterable[Entry], reporter: Reporter, begin: int, end: int) -> tuple[Drafted, ...]:
    """Return a report for each policy domain that asks for reports, from the "assessed" entries of an interval.

    Deferred messages are left out, since they come again. A domain that vouches for mail, all of which was unwanted
    here, gets none.
    """
    by_domain: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.domain and _facts(entry)["disposition"] in _ENFORCED:
            by_domain.setdefault(entry.domain, []).append(entry)
    drafted = []
    for domain, found in by_domain.items():
        # RFC 9990: where the policy changed in the interval, the last one is shown
        record = dmarc_record.parse(str(_facts(found[-1])["dmarc"]["record"]).encode())
        if record.rua and not _only_abuses(found):
            drafted.append(Drafted(_report(domain, record, found, reporter, begin, end), record))
    return tuple(drafted)


def _facts(entry: Entry) -> dict[str, Any]:
    # Any: the ledger holds JSON that mta/assessed.py wrote; its shape is tested there.
    return dict(entry.facts)


def _only_abuses(entries: list[Entry]) -> bool:
    """Whether the domain vouches for everything it sends, and none of it was wanted."""
    return all(
        _facts(one)["dmarc"]["result"] == "pass" and _facts(one)["disposition"] in ("junk", "refused")
        for one in entries
    )


def _report(
    domain: str, record: PolicyRecord, entries: list[Entry], reporter: Reporter, begin: int, end: int
) -> AggregateReport:
    problems = dict.fromkeys(problem for entry in entries for problem in _facts(entry)["dmarc"]["problems"])
    return AggregateReport(
        reporter.organization,
        reporter.email,
        f"{begin}-{end}-{domain}@{reporter.domain}",
        begin,
        end,
        _policy(domain, record),
        merge(_row(_facts(entry)) for entry in entries)[:_MOST_ROWS],
        reporter.extra_contact_info,
        tuple(problems)[:_MOST_ERRORS],
        reporter.generator,
    )


def _policy(domain: str, record: PolicyRecord) -> PolicyPublished:
    return PolicyPublished(
        domain,
        (record.p or Policy.NONE).value,
        record.sp.value if record.sp else "",
        record.np.value if record.np else "",
        record.adkim.value,
        record.aspf.value,
        record.fo,
        "y" if record.is_testing else "n",
        "treewalk",
    )


def _row(facts: dict[str, Any]) -> Record:
    verdict = facts["dmarc"]
    reasons = [Reason(kind, comment) for kind, comment in verdict["overrides"]]
    disposition = _ENFORCED[facts["disposition"]]
    if verdict["result"] == "pass":
        # RFC 9990, ActionDispositionType: pass where a policy to enforce was there and did not have to be
        disposition = "none" if verdict["policy"] == "none" else "pass"
    elif disposition != verdict["policy"] and not reasons:
        reasons.append(Reason("local_policy", f"{verdict['result']}: {verdict['reason']}"))
    recipients = facts["recipient_domains"]
    return Record(
        facts["client"],
        1,
        disposition,
        "pass" if verdict["dkim_aligned"] else "fail",
        "pass" if verdict["spf_aligned"] else "fail",
        facts["author_domain"],
        facts["mail_from"],
        recipients[0] if len(recipients) == 1 else "",
        tuple(reasons),
        _signatures(facts["dkim"], facts["author_domain"]),
        _spf(facts["spf"]),
    )


def _signatures(found: list[dict[str, str]], author: str) -> tuple[DkimResult, ...]:
    """Passing and strictly aligned ones first, as the standard ranks them."""
    ranked = sorted(
        (one for one in found if one["domain"]), key=lambda one: (one["result"] != "pass", one["domain"] != author)
    )
    return tuple(
        DkimResult(
            one["domain"], one["selector"], one["result"], "" if one["result"] == "pass" else one["reason"][:200]
        )
        for one in ranked[:100]
    )


def _spf(found: dict[str, str] | None) -> tuple[SpfResult, ...]:
    if found is None:
        return ()
    explained = "" if found["result"] == "pass" else found["reason"][:200]
    return (SpfResult(found["domain"], found["result"], "mfrom", explained),)
