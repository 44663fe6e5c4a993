"""Delivery status notifications: what became of a message, for each recipient, as a value, read and written.

    octets = write_dsn(status, to=sender, author=mailer_daemon, date=now, message_id=..., token=..., original=octets)
    status = read_dsn(parse(octets))

Standards: RFC 3464 (format), RFC 3461 section 6 (what an SMTP server must say), RFC 3463 (status codes), RFC 6533
(UTF-8), RFC 3834 section 5 (Auto-Submitted), RFC 6522.
Limits: `write_dsn` returns at most `most_octets` of the original; beyond that only its header section.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from letterlock.formats.address import Address
from letterlock.formats.defect import Defect, Kind
from letterlock.formats.envelope import Return
from letterlock.formats.imf.addresses import Mailbox
from letterlock.formats.imf.dates import parse_date, write_date
from letterlock.formats.imf.header import Header
from letterlock.formats.limits import DEFAULT, Limits
from letterlock.formats.mime.build import Embedded, Multipart, Text, build
from letterlock.formats.mime.entity import Entity
from letterlock.formats.reports.report import Typed, find_report, read_groups, read_typed, write_group, written_header
from letterlock.formats.reports.status import explain_status

_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_EMBEDDED_CHARACTER = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_PER_MESSAGE = frozenset(("original-envelope-id", "reporting-mta", "dsn-gateway", "received-from-mta", "arrival-date"))
_PER_RECIPIENT = frozenset(("original-recipient", "final-recipient", "action", "status", "remote-mta", "diagnostic-code",
                            "last-attempt-date", "final-log-id", "will-retry-until"))  # fmt: skip


class Action(enum.Enum):
    """What was done about one recipient (RFC 3464 section 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """The fields of one recipient (RFC 3464 section 2.3).

    `final_recipient` is the envelope's address; `original_recipient` what ORCPT said; `status` like "5.1.1";
    `diagnostic` the remote server's reply as `Typed("smtp", "550 5.1.1 No such user")`.
    """

    final_recipient: Typed
    action: Action
    status: str
    original_recipient: Typed | None = None
    remote_mta: Typed | None = None
    diagnostic: Typed | None = None
    last_attempt: datetime | None = None
    final_log_id: str = ""
    will_retry_until: datetime | None = None
    extensions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """A delivery status notification's machine part (RFC 3464 section 2.2), and its defects where it was read.

    `envelope_id` is ENVID decoded, `reporting_mta` normally `Typed("dns", host_name)`.
    """

    reporting_mta: Typed
    recipients: tuple[RecipientStatus, ...]
    envelope_id: str = ""
    gateway: Typed | None = None
    received_from: Typed | None = None
    arrival: datetime | None = None
    extensions: tuple[tuple[str, str], ...] = ()
    defects: tuple[Defect, ...] = ()


def recipient_type(address: Address | str) -> Typed:
    """Return an envelope address as DSN fields name it: `rfc822`, or `utf-8` where it is not ASCII (RFC 6533)."""
    text = str(address)
    return Typed("rfc822" if text.isascii() else "utf-8", text)


def write_dsn(
    status: DeliveryStatus,
    *,
    to: Address,
    author: Mailbox,
    date: datetime,
    message_id: str,
    token: str,
    original: bytes,
    return_content: Return | None = None,
    explanation: str = "",
    most_octets: int = 1_048_576,
    smtputf8: bool = False,
) -> bytes:
    """Return the whole notification, to be sent with a null reverse path to `to` (RFC 3461 section 6.1).

    The original comes back whole only for failures, and not where `return_content` is HEADERS or it is longer than
    `most_octets` (section 6.2). With `smtputf8`, which says that the original travelled so, the UTF-8 types of
    RFC 6533 are used where needed. `message_id` is without brackets, `token` makes the boundary.
    """
    failed = any(one.action is Action.FAILED for one in status.recipients)
    whole = failed and return_content is not Return.HEADERS and len(original) <= most_octets
    machine = write_delivery_status(status, utf8=smtputf8)
    parts = (
        Text(explanation or explain(status), parameters={}),
        Embedded(machine, "message/delivery-status" if machine.isascii() else "message/global-delivery-status"),
        _returned_part(original, whole, smtputf8),
    )
    fields = [
        ("From", str(author)),
        ("To", str(to)),
        ("Subject", _subject(status)),
        ("Date", write_date(date)),
        ("Message-ID", f"<{message_id}>"),
        ("Auto-Submitted", "auto-replied"),  # RFC 3834 section 5
    ]
    report = Multipart("report", parts, {"report-type": "delivery-status"})
    return build(report, fields, token=token, eight_bit=smtputf8)


def _returned_part(original: bytes, whole: bool, smtputf8: bool) -> Embedded:
    header = written_header(original)
    international = smtputf8 and not header.isascii()
    if whole:
        return Embedded(original, "message/global" if international else "message/rfc822")
    if international:
        return Embedded(header, "message/global-headers")
    return Embedded(header, "text/rfc822-headers")


def write_delivery_status(status: DeliveryStatus, *, utf8: bool = False) -> bytes:
    """Return the content of message/delivery-status, or with `utf8` of message/global-delivery-status."""
    groups = [
        write_group(
            [
                ("Original-Envelope-Id", status.envelope_id),
                ("Reporting-MTA", str(status.reporting_mta)),
                ("DSN-Gateway", _written(status.gateway)),
                ("Received-From-MTA", _written(status.received_from)),
                ("Arrival-Date", write_date(status.arrival) if status.arrival else ""),
                *status.extensions,
            ],
            utf8=utf8,
        )
    ]
    groups += [write_group(_recipient_fields(one, utf8), utf8=utf8) for one in status.recipients]
    return b"\r\n".join(groups)


def _recipient_fields(one: RecipientStatus, utf8: bool) -> list[tuple[str, str]]:
    return [
        ("Original-Recipient", _written_address(one.original_recipient, utf8)),
        ("Final-Recipient", _written_address(one.final_recipient, utf8)),
        ("Action", one.action.value),
        ("Status", one.status),
        ("Remote-MTA", _written(one.remote_mta)),
        ("Diagnostic-Code", _written(one.diagnostic)),
        ("Last-Attempt-Date", write_date(one.last_attempt) if one.last_attempt else ""),
        ("Final-Log-ID", one.final_log_id),
        ("Will-Retry-Until", write_date(one.will_retry_until) if one.will_retry_until else ""),
        *one.extensions,
    ]


def _written(typed: Typed | None) -> str:
    return "" if typed is None else str(typed)


def _written_address(typed: Typed | None, utf8: bool) -> str:
    """Return an address as a DSN field's value: in 7 bits its other characters are embedded (RFC 6533 section 3)."""
    if typed is None:
        return ""
    if typed.type == "utf-8" and not utf8:
        text = "".join(
            character if "!" <= character <= "~" and character not in "\\+=" else f"\\x{{{ord(character):02X}}}"
            for character in typed.value
        )
        return f"utf-8; {text}"
    return str(typed)


_SUBJECTS = {
    Action.FAILED: "Your message could not be delivered",
    Action.DELAYED: "Your message is delayed",
    Action.DELIVERED: "Your message was delivered",
    Action.RELAYED: "Your message was passed on",
    Action.EXPANDED: "Your message was passed to a list",
}
_SENTENCES = {
    Action.FAILED: "Your message could not be delivered to these recipients, and no further attempt will be made:",
    Action.DELAYED: "Your message has not been delivered to these recipients yet. You need not send it again:",
    Action.DELIVERED: "Your message was delivered to these recipients:",
    Action.RELAYED: "Your message was passed to systems that will not confirm its delivery to these recipients:",
    Action.EXPANDED: "Your message was passed to lists at these addresses, which will not confirm its delivery further:",
}


def _subject(status: DeliveryStatus) -> str:
    actions = {one.action for one in status.recipients}
    return next((subject for action, subject in _SUBJECTS.items() if action in actions), "Delivery report")


def explain(status: DeliveryStatus) -> str:
    """Return the notification's text for people: each recipient, what happened and what the other side said."""
    lines = [f"This is the mail system at {status.reporting_mta.value}.", ""]
    for action, sentence in _SENTENCES.items():
        concerned = [one for one in status.recipients if one.action is action]
        if not concerned:
            continue
        lines += [sentence, ""]
        for one in concerned:
            meaning = explain_status(one.status) if one.action in {Action.FAILED, Action.DELAYED} else ""
            lines.append(f"  <{_shown(one.final_recipient.value)}>{': ' if meaning else ''}{meaning} ({one.status})")
            if one.diagnostic is not None:
                said = f"{_shown(one.remote_mta.value)} said" if one.remote_mta else "reason"
                lines.append(f"    {said}: {_shown(one.diagnostic.value)}")
            if one.will_retry_until is not None:
                lines.append(f"    attempts go on until {write_date(one.will_retry_until)}")
        lines.append("")
    return "\n".join(lines)


def _shown(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def read_dsn(message: Entity, *, limits: Limits = DEFAULT) -> DeliveryStatus | None:
    """Return the delivery status a message reports, or None if it is no such report. Never raises."""
    report = find_report(message)
    if report is None or report.machine.content_type.subtype not in {"delivery-status", "global-delivery-status"}:
        return None
    return read_delivery_status(report.machine.content(), limits=limits)


def read_delivery_status(octets: bytes, *, limits: Limits = DEFAULT) -> DeliveryStatus:
    """Read the content of message/delivery-status or message/global-delivery-status. Never raises."""
    groups = read_groups(octets, limits=limits)
    defects: list[Defect] = []
    first = groups[0] if groups else None
    if first is None or "final-recipient" in first:
        # QUIRK dsn-one-group: the per-message group is missing, or no empty line parts it from the first recipient
        defects.append(Defect(Kind.BAD_REPORT, 0, "no group of per-message fields"))
    recipients = [
        _read_recipient(group, defects) for group in groups if "final-recipient" in group or group is not first
    ]
    return DeliveryStatus(
        reporting_mta=_typed(first, "reporting-mta") or Typed("", ""),
        recipients=tuple(one for one in recipients if one is not None),
        envelope_id=first.text("original-envelope-id") if first else "",
        gateway=_typed(first, "dsn-gateway"),
        received_from=_typed(first, "received-from-mta"),
        arrival=_date(first, "arrival-date", defects),
        extensions=_extensions(first, _PER_MESSAGE | _PER_RECIPIENT),
        defects=tuple(defects),
    )


def _read_recipient(group: Header, defects: list[Defect]) -> RecipientStatus | None:
    final = _typed(group, "final-recipient") or _typed(group, "original-recipient")
    word = group.text("action").partition("(")[0].strip().lower()
    actions = [action for action in Action if action.value == word]
    status = group.text("status").partition("(")[0].strip().partition(" ")[0]
    if final is None or not actions or not _STATUS.fullmatch(status):
        defects.append(Defect(Kind.BAD_REPORT, group.start, "a recipient without address, action or status"))
        if final is None:
            return None
    action = actions[0] if actions else Action.DELAYED if status.startswith("4") else Action.FAILED
    return RecipientStatus(
        final_recipient=_unembedded(final),
        action=action,
        status=status if _STATUS.fullmatch(status) else "4.0.0" if action is Action.DELAYED else "5.0.0",
        original_recipient=_unembedded(original) if (original := _typed(group, "original-recipient")) else None,
        remote_mta=_typed(group, "remote-mta"),
        diagnostic=_typed(group, "diagnostic-code"),
        last_attempt=_date(group, "last-attempt-date", defects),
        final_log_id=group.text("final-log-id"),
        will_retry_until=_date(group, "will-retry-until", defects),
        extensions=_extensions(group, _PER_RECIPIENT | _PER_MESSAGE),
    )


def _unembedded(typed: Typed) -> Typed:
    """Return an address of type utf-8 with its embedded characters as themselves (RFC 6533 section 3)."""
    if typed.type != "utf-8" or "\\x{" not in typed.value:
        return typed
    return Typed("utf-8", _EMBEDDED_CHARACTER.sub(_character, typed.value))


def _character(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return found[0] if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF or code < 32 else chr(code)


def _typed(group: Header | None, name: str) -> Typed | None:
    text = group.text(name) if group is not None else ""
    return read_typed(text) if text else None


def _date(group: Header | None, name: str, defects: list[Defect]) -> datetime | None:
    text = group.text(name) if group is not None else ""
    return parse_date(text, defects) if text else None


def _extensions(group: Header | None, known: Iterable[str]) -> tuple[tuple[str, str], ...]:
    if group is None:
        return ()
    return tuple((field.name, field.text) for field in group if field.name.lower() not in known)
