"""Attributes: signed, unsigned and otherwise.

Standards: RFC 5652 sections 5.3 and 11.
Limits: 64 attributes, each of at most 64 values.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Element

MAX_ATTRIBUTES = 64


@dataclass(frozen=True, slots=True)
class Attribute:
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


@dataclass(frozen=True, slots=True)
class Attributes:
    """A set of attributes in the order it came."""

    items: tuple[Attribute, ...] = ()

    @classmethod
    def parse(cls, element: Element) -> Attributes:
        """Read the elements of a SET OF Attribute, whatever its tag; raises Malformed."""
        items = []
        for child in element.children():
            pair = tuple(child.expect(tags.SEQUENCE).children())
            if len(pair) != 2:
                raise child.fault("an attribute that is not a type and its values", "RFC 5652 section 5.3")
            oid = pair[0].oid()
            values = tuple(value.encoded for value in pair[1].expect(tags.SET).children())
            items.append(Attribute(oid, values))
            if len(items) > MAX_ATTRIBUTES or len(values) > MAX_ATTRIBUTES:
                raise child.fault(f"more than {MAX_ATTRIBUTES} attributes or values", "RFC 5652 section 5.3")
        return cls(tuple(items))

    def encode(self) -> bytes:
        """Return the DER, as a SET OF."""
        return writer.set_of(item.encode() for item in self.items)

    def all(self, oid: str) -> tuple[bytes, ...]:
        """Return the values of every attribute of this type."""
        return tuple(value for item in self.items if item.type == oid for value in item.values)

    def single(self, oid: str) -> bytes | None:
        """Return the one value of this type, None if there is none; Malformed if there are more (section 11)."""
        found = [item for item in self.items if item.type == oid]
        if not found:
            return None
        if len(found) > 1 or len(found[0].values) != 1:
            raise Malformed(f"the attribute {oid} stands more than once", clause="RFC 5652 section 11")
        return found[0].values[0]

    def first(self, oid: str) -> Element | None:
        """Return the one value of this type, ready to be read."""
        value = self.single(oid)
        return None if value is None else reader.parse(value)

    @property
    def signing_time(self) -> datetime.datetime | None:
        """When the signer says it signed (section 11.3)."""
        value = self.first(oids.SIGNING_TIME)
        return None if value is None else value.time()
