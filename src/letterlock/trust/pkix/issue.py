"""What a certification authority signs: certificates for mail, revocation lists and OCSP answers.

Standards: RFC 5280 sections 4.1.2.2, 4.2 and 5, RFC 6960, RFC 8550 sections 3 and 4.4, RFC 2986 (proof of possession).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass

from letterlock.errors import Malformed, NotAuthentic, OurFault
from letterlock.formats.asn1 import oids
from letterlock.formats.x509 import certificate as certificates
from letterlock.formats.x509 import crl, extension_writer, ocsp
from letterlock.formats.x509.algorithm import AlgorithmIdentifier, PublicKeyInfo
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import RevocationList, Revoked
from letterlock.formats.x509.extensions import DistributionPoint, KeyUsage
from letterlock.formats.x509.name import GeneralName, Name
from letterlock.formats.x509.ocsp import CertificateId, CertificateStatus, SingleResponse
from letterlock.formats.x509.request import Request
from letterlock.trust.pkix.ocsp_check import certificate_id
from letterlock.trust.primitives import public_keys, signatures
from letterlock.trust.primitives.key_pairs import PrivateKey

MIN_RSA_BITS = 2048  # RFC 8550 section 4.1: what conforming authorities use today
_SIGNS = frozenset({oids.RSA, oids.RSA_PSS, oids.DSA, oids.EC_PUBLIC_KEY, oids.ED25519, oids.ED448})
_TRANSPORTS = frozenset({oids.RSA})
_AGREES = frozenset({oids.EC_PUBLIC_KEY, oids.X25519, oids.X448, oids.DH_PUBLIC_NUMBER})


@dataclass(frozen=True, slots=True)
class Authority:
    """A certification authority: its key, its certificate, and where its list and its responder are, if anywhere."""

    key: PrivateKey
    certificate: Certificate
    crl_uri: str = ""
    ocsp_uri: str = ""

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        """With which algorithm it signs."""
        return signatures.algorithm_of(signatures.scheme_for(self.key.public))

    @property
    def sign(self) -> Callable[[bytes], bytes]:
        """The function that signs."""
        scheme = signatures.scheme_for(self.key.public)
        return lambda octets: signatures.sign(self.key, scheme, octets)


def found(key: PrivateKey, name: Name, when: datetime.datetime, days: int, serial: int) -> Authority:
    """Return a new authority with a self-signed certificate."""
    key_id = public_keys.key_id(key.public)
    unsigned = certificates.Unsigned(
        serial,
        name,
        when - datetime.timedelta(minutes=5),
        when + datetime.timedelta(days=days),
        name,
        key.public,
        (
            extension_writer.basic_constraints(True, 0),
            extension_writer.key_usage((KeyUsage.KEY_CERT_SIGN, KeyUsage.CRL_SIGN, KeyUsage.DIGITAL_SIGNATURE)),
            extension_writer.subject_key_id(key_id),
        ),
    )
    scheme = signatures.scheme_for(key.public)
    made = unsigned.sign(signatures.algorithm_of(scheme), lambda octets: signatures.sign(key, scheme, octets))
    return Authority(key, made)


def check_request(request: Request) -> None:
    """Check that whoever asks has the key; raises NotAuthentic, or OurFault for a key that is too weak."""
    scheme = signatures.scheme_of(request.signature_algorithm)
    try:
        signatures.verify(request.public_key, scheme, request.signature, request.info)
    except NotAuthentic as error:
        raise NotAuthentic(f"the request is not signed with the key it is for: {error}") from None
    check_key(request.public_key)


def check_key(key: PublicKeyInfo) -> None:
    """Raise OurFault for a key that nobody should certify."""
    if key.algorithm.oid in (oids.RSA, oids.RSA_PSS) and public_keys.bits(key) < MIN_RSA_BITS:
        raise OurFault(f"{public_keys.describe(key)} is too short: {MIN_RSA_BITS} bits or more are asked for")
    if key.algorithm.oid not in _SIGNS | _AGREES:
        raise OurFault(f"{public_keys.describe(key)} is not a key for mail")


def usages_of(key: PublicKeyInfo, *, signing: bool = True, encryption: bool = True) -> frozenset[KeyUsage]:
    """Return the key usages a key of this kind can have, limited to signing or encryption."""
    oid = key.algorithm.oid
    usages: set[KeyUsage] = set()
    if signing and oid in _SIGNS:
        usages |= {KeyUsage.DIGITAL_SIGNATURE, KeyUsage.NON_REPUDIATION}
    if encryption and oid in _TRANSPORTS:
        usages.add(KeyUsage.KEY_ENCIPHERMENT)
    if encryption and oid in _AGREES:
        usages.add(KeyUsage.KEY_AGREEMENT)
    if not usages:
        raise OurFault(f"a {public_keys.describe(key)} key does not serve that use")
    return frozenset(usages)


def certify(
    authority: Authority,
    key: PublicKeyInfo,
    subject: Name,
    addresses: tuple[str, ...],
    usages: frozenset[KeyUsage],
    *,
    when: datetime.datetime,
    days: int,
    serial: int,
) -> Certificate:
    """Return a certificate for mail. Raises OurFault for a weak key, no address, or a life beyond the authority's."""
    check_key(key)
    if not addresses:
        raise OurFault("a certificate for mail needs an address")
    until = min(when + datetime.timedelta(days=days), authority.certificate.not_after)
    if until <= when:
        raise OurFault("the authority's own certificate has expired")
    names = tuple(map(GeneralName.email, addresses))
    issuer_key_id = authority.certificate.extensions.subject_key_id or public_keys.key_id(authority.key.public)
    extensions = [
        extension_writer.key_usage(usages),
        extension_writer.extended_key_usage(oids.EMAIL_PROTECTION),
        # RFC 8550 section 3: the address stands here, not in the subject's name
        extension_writer.subject_alt_names(names, critical=not subject),
        extension_writer.subject_key_id(public_keys.key_id(key)),
        extension_writer.authority_key_id(issuer_key_id),
    ]
    if authority.crl_uri:
        point = DistributionPoint((GeneralName.uri(authority.crl_uri),))
        extensions.append(extension_writer.crl_distribution_points(point))
    if authority.ocsp_uri:
        extensions.append(extension_writer.authority_info_access(oids.AD_OCSP, authority.ocsp_uri))
    begins = when - datetime.timedelta(minutes=5)  # clocks differ
    unsigned = certificates.Unsigned(
        serial, authority.certificate.subject, begins, until, subject, key, tuple(extensions)
    )
    return unsigned.sign(authority.algorithm, authority.sign)


