"""What stands before the content of a SignedData, recognised at once where it is written as nearly all write it.

From the beginning to the content nothing but lengths and the digest algorithms differs from message to message. In DER
the lengths follow from where content and message end; where all lengths are indefinite there are none. So the octets
that belong there are written and held against those that stand there. What is not the same is read by the reader of
everything, `content.parse` and `SignedData.parse`, which says the same of what is.

Standards: RFC 5652 sections 3 and 5.1, X.690 section 8.1.3.
Limits: content that is plain data, or detached; in DER from 256 octets to 64 KiB with all that stands around it; in BER
a content in primitive segments.
"""

from __future__ import annotations

import struct

import msgspec

from letterlock.formats.asn1 import oids, tags, writer
from letterlock.formats.asn1.reader import Element

_SIGNED, _DATA = writer.oid(oids.SIGNED_DATA), writer.oid(oids.DATA)
_VERSION = b"\x02\x01"
# RFC 5652 sections 3 and 5.1 in DER with lengths of two octets: ContentInfo, its content, SignedData
_OUTER = struct.Struct(f">2sH{len(_SIGNED)}s2sH2sH2s")
_DIGESTS_AT = _OUTER.size + 1
# EncapsulatedContentInfo, its content, the OCTET STRING
_INNER = struct.Struct(f">2sH{len(_DATA)}s2sH2sH")
_DETACHED = writer.sequence(_DATA)

_OPEN_OUTER = b"\x30\x80" + _SIGNED + b"\xa0\x80\x30\x80" + _VERSION
_OPEN_DIGESTS_AT = len(_OPEN_OUTER) + 1
_OPEN_INNER = b"\x30\x80" + _DATA + b"\xa0\x80\x24\x80"
_OPEN_DETACHED = b"\x30\x80" + _DATA + b"\x00\x00"
_THREE_ENDS = bytes(6)
MAX_DER_OCTETS = 1 << 16  # all its lengths fit into two octets
_MAX_LENGTH_OCTETS = 8
_CONTENT_DEPTH = 5  # how deep the reader of everything finds it


class Head(msgspec.Struct, frozen=True):
    """What was recognised: the encoded digest algorithms, the content if it is there, and what follows, not read yet."""

    digests: bytes
    content: Element | None
    tail: bytes


def recognise(octets: bytes) -> Head | None:
    """Return the head of a ContentInfo with a SignedData, if it is a usual one and `octets` may be all of it."""
    if octets.startswith(_OPEN_OUTER) and octets.endswith(_THREE_ENDS):
        return _recognise_open(octets)
    return _recognise_der(octets) if _DIGESTS_AT < len(octets) <= MAX_DER_OCTETS else None


def _recognise_der(octets: bytes) -> Head | None:
    size = len(octets)
    outer = _OUTER.pack(b"\x30\x82", size - 4, _SIGNED, b"\xa0\x82", size - 19, b"\x30\x82", size - 23, _VERSION)
    if not octets.startswith(outer):
        return None
    after = _digests_end(octets, _DIGESTS_AT)
    digests = octets[_DIGESTS_AT:after]
    if octets.startswith(_DETACHED, after):
        return Head(digests, None, octets[after + len(_DETACHED) :])
    start = after + _INNER.size
    end = start + int.from_bytes(octets[start - 2 : start], "big")
    if end > size:
        return None
    inner = _INNER.pack(b"\x30\x82", end - after - 4, _DATA, b"\xa0\x82", end - start + 4, b"\x04\x82", end - start)
    if not octets.startswith(inner, after):
        return None
    content = Element(octets, tags.OCTET_STRING, False, start - 4, start, end, end, _CONTENT_DEPTH, {})
    return Head(digests, content, octets[end:])


def _recognise_open(octets: bytes) -> Head | None:
    """Recognise a head of which all lengths are indefinite; three of these elements end where the octets do."""
    after, limit = _digests_end(octets, _OPEN_DIGESTS_AT), len(octets) - len(_THREE_ENDS)
    digests = octets[_OPEN_DIGESTS_AT:after]
    if octets.startswith(_OPEN_DETACHED, after):
        return Head(digests, None, octets[after + len(_OPEN_DETACHED) : limit])
    if not octets.startswith(_OPEN_INNER, after):
        return None
    start = after + len(_OPEN_INNER)
    count, last, end = _segments(octets, start, limit)
    if not octets.startswith(_THREE_ENDS, end):
        return None
    if count == 1:  # as nearly all letters have it: the content is this segment
        content = Element(octets, tags.OCTET_STRING, False, start, last, end, end, _CONTENT_DEPTH + 1, {})
    else:
        content = Element(octets, tags.OCTET_STRING, True, start - 2, start, end, end + 2, _CONTENT_DEPTH, {})
    return Head(digests, content, octets[end + len(_THREE_ENDS) : limit])


def _digests_end(octets: bytes, at: int) -> int:
    """Return where a short SET that begins at `at` ends; beyond the octets if there is none."""
    header = octets[at : at + 2]
    return at + 2 + header[1] if header[:1] == b"\x31" and header[1:] < b"\x80" else len(octets)


def _segments(octets: bytes, at: int, limit: int) -> tuple[int, int, int]:
    """Return how many primitive OCTET STRINGs stand at `at`, and where the octets of the last one begin and end.

    The end is beyond `octets` if it is not in them.
    """
    count, content = 0, at
    while at < limit and octets[at] == tags.OCTET_STRING:
        length, content = octets[at + 1], at + 2
        if length >= 0x80:
            size = length & 0x7F
            if not 1 <= size <= _MAX_LENGTH_OCTETS:
                return count, content, len(octets)
            length = int.from_bytes(octets[content : content + size], "big")
            content += size
        at = content + length
        count += 1
    return count, content, at
