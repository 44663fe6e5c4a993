"""ENVELOPE: the header fields of a message as FETCH tells them, in one line of octets.

Values are the octets of the fields, unfolded, with encoded words as they stand; 8-bit octets travel in literals, so the
same form suits rev1 and rev2.

Standards: RFC 9051 section 7.5.2 (ENVELOPE; which fields default to From), section 9 (envelope, address).
"""

from __future__ import annotations

from letterlock.formats.imf.addresses import Group, Mailbox, parse_addresses
from letterlock.formats.imf.header import Header, read_header
from letterlock.protocols.imap.response import nstring, string


def encode_envelope(octets: bytes) -> bytes:
    """Return the ENVELOPE of the message whose header section begins `octets`."""
    return envelope_of(read_header(octets))


def envelope_of(header: Header) -> bytes:
    """Return the ENVELOPE of a header section."""
    author = _addresses(header, "from")
    parts = (
        _field(header, "date"),
        _field(header, "subject"),
        author,
        _addresses(header, "sender", author),
        _addresses(header, "reply-to", author),
        _addresses(header, "to"),
        _addresses(header, "cc"),
        _addresses(header, "bcc"),
        _field(header, "in-reply-to"),
        _field(header, "message-id"),
    )
    return b"(" + b" ".join(parts) + b")"


def _field(header: Header, name: str) -> bytes:
    field = header.get(name)
    return b"NIL" if field is None else string(field.unfolded)


def _addresses(header: Header, name: str, otherwise: bytes = b"NIL") -> bytes:
    fields = header.get_all(name)
    if not fields:
        return otherwise
    # RFC 5322 section 4.5.3 lets old messages have several; they are one list.
    items = parse_addresses(", ".join(field.text for field in fields) if len(fields) > 1 else fields[0].text).items
    if not items:
        return otherwise
    return b"(" + b"".join([_group(item) if isinstance(item, Group) else _mailbox(item) for item in items]) + b")"


def _mailbox(mailbox: Mailbox) -> bytes:
    return b"(%b %b %b %b)" % (
        nstring(mailbox.name.encode("utf-8") or None),
        nstring(mailbox.route.encode("utf-8") or None),
        string(mailbox.local_part.encode("utf-8")),
        string(mailbox.domain.encode("utf-8")),  # never NIL, which would mean a group
    )


def _group(group: Group) -> bytes:
    # RFC 9051 section 7.5.2: a group begins with its name and no host, and ends with neither.
    start = b"(NIL NIL %b NIL)" % string(group.name.encode("utf-8"))
    return start + b"".join([_mailbox(member) for member in group.members]) + b"(NIL NIL NIL NIL)"
