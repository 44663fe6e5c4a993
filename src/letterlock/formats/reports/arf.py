"""Feedback reports: complaints and authentication failures about one message, read and written.

    octets = write_feedback(report, author=..., to=..., original=octets, ...)
    report = read_feedback(parse(octets))

Standards: RFC 5965 (the format), RFC 6591 (auth-failure), RFC 6692 (Source-Port), RFC 7489 section 7.3 and its successor
(Identity-Alignment), RFC 6590 (redaction is the caller's business), RFC 6650 (use).
Limits: those of headers and reports; `write_feedback` returns at most `most_octets` of the original.
See also: reports/failure_request for who asked for such reports (RFC 6651, RFC 6652).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from letterlock.formats.defect import Defect, Kind
from letterlock.formats.grammar import Sort, tokens
from letterlock.formats.imf.addresses import Mailbox
from letterlock.formats.imf.dates import parse_date, write_date
from letterlock.formats.imf.header import Header
from letterlock.formats.limits import DEFAULT, Limits
from letterlock.formats.mime.build import Embedded, Multipart, Text, build
from letterlock.formats.mime.entity import Entity
from letterlock.formats.reports.report import Typed, find_report, read_groups, read_typed, write_group, written_header

FEEDBACK_TYPES = frozenset(("abuse", "fraud", "virus", "other", "not-spam", "auth-failure"))
AUTH_FAILURES = frozenset(("adsp", "bodyhash", "revoked", "signature", "spf", "dmarc"))
DELIVERY_RESULTS = frozenset(("delivered", "spam", "policy", "reject", "other"))
# RFC 5965 section 3.2 and RFC 6591 section 3.2: at most once
_ONCE = frozenset(("feedback-type", "user-agent", "version", "original-envelope-id", "original-mail-from",
                   "arrival-date", "reporting-mta", "source-ip", "source-port", "incidents", "auth-failure",
                   "delivery-result", "dkim-adsp-dns", "dkim-canonicalized-body", "dkim-canonicalized-header",
                   "dkim-domain", "dkim-identity", "dkim-selector", "dkim-selector-dns",
                   "identity-alignment"))  # fmt: skip
_MANY = frozenset(("authentication-results", "original-rcpt-to", "reported-domain", "reported-uri", "spf-dns",
                   "received-date"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class DkimFailure:
    """What an auth-failure report says of the signature that failed (RFC 6591 section 3.2.3 and 3.2.4)."""

    domain: str = ""
    identity: str = ""
    selector: str = ""
    key_record: str = ""
    canonicalized_header: bytes = b""
    canonicalized_body: bytes = b""


@dataclass(frozen=True, slots=True)
class SpfRecord:
    """An SPF record that was used: its record type ("txt"), the name it stood at, its content."""

    type: str
    domain: str
    content: str


@dataclass(frozen=True, slots=True)
class Feedback:
    """A feedback report's machine part. Addresses are without angle brackets."""

    feedback_type: str
    user_agent: str
    version: str = "1"
    original_mail_from: str | None = None
    original_recipients: tuple[str, ...] = ()
    envelope_id: str = ""
    arrival: datetime | None = None
    reporting_mta: Typed | None = None
    source_ip: str = ""
    source_port: int | None = None
    incidents: int = 1
    authentication_results: tuple[str, ...] = ()
    reported_domains: tuple[str, ...] = ()
    reported_uris: tuple[str, ...] = ()
    auth_failure: str = ""
    delivery_result: str = ""
    identity_alignment: str = ""
    dkim: DkimFailure | None = None
    spf_records: tuple[SpfRecord, ...] = ()
    extensions: tuple[tuple[str, str], ...] = ()
    defects: tuple[Defect, ...] = ()


