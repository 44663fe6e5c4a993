"""Failure reports: one message that failed DMARC, told to the owner of the domain, redacted and rarely.

Off unless a site turns it on. A report holds no body, no recipient and no local part; like incidents within a while
become one report that counts them, and a destination gets only so many a day.

Standards: RFC 9991, RFC 6591 section 3, RFC 5965 section 3.2 (Incidents).
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.imf.dates import write_date
from letterlock.formats.imf.header import Header
from letterlock.formats.mime.build import Embedded, Multipart, Text, build
from letterlock.formats.reports import failure
from letterlock.postmaster.aggregate import Reporter
from letterlock.trust import dkim, dmarc
from letterlock.trust.authenticate import Client, Findings
from letterlock.trust.dmarc.record import ReportUri

_DAY = 86_400


@dataclass(frozen=True, slots=True)
class FailureSettings:
    """Whether and how often. `most_a_day` counts reports to one domain."""

    reporter: Reporter
    is_on: bool = False
    most_a_day: int = 20
    like_incidents_seconds: int = 3600


class FailureLimits:
    """Remembers what was reported, to report like failures once and no destination too often."""

    def __init__(self, settings: FailureSettings) -> None:
        self._settings = settings
        self._seen: OrderedDict[tuple[str, str, str], tuple[int, int]] = OrderedDict()
        self._sent: dict[str, list[int]] = {}

    def admit(self, findings: Findings, client: Client, now: int) -> int:
        """Return how many incidents to report now; 0 is none, because it was reported or there were too many."""
        domain = findings.dmarc.record_domain
        kind = (domain, client.address, findings.dkim.result.value)
        since, waiting = self._seen.get(kind, (-_DAY, 0))
        if now - since < self._settings.like_incidents_seconds:
            self._seen[kind] = (since, waiting + 1)
            return 0
        sent = [at for at in self._sent.get(domain, ()) if now - at < _DAY]
        if len(sent) >= self._settings.most_a_day:
            return 0
        self._sent[domain] = [*sent, now]
        self._seen[kind] = (now, 0)
        self._seen.move_to_end(kind)
        while len(self._seen) > 10_000:
            self._seen.popitem(last=False)
        return waiting + 1


def is_wanted(verdict: dmarc.Verdict, findings: Findings) -> bool:
    """Whether the record asks for a report on this outcome (the fo tag, RFC 9989 section 4.7)."""
    record = verdict.record
    if record is None or not record.ruf or record.psd == "y":  # RFC 9991: never for public suffixes
        return False
    options = record.fo.split(":")
    failed_signature = any(one.result is dkim.Result.FAIL for one in findings.dkim.signatures)
    failed_spf = findings.spf is not None and findings.spf.result.value in ("fail", "softfail")
    return (
        (verdict.result is dmarc.Result.FAIL and "0" in options)
        or ("1" in options and verdict.result in (dmarc.Result.FAIL, dmarc.Result.PASS)
            and not (verdict.spf_aligned and verdict.dkim_aligned))
        or ("d" in options and failed_signature)
        or ("s" in options and failed_spf)
    )  # fmt: skip


def compose(
    header: Header,
    findings: Findings,
    client: Client,
    uris: tuple[ReportUri, ...],
    reporter: Reporter,
    *,
    disposition: str,
    incidents: int,
    now: int,
) -> tuple[Envelope, bytes]:
    """Return a report to send or to preview; `uris` were verified, `disposition` is delivered, junk or refused."""
    verdict = findings.dmarc
    text = (
        f"A message that claims to be from {verdict.author_domain} failed authentication.\n\n{verdict.reason}.\n\n"
        "What could identify people was taken out (RFC 6590).\n"
    )
    addresses = tuple(dict.fromkeys(uri.address for uri in uris if uri.scheme == "mailto"))
    message_fields = [
        ("From", reporter.email),
        ("To", ", ".join(addresses)),
        ("Subject", f"Authentication failure report for {verdict.author_domain}"),
        ("Date", write_date(datetime.fromtimestamp(now, UTC))),
        (
            "Message-ID",
            f"<failure-{now}-{zlib.crc32(f'{client.address} {verdict.author_domain}'.encode())}@{reporter.domain}>",
        ),
        ("Auto-Submitted", "auto-generated"),
    ]
    part = Multipart(
        "report",
        (
            Text(text),
            Embedded(_feedback(findings, client, reporter, disposition, incidents, now), "message/feedback-report"),
            Embedded(failure.redacted_header(header), "text/rfc822-headers"),
        ),
        {"report-type": "feedback-report"},
    )
    octets = build(part, message_fields, token=f"failure{now}")
    # The null reverse path: nobody answers a report with another
    return Envelope(None, tuple(Recipient(Address.parse(one)) for one in addresses)), octets


def _feedback(
    findings: Findings, client: Client, reporter: Reporter, disposition: str, incidents: int, now: int
) -> bytes:
    """Return the machine's part (RFC 6591 section 3, RFC 9991)."""
    verdict = findings.dmarc
    failed = [name for name, aligned in (("dkim", verdict.dkim_aligned), ("spf", verdict.spf_aligned)) if not aligned]
    signature = next((one for one in findings.dkim.signatures if one.result is dkim.Result.FAIL), None)
    fields = [
        ("Feedback-Type", "auth-failure"),
        ("Version", "1"),
        ("User-Agent", reporter.generator),
        ("Auth-Failure", "dmarc"),
        ("Identity-Alignment", ", ".join(failed) or "none"),
        ("Delivery-Result", {"delivered": "delivered", "junk": "spam", "refused": "reject"}.get(disposition, "other")),
        ("Reported-Domain", verdict.author_domain),
        ("Source-IP", client.address),
        ("Arrival-Date", write_date(datetime.fromtimestamp(now, UTC))),
        ("Incidents", str(incidents)),
        ("DKIM-Domain", signature.domain if signature else ""),
        ("DKIM-Selector", signature.selector if signature else ""),
        ("DKIM-Identity", f"@{signature.signature.identity_domain}" if signature and signature.signature else ""),
        ("SPF-DNS", f"txt : {findings.spf.domain}" if findings.spf and not verdict.spf_aligned else ""),
    ]
    return failure.feedback(fields)
