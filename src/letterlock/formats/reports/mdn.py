"""Message disposition notifications: what a recipient's side did with a message, asked for, read and written.

    request = read_mdn_request(message)          # does the sender want to know, and may we tell without asking?
    octets = write_mdn(notification, to=..., ...)
    notification = read_mdn(parse(octets))

Standards: RFC 8098 (format, section 2.1 on when consent is needed), RFC 6533 section 5 (UTF-8), RFC 3834.
Limits: those of headers and reports.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from letterlock.formats.defect import Defect, Kind
from letterlock.formats.imf.addresses import Mailbox, parse_addresses
from letterlock.formats.imf.dates import write_date
from letterlock.formats.imf.header import Header
from letterlock.formats.imf.message_ids import parse_message_id
from letterlock.formats.limits import DEFAULT, Limits
from letterlock.formats.mime.build import Embedded, Multipart, Part, Text, build
from letterlock.formats.mime.entity import Entity
from letterlock.formats.reports.report import Typed, find_report, read_groups, read_typed, write_group, written_header

_KNOWN = frozenset(("reporting-ua", "mdn-gateway", "original-recipient", "final-recipient", "original-message-id",
                    "disposition", "error"))  # fmt: skip


class Disposition(enum.Enum):
    """What was done with the message (RFC 8098 section 3.2.6.2)."""

    DISPLAYED = "displayed"
    DELETED = "deleted"
    DISPATCHED = "dispatched"
    PROCESSED = "processed"


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification's machine part (RFC 8098 section 3.1).

    `automatic_action` and `sent_automatically` are false where a person acted and a person agreed to the sending.
    `original_message_id` is without brackets.
    """

    final_recipient: Typed
    disposition: Disposition
    automatic_action: bool = False
    sent_automatically: bool = False
    modifiers: tuple[str, ...] = ()
    original_message_id: str = ""
    original_recipient: Typed | None = None
    reporting_ua: str = ""
    gateway: Typed | None = None
    errors: tuple[str, ...] = ()
    extensions: tuple[tuple[str, str], ...] = ()
    defects: tuple[Defect, ...] = ()


@dataclass(frozen=True, slots=True)
class MdnRequest:
    """A sender's wish to be notified. `reasons_to_ask` tell why it must not be fulfilled without the user's consent;
    without any, a user who agreed once need not be asked again. `forbidden` says that none may be sent at all.
    """

    to: tuple[Mailbox, ...]
    options: tuple[tuple[str, str], ...] = ()
    reasons_to_ask: tuple[str, ...] = ()
    forbidden: str = ""


def read_mdn_request(message: Entity) -> MdnRequest | None:
    """Return what a message's Disposition-Notification-To asks, or None without one."""
    header = message.header
    fields = header.get_all("disposition-notification-to")
    if not fields:
        return None
    to = tuple(dict.fromkeys(box for field in fields for box in parse_addresses(field.text).mailboxes))
    distinct = {(box.local_part, box.domain.lower()) for box in to}
    paths = header.get_all("return-path")
    reasons: list[str] = []
    forbidden = ""
    content_type = message.content_type
    if content_type.full == "multipart/report" and "disposition" in content_type.parameters.get("report-type", ""):
        forbidden = "it is a notification itself"  # RFC 8098 section 2.1
    if not to:
        forbidden = "it names no address"
    if len(distinct) > 1 or len(fields) > 1:
        reasons.append("more than one address asks")
    if len(paths) != 1:
        reasons.append("the message has no single Return-Path")
    else:
        # The address alone is compared, the local part exactly (RFC 8098 section 2.1).
        returned = {(box.local_part, box.domain.lower()) for box in parse_addresses(paths[0].text).mailboxes}
        if not returned:
            forbidden = forbidden or "its return path is empty"
        elif returned != distinct:
            reasons.append("the address differs from the return path")
    options = _options(header.text("disposition-notification-options"))
    unknown = [name for name, value in options if value.lower().startswith("required")]
    if unknown:  # RFC 8098 section 2.2: none is defined, so none can be understood
        forbidden = forbidden or f"it requires {unknown[0]!r}, which is not understood"
    return MdnRequest(to, options, tuple(reasons), forbidden)


