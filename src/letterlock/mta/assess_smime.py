"""What the S/MIME signatures of mail from outside prove to the domain, as Authentication-Results tells it.

Nothing is decrypted and nothing is refused here: the result is told, and people's own programs judge with their own anchors.

Standards: RFC 8601 section 2.7, RFC 7281 (the method smime and its properties).
"""

from __future__ import annotations

import datetime

from letterlock.formats.authentication_results import MethodResult, Property
from letterlock.formats.imf.header import Header
from letterlock.formats.mime.content_type import parse_content_type
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.smime.proof import Proof, Trust, prove
from letterlock.trust.smime.unwrap import unwrap

_TYPES = frozenset({"multipart/signed", "application/pkcs7-mime", "application/x-pkcs7-mime"})


def may_be_signed(header: Header) -> bool:
    """Tell whether it is worth looking: the whole body may be an S/MIME entity."""
    return parse_content_type(header.text("content-type")).full in _TYPES


def judge_smime(octets: bytes, header: Header, anchors: tuple[Anchor, ...], now: int) -> MethodResult | None:
    """Return the result of method smime, or None for a message without S/MIME signatures."""
    unwrapped = unwrap(octets)
    proof = prove(header, unwrapped, Trust(datetime.datetime.fromtimestamp(now, datetime.UTC), anchors))
    if not proof.signers:
        return None
    return _result(proof)


def _result(proof: Proof) -> MethodResult:
    signer = proof.signers[0]
    properties = []
    if signer.address:
        properties.append(Property("body", "smime-identifier", signer.address))
    if signer.certificate is not None:
        properties.append(Property("body", "smime-serial", f"{signer.certificate.serial:x}"))
        properties.append(Property("body", "smime-issuer", str(signer.certificate.issuer)))
    reason = proof.faults[0] if proof.faults else ""
    return MethodResult("smime", "pass" if proof.good else "fail", tuple(properties), reason)
