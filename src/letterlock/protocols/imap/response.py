"""Write the parts of IMAP responses: strings in their shortest safe form, status lines, LIST, STATUS, ESEARCH, dates.

Everything returns octets; whole lines end with CRLF. What a response says is decided elsewhere.

Standards: RFC 9051 section 7 and section 9, RFC 4466 section 2.6 (ESEARCH), RFC 5530 (response codes).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from datetime import datetime

from letterlock.protocols.imap.scan import MONTHS

_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\]+")
QUOTED_LIMIT = 1000


def literal(octets: bytes) -> bytes:
    """Return a literal."""
    return b"{%d}\r\n%b" % (len(octets), octets)


def literal8(octets: bytes) -> bytes:
    """Return a literal8, the only form that may hold NULs."""
    return b"~{%d}\r\n%b" % (len(octets), octets)


def quoted(octets: bytes) -> bytes:
    """Return a quoted string; the caller knows that no CR, LF or NUL stands in `octets`."""
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def string(octets: bytes) -> bytes:
    """Return a quoted string, or a literal where the octets are long or not printable ASCII."""
    has_controls = b"\r" in octets or b"\n" in octets or b"\0" in octets
    if has_controls or not octets.isascii() or len(octets) > QUOTED_LIMIT:
        return literal(octets.replace(b"\0", b""))
    return quoted(octets)


def nstring(octets: bytes | None) -> bytes:
    """Return a string, or NIL for None."""
    return b"NIL" if octets is None else string(octets)


def astring(octets: bytes) -> bytes:
    """Return an atom where the octets are one, else a string."""
    if _ATOM.fullmatch(octets) and octets.upper() != b"NIL":
        return octets
    return string(octets)


def mailbox(wire_name: bytes) -> bytes:
    """Return a mailbox name (its wire form): an atom or quoted; UTF-8 may stand in quotes (RFC 9051 section 5.1)."""
    if _ATOM.fullmatch(wire_name) and wire_name.upper() != b"NIL":
        return wire_name
    return quoted(wire_name)


def parenthesised(items: Iterable[bytes]) -> bytes:
    """Return items in parentheses with single spaces between."""
    return b"(" + b" ".join(items) + b")"


def untagged(text: bytes) -> bytes:
    """Return an untagged response line."""
    return b"* " + text + b"\r\n"


def status(tag: bytes, condition: bytes, text: str, code: bytes = b"") -> bytes:
    """Return `tag OK [CODE] text`; `tag` is `*` for an untagged one."""
    cleaned = text.encode("ascii", "replace").replace(b"\r", b" ").replace(b"\n", b" ")
    bracketed = b"[" + code + b"] " if code else b""
    return tag + b" " + condition + b" " + bracketed + cleaned + b"\r\n"


def continuation(text: bytes = b"OK") -> bytes:
    """Return a command continuation request; `text` may be base64 of a challenge."""
    return b"+ " + text + b"\r\n"


def base64(octets: bytes) -> bytes:
    """Return octets as the base64 of an authentication exchange."""
    return binascii.b2a_base64(octets, newline=False)


def date_time(moment: datetime) -> bytes:
    """Return a date-time in quotes, in the moment's own zone (which it must have)."""
    month = MONTHS[moment.month - 1]
    zone = moment.strftime("%z")[:5]
    return (
        f'"{moment.day:2d}-{month}-{moment.year:04d} {moment.hour:02d}:{moment.minute:02d}:{moment.second:02d} {zone}"'
    ).encode("ascii")
