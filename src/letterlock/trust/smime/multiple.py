"""Several signatures of one signer that hold together: made, and checked to be all there.

A signer moving from one algorithm to another signs with both; an attacker who breaks the weaker one must not be able
to strip the stronger. So each signature covers a hash of the other's attributes.

Standards: RFC 5752 sections 4.3 to 4.6.
"""

from __future__ import annotations

import dataclasses
import datetime
import hmac

import msgspec

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids, reader
from letterlock.formats.cms import signed
from letterlock.formats.cms.attributes import Attribute, Attributes
from letterlock.formats.cms.ess.multiple import OtherSignature
from letterlock.formats.cms.ess.signing_certificate import CertificateHash
from letterlock.formats.cms.signer import SignerInfo
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.primitives import signatures
from letterlock.trust.primitives.digests import digest
from letterlock.trust.smime.sign import Signer, sign_digest
from letterlock.trust.smime.verify import Check


def sign_together(
    content: bytes,
    signers: tuple[Signer, ...],
    signing_time: datetime.datetime,
    *,
    detached: bool = False,
    certificates: tuple[Certificate, ...] = (),
) -> bytes:
    """Return a ContentInfo with the signatures of one signer's several keys, each naming the others."""
    digests = {signer.digest_algorithm.oid: digest(signer.digest_algorithm.oid, content) for signer in signers}
    drafts = [sign_digest(signer, digests, signing_time) for signer in signers]
    infos = []
    for index, (signer, draft) in enumerate(zip(signers, drafts, strict=True)):
        values = tuple(
            _about(signers[other], drafts[other], signer.digest_algorithm.oid, signers).encode()
            for other in range(len(signers))
            if other != index
        )
        infos.append(_resigned(signer, draft, values))
    octets = tuple(
        each.octets for each in (*(each for signer in signers for each in signer.certificates), *certificates)
    )
    return signed.encode(oids.DATA, None if detached else content, tuple(infos), octets)


def _about(signer: Signer, info: SignerInfo, digest_oid: str, everyone: tuple[Signer, ...]) -> OtherSignature:
    """Return what another signature, whose digest is `digest_oid`, says about this one.

    The hash is over this one's attributes while the hashes inside them are still empty (RFC 5752 section 4.4.1).
    """
    placeholders = tuple(
        OtherSignature(
            each.digest_algorithm, signatures.algorithm_of(each.scheme), signer.digest_algorithm, b"", _named(each)
        ).encode()
        for each in everyone
        if each is not signer
    )
    bare = Attributes((*info.signed.items, Attribute(oids.MULTIPLE_SIGNATURES, placeholders)))
    algorithm = next(each.digest_algorithm for each in everyone if each.digest_algorithm.oid == digest_oid)
    hashed = digest(digest_oid, bare.encode())
    return OtherSignature(
        signer.digest_algorithm, signatures.algorithm_of(signer.scheme), algorithm, hashed, _named(signer)
    )


def _named(signer: Signer) -> CertificateHash:
    return CertificateHash(oids.SHA256, digest(oids.SHA256, signer.certificate.octets))


def _resigned(signer: Signer, draft: SignerInfo, values: tuple[bytes, ...]) -> SignerInfo:
    attributes = Attributes((*draft.signed.items, Attribute(oids.MULTIPLE_SIGNATURES, values)))
    covered = attributes.encode()
    signature = signatures.sign(signer.key, signer.scheme, covered)
    return msgspec.structs.replace(draft, signed=attributes, signed_octets=covered, signature=signature)


def missing_signatures(checks: tuple[Check, ...]) -> str:
    """Return what is wrong with the set of signatures, or an empty string.

    A signature that names others which are not there, or are other than it says, has been stripped of its company.
    """
    try:
        for check in checks:
            _check_company(check, checks)
    except (NotAuthentic, Malformed) as error:
        return str(error)
    return ""


def _check_company(check: Check, checks: tuple[Check, ...]) -> None:
    values = check.signer.signed.all(oids.MULTIPLE_SIGNATURES)
    for value in values:
        other = OtherSignature.parse(reader.parse(value))
        hashes = (
            digest(other.attributes_digest.oid, _with_empty_hashes(each.signer))
            for each in checks
            if each is not check
            and each.signer.digest_algorithm.oid == other.body_digest.oid
            and each.signer.signature_algorithm == other.signature
        )
        if not any(hmac.compare_digest(found, other.attributes_hash) for found in hashes):
            label = oids.label(other.signature.oid)
            raise NotAuthentic(f"a signature ({label}) that another one names was taken away or changed")


def _with_empty_hashes(info: SignerInfo) -> bytes:
    """Return a signer's attributes as they were hashed: with no hashes in its own multiple-signatures attribute."""
    items = []
    for item in info.signed.items:
        if item.type == oids.MULTIPLE_SIGNATURES:
            emptied = tuple(
                dataclasses.replace(OtherSignature.parse(reader.parse(value)), attributes_hash=b"").encode()
                for value in item.values
            )
            items.append(Attribute(item.type, emptied))
        else:
            items.append(item)
    return Attributes(tuple(items)).encode()
