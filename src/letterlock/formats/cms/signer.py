"""SignerInfo: one signature of a SignedData.

What a signature covers when there are signed attributes is `SignerInfo.signed_octets`, their DER.

Standards: RFC 5652 section 5.3.
"""

from __future__ import annotations

import msgspec

from letterlock.formats.asn1 import reader, tags, writer
from letterlock.formats.asn1.reader import Element, Fields
from letterlock.formats.cms import identifiers
from letterlock.formats.cms.attributes import NO_ATTRIBUTES, Attributes
from letterlock.formats.cms.identifiers import CertificateIdentifier, KeyIdentifier
from letterlock.formats.x509.algorithm import AlgorithmIdentifier


class SignerInfo(msgspec.Struct, frozen=True, gc=False, eq=False):
    """One signature; `signed_octets` is what it covers, None where it covers the content itself.

    They are as they came; should that not be DER, `canonical_octets` is what was signed. `like` is an earlier signature
    of which this one differs in message digest, signing time and signature alone, or None (see forms).
    """

    identifier: CertificateIdentifier
    digest_algorithm: AlgorithmIdentifier
    signed: Attributes
    signed_octets: bytes | None
    signature_algorithm: AlgorithmIdentifier
    signature: bytes
    unsigned: Attributes = NO_ATTRIBUTES
    like: SignerInfo | None = None

    @classmethod
    def parse(cls, element: Element) -> SignerInfo:
        """Read a SignerInfo; raises Malformed."""
        fields = Fields(element)
        fields.take(tags.INTEGER)
        identifier = identifiers.parse(fields.any())
        digest_algorithm = AlgorithmIdentifier.parse(fields.take(tags.SEQUENCE))
        attributes = fields.optional(tags.context(0))
        signature_algorithm = AlgorithmIdentifier.parse(fields.take(tags.SEQUENCE))
        signature = fields.take(tags.OCTET_STRING).octet_string()
        unsigned = fields.optional(tags.context(1))
        fields.finish()
        signed_octets = None
        if attributes is not None:
            # RFC 5652 section 5.4: the SET OF tag stands in place of the [0]
            signed_octets = b"\x31" + attributes.encoded[1:]
        return cls(
            identifier,
            digest_algorithm,
            NO_ATTRIBUTES if attributes is None else Attributes.parse(attributes),
            signed_octets,
            signature_algorithm,
            signature,
            NO_ATTRIBUTES if unsigned is None else Attributes.parse(unsigned),
        )

    @property
    def canonical_octets(self) -> bytes:
        """The signed attributes in DER (RFC 5652 section 5.4), where they came in some other form of BER."""
        return b"" if self.signed_octets is None else writer.content_of(reader.parse(self.signed_octets))

    def encode(self) -> bytes:
        """Return the DER."""
        version = 3 if isinstance(self.identifier, KeyIdentifier) else 1
        return writer.sequence(
            writer.integer(version),
            self.identifier.encode(),
            self.digest_algorithm.encode(),
            b"" if self.signed_octets is None else writer.implicit(0, self.signed_octets),
            self.signature_algorithm.encode(),
            writer.octet_string(self.signature),
            writer.implicit(1, self.unsigned.encode()) if self.unsigned.items else b"",
        )
