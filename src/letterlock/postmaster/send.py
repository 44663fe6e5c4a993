"""Send the reports that other domains asked for: aggregate reports once an interval, each at its own time.

A report is due a while after its interval ends, at a time that follows from the domain's name, so that not all leave at
once. What was sent stands in the ledger; a restart sends nothing twice and forgets nothing. A destination that could not
be verified for now is tried again at the next run, for a day.

Standards: RFC 9990 (Report Delivery; Verifying External Destinations; Email).
Limits: `SendSettings.most_octets` a report, `most_reports` a run, eight destinations a domain.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from letterlock.formats.envelope import Envelope
from letterlock.formats.reports import dmarc_aggregate
from letterlock.host.drive_decisions import drive
from letterlock.host.drive_work import Faulty, contain
from letterlock.host.ledger import Entry, Fact, Ledger
from letterlock.host.logs import Log
from letterlock.host.resolver.interface import Resolver
from letterlock.postmaster.aggregate import Drafted, Reporter, draft
from letterlock.postmaster.report_message import Enclosed, ReportMessage, Subject, write_report
from letterlock.trust import dkim
from letterlock.trust.dmarc import destination
from letterlock.trust.dmarc.record import ReportUri

KIND = "aggregate report sent"
_MOST_DESTINATIONS = 8

# Hands a message over for transfer; it is durable when this returns.
Submit = Callable[[Envelope, bytes], Awaitable[None]]
# Posts octets of a media type to an https URI and tells whether they were taken.
Post = Callable[[str, bytes, str], Awaitable[bool]]
# Returns the keys that sign now; they change in the life of a domain.
Keys = Callable[[], tuple[dkim.SigningKey, ...]]


@dataclass(frozen=True, slots=True)
class SendSettings:
    """How reports are sent. `interval_seconds` divides a day; reports leave within `spread_seconds` after it."""

    reporter: Reporter
    interval_seconds: int = 86_400
    spread_seconds: int = 14_400
    most_octets: int = 10_000_000
    most_reports: int = 1000


def last_interval(now: int, length: int) -> tuple[int, int]:
    """Return the begin and end of the last whole interval before `now`."""
    end = now - now % length
    return end - length, end


def drafts_of(ledger: Ledger, reporter: Reporter, begin: int, end: int) -> tuple[Drafted, ...]:
    """Return the reports of an interval, sent or not."""
    return draft(ledger.read(kind="assessed", since=begin, until=end), reporter, begin, end)


def due_at(report_id: str, end: int, spread_seconds: int) -> int:
    """Return when a report leaves: some seconds after its interval, the same whenever it is asked."""
    return end + (zlib.crc32(report_id.encode()) % spread_seconds if spread_seconds else 0)


def compose(drafted: Drafted, reporter: Reporter, addresses: tuple[str, ...], now: int) -> ReportMessage:
    """Return the message that carries a report (RFC 9990, Email)."""
    report = drafted.report
    name = dmarc_aggregate.filename(report, reporter.domain)
    begin, end = (datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M") for at in (report.begin, report.end))
    passed = sum(record.messages for record in report.records if record.is_pass)
    text = (
        f"This is a DMARC aggregate report for {report.policy.domain}, from {begin} to {end} UTC.\n\n"
        f"{report.messages} messages, of which {passed} passed.\n\n"
        f"It was asked for by the rua tag of the record at _dmarc.{report.policy.domain}.\n"
    )
    return write_report(
        Subject(report.policy.domain, report.report_id, report.end),
        reporter,
        addresses,
        now,
        text=text,
        enclosed=Enclosed(dmarc_aggregate.write(report), name),
    )


class AggregateSender:
    """Sends what is due. `keys` sign as the reporter's domain, so that reports pass DMARC themselves."""

    def __init__(
        self,
        settings: SendSettings,
        *,
        ledger: Ledger,
        resolver: Resolver,
        submit: Submit,
        keys: Keys,
        log: Log,
        post: Post | None = None,
    ) -> None:
        self.settings = settings
        self._ledger = ledger
        self._resolver = resolver
        self._submit = submit
        self._keys = keys
        self._log = log
        self._post = post

    async def run(self, now: int) -> int:
        """Send every report of the last whole interval that is due and was not sent; return how many left."""
        begin, end = last_interval(now, self.settings.interval_seconds)
        # A day of mail takes longer to read than sessions should wait.
        drafts = await asyncio.to_thread(drafts_of, self._ledger, self.settings.reporter, begin, end)
        sent = await asyncio.to_thread(self._sent, now - 3 * 86_400)
        due = [
            drafted
            for drafted in drafts
            if drafted.report.report_id not in sent
            and due_at(drafted.report.report_id, end, self.settings.spread_seconds) <= now
        ]
        keys = self._keys() if due else ()
        if not keys:
            return 0  # a report that nobody signs would not pass DMARC itself
        return sum([await self._try_to_send(drafted, keys, now) for drafted in due[: self.settings.most_reports]])

    async def _try_to_send(self, drafted: Drafted, keys: tuple[dkim.SigningKey, ...], now: int) -> bool:
        """Send a report; a fault of the program with one of them costs no other. Raises Unavailable."""
        try:
            return await contain(self._send(drafted, keys, now))
        except Faulty as fault:
            domain = drafted.report.policy.domain
            self._log.error("aggregate report not sent", domain=domain, problem=fault.problem, traceback=fault.trace)
            return False

    def _sent(self, since: int) -> set[str]:
        return {entry.transaction for entry in self._ledger.read(kind=KIND, since=since)}

    async def _send(self, drafted: Drafted, keys: tuple[dkim.SigningKey, ...], now: int) -> bool:
        report = drafted.report
        uris, problems, is_known = await self._destinations(drafted)
        addresses = tuple(dict.fromkeys(uri.address for uri in uris if uri.scheme == "mailto"))
        delivered = 0
        if addresses:
            message = compose(drafted, self.settings.reporter, addresses, now)
            if len(message.octets) > self.settings.most_octets:
                problems.append(f"the report has {len(message.octets)} octets")
            else:
                signed = dkim.sign(message.octets, keys, now) + message.octets
                await self._submit(message.envelope, signed)
                delivered += 1
        for uri in uris:
            if uri.scheme == "https" and self._post is not None:
                content = gzip.compress(dmarc_aggregate.write(report), mtime=report.end)
                delivered += await self._post(uri.uri, content, "application/gzip")
        self._log.event("aggregate report", domain=report.policy.domain, sent=bool(delivered), problems=problems)
        if not is_known and not delivered:
            return False  # a look-up failed: this report stays due
        facts: dict[str, Fact] = {"domain": report.policy.domain, "to": [*addresses], "problems": [*problems]}
        self._ledger.append(Entry(now, KIND, report.report_id, report.policy.domain, facts))
        await asyncio.to_thread(self._ledger.flush)  # sessions do not wait for the disk
        return bool(delivered)

    async def _destinations(self, drafted: Drafted) -> tuple[list[ReportUri], list[str], bool]:
        """Return where the report may go, what keeps it from elsewhere, and whether every look-up succeeded."""
        uris: list[ReportUri] = []
        problems: list[str] = []
        is_known = True
        for uri in drafted.record.rua[:_MOST_DESTINATIONS]:
            if uri.scheme not in ("mailto", "https"):
                problems.append(f"{uri.uri}: no way to send by {uri.scheme}")
                continue
            verified = await drive(destination.verify(drafted.report.policy.domain, uri), self._resolver)
            uris += verified.uris
            is_known = is_known and verified.is_known
            if not verified.uris:
                problems.append(f"{uri.uri}: {verified.reason}")
        return uris, problems, is_known
