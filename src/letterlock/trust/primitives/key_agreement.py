"""Key encryption keys agreed with a recipient: ECDH on NIST curves, X25519, X448, and finite-field DH for old mail.

Standards: RFC 5753 (ECDH, X9.63 derivation), RFC 8418 (X25519 and X448, HKDF), RFC 2631 (X9.42 DH).
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from letterlock.errors import Malformed, NotAuthentic, OurFault
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Fields
from letterlock.formats.x509.algorithm import AlgorithmIdentifier, PublicKeyInfo
from letterlock.trust.primitives import key_pairs, public_keys
from letterlock.trust.primitives.digests import digest, hash_algorithm
from letterlock.trust.primitives.key_pairs import DhKey, PrivateKey
from letterlock.trust.primitives.key_wrap import KEY_OCTETS

_X963 = {
    oids.ECDH_SHA1: oids.SHA1,
    oids.ECDH_SHA224: oids.SHA224,
    oids.ECDH_SHA256: oids.SHA256,
    oids.ECDH_SHA384: oids.SHA384,
    oids.ECDH_SHA512: oids.SHA512,
}
_HKDF = {
    oids.ECDH_HKDF_SHA256: oids.SHA256,
    oids.ECDH_HKDF_SHA384: oids.SHA384,
    oids.ECDH_HKDF_SHA512: oids.SHA512,
}


_AGREES = frozenset({oids.EC_PUBLIC_KEY, oids.X25519, oids.X448, oids.DH_PUBLIC_NUMBER})


def agrees(info: PublicKeyInfo) -> bool:
    """Tell whether content keys go to this key by agreement."""
    return info.algorithm.oid in _AGREES


def default_scheme(info: PublicKeyInfo) -> str:
    """Return the agreement algorithm for a recipient's key, of the strength of its curve."""
    match info.algorithm.oid:
        case oids.X25519:
            return oids.ECDH_HKDF_SHA256  # RFC 8551 section 2.3
        case oids.X448:
            return oids.ECDH_HKDF_SHA512
        case oids.DH_PUBLIC_NUMBER:
            return oids.ESDH
        case _:
            curve = public_keys.curve_of(info)
            strong = {oids.P384: oids.ECDH_SHA384, oids.P521: oids.ECDH_SHA512}
            return strong.get(curve, oids.ECDH_SHA256)


def ephemeral(recipient: PublicKeyInfo) -> PrivateKey:
    """Make a key pair for one message, in the recipient's group."""
    match recipient.algorithm.oid:
        case oids.X25519:
            return key_pairs.wrap(x25519.X25519PrivateKey.generate())
        case oids.X448:
            return key_pairs.wrap(x448.X448PrivateKey.generate())
        case oids.EC_PUBLIC_KEY:
            public = public_keys.load(recipient)
            assert isinstance(public, ec.EllipticCurvePublicKey)  # what load gives for this algorithm
            return key_pairs.wrap(ec.generate_private_key(public.curve))
        case oids.DH_PUBLIC_NUMBER:
            return key_pairs.generate_dh(*dh_group(recipient))
        case _:
            raise OurFault(f"a {public_keys.describe(recipient)} key does not agree on keys")


def dh_group(info: PublicKeyInfo) -> tuple[int, int, int]:
    """Return p, g and q of a Diffie-Hellman key; Malformed if out of bounds."""
    if info.algorithm.parameters is None:
        raise Malformed("a Diffie-Hellman key without its group", clause="RFC 3279 section 2.3.3")
    fields = Fields(reader.parse(info.algorithm.parameters))
    p, g, q = (fields.take(tags.INTEGER).integer() for _ in range(3))
    if not 1024 <= p.bit_length() <= 8192 or not 1 < g < p or not 1 < q < p or p % 2 == 0:
        raise Malformed("a Diffie-Hellman group of an unreasonable size", clause="RFC 2631 section 2.2")
    return p, g, q


