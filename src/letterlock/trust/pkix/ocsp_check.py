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
from letterlock.formats.x509.ocsp import CertificateId, CertificateStatus, OcspResponse, SingleResponse
from letterlock.trust.pkix import remembered
from letterlock.trust.primitives import digests, public_keys, signatures
from letterlock.trust.primitives.signatures import Scheme

_SKEW = datetime.timedelta(minutes=5)
_WITHOUT_NEXT_UPDATE = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """What a responder entitled to it says about one certificate; `delegate` is its own certificate, if it is not the issuer."""

    status: CertificateStatus
    produced_at: datetime.datetime
    fresh_until: datetime.datetime
    revoked_at: datetime.datetime | None = None
    reason: Reason = Reason.UNSPECIFIED
    delegate: Certificate | None = None


def certificate_id(issuer: Name, issuer_key: PublicKeyInfo, serial: int, digest: str = oids.SHA1) -> CertificateId:
    """Return how OCSP names a certificate; SHA-1 is what responders index by (RFC 6960 section 4.3)."""
    return CertificateId(digest, digests.digest(digest, issuer.encoded), digests.digest(digest, issuer_key.key), serial)


def about(response: OcspResponse, certificate: Certificate, issuer_key: PublicKeyInfo) -> SingleResponse | None:
    """Return what `response` says about `certificate`, None where it does not speak about it. Nothing is checked yet."""
    for single in response.responses:
        named = single.certificate
        if named.serial != certificate.serial:
            continue
        try:
            if named == certificate_id(certificate.issuer, issuer_key, certificate.serial, named.digest_algorithm):
                return single
        except (Malformed, NotAuthentic):  # named by a digest not known here
            continue
    return None


def answer(
    response: OcspResponse, certificate: Certificate, issuer_key: PublicKeyInfo, when: datetime.datetime
) -> OcspAnswer:
    """Return what `response` says about `certificate`: signed by who may, and current.

    Whether a delegate's own certificate was revoked is not looked at here (`revocation.believe`). Raises NotAuthentic with the
    reason where it may not be believed.
    """
    single = about(response, certificate, issuer_key)
    if single is None:
        raise NotAuthentic("its answer is not about this certificate")
    try:
        delegate = _check_signature(response, certificate, issuer_key, when)
    except Malformed as fault:
        raise NotAuthentic(f"its answer cannot be checked: {fault.problem}") from None
    fresh_until = single.next_update or single.this_update + _WITHOUT_NEXT_UPDATE
    if single.this_update - _SKEW > when:
        raise NotAuthentic(f"its answer is from the future: {single.this_update:%Y-%m-%d %H:%M} UTC")
    if fresh_until + _SKEW < when:
        raise NotAuthentic(f"its answer is not current: it ended on {fresh_until:%Y-%m-%d %H:%M} UTC")
    return OcspAnswer(single.status, response.produced_at, fresh_until, single.revoked_at, single.reason, delegate)


def _check_signature(
    response: OcspResponse, certificate: Certificate, issuer_key: PublicKeyInfo, when: datetime.datetime
) -> Certificate | None:
    """Check that the issuer itself signed, or a responder it certified for that, which is returned; raises NotAuthentic."""
    scheme = signatures.scheme_of(response.signature_algorithm)
    if _is_responder(response, issuer_key, certificate.issuer):
        _verify(issuer_key, scheme, response)
        return None
    reason = f"its answer is signed by neither {certificate.issuer} nor a delegate"
    for octets in response.certificates:
        delegate = Certificate.parse(octets)
        if not _is_responder(response, delegate.public_key, delegate.subject):
            continue
        # RFC 6960 section 4.2.2.2: certified directly by the same authority, and for that
        if delegate.issuer != certificate.issuer or oids.OCSP_SIGNING not in (
            delegate.extensions.extended_key_usage or ()
        ):
            reason = f"its signer {delegate.subject} is no responder of {certificate.issuer}"
        elif not delegate.not_before <= when <= delegate.not_after:
            reason = f"its signer's certificate is not current: {delegate.not_before:%Y-%m-%d} to {delegate.not_after:%Y-%m-%d}"
        elif delegate.extensions.unknown_critical:
            reason = "its signer's certificate has a critical extension not known here"
        else:
            issued = signatures.scheme_of(delegate.signature_algorithm)
            remembered.verify(issuer_key, issued, delegate.signature, delegate.tbs)
            _verify(delegate.public_key, scheme, response)
            return delegate
    raise NotAuthentic(reason)


def _verify(key: PublicKeyInfo, scheme: Scheme, response: OcspResponse) -> None:
    try:
        remembered.verify(key, scheme, response.signature, response.tbs)
    except NotAuthentic as fault:
        raise NotAuthentic(f"its answer's signature does not hold: {fault}") from None


def _is_responder(response: OcspResponse, key: PublicKeyInfo, name: Name) -> bool:
    if isinstance(response.responder, Name):
        return response.responder == name
    return response.responder in (public_keys.key_id(key), hashlib.sha256(key.key).digest())
