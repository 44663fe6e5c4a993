"""Encrypt octets to certificates, to keys already shared, and to passwords.

An authenticated cipher gives AuthEnvelopedData, any other EnvelopedData. Each recipient gets the content key in the
way its key calls for: RSA transport, or agreement with a key made for this message alone.

Standards: RFC 5652 section 6, RFC 5083, RFC 5084, RFC 5753, RFC 8418, RFC 3560, RFC 8551 section 2.7, RFC 3211, RFC 9709.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from letterlock.errors import OurFault
from letterlock.formats.asn1 import oids, writer
from letterlock.formats.asn1.writer import Part, Room
from letterlock.formats.cms import enveloped, identifiers
from letterlock.formats.cms.attributes import Attribute, Attributes
from letterlock.formats.cms.identifiers import CertificateIdentifier, KeyIdentifier
from letterlock.formats.cms.recipients import KeyAgreement, KeyTransport, Password, RecipientInfo, SharedKey
from letterlock.formats.x509.algorithm import AlgorithmIdentifier, PublicKeyInfo
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.primitives import ciphers, key_agreement, key_transport, key_wrap, passwords
from letterlock.trust.primitives.ciphers import ContentCipher
from letterlock.trust.primitives.key_transport import Oaep
from letterlock.trust.smime.decrypt import bind

LEGACY_CIPHERS = frozenset({oids.DES3_CBC, oids.RC2_CBC})
_WRAP_BY_KEY = {16: oids.WRAP_AES128, 24: oids.WRAP_AES192, 32: oids.WRAP_AES256}
PASSWORD_ROUNDS = 600_000
MAX_KEY_OCTETS = 32
_IN_PLACE = frozenset(
    {oids.AES128_CBC, oids.AES192_CBC, oids.AES256_CBC, oids.AES128_GCM, oids.AES192_GCM, oids.AES256_GCM}
)


@dataclass(frozen=True, slots=True)
class To:
    """One recipient by certificate. `oaep` (RSA only) replaces PKCS#1 v1.5; `scheme` chooses the key agreement."""

    certificate: Certificate
    oaep: Oaep | None = None
    by_key_id: bool = False
    scheme: str = ""


@dataclass(frozen=True, slots=True)
class ToSharedKey:
    """A recipient who has this AES key already, named by `key_id`."""

    key_id: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class ToPassword:
    """A recipient who knows a password."""

    password: bytes


Recipient = To | ToSharedKey | ToPassword


