"""Check an OCSP answer: the right certificate, a responder entitled to speak, and fresh.

Standards: RFC 6960 sections 3.2 and 4.2.2.2.
"""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids
from letterlock.formats.x509.algorithm import PublicKeyInfo
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import Reason
from letterlock.formats.x509.name import Name
from letterlock.formats.x509.ocsp import CertificateId, CertificateStatus, OcspResponse
from letterlock.trust.pkix import remembered
from letterlock.trust.primitives import digests, public_keys, signatures

_SKEW = datetime.timedelta(minutes=5)
_WITHOUT_NEXT_UPDATE = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """What a responder entitled to it says about one certificate."""

    status: CertificateStatus
    produced_at: datetime.datetime
    fresh_until: datetime.datetime
    revoked_at: datetime.datetime | None = None
    reason: Reason = Reason.UNSPECIFIED


def certificate_id(issuer: Name, issuer_key: PublicKeyInfo, serial: int, digest: str = oids.SHA1) -> CertificateId:
    """Return how OCSP names a certificate; SHA-1 is what responders index by (RFC 6960 section 4.3)."""
    return CertificateId(digest, digests.digest(digest, issuer.encoded), digests.digest(digest, issuer_key.key), serial)


def answer(
    response: OcspResponse,
    certificate: Certificate,
    issuer_key: PublicKeyInfo,
    issuer: Certificate | None,
    when: datetime.datetime,
) -> OcspAnswer | None:
    """Return what `response` says about `certificate`, or None if it says nothing that may be believed."""
    try:
        single = next(
            each
            for each in response.responses
            if each.certificate.serial == certificate.serial
            and each.certificate
            == certificate_id(certificate.issuer, issuer_key, certificate.serial, each.certificate.digest_algorithm)
        )
        _check_signature(response, certificate, issuer_key, issuer, when)
    except (StopIteration, NotAuthentic, Malformed):
        return None
    fresh_until = single.next_update or single.this_update + _WITHOUT_NEXT_UPDATE
    if single.this_update - _SKEW > when or fresh_until + _SKEW < when:
        return None
    return OcspAnswer(single.status, response.produced_at, fresh_until, single.revoked_at, single.reason)


def _check_signature(
    response: OcspResponse,
    certificate: Certificate,
    issuer_key: PublicKeyInfo,
    issuer: Certificate | None,
    when: datetime.datetime,
) -> None:
    """Check that the issuer itself, or a responder it certified for that, signed; raises NotAuthentic."""
    scheme = signatures.scheme_of(response.signature_algorithm)
    if _is_responder(response, issuer_key, certificate.issuer):
        remembered.verify(issuer_key, scheme, response.signature, response.tbs)
        return
    for octets in response.certificates:
        delegate = Certificate.parse(octets)
        usage = delegate.extensions.extended_key_usage or ()
        fits = (
            _is_responder(response, delegate.public_key, delegate.subject)
            and delegate.issuer == certificate.issuer
            and oids.OCSP_SIGNING in usage
            and delegate.not_before <= when <= delegate.not_after
        )
        if fits:
            # RFC 6960 section 4.2.2.2: certified directly by the same authority
            issued = signatures.scheme_of(delegate.signature_algorithm)
            remembered.verify(issuer_key, issued, delegate.signature, delegate.tbs)
            remembered.verify(delegate.public_key, scheme, response.signature, response.tbs)
            return
    raise NotAuthentic(f"the responder is neither {issuer.subject if issuer else certificate.issuer} nor its delegate")


def _is_responder(response: OcspResponse, key: PublicKeyInfo, name: Name) -> bool:
    if isinstance(response.responder, Name):
        return response.responder == name
    return response.responder in (public_keys.key_id(key), hashlib.sha256(key.key).digest())
