"""ContentInfo: the outermost layer, which says what type of content is inside.

Standards: RFC 5652 section 3.
"""

from __future__ import annotations

from letterlock.formats.asn1 import reader, tags, writer
from letterlock.formats.asn1.reader import Element, Fields


def parse(octets: bytes) -> tuple[str, Element]:
    """Return the content type and the content element of a ContentInfo; raises Malformed.

    Octets after it are Malformed, save line ends, which transports add.
    """
    root = reader.parse(octets, trailing=True)
    if octets[root.end :].strip(b"\r\n\x00"):
        raise root.fault("octets after the end of the ContentInfo", "RFC 5652 section 3")
    fields = Fields(root)
    content_type = fields.oid()
    content = fields.take(tags.context(0)).only_child()
    fields.finish()
    return content_type, content


def beginning(content_type: str, first: bytes, following: int) -> bytes:
    """Return the beginning of a ContentInfo in DER: the `first` octets of its content, of which there are `following` more."""
    return writer.beginning(0x30, writer.oid(content_type) + writer.beginning(0xA0, first, following), following)


def encode(content_type: str, content: bytes) -> bytes:
    """Return the DER of a ContentInfo around an encoded content."""
    return writer.sequence(writer.oid(content_type), writer.explicit(0, content))
