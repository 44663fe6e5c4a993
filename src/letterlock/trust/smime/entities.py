"""Messages as S/MIME sees them: transport fields outside, the entity that is signed or encrypted inside.

Standards: RFC 8551 sections 3.1 (preparing the entity), 3.2 (application/pkcs7-mime), RFC 5322 section 2.2.
Limits: linear in the message.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.imf.header import Header
from letterlock.formats.mime.canonical import canonical, canonical_lines, has_canonical_lines, seven_bit
from letterlock.formats.mime.content_type import ContentType
from letterlock.formats.mime.entity import Entity, parse
from letterlock.formats.mime.transfer import encode_base64

NAMES = {
    "signed-data": "smime.p7m",
    "enveloped-data": "smime.p7m",
    "authEnveloped-data": "smime.p7m",
    "compressed-data": "smime.p7z",
    "certs-only": "smime.p7c",
    "signed-receipt": "smime.p7m",
}
_OUTSIDE = (b"mime-version",)


Pieces = tuple[bytes | memoryview, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """The fields of the transport, and the entity in pieces: its Content fields, an empty line and its body."""

    outer: bytes
    pieces: Pieces

    @property
    def inner(self) -> bytes:
        """The entity."""
        return b"".join(self.pieces)


def mentions(pieces: Pieces, octets: bytes) -> bool:
    """Tell whether `octets` stand in one of the pieces, or in the whole of which a view shows a part.

    Most texts lack the second octet of a boundary like `=_a`, which is seen many times faster than the rest.
    """
    for piece in pieces:
        whole = piece.obj if isinstance(piece, memoryview) else piece  # what is searched where it lies
        searched = whole if isinstance(whole, bytes) else bytes(whole)
        if octets[1:2] in searched and octets in searched:
            return True
    return False


def with_crlf(message: bytes) -> bytes:
    """Return a message whose text has CRLF line ends: one from a file has LF, one from the network has not.

    What is binary and says so stays as it is (RFC 8551 section 3.1.1).
    """
    return message if has_canonical_lines(message) else canonical(message)


def split(message: bytes) -> Split:
    """Part a message into what goes outside and what is protected; nothing else is changed."""
    entity = parse(message)
    outer, inner = [], []
    for field in entity.header:
        is_content = field.name.lower().startswith("content-")
        if is_content:
            inner.append(field.raw)
        elif field.name.lower().encode() not in _OUTSIDE:
            outer.append(field.raw)
    return Split(b"".join(outer), (b"".join((*inner, b"\r\n")), memoryview(message)[entity.body_start :]))


def split_prepared(message: bytes) -> Split:
    """Part a message whose entity every transport bears, after `prepare`; what is safe already is not copied."""
    parts = split(message)
    if _is_safe(message):
        return parts
    return Split(canonical_lines(parts.outer), (prepare(parts.inner),))


def prepare(entity: bytes) -> bytes:
    """Return an entity that every transport bears: lines ended by CRLF, leaves in 7 bits, no overlong lines, no white
    space at line ends.

    What bears it already stays octet for octet (RFC 8551 section 3.1.3). Protected fields in UTF-8 (RFC 6532) cannot be
    put into 7 bits; such a message needs a transport that takes 8 anyway.
    """
    if _is_safe(entity):
        return entity
    try:
        return seven_bit(entity)
    except Malformed:
        return canonical(entity)


_STRETCH = 1 << 16  # what is looked at in several ways lies in the processor's cache
_TOUCHED = re.compile(
    rb"\n(?:From |(?<=[ \t]\r\n))"
)  # begins with what is rare, so that the rest is passed over quickly
_MAX_LINE_OCTETS = 1000  # RFC 5322 section 2.1.1: 998 characters and their CRLF


def _is_safe(octets: bytes) -> bool:
    """Tell whether every transport bears this text as it is: ASCII without NUL, lines of bounded length ended by CRLF,
    and no white space that transports touch."""
    view, line_ends, passed = memoryview(octets), io.IncrementalNewlineDecoder(None, translate=False), 0
    for at in range(0, len(octets), _STRETCH):
        end = min(at + _STRETCH, len(octets))
        try:
            text = str(view[at:end], "ascii")
        except UnicodeDecodeError:
            return False
        line_ends.decode(text)
        if "\0" in text or line_ends.newlines not in (None, "\r\n") or _has_touched_space(octets, at, end):
            return False
        passed = _pass_lines(octets, passed, end)
        if end - passed > _MAX_LINE_OCTETS:
            return False
    line_ends.decode("", final=True)
    unended = len(octets) - octets.rfind(b"\n") - 1
    return line_ends.newlines in (None, "\r\n") and unended <= _MAX_LINE_OCTETS - len("\r\n")


def _has_touched_space(octets: bytes, start: int, end: int) -> bool:
    """Tell whether there is white space at line ends, or after `From` that begins a line.

    Stretches without any white space, as base64 has them, are passed over more quickly.
    """
    start = max(0, start - len("\nFrom"))  # what was cut stands here whole
    has_space = octets.find(b" ", start, end) >= 0 or octets.find(b"\t", start, end) >= 0
    return has_space and _TOUCHED.search(octets, start, end) is not None


def _pass_lines(octets: bytes, start: int, end: int) -> int:
    """Return where a line begins that is the last before `end`, or too long; few line ends before are looked at."""
    find_last, line_feed = octets.rfind, ord("\n")
    while end - start > _MAX_LINE_OCTETS and (found := find_last(line_feed, start, start + _MAX_LINE_OCTETS)) >= 0:
        start = found + 1
    return start


def wrap(outer: bytes, cms: bytes | Sequence[bytes | memoryview], smime_type: str) -> bytes:
    """Return a message (or an entity, with empty `outer`) whose whole body is a CMS object, whole or in parts, in base64."""
    name = NAMES[smime_type]
    head = (
        outer
        + (b"MIME-Version: 1.0\r\n" if outer else b"")
        + f"Content-Type: application/pkcs7-mime; smime-type={smime_type}; name={name}\r\n".encode()
        + b"Content-Transfer-Encoding: base64\r\n"
        + f"Content-Disposition: attachment; filename={name}\r\n".encode()
        + f"Content-Description: S/MIME {_DESCRIPTIONS[smime_type]}\r\n\r\n".encode()
    )
    return encode_base64(*((cms,) if isinstance(cms, bytes) else cms), after=head)


_DESCRIPTIONS = {
    "signed-data": "signed message",
    "enveloped-data": "encrypted message",
    "authEnveloped-data": "encrypted message",
    "compressed-data": "compressed message",
    "certs-only": "certificates",
    "signed-receipt": "signed receipt",
}
_CMS_TYPES = frozenset(
    {"pkcs7-mime", "x-pkcs7-mime", "pkcs7-signature", "x-pkcs7-signature", "pkcs10", "x-pkcs10", "cms"}
)


def is_cms(content_type: ContentType) -> bool:
    """Tell whether a part is a CMS object by its type, old names included."""
    return content_type.type == "application" and content_type.subtype in _CMS_TYPES


def is_enveloping(entity: Entity) -> bool:
    """Tell whether an entity is application/pkcs7-mime, or carries its file name under a type that says nothing."""
    subtype = entity.content_type.subtype
    if entity.content_type.type != "application":
        return False
    if subtype in ("pkcs7-mime", "x-pkcs7-mime", "cms"):
        return True
    # RFC 8551 section 3.9: some gateways keep only the name
    name = entity.content_type.parameters.get("name", "") or (
        entity.disposition.filename if entity.disposition is not None else ""
    )
    return subtype == "octet-stream" and name.lower().endswith((".p7m", ".p7z", ".p7c"))


def is_clear_signed(entity: Entity) -> bool:
    """Tell whether an entity is multipart/signed with a CMS signature."""
    if entity.content_type.full != "multipart/signed":
        return False
    protocol = entity.content_type.parameters.get("protocol", "").lower()
    return protocol in ("application/pkcs7-signature", "application/x-pkcs7-signature")


def addresses_field(header: Header, name: str) -> list[str]:
    """Return the values of all fields of a name, unfolded."""
    return [field.text for field in header.get_all(name)]
