"""Decrypt octets with the keys, shared keys and passwords one has.

Whatever goes wrong behind the choice of the recipient is one and the same NotAuthentic: the sender of a changed message
learns nothing from it. No plain text leaves before its check is passed.

Standards: RFC 5652 sections 6 and 8, RFC 5083 section 3, RFC 5753, RFC 8418, RFC 3218, RFC 9709 (keys bound to the cipher).
Limits: MAX_TRIED keys a message.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids, reader
from letterlock.formats.cms.enveloped import EnvelopedData
from letterlock.formats.cms.recipients import KeyAgreement, KeyTransport, Password, RecipientInfo, SharedKey
from letterlock.formats.x509.algorithm import NULL, AlgorithmIdentifier, PublicKeyInfo
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.primitives import ciphers, key_agreement, key_transport, key_wrap, passwords
from letterlock.trust.primitives.ciphers import FAILED, ContentCipher
from letterlock.trust.primitives.key_pairs import PrivateKey

MAX_TRIED = 64


@dataclass(frozen=True, slots=True)
class Own:
    """A key of ours and the certificate by which senders name it; without one it is tried on every recipient."""

    key: PrivateKey
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All one can decrypt with; `content_keys` came by other ways than mail and open what names no recipients."""

    own: tuple[Own, ...] = ()
    shared: dict[bytes, bytes] = field(default_factory=dict, repr=False)
    passwords: tuple[bytes, ...] = field(default=(), repr=False)
    content_keys: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """Decrypted content: what it is, under which cipher, by which certificate, and whether changes would have shown."""

    content_type: str
    content: bytes = field(repr=False)
    cipher: str
    authenticated: bool
    certificate: Certificate | None
    key_management: str


def decrypt(enveloped: EnvelopedData, ring: KeyRing) -> Opened:
    """Decrypt; raises NotAuthentic if no key fits or anything was changed, Malformed for what is not understood."""
    return open_with_key(enveloped, ring)[0]


def open_with_key(enveloped: EnvelopedData, ring: KeyRing) -> tuple[Opened, bytes]:
    """Decrypt, and return the content key too, for a mail list that gives it to its members."""
    if enveloped.content_info_type == oids.ENCRYPTED_DATA:
        return _open_encrypted(enveloped, ring)
    outer, bound = content_cipher(enveloped.algorithm)
    used: RecipientInfo | None = None
    for info, own, key in content_keys(enveloped, ring, outer):
        try:
            content = _open(enveloped, outer, bind(key, bound) if bound else key)
        except NotAuthentic:
            used = info
            continue
        certificate = None if own is None else own.certificate
        kind = describe(info)
        opened = Opened(enveloped.content_type, content, outer.label, outer.is_authenticated, certificate, kind)
        return opened, key
    if used is not None:
        raise NotAuthentic(FAILED)
    raise NotAuthentic("none of the keys at hand is that of a recipient")


def _open_encrypted(encrypted: EnvelopedData, ring: KeyRing) -> tuple[Opened, bytes]:
    """Open EncryptedData (RFC 5652 section 8), whose key is agreed upon elsewhere."""
    cipher = ContentCipher.parse(encrypted.algorithm)
    for key in ring.content_keys[:MAX_TRIED]:
        try:
            content = _open(encrypted, cipher, key)
        except NotAuthentic:
            continue
        kind = "a key known otherwise"
        return Opened(encrypted.content_type, content, cipher.label, cipher.is_authenticated, None, kind), key
    raise NotAuthentic("encrypted-data names no recipients, and none of the content keys at hand opens it")


def content_cipher(algorithm: AlgorithmIdentifier) -> tuple[ContentCipher, bytes]:
    """Return the cipher, and the octets its key is bound to (RFC 9709), empty where it is not."""
    if algorithm.oid != oids.CEK_HKDF_SHA256:
        return ContentCipher.parse(algorithm), b""
    if algorithm.parameters is None:
        raise Malformed("a bound content key without its cipher", clause="RFC 9709 section 5")
    inner = AlgorithmIdentifier.parse(reader.parse(algorithm.parameters))
    return ContentCipher.parse(inner), algorithm.parameters


def bind(key: bytes, bound: bytes) -> bytes:
    """Return the content key bound to its cipher (RFC 9709 section 2)."""
    return key_agreement.derive_hkdf(oids.SHA256, key, b"The Cryptographic Message Syntax", bound, len(key))


def describe(info: RecipientInfo) -> str:
    """Return how the content key travelled, for people."""
    match info:
        case KeyTransport() | KeyAgreement():
            return info.algorithm.label
        case SharedKey():
            return f"shared key, {info.algorithm.label}"
        case Password():
            return "password"
        case _:
            return "unknown"


