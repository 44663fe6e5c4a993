"""How CMS names a certificate: by issuer and serial number, or by its subject key identifier.

Standards: RFC 5652 sections 5.3, 6.2 and 10.2.4.
"""

from __future__ import annotations

import functools

import msgspec

from letterlock.formats.asn1 import reader, tags, writer
from letterlock.formats.asn1.reader import Element, Fields
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.name import Name


class IssuerAndSerial(msgspec.Struct, frozen=True):
    """Which certificate, by who issued it and its number."""

    issuer: Name
    serial: int

    @classmethod
    def parse(cls, element: Element) -> IssuerAndSerial:
        """Read an IssuerAndSerialNumber; raises Malformed."""
        encoded = element.expect(tags.SEQUENCE).encoded
        return _parse_short(encoded) if len(encoded) <= _REMEMBERED_OCTETS else cls._read(element)

    @classmethod
    def _read(cls, element: Element) -> IssuerAndSerial:
        fields = Fields(element)
        issuer, serial = Name.parse(fields.any()), fields.take(tags.INTEGER).integer()
        fields.finish()
        return cls(issuer, serial)

    def encode(self) -> bytes:
        """Return the DER."""
        return _encode(self.issuer.encoded, self.serial)

    def names(self, certificate: Certificate) -> bool:
        """Tell whether this is `certificate`."""
        return certificate.serial == self.serial and certificate.issuer == self.issuer

    def __str__(self) -> str:
        return f"number {self.serial:x} of {self.issuer}"


_REMEMBERED_OCTETS = 512


@functools.lru_cache(maxsize=1024)
def _parse_short(encoded: bytes) -> IssuerAndSerial:
    """Read issuer and serial number once: correspondents stay the same."""
    return IssuerAndSerial._read(reader.parse(encoded))


@functools.lru_cache(maxsize=1024)
def _encode(issuer: bytes, serial: int) -> bytes:
    """Write issuer and serial number once: correspondents stay the same."""
    return writer.sequence(issuer, writer.integer(serial))


class KeyIdentifier(msgspec.Struct, frozen=True):
    """Which certificate, by its subject key identifier."""

    octets: bytes

    def encode(self) -> bytes:
        """Return the DER, as signers and key transport recipients carry it."""
        return writer.implicit(0, writer.octet_string(self.octets))

    def names(self, certificate: Certificate) -> bool:
        """Tell whether this is `certificate`."""
        return certificate.extensions.subject_key_id == self.octets

    def __str__(self) -> str:
        return f"key identifier {self.octets.hex()}"


CertificateIdentifier = IssuerAndSerial | KeyIdentifier


def parse(element: Element) -> CertificateIdentifier:
    """Read a SignerIdentifier or RecipientIdentifier; raises Malformed."""
    if element.tag == tags.context(0):
        return KeyIdentifier(element.retagged(tags.OCTET_STRING).octet_string())
    return IssuerAndSerial.parse(element)


def of(certificate: Certificate) -> IssuerAndSerial:
    """Return issuer and serial number of a certificate."""
    return IssuerAndSerial(certificate.issuer, certificate.serial)
