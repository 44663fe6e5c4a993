"""SigningCertificate, both versions: the signature names by hash the one certificate it is to be checked with.

Standards: RFC 5035 sections 3 and 5.4, RFC 2634 section 5.4.
"""

from __future__ import annotations

import functools

import msgspec

from letterlock.formats.asn1 import oids, tags, writer
from letterlock.formats.asn1.reader import Element, Fields
from letterlock.formats.x509.algorithm import AlgorithmIdentifier
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.name import GeneralName, NameKind, encode_general_names, parse_general_names


class CertificateHash(msgspec.Struct, frozen=True):
    """ESSCertID or ESSCertIDv2: the hash of a whole certificate, and who issued it if it says so."""

    digest_algorithm: str
    digest: bytes
    issuer: tuple[GeneralName, ...] = ()
    serial: int | None = None

    @classmethod
    def parse(cls, element: Element, *, version: int) -> CertificateHash:
        """Read an ESSCertID (version 1) or ESSCertIDv2 (version 2); raises Malformed."""
        fields = Fields(element)
        algorithm = oids.SHA1 if version == 1 else oids.SHA256
        if version == 2 and (named := fields.optional(tags.SEQUENCE)):
            algorithm = AlgorithmIdentifier.parse(named).oid
        digest = fields.take(tags.OCTET_STRING).octet_string()
        where = fields.optional(tags.SEQUENCE)
        fields.finish()
        if where is None:
            return cls(algorithm, digest)
        inner = Fields(where)
        issuer = parse_general_names(inner.take(tags.SEQUENCE))
        return cls(algorithm, digest, issuer, inner.take(tags.INTEGER).integer())

    def encode(self) -> bytes:
        """Return the DER of an ESSCertIDv2."""
        algorithm = b"" if self.digest_algorithm == oids.SHA256 else AlgorithmIdentifier(self.digest_algorithm).encode()
        where = b""
        if self.serial is not None:
            where = writer.sequence(encode_general_names(self.issuer), writer.integer(self.serial))
        return writer.sequence(algorithm, writer.octet_string(self.digest), where)

    def may_name(self, certificate: Certificate) -> bool:
        """Tell whether issuer and serial number, where given, are those of `certificate`."""
        if self.serial is None:
            return True
        names = [name.name for name in self.issuer if name.kind is NameKind.DIRECTORY]
        return self.serial == certificate.serial and certificate.issuer in names


def parse(element: Element, *, version: int) -> tuple[CertificateHash, ...]:
    """Return the certificates a SigningCertificate attribute's value names, the signer's first; raises Malformed."""
    fields = Fields(element)
    found = tuple(CertificateHash.parse(child, version=version) for child in fields.take(tags.SEQUENCE).children())
    if not found:
        raise element.fault("a signing certificate attribute that names none", "RFC 5035 section 3")
    return found


def usual(certificate: Certificate, digest: bytes) -> bytes:
    """Return the DER of the SigningCertificateV2 nearly all write: one SHA-256 digest, with issuer and serial number."""
    where = writer.sequence(_issuer(certificate.issuer.encoded), writer.integer(certificate.serial))
    return writer.sequence(writer.sequence(writer.sequence(writer.octet_string(digest), where)))


@functools.lru_cache(maxsize=256)
def _issuer(encoded: bytes) -> bytes:
    """Write the GeneralNames of an issuer once: most certificates are of the same few."""
    return writer.sequence(writer.explicit(4, encoded))


def encode_v2(hashes: tuple[CertificateHash, ...]) -> bytes:
    """Return the DER of a SigningCertificateV2."""
    return writer.sequence(writer.sequence(*(item.encode() for item in hashes)))