def _options(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (piece.partition("=") for piece in text.split(";") if "=" in piece)
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


def write_mdn(
    notification: Notification,
    *,
    to: Sequence[Mailbox],
    author: Mailbox,
    date: datetime,
    message_id: str,
    token: str,
    subject: str = "",
    original: bytes | None = None,
    explanation: str = "",
) -> bytes:
    """Return the whole notification, to be sent with a null reverse path (RFC 8098 section 3).

    `subject` is the original's; with `original`, its header section comes back.
    """
    utf8 = not _is_ascii(notification)
    machine = write_disposition(notification, utf8=utf8)
    subtype = "global-disposition-notification" if utf8 else "disposition-notification"
    parts: list[Part] = [Text(explanation or _explain(notification, subject)), Embedded(machine, f"message/{subtype}")]
    if original is not None:
        header = written_header(original)
        parts.append(Embedded(header, "text/rfc822-headers" if header.isascii() else "message/global-headers"))
    fields = [
        ("From", str(author)),
        ("To", ", ".join(map(str, to))),
        ("Subject", f"Disposition notification ({notification.disposition.value})"),
        ("Date", write_date(date)),
        ("Message-ID", f"<{message_id}>"),
        ("Auto-Submitted", "auto-replied"),
    ]
    if notification.original_message_id:
        fields.append(("References", f"<{notification.original_message_id}>"))
    report = Multipart("report", parts, {"report-type": "disposition-notification"})
    return build(report, fields, token=token, eight_bit=utf8)


def _is_ascii(notification: Notification) -> bool:
    addresses = (notification.final_recipient, notification.original_recipient)
    return all(one is None or one.value.isascii() for one in addresses)


def _explain(notification: Notification, subject: str) -> str:
    about = f'The message "{subject}"' if subject else "Your message"
    lines = [
        f"{about} to <{notification.final_recipient.value}> was {notification.disposition.value}.",
        "This does not say that it was read or understood.",
        *notification.errors,
    ]
    return "\n".join(lines) + "\n"


def write_disposition(notification: Notification, *, utf8: bool = False) -> bytes:
    """Return the content of message/disposition-notification."""
    action = "automatic-action" if notification.automatic_action else "manual-action"
    sending = "MDN-sent-automatically" if notification.sent_automatically else "MDN-sent-manually"
    kind = "/".join([notification.disposition.value, ",".join(notification.modifiers)]).rstrip("/")
    original = notification.original_recipient
    return write_group(
        [
            ("Reporting-UA", notification.reporting_ua),
            ("MDN-Gateway", str(notification.gateway) if notification.gateway else ""),
            ("Original-Recipient", str(original) if original else ""),
            ("Final-Recipient", str(notification.final_recipient)),
            (
                "Original-Message-ID",
                f"<{notification.original_message_id}>" if notification.original_message_id else "",
            ),
            ("Disposition", f"{action}/{sending}; {kind}"),
            *(("Error", error) for error in notification.errors),
            *notification.extensions,
        ],
        utf8=utf8,
    )


def read_mdn(message: Entity, *, limits: Limits = DEFAULT) -> Notification | None:
    """Return the notification a message is, or None if it is none. Never raises."""
    report = find_report(message)
    if report is None or not report.machine.content_type.subtype.endswith("disposition-notification"):
        return None
    return read_disposition(report.machine.content(), limits=limits)


def read_disposition(octets: bytes, *, limits: Limits = DEFAULT) -> Notification | None:
    """Read the content of message/disposition-notification; None where it names no recipient. Never raises."""
    groups = read_groups(octets, limits=limits)
    if not groups or "final-recipient" not in groups[0]:
        return None
    group = groups[0]
    defects: list[Defect] = []
    mode, semicolon, kind = group.text("disposition").lower().partition(";")
    word, _, modifiers = kind.partition("/")
    found = [one for one in Disposition if one.value == word.strip()]
    if not semicolon or not found:
        # QUIRK mdn-denied: older writers say "denied" or "failed", which the standard no longer has
        defects.append(Defect(Kind.BAD_REPORT, group.start, f"disposition {kind.strip()[:40]!r}"))
    return Notification(
        final_recipient=read_typed(group.text("final-recipient")),
        disposition=found[0] if found else Disposition.PROCESSED,
        automatic_action="automatic-action" in mode,
        sent_automatically="mdn-sent-automatically" in mode,
        modifiers=tuple(one.strip() for one in modifiers.split(",") if one.strip()),
        original_message_id=parse_message_id(group.text("original-message-id")),
        original_recipient=_typed(group, "original-recipient"),
        reporting_ua=group.text("reporting-ua"),
        gateway=_typed(group, "mdn-gateway"),
        errors=tuple(field.text for field in group.get_all("error")),
        extensions=tuple((field.name, field.text) for field in group if field.name.lower() not in _KNOWN),
        defects=tuple(defects),
    )


def _typed(group: Header, name: str) -> Typed | None:
    return read_typed(group.text(name)) if name in group else None
