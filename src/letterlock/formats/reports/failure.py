"""Authentication failure reports: one message that failed, told to the domain it claims to be from.

`parse` reads what others send; `feedback` and `redacted_header` make the machine's part and the harmless remains of the
header that ours carry: no body, no recipients, no local parts.

Standards: RFC 6591 section 3 (the fields), RFC 5965 section 3 (the format), RFC 9991 (Identity-Alignment, dmarc), RFC
6590 (redaction).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.imf.addresses import parse_addresses
from letterlock.formats.imf.header import Field, Header, read_header
from letterlock.formats.mime.entity import parse as parse_entity
from letterlock.formats.reports.report import find_report

_ADDRESS = re.compile(r"[^\s<>@,;:\"()]+@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_KEPT = ("from", "subject", "date", "message-id", "dkim-signature", "mime-version", "content-type", "list-id")


@dataclass(frozen=True, slots=True)
class FailureReport:
    """What the machine's part says; fields that are not there are empty. `reported_header` is the message's own."""

    feedback_type: str
    auth_failure: str
    source_ip: str = ""
    reported_domain: str = ""
    identity_alignment: str = ""
    delivery_result: str = ""
    dkim_domain: str = ""
    dkim_selector: str = ""
    original_mail_from: str = ""
    arrival_date: str = ""
    incidents: int = 1
    reported_header: str = ""


def parse(octets: bytes) -> FailureReport:
    """Read a message that is a failure report. Raises Malformed for any other."""
    found = find_report(parse_entity(octets))
    if found is None or found.report_type != "feedback-report":
        raise Malformed("no feedback report", clause="RFC 5965 section 2")
    fields = read_header(found.machine.content())
    kind = fields.text("Feedback-Type").lower()
    if kind != "auth-failure":
        raise Malformed(f"feedback of the type {kind[:40]!r}", clause="RFC 6591 section 3.1")
    incidents = fields.text("Incidents", "1")
    header = found.returned.header if found.returned is not None else None
    return FailureReport(
        kind,
        fields.text("Auth-Failure").lower(),
        fields.text("Source-IP"),
        fields.text("Reported-Domain").lower(),
        fields.text("Identity-Alignment").lower(),
        fields.text("Delivery-Result").lower(),
        fields.text("DKIM-Domain").lower(),
        fields.text("DKIM-Selector"),
        fields.text("Original-Mail-From"),
        fields.text("Arrival-Date"),
        int(incidents) if incidents.isascii() and incidents.isdigit() and len(incidents) < 10 else 1,
        header.raw.decode("utf-8", "replace")[:20_000] if header is not None else "",
    )


def feedback(fields: Iterable[tuple[str, str]]) -> bytes:
    """Return the machine's part: each field on a line of its own, values kept from ending theirs."""
    lines = [f"{name}: {_CONTROL.sub(' ', value)[:900]}" for name, value in fields if value]
    return ("\r\n".join(lines) + "\r\n").encode()


def redacted_header(header: Header) -> bytes:
    """Return a header section in which nobody is named: some fields only, local parts of addresses taken out."""
    # RFC 6590: what identifies a person is replaced, the domain stays
    lines = [f"{found.name}: {_redacted(found)}" for found in header if found.name.lower() in _KEPT]
    return ("\r\n".join(lines) + "\r\n").encode()


def _redacted(found: Field) -> str:
    if found.name.lower() == "from":
        return ", ".join(f"redacted@{mailbox.domain}" for mailbox in parse_addresses(found.text).mailboxes)[:900]
    return _ADDRESS.sub("redacted@", found.text)[:900]
