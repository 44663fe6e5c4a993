"""Write DER: one function a type, each returning the octets of one element.

Standards: X.690 section 10, RFC 5280 section 4.1.2.5 (which of the two time types).
"""

from __future__ import annotations

import datetime
import io
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import msgspec

from letterlock.errors import OurFault
from letterlock.formats.asn1 import tags
from letterlock.formats.asn1.reader import Element


def length_octets(length: int) -> bytes:
    """Return the shortest definite length (X.690 section 10.1)."""
    if length < 0x80:
        return bytes((length,))
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


def header(identifier: int, length: int) -> bytes:
    """Return identifier and length octets for content of `length` octets."""
    if length < 0x80:
        return (identifier << 8 | length).to_bytes(2, "big")
    if length < 0x100:
        return (identifier << 16 | 0x8100 | length).to_bytes(3, "big")
    if length < 0x10000:
        return (identifier << 24 | 0x820000 | length).to_bytes(4, "big")
    return bytes((identifier,)) + length_octets(length)


def element(identifier: int, *content: bytes) -> bytes:
    """Return an element with this identifier octet (constructed bit included) around `content`."""
    body = b"".join(content)
    return header(identifier, len(body)) + body


class Room(msgspec.Struct, frozen=True):
    """Octets that are not there yet: `fill` writes them where they belong when the whole is joined."""

    octets: int
    fill: Callable[[memoryview], None]

    def __len__(self) -> int:
        """How many octets there will be."""
        return self.octets


Part = bytes | memoryview | Room


def beginning(identifier: int, first: bytes, following: int) -> bytes:
    """Return the beginning of an element: its header and the `first` octets, of which `following` more belong to it.

    So large content is copied only once, when all is joined, or never.
    """
    return header(identifier, len(first) + following) + first


def join(parts: Sequence[Part]) -> bytes:
    """Return the octets of all parts, each `Room` among them filled in its turn."""
    if Room not in map(type, parts):
        return b"".join(cast("Sequence[bytes | memoryview]", parts))  # as the line above has found
    memory = io.BytesIO(bytes(sum(map(len, parts))))  # gives away the octets it was written into, uncopied
    at = 0
    with memory.getbuffer() as view:
        for part in parts:
            with view[at : at + len(part)] as place:
                if isinstance(part, Room):
                    part.fill(place)
                else:
                    place[:] = part
            at += len(part)
    return memory.getvalue()


def sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE of these elements."""
    return element(0x30, *parts)


def set_of(parts: Iterable[bytes]) -> bytes:
    """Return a SET OF, sorted as DER wants (X.690 section 11.6)."""
    return element(0x31, *sorted(parts))


def explicit(number: int, *parts: bytes) -> bytes:
    """Return the elements inside a context tag [number] EXPLICIT."""
    return element(0xA0 | number, *parts)


def implicit(number: int, part: bytes) -> bytes:
    """Return the element `part` with its tag replaced by [number] IMPLICIT."""
    return bytes((0x80 | part[0] & 0x20 | number,)) + part[1:]


def boolean(value: bool) -> bytes:
    """Return a BOOLEAN."""
    return b"\x01\x01\xff" if value else b"\x01\x01\x00"


def integer(value: int) -> bytes:
    """Return an INTEGER of any size and sign."""
    if 0 <= value < 0x80:
        return bytes((0x02, 1, value))
    size = value.bit_length() // 8 + 1 if value >= 0 else (value + 1).bit_length() // 8 + 1
    return element(0x02, value.to_bytes(size, "big", signed=True))


def enumerated(value: int) -> bytes:
    """Return an ENUMERATED."""
    return b"\x0a" + integer(value)[1:]


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER from its dotted form."""
    known = _OIDS.get(dotted)
    if known is None:
        first, second, *rest = map(int, dotted.split("."))
        known = element(0x06, b"".join(map(_arc, (40 * first + second, *rest))))
        if len(_OIDS) < 1024:
            _OIDS[dotted] = known
    return known