def _open(enveloped: EnvelopedData, cipher: ContentCipher, key: bytes) -> bytes:
    if enveloped.content is None:
        raise Malformed("encrypted content that is not there", clause="RFC 5652 section 6.1")
    is_auth = enveloped.content_info_type == oids.AUTH_ENVELOPED_DATA
    if is_auth != cipher.is_authenticated:
        # an authenticated cipher outside AuthEnvelopedData, or none inside it: RFC 5083 section 2.1
        raise Malformed("content type and cipher do not go together", clause="RFC 5083 section 2.1")
    sealed = tuple(enveloped.pieces())
    return ciphers.open_whole(cipher, key, sealed, enveloped.tag, enveloped.authenticated_octets)


def content_keys(
    enveloped: EnvelopedData, ring: KeyRing, cipher: ContentCipher
) -> list[tuple[RecipientInfo, Own | None, bytes]]:
    """Return the content keys the ring can open, each with the recipient entry it came from."""
    return recipient_keys(enveloped.recipients, ring, cipher.key_octets)


def recipient_keys(
    recipients: tuple[RecipientInfo, ...], ring: KeyRing, key_octets: int
) -> list[tuple[RecipientInfo, Own | None, bytes]]:
    """Return the keys, of about `key_octets` octets, that the ring can open; at most MAX_TRIED are tried."""
    found: list[tuple[RecipientInfo, Own | None, bytes]] = []
    tried = rounds = 0
    for info in recipients:
        if isinstance(info, Password) and ring.passwords:
            # each of them alone may ask for as much work as a password is worth: all together may not ask for more
            rounds += len(ring.passwords) * passwords.rounds_of(info.derivation)
            if rounds > passwords.MAX_ROUNDS:
                continue
        for own, key in _keys_of(info, ring, key_octets):
            tried += 1
            if key is not None:
                found.append((info, own, key))
            if tried >= MAX_TRIED:
                return found
    return found


def _keys_of(info: RecipientInfo, ring: KeyRing, key_octets: int) -> list[tuple[Own | None, bytes | None]]:
    match info:
        case KeyTransport():
            named = [own for own in ring.own if own.certificate is None or info.identifier.names(own.certificate)]
            return [(own, _transported(info, own.key, key_octets)) for own in named]
        case KeyAgreement():
            return [
                (own, _agreed(info, own.key, wrapped))
                for identifier, wrapped in info.encrypted_keys
                for own in ring.own
                if own.certificate is None or identifier.names(own.certificate)
            ]
        case SharedKey():
            key = ring.shared.get(info.key_id)
            return [] if key is None else [(None, _unwrapped(info.algorithm.oid, key, info.encrypted_key))]
        case Password():
            return [(None, _from_password(info, password)) for password in ring.passwords]
        case _:
            return []


def _transported(info: KeyTransport, key: PrivateKey, key_octets: int) -> bytes | None:
    try:
        return key_transport.decrypt(key, info.algorithm, info.encrypted_key, key_octets)
    except NotAuthentic:
        return None


def _agreed(info: KeyAgreement, key: PrivateKey, wrapped: bytes) -> bytes | None:
    if not isinstance(info.originator, PublicKeyInfo) or info.originator.algorithm.oid != key.public.algorithm.oid:
        return None
    public = info.originator
    if public.algorithm.parameters in (None, NULL) and key.public.algorithm.parameters:
        # RFC 5753 section 7.1.2: the parameters are those of the recipient's key
        public = PublicKeyInfo.make(key.public.algorithm, public.key)
    try:
        oid, wrapping = key_agreement.key_encryption_key(key, public, info.algorithm, info.keying_material)
        return key_wrap.unwrap(oid, wrapping, wrapped)
    except NotAuthentic:
        return None


def _unwrapped(oid: str, key: bytes, wrapped: bytes) -> bytes | None:
    try:
        return key_wrap.unwrap(oid, key, wrapped)
    except NotAuthentic:
        return None


def _from_password(info: Password, password: bytes) -> bytes | None:
    if info.derivation is None or info.algorithm.oid != oids.PWRI_KEK or info.algorithm.parameters is None:
        return None
    try:
        cipher = ContentCipher.parse(AlgorithmIdentifier.parse(reader.parse(info.algorithm.parameters)))
        key = passwords.derive(info.derivation, password, cipher.key_octets)
        return ciphers.unwrap_for_password(cipher, key, info.encrypted_key)
    except (NotAuthentic, Malformed):
        return None  # another recipient may be one we understand
