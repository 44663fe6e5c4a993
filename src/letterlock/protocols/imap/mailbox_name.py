"""Mailbox names between their wire forms and text.

IMAP4rev2 (and UTF8=ACCEPT) sends names as UTF-8; IMAP4rev1 sends them in modified UTF-7, where `&` begins base64 with
`,` for `/` and ends at `-`. `INBOX` is one name in any case. Names are Net-Unicode: no control characters, NFC.

Standards: RFC 9051 section 5.1, RFC 9051 appendix A.1, RFC 3501 section 5.1.3.
"""

from __future__ import annotations

import binascii
import re
import unicodedata

from letterlock.errors import Malformed

_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*)-")
_CLAUSE = "RFC 3501 section 5.1.3"
_NOT_DIRECT = re.compile(r"[^\x20-\x7e]+|&")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
LIMIT_OCTETS = 1000


def from_wire(octets: bytes, *, utf8: bool, offset: int = 0) -> str:
    """Return the name; `utf8` tells whether the client speaks IMAP4rev2. Raises Malformed."""
    if len(octets) > LIMIT_OCTETS:
        raise Malformed(
            f"a mailbox name of more than {LIMIT_OCTETS} octets", offset=offset, clause="RFC 9051 section 5.1"
        )
    try:
        name = octets.decode("utf-8") if utf8 else _from_modified_utf7(octets, offset)
    except UnicodeDecodeError:
        raise Malformed("a mailbox name that is not UTF-8", offset=offset, clause="RFC 9051 section 5.1") from None
    if _CONTROL.search(name):
        raise Malformed("a control character in a mailbox name", offset=offset, clause="RFC 9051 section 5.1")
    return canonical(unicodedata.normalize("NFC", name))


def canonical(name: str) -> str:
    """Return `name` with INBOX, alone or as the first level, in capitals."""
    if name[:5].upper() == "INBOX" and (len(name) == 5 or name[5] == "/"):
        return "INBOX" + name[5:]
    return name


def to_wire(name: str, *, utf8: bool) -> bytes:
    """Return the octets of a name, not yet quoted."""
    if utf8 or (name.isascii() and "&" not in name):
        return name.encode("utf-8")
    return _NOT_DIRECT.sub(_shift, name).encode("ascii")


def _shift(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    encoded = binascii.b2a_base64(match[0].encode("utf-16-be"), newline=False).rstrip(b"=")
    return "&" + encoded.decode("ascii").replace("/", ",") + "-"


def _from_modified_utf7(octets: bytes, offset: int) -> str:
    if not octets.isascii():
        raise Malformed("8-bit octets in a mailbox name before ENABLE IMAP4rev2", offset=offset, clause=_CLAUSE)
    if b"&" not in octets:
        return octets.decode("ascii")
    parts: list[str] = []
    position = 0
    while (shift := octets.find(b"&", position)) >= 0:
        parts.append(octets[position:shift].decode("ascii"))
        match = _SHIFTED.match(octets, shift)
        if match is None:
            raise Malformed("modified UTF-7 that does not end", offset=offset + shift, clause=_CLAUSE)
        parts.append("&" if not match[1] else _unshift(match[1], offset + shift))
        position = match.end()
    parts.append(octets[position:].decode("ascii"))
    return "".join(parts)


def _unshift(base64: bytes, offset: int) -> str:
    try:
        units = binascii.a2b_base64(base64.replace(b",", b"/") + b"=" * (-len(base64) % 4))
        text = units.decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError):
        raise Malformed("modified UTF-7 that is no UTF-16", offset=offset, clause=_CLAUSE) from None
    return text
