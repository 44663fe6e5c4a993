"""The multiple-signatures attribute: each of one signer's signatures names the others, so that none can be taken away.

Standards: RFC 5752 section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.formats.asn1 import tags, writer
from letterlock.formats.asn1.reader import Element, Fields
from letterlock.formats.cms.ess.signing_certificate import CertificateHash
from letterlock.formats.x509.algorithm import AlgorithmIdentifier


@dataclass(frozen=True, slots=True)
class OtherSignature:
    """What one signature says about another: its algorithms, and the hash of its signed attributes."""

    body_digest: AlgorithmIdentifier
    signature: AlgorithmIdentifier
    attributes_digest: AlgorithmIdentifier
    attributes_hash: bytes
    certificate: CertificateHash | None = None

    @classmethod
    def parse(cls, element: Element) -> OtherSignature:
        """Read a MultipleSignatures value; raises Malformed."""
        fields = Fields(element)
        body = AlgorithmIdentifier.parse(fields.take(tags.SEQUENCE))
        signature = AlgorithmIdentifier.parse(fields.take(tags.SEQUENCE))
        inner = Fields(fields.take(tags.SEQUENCE))
        digest = AlgorithmIdentifier.parse(inner.take(tags.SEQUENCE))
        hashed = inner.take(tags.OCTET_STRING).octet_string()
        inner.finish()
        named = fields.optional(tags.SEQUENCE)
        fields.finish()
        certificate = None if named is None else CertificateHash.parse(named, version=2)
        return cls(body, signature, digest, hashed, certificate)

    def encode(self) -> bytes:
        """Return the DER."""
        return writer.sequence(
            self.body_digest.encode(),
            self.signature.encode(),
            writer.sequence(self.attributes_digest.encode(), writer.octet_string(self.attributes_hash)),
            b"" if self.certificate is None else self.certificate.encode(),
        )