def encrypt(
    content: bytes,
    recipients: tuple[Recipient, ...],
    *,
    cipher: str = oids.AES256_GCM,
    content_type: str = oids.DATA,
    bind_key: bool = False,
    legacy: bool = False,
    entropy: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Return a ContentInfo that only `recipients` can open. `entropy` gives octets for keys and initial vectors.

    With `bind_key` the content key serves this cipher alone, which few can read yet (RFC 9709). Raises OurFault for a
    cipher that is written only with `legacy`, and for a certificate nothing can be encrypted to.
    """
    sealed_content, key = prepare(cipher, legacy=legacy, entropy=entropy)
    infos = recipient_infos(recipients, key)
    associated = associated_attributes(content_type) if sealed_content.is_authenticated else b""
    algorithm, content_key = described(sealed_content, key, bind_key=bind_key)
    sealed, tag = _seal(sealed_content, content_key, content, associated)
    kind = content_info_type(sealed_content)
    return enveloped.encode(kind, infos, content_type, algorithm, sealed, authenticated=associated, tag=tag)


_LARGE = 1 << 18  # from here on a copy of the cipher text is felt


def _seal(cipher: ContentCipher, key: bytes, content: bytes, associated: bytes) -> tuple[Sequence[Part], bytes | Room]:
    """Return cipher text and tag; of large content the room in which they are made."""
    if len(content) < _LARGE or cipher.oid not in _IN_PLACE:
        return ciphers.seal_whole(cipher, key, content, associated)
    tag = b""

    def seal(place: memoryview) -> None:
        nonlocal tag
        tag = ciphers.seal_into(cipher, key, content, place, associated)

    def put_tag(place: memoryview) -> None:
        place[:] = tag

    return (Room(ciphers.sealed_octets(cipher, len(content)), seal),), Room(cipher.tag_octets, put_tag)


def prepare(cipher: str, *, legacy: bool, entropy: Callable[[int], bytes]) -> tuple[ContentCipher, bytes]:
    """Return a cipher with a fresh initial vector, and a fresh key."""
    if cipher.partition("/")[0] in LEGACY_CIPHERS and not legacy:
        raise OurFault(f"{oids.label(cipher.partition('/')[0])} is written only with the legacy setting")
    octets = entropy(16 + MAX_KEY_OCTETS)
    fresh = ciphers.fresh(cipher, octets[:16])
    return fresh, octets[16 : 16 + fresh.key_octets]


def described(cipher: ContentCipher, key: bytes, *, bind_key: bool) -> tuple[AlgorithmIdentifier, bytes]:
    """Return how the content names its cipher, and the key it is encrypted with when recipients get `key`."""
    algorithm = cipher.encode()
    if not bind_key:
        return algorithm, key
    # RFC 9709 section 2: the cipher goes into the derivation of its key
    parameters = algorithm.encode()
    return AlgorithmIdentifier(oids.CEK_HKDF_SHA256, parameters), bind(key, parameters)


def content_info_type(cipher: ContentCipher) -> str:
    """Return the content type that goes with a cipher."""
    return oids.AUTH_ENVELOPED_DATA if cipher.is_authenticated else oids.ENVELOPED_DATA


def associated_attributes(content_type: str) -> bytes:
    """Return the authenticated attributes: none for plain data, the content type for anything else."""
    # RFC 5083 section 2.1: required when the content type is not id-data
    if content_type == oids.DATA:
        return b""
    return Attributes((Attribute.of(oids.CONTENT_TYPE, writer.oid(content_type)),)).encode()


def recipient_infos(recipients: tuple[Recipient, ...], content_key: bytes) -> tuple[RecipientInfo, ...]:
    """Return how each recipient comes to `content_key`."""
    if not recipients:
        raise OurFault("a message encrypted to nobody")
    return tuple([_info(recipient, content_key) for recipient in recipients])


def _info(recipient: Recipient, content_key: bytes) -> RecipientInfo:
    match recipient:
        case To(certificate=certificate):
            if key_agreement.agrees(certificate.public_key):
                return _agree(recipient, certificate.public_key, content_key)
            algorithm, encrypted = key_transport.encrypt(certificate.public_key, content_key, recipient.oaep)
            return KeyTransport(_identifier(recipient), algorithm, encrypted)
        case ToSharedKey(key_id=key_id, key=key):
            if len(key) not in _WRAP_BY_KEY:
                raise OurFault("a shared key has 16, 24 or 32 octets")
            wrap = _WRAP_BY_KEY[len(key)]
            return SharedKey(key_id, AlgorithmIdentifier(wrap), key_wrap.wrap(wrap, key, content_key))
        case ToPassword(password=password):
            salt, initial = os.urandom(16), os.urandom(16)
            derivation = passwords.pbkdf2_algorithm(salt, PASSWORD_ROUNDS)
            key = passwords.derive(derivation, password, 32)
            inner = AlgorithmIdentifier(oids.AES256_CBC, writer.octet_string(initial))
            algorithm = AlgorithmIdentifier(oids.PWRI_KEK, inner.encode())
            return Password(derivation, algorithm, key_wrap.wrap_for_password(key, initial, content_key))


def _identifier(recipient: To) -> CertificateIdentifier:
    key_id = recipient.certificate.extensions.subject_key_id
    if recipient.by_key_id and key_id is not None:
        return KeyIdentifier(key_id)
    return identifiers.of(recipient.certificate)


def _agree(recipient: To, public_key: PublicKeyInfo, content_key: bytes) -> KeyAgreement:
    ephemeral = key_agreement.ephemeral(public_key)
    wrap = AlgorithmIdentifier(_WRAP_BY_KEY.get(len(content_key), oids.WRAP_AES256))
    scheme = recipient.scheme or key_agreement.default_scheme(public_key)
    algorithm = AlgorithmIdentifier(scheme, wrap.encode())
    wrap_oid, key = key_agreement.key_encryption_key(ephemeral, public_key, algorithm, None)
    encrypted = key_wrap.wrap(wrap_oid, key, content_key)
    # RFC 5753 section 7.1.2: parameters may be absent, for they are the recipient's
    named = public_key.algorithm.oid in (oids.EC_PUBLIC_KEY, oids.DH_PUBLIC_NUMBER)
    oid = AlgorithmIdentifier(public_key.algorithm.oid) if named else ephemeral.public.algorithm
    originator = PublicKeyInfo.make(oid, ephemeral.public.key)
    return KeyAgreement(originator, None, algorithm, ((_identifier(recipient), encrypted),))