def write_feedback(
    feedback: Feedback,
    *,
    to: str,
    author: Mailbox,
    date: datetime,
    message_id: str,
    token: str,
    original: bytes,
    whole: bool = False,
    subject: str = "",
    explanation: str = "",
    most_octets: int = 1_048_576,
) -> bytes:
    """Return the whole report as a message; `whole` returns the original with its body (RFC 5965 section 2).

    For an authentication failure send it with a null reverse path or one that makes no loops (RFC 6591 section 6.4).
    """
    returned = Embedded(original) if whole and len(original) <= most_octets else _header_part(original)
    parts = (
        Text(explanation or explain(feedback)),
        Embedded(write_feedback_report(feedback), "message/feedback-report"),
        returned,
    )
    fields = [
        ("From", str(author)),
        ("To", to),
        ("Subject", subject or f"Feedback report: {feedback.feedback_type}"),
        ("Date", write_date(date)),
        ("Message-ID", f"<{message_id}>"),
        ("Auto-Submitted", "auto-generated"),
    ]
    return build(Multipart("report", parts, {"report-type": "feedback-report"}), fields, token=token)


def _header_part(original: bytes) -> Embedded:
    header = written_header(original)
    return Embedded(header, "text/rfc822-headers" if header.isascii() else "message/global-headers")


def explain(feedback: Feedback) -> str:
    """Return the report's text for people."""
    what = {
        "abuse": "as unwanted",
        "fraud": "as an attempt at fraud",
        "virus": "as carrying harmful code",
        "not-spam": "as wrongly held to be unwanted",
        "auth-failure": f"because its authentication failed ({feedback.auth_failure or 'no reason given'})",
    }.get(feedback.feedback_type, "for another reason")
    source = f" It came from {feedback.source_ip}." if feedback.source_ip else ""
    return f"A message is reported {what}.{source}\nThe message, or its header section, is attached.\n"


def write_feedback_report(feedback: Feedback) -> bytes:
    """Return the content of message/feedback-report; it is 7-bit."""
    dkim = feedback.dkim or DkimFailure()
    fields = [
        ("Feedback-Type", feedback.feedback_type),
        ("User-Agent", feedback.user_agent),
        ("Version", feedback.version),
        ("Original-Envelope-Id", feedback.envelope_id),
        ("Original-Mail-From", "" if feedback.original_mail_from is None else f"<{feedback.original_mail_from}>"),
        *(("Original-Rcpt-To", f"<{one}>") for one in feedback.original_recipients),
        ("Arrival-Date", write_date(feedback.arrival) if feedback.arrival else ""),
        ("Reporting-MTA", str(feedback.reporting_mta) if feedback.reporting_mta else ""),
        ("Source-IP", feedback.source_ip),
        ("Source-Port", "" if feedback.source_port is None else str(feedback.source_port)),
        ("Incidents", "" if feedback.incidents == 1 else str(feedback.incidents)),
        *(("Authentication-Results", one) for one in feedback.authentication_results),
        *(("Reported-Domain", one) for one in feedback.reported_domains),
        *(("Reported-URI", one) for one in feedback.reported_uris),
        ("Auth-Failure", feedback.auth_failure),
        ("Delivery-Result", feedback.delivery_result),
        ("Identity-Alignment", feedback.identity_alignment),
        ("DKIM-Domain", dkim.domain),
        ("DKIM-Identity", dkim.identity),
        ("DKIM-Selector", dkim.selector),
        ("DKIM-Selector-DNS", f'"{dkim.key_record}"' if dkim.key_record else ""),
        ("DKIM-Canonicalized-Header", _folded_base64(dkim.canonicalized_header)),
        ("DKIM-Canonicalized-Body", _folded_base64(dkim.canonicalized_body)),
        *(("SPF-DNS", f'{one.type} : {one.domain} : "{one.content}"') for one in feedback.spf_records),
        *feedback.extensions,
    ]
    return write_group(fields)


def _folded_base64(octets: bytes) -> str:
    text = base64.b64encode(octets).decode()
    return " ".join(text[at : at + 72] for at in range(0, len(text), 72))


def read_feedback(message: Entity, *, limits: Limits = DEFAULT) -> Feedback | None:
    """Return the feedback report a message is, or None if it is none. Never raises."""
    report = find_report(message)
    if report is None or report.machine.content_type.full != "message/feedback-report":
        return None
    return read_feedback_report(report.machine.content(), limits=limits)