_OIDS: dict[str, bytes] = {}


def _arc(value: int) -> bytes:
    octets = [value & 0x7F]
    while value := value >> 7:
        octets.append(0x80 | value & 0x7F)
    return bytes(reversed(octets))


def null() -> bytes:
    """Return NULL."""
    return b"\x05\x00"


def octet_string(octets: bytes) -> bytes:
    """Return an OCTET STRING."""
    return element(0x04, octets)


def bit_string(octets: bytes, unused: int = 0) -> bytes:
    """Return a BIT STRING of whole octets, less `unused` bits at its end."""
    return element(0x03, bytes((unused,)), octets)


def named_bits(numbers: Iterable[int]) -> bytes:
    """Return a BIT STRING with these bits set and no trailing zero bits (X.690 section 11.2.2)."""
    bits = set(numbers)
    if not bits:
        return bit_string(b"")
    size = max(bits) // 8 + 1
    value = sum(1 << (8 * size - 1 - bit) for bit in bits)
    return bit_string(value.to_bytes(size, "big"), 7 - max(bits) % 8)


def utf8_string(text: str) -> bytes:
    """Return a UTF8String."""
    return element(0x0C, text.encode())


def printable_string(text: str) -> bytes:
    """Return a PrintableString."""
    return element(0x13, text.encode("ascii"))


def ia5_string(text: str) -> bytes:
    """Return an IA5String; OurFault for what is not ASCII."""
    if not text.isascii():
        raise OurFault(f"{text!r} does not fit into an IA5String")
    return element(0x16, text.encode("ascii"))


def time(moment: datetime.datetime) -> bytes:
    """Return UTCTime for the years 1950 to 2049, else GeneralizedTime (RFC 5280 section 4.1.2.5)."""
    if 1950 <= moment.year < 2050:
        return element(0x17, moment.astimezone(datetime.UTC).strftime("%y%m%d%H%M%SZ").encode())
    return generalized_time(moment)


def generalized_time(moment: datetime.datetime) -> bytes:
    """Return a GeneralizedTime in UTC, whole seconds."""
    return element(0x18, moment.astimezone(datetime.UTC).strftime("%Y%m%d%H%M%SZ").encode())


_STRINGS = frozenset({tags.BIT_STRING, tags.OCTET_STRING, *range(18, 23), 12, 25, 26, 27, 28, 30})


def canonical(source: Element) -> bytes:
    """Return `source` again in DER: definite shortest lengths, strings in one piece.

    The order of a SET OF is kept as it came: producers that do not sort have signed it that way.
    """
    tag = source.tag
    identifier = source.octets[source.start : source.start + _identifier_octets(source)]
    if not source.constructed:
        return _with_identifier(identifier, source.value)
    if tag == tags.BIT_STRING:
        return bit_string(*source.bit_string())
    if tag in _STRINGS:
        return element(tag, *(bytes(piece) for piece in source.pieces()))
    return _with_identifier(identifier, b"".join(map(canonical, source.children())))


def _with_identifier(identifier: bytes, content: bytes) -> bytes:
    return identifier + length_octets(len(content)) + content


def _identifier_octets(source: Element) -> int:
    """Return how many octets say the tag: one, or more for tag numbers above 30."""
    if source.octets[source.start] & 0x1F != 0x1F:
        return 1
    position = source.start + 1
    while source.octets[position] & 0x80:
        position += 1
    return position + 1 - source.start


def content_of(source: Element) -> bytes:
    """Return `source` in DER, copying only what is not DER already.

    Looks at lengths alone, which is all that differs in practice.
    """
    return source.encoded if _is_der(source) else canonical(source)


def _is_der(source: Element) -> bool:
    if source.end != source.content_end:
        return False
    length = source.content_end - source.content
    if source.content - source.start != _identifier_octets(source) + len(length_octets(length)):
        return False
    if not source.constructed:
        return True
    return source.tag not in _STRINGS and all(map(_is_der, source.children()))
