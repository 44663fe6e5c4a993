"""Algorithm identifiers and public keys as certificates and CMS carry them.

Standards: RFC 5280 sections 4.1.1.2 and 4.1.2.7.
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.formats.asn1 import oids, tags, writer
from letterlock.formats.asn1.reader import Element, Fields


@dataclass(frozen=True, slots=True)
class AlgorithmIdentifier:
    """An algorithm and its parameters as one encoded element, or None where there are none."""

    oid: str
    parameters: bytes | None = None

    @classmethod
    def parse(cls, element: Element) -> AlgorithmIdentifier:
        """Read an AlgorithmIdentifier; raises Malformed."""
        fields = Fields(element)
        oid = fields.take(tags.OBJECT_IDENTIFIER).oid()
        parameters = fields.any().encoded if fields.following is not None else None
        fields.finish()
        return cls(oid, parameters)

    def encode(self) -> bytes:
        """Return the DER."""
        return writer.sequence(writer.oid(self.oid), self.parameters or b"")

    @property
    def label(self) -> str:
        """The name people know it by."""
        return oids.label(self.oid)


NULL = b"\x05\x00"


@dataclass(frozen=True, slots=True)
class PublicKeyInfo:
    """A SubjectPublicKeyInfo: its algorithm, the key's octets, and the whole as encoded."""

    algorithm: AlgorithmIdentifier
    key: bytes
    encoded: bytes

    @classmethod
    def parse(cls, element: Element) -> PublicKeyInfo:
        """Read a SubjectPublicKeyInfo; raises Malformed."""
        fields = Fields(element)
        algorithm = AlgorithmIdentifier.parse(fields.take(tags.SEQUENCE))
        key = fields.take(tags.BIT_STRING).bit_octets()
        fields.finish()
        return cls(algorithm, key, element.encoded)

    @classmethod
    def make(cls, algorithm: AlgorithmIdentifier, key: bytes) -> PublicKeyInfo:
        """Put an algorithm and a key's octets together."""
        return cls(algorithm, key, writer.sequence(algorithm.encode(), writer.bit_string(key)))
