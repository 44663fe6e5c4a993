"""EnvelopedData, AuthEnvelopedData and EncryptedData: content nobody else can read.

Standards: RFC 5652 sections 6 and 8, RFC 5083 section 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from letterlock.formats.asn1 import oids, tags, writer
from letterlock.formats.asn1.reader import Element, Fields
from letterlock.formats.asn1.writer import Part, Room
from letterlock.formats.cms import content, recipients
from letterlock.formats.cms.attributes import NO_ATTRIBUTES, Attributes
from letterlock.formats.cms.identifiers import KeyIdentifier
from letterlock.formats.cms.recipients import KeyTransport, RecipientInfo
from letterlock.formats.cms.signed import encode_certificates, parse_certificates
from letterlock.formats.x509.algorithm import AlgorithmIdentifier


class EnvelopedData(msgspec.Struct, frozen=True):
    """Enveloped, authenticated-enveloped or (without recipients) encrypted data, told apart by `content_info_type`.

    `authenticated_octets` is the DER of the authenticated attributes, the additional data of the cipher; `tag` is its
    authentication tag. Both are empty for EnvelopedData.
    """

    content_info_type: str
    originator_certificates: tuple[bytes, ...]
    recipients: tuple[RecipientInfo, ...]
    content_type: str
    algorithm: AlgorithmIdentifier
    content: Element | None
    authenticated: Attributes = NO_ATTRIBUTES
    authenticated_octets: bytes = b""
    tag: bytes = b""

    @classmethod
    def parse(cls, content_info_type: str, element: Element) -> EnvelopedData:
        """Read any of the three; raises Malformed."""
        fields = Fields(element)
        fields.take(tags.INTEGER)
        certificates: tuple[bytes, ...] = ()
        infos: tuple[RecipientInfo, ...] = ()
        if content_info_type != oids.ENCRYPTED_DATA:
            certificates, infos = parse_recipients(fields)
        content_type, algorithm, body = _parse_content(fields.take(tags.SEQUENCE))
        if content_info_type != oids.AUTH_ENVELOPED_DATA:
            fields.optional(tags.context(1))
            fields.finish()
            return cls(content_info_type, certificates, infos, content_type, algorithm, body)
        attributes = fields.optional(tags.context(1))
        tag = fields.take(tags.OCTET_STRING).octet_string()
        fields.optional(tags.context(2))
        fields.finish()
        # RFC 5083 section 2.2: authenticated as a SET OF
        octets = b"" if attributes is None else b"\x31" + writer.content_of(attributes)[1:]
        parsed = NO_ATTRIBUTES if attributes is None else Attributes.parse(attributes)
        return cls(content_info_type, certificates, infos, content_type, algorithm, body, parsed, octets, tag)

    def pieces(self) -> Iterable[bytes | memoryview]:
        """Return the cipher text: large segments as views, small ones joined."""
        return () if self.content is None else self.content.pieces()


def parse_recipients(fields: Fields) -> tuple[tuple[bytes, ...], tuple[RecipientInfo, ...]]:
    """Read originator certificates and recipients, which stand before the content."""
    originator = fields.optional(tags.context(0))
    certificates: tuple[bytes, ...] = ()
    if originator is not None:
        certificates = parse_certificates(Fields(originator.retagged(tags.SEQUENCE)).optional(tags.context(0)))
    return certificates, recipients.parse_all(fields.take(tags.SET))


def _parse_content(element: Element) -> tuple[str, AlgorithmIdentifier, Element | None]:
    fields = Fields(element)
    content_type = fields.oid()
    algorithm = AlgorithmIdentifier.parse(fields.take(tags.SEQUENCE))
    body = fields.optional(tags.context(0))
    fields.finish()
    return content_type, algorithm, body


def _version_for(info: RecipientInfo) -> int:
    """Return the version of EnvelopedData that a recipient calls for (RFC 5652 section 6.1)."""
    if isinstance(info, (recipients.Password, recipients.Other)):
        return 3
    return 0 if isinstance(info, KeyTransport) and not isinstance(info.identifier, KeyIdentifier) else 2


def encode_head(
    content_info_type: str, infos: tuple[RecipientInfo, ...], certificates: tuple[bytes, ...] = ()
) -> bytes:
    """Return version, originator and recipients, which stand before the content."""
    version = 0
    if content_info_type == oids.ENVELOPED_DATA:
        version = max(map(_version_for, infos), default=0)
        version = version or (2 if certificates else 0)
    originator = writer.implicit(0, writer.sequence(encode_certificates(certificates))) if certificates else b""
    return writer.integer(version) + originator + writer.set_of([info.encode() for info in infos])


def encode(
    content_info_type: str,
    infos: tuple[RecipientInfo, ...],
    content_type: str,
    algorithm: AlgorithmIdentifier,
    sealed: Sequence[Part],
    *,
    authenticated: bytes = b"",
    tag: bytes | Room = b"",
) -> bytes:
    """Return the DER of a ContentInfo with EnvelopedData or AuthEnvelopedData around cipher text in pieces.

    Cipher text and tag may also be room, in which they are made.
    """
    size, tail = sum(map(len, sealed)), b""
    if content_info_type == oids.AUTH_ENVELOPED_DATA:
        tail = (writer.implicit(1, authenticated) if authenticated else b"") + writer.header(0x04, len(tag))
    body = writer.oid(content_type) + algorithm.encode() + writer.header(0x80, size)
    head = encode_head(content_info_type, infos) + writer.beginning(0x30, body, size)
    following = size + len(tail) + len(tag)
    first = content.beginning(content_info_type, writer.beginning(0x30, head, following), following)
    return writer.join((first, *sealed, tail, tag))
