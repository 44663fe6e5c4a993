"""Algorithm identifiers and public keys as certificates and CMS carry them.

Standards: RFC 5280 sections 4.1.1.2 and 4.1.2.7.
"""

from __future__ import annotations

import functools

import msgspec

from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Element, Fields


class AlgorithmIdentifier(msgspec.Struct, frozen=True):
    """An algorithm and its parameters as one encoded element, or None where there are none."""

    oid: str
    parameters: bytes | None = None

    @classmethod
    def parse(cls, element: Element) -> AlgorithmIdentifier:
        """Read an AlgorithmIdentifier; raises Malformed."""
        encoded = element.expect(tags.SEQUENCE).encoded
        is_plain = len(encoded) <= 32 and encoded[0] == 0x30  # not implicitly tagged
        return _parse_short(encoded) if is_plain else cls._read(element)

    @classmethod
    def _read(cls, element: Element) -> AlgorithmIdentifier:
        fields = Fields(element)
        oid = fields.oid()
        parameters = fields.any().encoded if fields.more else None
        fields.finish()
        return cls(oid, parameters)

    def encode(self) -> bytes:
        """Return the DER."""
        if self.parameters is None or len(self.parameters) <= 2:
            return _encode_short(self.oid, self.parameters or b"")
        return writer.sequence(writer.oid(self.oid), self.parameters)

    @property
    def label(self) -> str:
        """The name people know it by."""
        return oids.label(self.oid)


@functools.lru_cache(maxsize=512)
def _parse_short(encoded: bytes) -> AlgorithmIdentifier:
    """Read a short identifier once: every message has the same few."""
    return AlgorithmIdentifier._read(reader.parse(encoded))


@functools.lru_cache(maxsize=512)
def _encode_short(oid: str, parameters: bytes) -> bytes:
    """Write an identifier without parameters, or with NULL, once."""
    return writer.sequence(writer.oid(oid), parameters)


NULL = b"\x05\x00"


class PublicKeyInfo(msgspec.Struct, frozen=True):
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
