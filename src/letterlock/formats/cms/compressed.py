"""CompressedData: content made smaller.

Standards: RFC 3274 section 1.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from letterlock.formats.asn1 import oids, tags, writer
from letterlock.formats.asn1.reader import Element, Fields
from letterlock.formats.cms import content
from letterlock.formats.x509.algorithm import AlgorithmIdentifier


@dataclass(frozen=True, slots=True)
class CompressedData:
    """Compressed content as it came."""

    algorithm: AlgorithmIdentifier
    content_type: str
    content: Element = field(repr=False)

    @classmethod
    def parse(cls, element: Element) -> CompressedData:
        """Read a CompressedData; raises Malformed."""
        fields = Fields(element)
        fields.take(tags.INTEGER)
        algorithm = AlgorithmIdentifier.parse(fields.take(tags.SEQUENCE))
        inner = Fields(fields.take(tags.SEQUENCE))
        content_type = inner.oid()
        body = inner.take(tags.context(0)).only_child().expect(tags.OCTET_STRING)
        inner.finish()
        fields.finish()
        return cls(algorithm, content_type, body)


def encode(content_type: str, compressed: bytes) -> bytes:
    """Return the DER of a ContentInfo with zlib-compressed content."""
    body = writer.sequence(
        writer.integer(0),
        AlgorithmIdentifier(oids.ZLIB).encode(),
        writer.sequence(writer.oid(content_type), writer.explicit(0, writer.octet_string(compressed))),
    )
    return content.encode(oids.COMPRESSED_DATA, body)
