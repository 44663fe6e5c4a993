"""TLS reports about other domains: what came of our sessions with their servers, from the ledger, once a UTC day.

    for report in draft(ledger.read(kind=KIND, since=begin, until=end), reporter, begin, end): ...

A domain hears of a day once: the report leaves some time after midnight, at a time that follows from its id; what was sent
stands in the ledger. Reports by mail are signed by DKIM with a key of our domain and go out even where TLS to the
domain is what fails, for that is what they are about.

Standards: RFC 8460 section 3 (the record), section 4.1 (24 hours), section 4.4 (fields), section 5.3 (mail), section 5.4
(HTTPS), section 5.5 (try again for a day).
Limits: `_MOST_DOMAINS` reports a day, 100 kinds of failure a policy, four destinations.
"""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

from letterlock.errors import Malformed, SettingsFault
from letterlock.formats.address import Address
from letterlock.formats.dns.question import Outcome, Question
from letterlock.formats.dns.rdata import Txt
from letterlock.formats.reports import tlsrpt
from letterlock.formats.reports.tlsrpt import Failure, PolicyReport, TlsReport
from letterlock.host.drive_work import Faulty, contain
from letterlock.host.ledger import Entry, Fact, Ledger
from letterlock.host.logs import Log
from letterlock.host.resolver.interface import Resolver
from letterlock.mta.tls_results import KIND
from letterlock.postmaster.aggregate import Reporter
from letterlock.postmaster.report_message import Enclosed, ReportMessage, Subject, write_report
from letterlock.postmaster.send import Keys, Post, Submit, due_at
from letterlock.trust import dkim

SENT = "tls report sent"
_DAY = 86_400
_AGAIN_SECONDS = 900
_LONGEST_WAIT = 14_400
_MOST_DOMAINS = 1000
_MOST_FAILURES = 100
_MOST_DESTINATIONS = 4


@dataclass(frozen=True, slots=True)
class Drafted:
    """The report for one domain."""

    domain: str
    report: TlsReport


def draft(entries: Iterable[Entry], reporter: Reporter, begin: int, end: int) -> Iterator[Drafted]:
    """Yield a report for each domain that the entries are about; `begin` and `end` in seconds since 1970."""
    by_domain: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.domain:
            by_domain[entry.domain].append(entry)
    day = datetime.fromtimestamp(begin, UTC).strftime("%Y%m%d")
    for domain, several in sorted(by_domain.items())[:_MOST_DOMAINS]:
        report_id = f"tls.{day}.{domain}@{reporter.domain}"
        report = TlsReport(
            reporter.organization, report_id, begin, end - 1, _policies(domain, several), contact=reporter.email
        )
        yield Drafted(domain, report)


def _policies(domain: str, entries: list[Entry]) -> tuple[PolicyReport, ...]:
    """Return what came of the sessions, by the policy they were under."""
    by_policy: defaultdict[tuple[str, tuple[str, ...], tuple[str, ...]], list[Entry]] = defaultdict(list)
    for entry in entries:
        kind = str(entry.facts.get("policy_type", ""))
        by_policy[kind, _texts(entry, "policy_strings"), _texts(entry, "mx_hosts")].append(entry)
    return tuple(_policy(domain, *key, several) for key, several in sorted(by_policy.items()))


def _policy(
    domain: str, kind: str, strings: tuple[str, ...], mx_hosts: tuple[str, ...], entries: list[Entry]
) -> PolicyReport:
    failed = [entry for entry in entries if entry.facts.get("result_type")]
    names = ("result_type", "sending_ip", "receiving_mx", "receiving_ip", "information")
    kinds = Counter(tuple(str(entry.facts.get(name, "")) for name in names) for entry in failed)
    failures = tuple(
        Failure(
            result_type, count, sending_ip=sending, receiving_mx=mx, receiving_ip=receiving, additional_information=said
        )
        for (result_type, sending, mx, receiving, said), count in kinds.most_common(_MOST_FAILURES)
    )
    return PolicyReport(kind, domain, len(entries) - len(failed), len(failed), strings, mx_hosts, failures)


def _texts(entry: Entry, name: str) -> tuple[str, ...]:
    found = entry.facts.get(name)
    return tuple(str(one) for one in found) if isinstance(found, list) else ()


def compose(drafted: Drafted, reporter: Reporter, addresses: tuple[str, ...], now: int) -> ReportMessage:
    """Return the message that carries a report (RFC 8460 section 5.3)."""
    report = drafted.report
    total = sum(policy.successful + policy.failed for policy in report.policies)
    failed = sum(policy.failed for policy in report.policies)
    day = datetime.fromtimestamp(report.begin, UTC).strftime("%Y-%m-%d")
    text = (
        f"This is a TLS report for {drafted.domain}, for {day} (UTC).\n\n"
        f"{total} sessions, of which {failed} failed.\n\n"
        f"It was asked for by the record at _smtp._tls.{drafted.domain}.\n"
    )
    # RFC 8460 section 5.1: sender, domain, begin, end, and an identifier of the report.
    name = f"{reporter.domain}!{drafted.domain}!{report.begin}!{report.end}!001.json.gz"
    return write_report(
        Subject(drafted.domain, report.report_id, report.end),
        reporter,
        addresses,
        now,
        text=text,
        enclosed=Enclosed(tlsrpt.write(report), name, "application/tlsrpt+gzip"),
        more_fields=(
            ("TLS-Report-Domain", drafted.domain),
            ("TLS-Report-Submitter", reporter.domain),
            # RFC 8460 section 3: reports go out even where TLS to the domain fails; RFC 8689 section 3.
            ("TLS-Required", "No"),
        ),
        report_type="tlsrpt",
    )


