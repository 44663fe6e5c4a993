"""DigestedData and AuthenticatedData: content with a digest, or with a code only sender and recipients can make.

Both are read and checked, neither is written: mail uses signatures.

Standards: RFC 5652 sections 7 and 9.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from letterlock.formats.asn1 import tags, writer
from letterlock.formats.asn1.reader import Element, Fields
from letterlock.formats.cms.attributes import NO_ATTRIBUTES, Attributes
from letterlock.formats.cms.enveloped import parse_recipients
from letterlock.formats.cms.recipients import RecipientInfo
from letterlock.formats.x509.algorithm import AlgorithmIdentifier


@dataclass(frozen=True, slots=True)
class DigestedData:
    """Content with its digest."""

    digest_algorithm: str
    content_type: str
    content: Element | None = field(repr=False)
    digest: bytes

    @classmethod
    def parse(cls, element: Element) -> DigestedData:
        """Read a DigestedData; raises Malformed."""
        fields = Fields(element)
        fields.take(tags.INTEGER)
        algorithm = AlgorithmIdentifier.parse(fields.take(tags.SEQUENCE)).oid
        content_type, body = _parse_encapsulated(fields.take(tags.SEQUENCE))
        digest = fields.take(tags.OCTET_STRING).octet_string()
        fields.finish()
        return cls(algorithm, content_type, body, digest)


@dataclass(frozen=True, slots=True)
class AuthenticatedData:
    """Content with a message authentication code, whose key goes to recipients as a content key does."""

    recipients: tuple[RecipientInfo, ...]
    mac_algorithm: AlgorithmIdentifier
    digest_algorithm: str
    content_type: str
    content: Element | None = field(repr=False)
    attributes: Attributes
    attribute_octets: bytes | None = field(repr=False)
    mac: bytes

    @classmethod
    def parse(cls, element: Element) -> AuthenticatedData:
        """Read an AuthenticatedData; raises Malformed."""
        fields = Fields(element)
        fields.take(tags.INTEGER)
        _certificates, infos = parse_recipients(fields)
        mac_algorithm = AlgorithmIdentifier.parse(fields.take(tags.SEQUENCE))
        digest = fields.optional(tags.context(1))
        content_type, body = _parse_encapsulated(fields.take(tags.SEQUENCE))
        attributes = fields.optional(tags.context(2))
        mac = fields.take(tags.OCTET_STRING).octet_string()
        fields.optional(tags.context(3))
        fields.finish()
        return cls(
            infos,
            mac_algorithm,
            "" if digest is None else AlgorithmIdentifier.parse(digest.retagged(tags.SEQUENCE)).oid,
            content_type,
            body,
            NO_ATTRIBUTES if attributes is None else Attributes.parse(attributes),
            None if attributes is None else b"\x31" + writer.content_of(attributes)[1:],
            mac,
        )


def _parse_encapsulated(element: Element) -> tuple[str, Element | None]:
    fields = Fields(element)
    content_type = fields.oid()
    wrapped = fields.optional(tags.context(0))
    fields.finish()
    return content_type, None if wrapped is None else wrapped.only_child().expect(tags.OCTET_STRING)