def serial_number(entropy: bytes) -> int:
    """Return a serial number nobody can foretell from 16 octets (RFC 5280 section 4.1.2.2: positive)."""
    if len(entropy) != 16:
        raise OurFault("a serial number is made of 16 octets")
    return int.from_bytes(entropy, "big") >> 1 | 1 << 120


def revocation_list(
    authority: Authority,
    entries: tuple[Revoked, ...],
    number: int,
    when: datetime.datetime,
    next_update: datetime.datetime,
    base_number: int | None = None,
) -> RevocationList:
    """Return a complete list of what is revoked, or a delta since the list `base_number`."""
    key_id = authority.certificate.extensions.subject_key_id or public_keys.key_id(authority.key.public)
    name = authority.certificate.subject
    unsigned = crl.Unsigned(name, when, next_update, number, key_id, entries, base_number)
    return unsigned.sign(authority.algorithm, authority.sign)


def answer_ocsp(
    authority: Authority,
    octets: bytes,
    status_of: Callable[[int], Revoked | CertificateStatus],
    when: datetime.datetime,
    next_update: datetime.datetime,
) -> bytes:
    """Answer an OCSP request about this authority's certificates; whatever it is, an answer comes back."""
    try:
        asked, nonce = ocsp.parse_request(octets)
    except Malformed:
        return ocsp.encode_failure(1)
    responses = tuple(_single(authority, each, status_of, when, next_update) for each in asked)
    if not responses:
        return ocsp.encode_failure(1)
    key_hash = public_keys.key_id(authority.key.public)
    return ocsp.encode_response(key_hash, when, responses, authority.algorithm, authority.sign, nonce=nonce)


def _single(
    authority: Authority,
    asked: CertificateId,
    status_of: Callable[[int], Revoked | CertificateStatus],
    when: datetime.datetime,
    next_update: datetime.datetime,
) -> SingleResponse:
    try:
        own = certificate_id(authority.certificate.subject, authority.key.public, asked.serial, asked.digest_algorithm)
    except Malformed:
        own = None
    if own != asked:
        return SingleResponse(asked, CertificateStatus.UNKNOWN, when, next_update)
    status = status_of(asked.serial)
    if isinstance(status, Revoked):
        return SingleResponse(asked, CertificateStatus.REVOKED, when, next_update, status.when, status.reason)
    return SingleResponse(asked, status, when, next_update)
