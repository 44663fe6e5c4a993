"""Attributes: signed, unsigned and otherwise.

Standards: RFC 5652 sections 5.3 and 11.
Limits: 64 attributes, each of at most 64 values.
"""

from __future__ import annotations

import datetime
import functools
import itertools

import msgspec

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Element, Fields

MAX_ATTRIBUTES = 64


class Attribute(msgspec.Struct, frozen=True, gc=False):
    """A type and its values, each one encoded element."""

    type: str
    values: tuple[bytes, ...]

    @classmethod
    def of(cls, oid: str, *values: bytes) -> Attribute:
        """Return an attribute of these encoded values."""
        return cls(oid, values)

    def encode(self) -> bytes:
        """Return the DER."""
        return writer.sequence(writer.oid(self.type), writer.set_of(self.values))


class Attributes(msgspec.Struct, frozen=True, gc=False):
    """A set of attributes in the order it came."""

    items: tuple[Attribute, ...] = ()

    @classmethod
    def parse(cls, element: Element) -> Attributes:
        """Read the elements of a SET OF Attribute, whatever its tag; raises Malformed."""
        items: list[Attribute] = []
        for child in element.children():
            if len(items) >= MAX_ATTRIBUTES:
                raise child.fault(f"more than {MAX_ATTRIBUTES} attributes", "RFC 5652 section 5.3")
            items.append(_quickly(child) or _parse(child))
        return cls(tuple(items))

    def encode(self) -> bytes:
        """Return the DER, as a SET OF."""
        return writer.set_of(item.encode() for item in self.items)

    def all(self, oid: str) -> tuple[bytes, ...]:
        """Return the values of every attribute of this type."""
        return tuple(value for item in self.items if item.type == oid for value in item.values)

    def single(self, oid: str) -> bytes | None:
        """Return the one value of this type, None if there is none; Malformed if there are more (section 11)."""
        found: bytes | None = None
        for item in self.items:
            if item.type == oid:
                if found is not None or len(item.values) != 1:
                    raise Malformed(f"the attribute {oid} stands more than once", clause="RFC 5652 section 11")
                found = item.values[0]
        return found

    def first(self, oid: str) -> Element | None:
        """Return the one value of this type, ready to be read."""
        value = self.single(oid)
        return None if value is None else reader.parse(value)

    @property
    def signing_time(self) -> datetime.datetime | None:
        """When the signer says it signed (section 11.3)."""
        value = self.single(oids.SIGNING_TIME)
        return None if value is None else reader.decode_time(value)


NO_ATTRIBUTES = Attributes()
_REMEMBERED_OCTETS = 512
_DIGEST_OR_TIME = {writer.oid(oid): oid for oid in (oids.MESSAGE_DIGEST, oids.SIGNING_TIME)}


def _quickly(element: Element) -> Attribute | None:
    """Read a short attribute that was seen before, or a digest or time, which differ in each message; else None."""
    octets, at, end = element.octets, element.content, element.end
    if element.tag != tags.SEQUENCE or not element.constructed or end - at > _REMEMBERED_OCTETS:
        return None
    oid = _DIGEST_OR_TIME.get(octets[at : at + 11])
    if oid is None:
        return _parse_short(octets[element.start : end])
    # a SET of exactly one value, both with lengths of one octet
    size = end - at - 13
    if not 2 <= size < 0x80 or octets[at + 11] != 0x31 or octets[at + 12] != size or octets[at + 14] != size - 2:
        return None
    value = octets[at + 13 : end]
    if value[0] & 0x1F == 0x1F:
        return None
    return Attribute(oid, (value,))


@functools.lru_cache(maxsize=1024)
def _parse_short(encoded: bytes) -> Attribute:
    """Read an attribute once: most of those of a signer are the same in all its messages."""
    return _parse(reader.parse(encoded))


def _parse(element: Element) -> Attribute:
    fields = Fields(element)
    oid = fields.oid()
    values = [value.encoded for value in itertools.islice(fields.take(tags.SET).children(), MAX_ATTRIBUTES + 1)]
    fields.finish()
    if len(values) > MAX_ATTRIBUTES:
        raise element.fault(f"more than {MAX_ATTRIBUTES} values of an attribute", "RFC 5652 section 5.3")
    return Attribute(oid, tuple(values))
