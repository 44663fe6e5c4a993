"""A report to another domain as a message: a few words for people, and the report itself, compressed.

See also: postmaster/send.py (DMARC, RFC 9990) and postmaster/tls_reports.py (RFC 8460) say what stands in it.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from datetime import UTC, datetime

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.imf.dates import write_date
from letterlock.formats.mime.build import Binary, Multipart, Text, build
from letterlock.postmaster.aggregate import Reporter


@dataclass(frozen=True, slots=True)
class ReportMessage:
    """A report as a message, ready to be signed and sent."""

    envelope: Envelope
    octets: bytes


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is about: the domain, its id, and the instant its interval ends (seconds since 1970)."""

    domain: str
    report_id: str
    end: int


@dataclass(frozen=True, slots=True)
class Enclosed:
    """The report: its octets, which are compressed on the way, and what MIME calls them."""

    octets: bytes
    name: str
    media_type: str = "application/gzip"


def write_report(
    subject: Subject,
    reporter: Reporter,
    addresses: tuple[str, ...],
    now: int,
    *,
    text: str,
    enclosed: Enclosed,
    more_fields: tuple[tuple[str, str], ...] = (),
    report_type: str = "",
) -> ReportMessage:
    """Return the message of a report: multipart/report of `report_type`, or multipart/mixed without one."""
    fields = [
        ("From", reporter.email),
        ("To", ", ".join(addresses)),
        ("Subject", f"Report Domain: {subject.domain} Submitter: {reporter.domain} Report-ID: <{subject.report_id}>"),
        ("Date", write_date(datetime.fromtimestamp(now, UTC))),
        ("Message-ID", f"<{subject.report_id}>"),
        *more_fields,
        ("Auto-Submitted", "auto-generated"),
    ]
    content = gzip.compress(enclosed.octets, mtime=subject.end)
    part = Multipart(
        "report" if report_type else "mixed",
        (Text(text), Binary(content, enclosed.media_type, enclosed.name)),
        parameters={"report-type": report_type} if report_type else {},
    )
    octets = build(part, fields, token=f"report{subject.end}")
    recipients = tuple(Recipient(Address.parse(one)) for one in addresses)
    return ReportMessage(Envelope(Address.parse(reporter.email), recipients), octets)