class TlsReportSender:
    """Sends what is due. `keys` sign mail as the reporter's domain (RFC 8460 section 5.3)."""

    def __init__(
        self,
        reporter: Reporter,
        *,
        ledger: Ledger,
        resolver: Resolver,
        submit: Submit,
        keys: Keys,
        log: Log,
        post: Post | None = None,
        spread_seconds: int = 14_400,
    ) -> None:
        self._reporter = reporter
        self._ledger = ledger
        self._resolver = resolver
        self._submit = submit
        self._keys = keys
        self._log = log
        self._post = post
        self._spread_seconds = spread_seconds
        self._again: dict[str, tuple[int, int]] = {}  # by report id: when to try again, and the wait before that
        self._finished = 0  # the end of the day of which nothing is left to send

    async def run(self, now: int) -> int:
        """Send every report of yesterday that is due and was not sent; return how many left."""
        end = now - now % _DAY
        if self._finished == end:
            return 0
        drafts, sent = await asyncio.to_thread(self._yesterday, end)  # a day of sessions takes a while to read
        left, owed = 0, 0
        for drafted in drafts:
            report_id = drafted.report.report_id
            if report_id in sent:
                continue
            owed += 1
            first = due_at(report_id, end, self._spread_seconds)
            if now >= self._again.get(report_id, (first, 0))[0]:
                left += await self._try_to_send(drafted, now)
        if not owed:
            self._finished = end
            self._again.clear()
        return left

    async def _try_to_send(self, drafted: Drafted, now: int) -> bool:
        """Send a report; a fault of the program with one of them costs no other. Raises Unavailable, SettingsFault."""
        try:
            return await contain(self._send(drafted, now), SettingsFault)
        except Faulty as fault:
            self._log.error("TLS report not sent", domain=drafted.domain, problem=fault.problem, traceback=fault.trace)
            return self._later(drafted, now)

    def _yesterday(self, end: int) -> tuple[list[Drafted], set[str]]:
        """Return the reports of the day that ended, and the ids of those sent. Blocks."""
        entries = self._ledger.read(kind=KIND, since=end - _DAY, until=end)
        drafts = list(draft(entries, self._reporter, end - _DAY, end))
        return drafts, {entry.transaction for entry in self._ledger.read(kind=SENT, since=end - _DAY)}

    async def _send(self, drafted: Drafted, now: int) -> bool:
        answer = await self._resolver.ask(Question(f"_smtp._tls.{drafted.domain}", "TXT"))
        if answer.outcome is Outcome.FAILED:
            return self._later(drafted, now)
        uris = tlsrpt.report_uris(tuple(record.joined for record in answer.records if isinstance(record, Txt)))
        addresses, delivered = _addresses(uris), 0
        keys = self._keys()
        if addresses and keys:
            message = compose(drafted, self._reporter, addresses, now)
            await self._submit(message.envelope, dkim.sign(message.octets, keys, now) + message.octets)
            delivered += 1
        for uri in uris[:_MOST_DESTINATIONS]:
            if uri.lower().startswith("https:") and self._post is not None:
                content = gzip.compress(tlsrpt.write(drafted.report), mtime=drafted.report.end)
                delivered += await self._post(uri, content, "application/tlsrpt+gzip")
        if any(uri.lower().startswith("https:") for uri in uris) and self._post is not None and not delivered:
            return self._later(drafted, now)
        if uris:
            self._log.event("TLS report", domain=drafted.domain, sent=bool(delivered))
        facts: dict[str, Fact] = {"to": [*uris]}
        self._ledger.append(Entry(now, SENT, drafted.report.report_id, drafted.domain, facts))
        await asyncio.to_thread(self._ledger.flush)
        return bool(delivered)

    def _later(self, drafted: Drafted, now: int) -> bool:
        # RFC 8460 section 5.5: for up to a day, at growing intervals; the day's end ends it by itself.
        wait = min(2 * self._again.get(drafted.report.report_id, (0, _AGAIN_SECONDS // 2))[1], _LONGEST_WAIT)
        self._again[drafted.report.report_id] = now + wait, wait
        return False


def _addresses(uris: tuple[str, ...]) -> tuple[str, ...]:
    """Return the addresses of mailto: URIs, each once."""
    found = []
    for uri in uris[:_MOST_DESTINATIONS]:
        scheme, _, rest = uri.partition(":")
        if scheme.lower() != "mailto":
            continue
        try:
            found.append(str(Address.parse(unquote(rest.partition("?")[0]))))
        except Malformed:
            continue
    return tuple(dict.fromkeys(found))