def shared_secret(private: PrivateKey, public: PublicKeyInfo) -> bytes:
    """Return what both sides of an agreement know; NotAuthentic if the two keys are not of one group."""
    key = private.key
    if isinstance(key, DhKey):
        return _dh_secret(key, public)
    other = public_keys.load(public)
    try:
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(other, ec.EllipticCurvePublicKey):
            return key.exchange(ec.ECDH(), other)
        if isinstance(key, x25519.X25519PrivateKey) and isinstance(other, x25519.X25519PublicKey):
            return key.exchange(other)
        if isinstance(key, x448.X448PrivateKey) and isinstance(other, x448.X448PublicKey):
            return key.exchange(other)
    except ValueError as error:
        raise NotAuthentic(f"the sender's ephemeral key is not usable: {error}") from None
    raise NotAuthentic(f"the key is {private.kind}, the sender's {public_keys.describe(public)}")


def _dh_secret(key: DhKey, public: PublicKeyInfo) -> bytes:
    y = reader.parse(public.key).integer()
    # RFC 2631 section 2.1.5: in range and in the subgroup
    if not 2 <= y <= key.p - 2 or pow(y, key.q, key.p) != 1:
        raise NotAuthentic("the sender's ephemeral key is outside the group")
    return pow(y, key.x, key.p).to_bytes((key.p.bit_length() + 7) // 8, "big")


def key_encryption_key(
    private: PrivateKey, public: PublicKeyInfo, algorithm: AlgorithmIdentifier, keying_material: bytes | None
) -> tuple[str, bytes]:
    """Return the key wrap algorithm and the key that both sides derive (RFC 5652 section 6.2.2).

    `algorithm` is the KeyEncryptionAlgorithmIdentifier, `keying_material` the ukm. Raises Malformed or NotAuthentic.
    """
    if algorithm.parameters is None:
        raise Malformed("a key agreement without its key wrap", clause="RFC 5753 section 7.1.4")
    wrap = AlgorithmIdentifier.parse(reader.parse(algorithm.parameters))
    size = KEY_OCTETS.get(wrap.oid)
    if size is None:
        raise Malformed(f"a key wrap not known here: {wrap.label}", clause="RFC 5753 section 7.1.5")
    if algorithm.oid not in _X963 and algorithm.oid not in _HKDF and algorithm.oid != oids.ESDH:
        raise Malformed(f"a key agreement not known here: {algorithm.label}", clause="RFC 5753 section 7.1.4")
    secret = shared_secret(private, public)
    length = (8 * size).to_bytes(4, "big")
    tail = b"" if keying_material is None else writer.explicit(0, writer.octet_string(keying_material))
    tail += writer.explicit(2, writer.octet_string(length))
    if algorithm.oid == oids.ESDH:
        return wrap.oid, _derive_x942(secret, wrap.oid, tail, size)
    info = writer.sequence(algorithm.parameters, tail)  # ECC-CMS-SharedInfo, RFC 5753 section 7.2
    if algorithm.oid in _X963:
        return wrap.oid, derive_x963(_X963[algorithm.oid], secret, info, size)
    return wrap.oid, derive_hkdf(_HKDF[algorithm.oid], secret, b"", info, size)


def derive_x963(digest_oid: str, secret: bytes, info: bytes, size: int) -> bytes:
    """Derive `size` octets from a shared secret (ANS X9.63, RFC 5753 section 7.2)."""
    derived = b""
    counter = 0
    while len(derived) < size:
        counter += 1
        derived += digest(digest_oid, secret + counter.to_bytes(4, "big") + info)
    return derived[:size]


def _derive_x942(secret: bytes, wrap_oid: str, tail: bytes, size: int) -> bytes:
    derived = b""
    counter = 0
    while len(derived) < size:
        counter += 1
        specific = writer.sequence(writer.oid(wrap_oid), writer.octet_string(counter.to_bytes(4, "big")))
        other_info = writer.sequence(specific, tail)  # RFC 2631 section 2.1.2
        derived += hashlib.sha1(secret + other_info, usedforsecurity=False).digest()
    return derived[:size]


def derive_hkdf(digest_oid: str, secret: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    """Derive `size` octets from a secret (RFC 5869); an empty salt stands for none."""
    return HKDF(hash_algorithm(digest_oid), size, salt or None, info).derive(secret)
