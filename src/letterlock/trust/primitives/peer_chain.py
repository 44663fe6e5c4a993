"""The certificates a TLS peer showed, as DANE must read them: keys, names, dates, and who signed whom.

Standards: RFC 5280 sections 4.1 and 4.2, RFC 9525 sections 3 and 6 (names of servers).
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from letterlock.errors import Malformed, NotAuthentic

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """One certificate: its DER, the DER of its public key, the DNS names it is for, and whether it may sign others.

    Without a subject alternative name of the kind dNSName, `dns_names` is the common name (RFC 7671 section 6 permits
    that for DANE-TA). `path_length` is how many authorities may follow below it; None for any number.
    """

    der: bytes
    public_key: bytes
    subject: str
    dns_names: tuple[str, ...]
    not_before: datetime.datetime
    not_after: datetime.datetime
    is_authority: bool
    path_length: int | None

    def holds_at(self, now: int) -> bool:
        """Tell whether a time in seconds since 1970 lies within the validity."""
        moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
        return self.not_before <= moment <= self.not_after

    def is_for(self, reference_name: str) -> bool:
        """Tell whether the certificate names a host; a wildcard stands for the whole first label (RFC 9525)."""
        name = reference_name.lower()
        return any(
            presented == name or (presented.startswith("*.") and presented[2:] == name.partition(".")[2])
            for presented in self.dns_names
        )


@lru_cache(maxsize=256)
def read(der: bytes) -> PeerCertificate:
    """Read a certificate; raises Malformed."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        basic = _extension(certificate, x509.BasicConstraints)
        usage = _extension(certificate, x509.KeyUsage)
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return PeerCertificate(
            der,
            key,
            certificate.subject.rfc4514_string(),
            _dns_names(certificate),
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
            basic is not None and basic.ca and (usage is None or usage.key_cert_sign),
            basic.path_length if basic is not None else None,
        )
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise Malformed(f"no certificate: {error}", clause="RFC 5280 section 4.1") from None


def read_pem(pem: bytes) -> tuple[bytes, ...]:
    """Return the certificates of a PEM text as DER; raises Malformed when there is none."""
    try:
        return tuple(found.public_bytes(Encoding.DER) for found in x509.load_pem_x509_certificates(pem))
    except ValueError as error:
        raise Malformed(f"no PEM certificate: {error}", clause="RFC 7468 section 5") from None


def public_key_of(pem: bytes) -> bytes:
    """Return the public key (SubjectPublicKeyInfo, DER) of an unencrypted private key; raises Malformed."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise Malformed(f"no private key: {error}", clause="RFC 7468 section 10") from None
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _dns_names(certificate: x509.Certificate) -> tuple[str, ...]:
    alternatives = _extension(certificate, x509.SubjectAlternativeName)
    found = alternatives.get_values_for_type(x509.DNSName) if alternatives is not None else []
    if not found:
        common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        found = [str(name.value) for name in common]
    return tuple(name.lower().removesuffix(".") for name in found)


def check_signed(certificate: bytes, issuer: bytes) -> None:
    """Check that one certificate (DER) was issued and signed by the holder of another; raises NotAuthentic."""
    try:
        x509.load_der_x509_certificate(certificate).verify_directly_issued_by(x509.load_der_x509_certificate(issuer))
    except (InvalidSignature, ValueError, TypeError) as error:
        raise NotAuthentic(f"not signed by that issuer: {str(error) or 'the signature does not fit'}") from None


def check_signed_by_key(certificate: bytes, public_key: bytes) -> None:
    """Check that a certificate (DER) was signed with a bare public key (DER); raises NotAuthentic."""
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        key = load_der_public_key(public_key)
        signature, signed, digest = parsed.signature, parsed.tbs_certificate_bytes, parsed.signature_hash_algorithm
        if isinstance(key, rsa.RSAPublicKey) and digest is not None:
            parameters = parsed.signature_algorithm_parameters
            method = parameters if isinstance(parameters, padding.PSS) else padding.PKCS1v15()
            key.verify(signature, signed, method, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
            key.verify(signature, signed, ec.ECDSA(digest))
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, signed)
        else:
            raise NotAuthentic("a key of a kind that signs no certificates")
    except (InvalidSignature, ValueError, TypeError) as error:
        raise NotAuthentic(f"not signed with that key: {str(error) or 'the signature does not fit'}") from None
