"""Sign octets: a SignedData with one or several signatures, the content inside or apart.

Each signature covers the attributes that say what was signed, when, with which algorithms and with which certificate,
and what the signer can read.

Standards: RFC 5652 section 5, RFC 8551 section 2.5, RFC 5035 section 5.4, RFC 6211 (algorithm protection),
RFC 8419 (EdDSA).
See also: mime_signed for mail messages, stream for content that does not fit into memory.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from letterlock.errors import OurFault
from letterlock.formats.asn1 import oids, writer
from letterlock.formats.cms import identifiers, key_preference, signed
from letterlock.formats.cms.attributes import Attribute, Attributes
from letterlock.formats.cms.ess import signing_certificate
from letterlock.formats.cms.ess.signing_certificate import CertificateHash
from letterlock.formats.cms.identifiers import CertificateIdentifier, KeyIdentifier
from letterlock.formats.cms.signer import SignerInfo
from letterlock.formats.x509.algorithm import NULL, AlgorithmIdentifier
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.name import GeneralName
from letterlock.trust.primitives import signatures
from letterlock.trust.primitives.digests import digest
from letterlock.trust.primitives.key_pairs import PrivateKey
from letterlock.trust.primitives.signatures import Scheme
from letterlock.trust.smime.capabilities import OURS_ENCODED


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs, and how: `digest` is SHA-256, 384 or 512, by itself as strong as the key; EdDSA keys bring their own.

    `attributes` are more signed ones (a receipt request, a label); `with_attributes` False signs the bare content, as
    some old readers want it. `encryption` is the signer's certificate to encrypt to: where it is another, each signature
    tells correspondents of it (RFC 8551 section 2.5.3).
    """

    key: PrivateKey
    certificate: Certificate
    digest: str = ""
    pss: bool = False
    by_key_id: bool = False
    attributes: tuple[Attribute, ...] = ()
    with_attributes: bool = True
    encryption: Certificate | None = None

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The certificates that go along: the signing one, and that to encrypt to."""
        return (self.certificate,) if self.preferred is None else (self.certificate, self.preferred)

    @property
    def preferred(self) -> Certificate | None:
        """The certificate to encrypt to, where it is another than the signing one."""
        return None if self.encryption == self.certificate else self.encryption

    @property
    def scheme(self) -> Scheme:
        """The signature scheme of this signer."""
        return signatures.scheme_for(self.key.public, self.digest, pss=self.pss)

    @property
    def digest_algorithm(self) -> AlgorithmIdentifier:
        """The digest of the content, as the SignerInfo names it."""
        scheme = self.scheme
        if scheme.digest == oids.SHAKE256:
            return AlgorithmIdentifier(oids.SHAKE256)
        legacy = scheme.digest in (oids.SHA1, oids.MD5)
        return AlgorithmIdentifier(scheme.digest, NULL if legacy else None)  # RFC 5754 section 2: absent

    @property
    def identifier(self) -> CertificateIdentifier:
        """How the SignerInfo names the certificate."""
        key_id = self.certificate.extensions.subject_key_id
        if not self.by_key_id:
            return identifiers.of(self.certificate)
        if key_id is None:
            raise OurFault("the certificate has no subject key identifier to be named by")
        return KeyIdentifier(key_id)


def sign(
    content: bytes,
    signers: tuple[Signer, ...],
    signing_time: datetime.datetime,
    *,
    detached: bool = False,
    content_type: str = oids.DATA,
    certificates: tuple[Certificate, ...] = (),
    crls: tuple[bytes, ...] = (),
) -> bytes:
    """Return a ContentInfo with `content` signed by all `signers`.

    `certificates` go along beside those of the signers. Raises OurFault where key, certificate and scheme do not fit
    together.
    """
    parts = sign_parts(
        (content,), signers, signing_time,
        detached=detached, content_type=content_type, certificates=certificates, crls=crls,
    )  # fmt: skip
    return b"".join(parts)


def sign_parts(
    content: Sequence[bytes | memoryview],
    signers: tuple[Signer, ...],
    signing_time: datetime.datetime,
    *,
    detached: bool = False,
    content_type: str = oids.DATA,
    certificates: tuple[Certificate, ...] = (),
    crls: tuple[bytes, ...] = (),
) -> list[bytes | memoryview]:
    """Return what `sign` does over content in pieces, in parts among which are those pieces, for further encoding."""
    digests: dict[str, bytes] = {}
    infos = []
    for signer in signers:
        oid = signer.digest_algorithm.oid
        if oid not in digests and signer.with_attributes:
            digests[oid] = digest(oid, *content)
        infos.append(_sign_one(signer, content, digests, signing_time, content_type))
    chain = tuple(
        each.octets for each in (*(each for signer in signers for each in signer.certificates), *certificates)
    )
    return signed.encode_parts(content_type, None if detached else content, tuple(infos), chain, crls)


def certs_only(certificates: tuple[Certificate, ...], crls: tuple[bytes, ...] = ()) -> bytes:
    """Return the degenerate SignedData that carries certificates and lists alone (RFC 8551 section 3.8)."""
    return signed.encode(oids.DATA, None, (), tuple(each.octets for each in certificates), crls)


def _sign_one(
    signer: Signer,
    content: Sequence[bytes | memoryview],
    digests: dict[str, bytes],
    signing_time: datetime.datetime,
    content_type: str,
) -> SignerInfo:
    if not signer.with_attributes:
        if content_type != oids.DATA:
            raise OurFault("content other than data is signed with attributes")  # RFC 5652 section 5.3
        return _info(signer, None, signatures.sign(signer.key, signer.scheme, b"".join(content)))
    return sign_digest(signer, digests, signing_time, content_type)


def sign_digest(
    signer: Signer, digests: Mapping[str, bytes], signing_time: datetime.datetime, content_type: str = oids.DATA
) -> SignerInfo:
    """Return the signature of content of which `digests` has the digest, for content that came in pieces."""
    if signer.key.public.encoded != signer.certificate.public_key.encoded:
        raise OurFault(f"the key is not that of the certificate for {signer.certificate.subject}")
    attributes = Attributes(
        (
            Attribute.of(oids.CONTENT_TYPE, writer.oid(content_type)),
            Attribute.of(oids.SIGNING_TIME, writer.time(signing_time)),
            Attribute.of(oids.MESSAGE_DIGEST, writer.octet_string(digests[signer.digest_algorithm.oid])),
            *_standing_attributes(signer.certificate, signer.scheme, signer.digest_algorithm),
            *_preference(signer.preferred),
            *signer.attributes,
        )
    )
    covered = attributes.encode()
    return _info(signer, covered, signatures.sign(signer.key, signer.scheme, covered), attributes)


@functools.lru_cache(maxsize=256)
def _standing_attributes(
    certificate: Certificate, scheme: Scheme, digest_algorithm: AlgorithmIdentifier
) -> tuple[Attribute, ...]:
    """Return the attributes that are the same in all messages of a signer."""
    issuer = (GeneralName.directory(certificate.issuer),)
    named = CertificateHash(oids.SHA256, digest(oids.SHA256, certificate.octets), issuer, certificate.serial)
    algorithm = signatures.algorithm_of(scheme)
    # RFC 6211 section 2: the digest, then [1] the signature algorithm
    protection = writer.sequence(digest_algorithm.encode(), writer.implicit(1, algorithm.encode()))
    return (
        Attribute.of(oids.SMIME_CAPABILITIES, OURS_ENCODED),
        Attribute.of(oids.SIGNING_CERTIFICATE_V2, signing_certificate.encode_v2((named,))),
        Attribute.of(oids.ALGORITHM_PROTECTION, protection),
    )


@functools.lru_cache(maxsize=256)
def _preference(certificate: Certificate | None) -> tuple[Attribute, ...]:
    return () if certificate is None else (key_preference.attribute(identifiers.of(certificate)),)


def _info(signer: Signer, covered: bytes | None, signature: bytes, attributes: Attributes | None = None) -> SignerInfo:
    return SignerInfo(
        signer.identifier,
        signer.digest_algorithm,
        attributes or Attributes(),
        covered,
        signatures.algorithm_of(signer.scheme),
        signature,
    )


def countersign(info: SignerInfo, signer: Signer, signing_time: datetime.datetime) -> SignerInfo:
    """Return `info` with a signature of `signer` over its signature value (RFC 5652 section 11.4)."""
    oid = signer.digest_algorithm.oid
    base = (
        Attribute.of(oids.SIGNING_TIME, writer.time(signing_time)),
        Attribute.of(oids.MESSAGE_DIGEST, writer.octet_string(digest(oid, info.signature))),
    )
    # RFC 5652 section 11.4: no content-type attribute, for there is no content
    attributes = Attributes((*base, *_standing_attributes(signer.certificate, signer.scheme, signer.digest_algorithm)))
    covered = attributes.encode()
    counter = _info(signer, covered, signatures.sign(signer.key, signer.scheme, covered), attributes)
    unsigned = (*info.unsigned.items, Attribute.of(oids.COUNTER_SIGNATURE, counter.encode()))
    return SignerInfo(
        info.identifier,
        info.digest_algorithm,
        info.signed,
        info.signed_octets,
        info.signature_algorithm,
        info.signature,
        Attributes(unsigned),
    )