def read_feedback_report(octets: bytes, *, limits: Limits = DEFAULT) -> Feedback:
    """Read the content of message/feedback-report. Never raises; what RFC 5965 section 4 calls malformed is a defect."""
    groups = read_groups(octets, limits=limits)
    defects: list[Defect] = []
    if len(groups) != 1:  # QUIRK arf-empty-lines: empty lines inside a feedback report do not end it
        defects.append(Defect(Kind.BAD_REPORT, 0, f"{len(groups)} groups of fields"))
    fields = _Fields(groups, defects)
    port, incidents = fields.text("source-port"), fields.text("incidents")
    sender = fields.text("original-mail-from")
    arrival = fields.text("arrival-date") or fields.text("received-date")
    mta = fields.text("reporting-mta")
    return Feedback(
        feedback_type=fields.word("feedback-type"),
        user_agent=fields.text("user-agent"),
        version=fields.word("version"),
        original_mail_from=sender.strip("<> ") if "original-mail-from" in fields.names else None,
        original_recipients=tuple(one.strip("<> ") for one in fields.all("original-rcpt-to")),
        envelope_id=fields.text("original-envelope-id"),
        arrival=parse_date(arrival, defects) if arrival else None,
        reporting_mta=read_typed(mta) if mta else None,
        source_ip=fields.word("source-ip").strip("[]").removeprefix("ipv6:"),
        source_port=int(port) if _is_count(port) and int(port) < 65536 else None,
        incidents=int(incidents) if _is_count(incidents) else 1,
        authentication_results=fields.all("authentication-results"),
        reported_domains=fields.all("reported-domain"),
        reported_uris=fields.all("reported-uri"),
        auth_failure=fields.word("auth-failure"),
        delivery_result=fields.word("delivery-result"),
        identity_alignment=fields.word("identity-alignment"),
        dkim=_read_dkim(fields),
        spf_records=tuple(_read_spf(one) for one in fields.all("spf-dns")),
        extensions=tuple(pair for pair in fields.pairs if pair[0].lower() not in _ONCE | _MANY),
        defects=tuple(defects),
    )


class _Fields:
    """The fields of all groups together."""

    def __init__(self, groups: Iterable[Header], defects: list[Defect]) -> None:
        self.pairs = [(field.name, field.text) for group in groups for field in group]
        self._values: dict[str, list[str]] = {}
        for name, value in self.pairs:
            self._values.setdefault(name.lower(), []).append(value)
        self.names = self._values.keys()
        defects.extend(
            Defect(Kind.BAD_REPORT, 0, f"{name} is missing")
            for name in ("feedback-type", "user-agent", "version")  # RFC 5965 section 3.1
            if name not in self._values
        )
        defects.extend(
            Defect(Kind.BAD_REPORT, 0, f"{name} stands {len(values)} times")
            for name, values in self._values.items()
            if name in _ONCE and len(values) > 1
        )
        if "arrival-date" in self._values and "received-date" in self._values:  # RFC 5965 section 3.2
            defects.append(Defect(Kind.BAD_REPORT, 0, "Arrival-Date and Received-Date"))

    def text(self, name: str) -> str:
        return self._values.get(name, [""])[0]

    def word(self, name: str) -> str:
        """Return the value in lower case without comments."""
        text = self.text(name)
        return text.partition("(")[0].strip(" \t").lower()

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(self._values.get(name, ()))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def _read_dkim(fields: _Fields) -> DkimFailure | None:
    if not any(name.startswith("dkim-") for name in fields.names):
        return None
    return DkimFailure(
        domain=fields.word("dkim-domain"),
        identity=fields.text("dkim-identity"),
        selector=fields.word("dkim-selector"),
        key_record=_unquoted(fields.text("dkim-selector-dns")),
        canonicalized_header=_base64(fields.text("dkim-canonicalized-header")),
        canonicalized_body=_base64(fields.text("dkim-canonicalized-body")),
    )


def _unquoted(text: str) -> str:
    return "".join(token.text for token in tokens(text, []) if token.sort is Sort.QUOTED) or text


def _base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64("".join(text.split()))
    except (binascii.Error, ValueError):
        return b""


def _read_spf(text: str) -> SpfRecord:
    kind, _, rest = text.partition(":")
    domain, _, content = rest.partition(":")
    return SpfRecord(kind.strip().lower(), domain.strip().lower(), _unquoted(content.strip()))
