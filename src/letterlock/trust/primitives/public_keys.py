"""Public keys from their SubjectPublicKeyInfo, with the bounds that keep hostile ones cheap.

Standards: RFC 3279 section 2.3, RFC 5480, RFC 8410, RFC 8017 section 3.1.
Limits: RSA from 1,024 to 4,096 bits with an exponent of at most 64 bits, to 16,384 bits with one of 32; keys
of 8 KiB, 1,024 of which are remembered.
"""

from __future__ import annotations

import functools
import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x448, x25519

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Fields
from letterlock.formats.x509.algorithm import NULL, AlgorithmIdentifier, PublicKeyInfo

SigningKey = (
    rsa.RSAPublicKey | dsa.DSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
)
AgreementKey = ec.EllipticCurvePublicKey | x25519.X25519PublicKey | x448.X448PublicKey
PublicKey = SigningKey | x25519.X25519PublicKey | x448.X448PublicKey

MAX_RSA_BITS = 16384
MAX_COMMON_RSA_BITS = 4096
MAX_EXPONENT_BITS = 64
MAX_KEY_OCTETS = 1 << 13
MIN_RSA_BITS = 1024  # below it nothing is proved
_RSA_OIDS = (oids.RSA, oids.RSA_PSS, oids.RSA_OAEP)
_CURVES = {oids.P256: "P-256", oids.P384: "P-384", oids.P521: "P-521"}
_CURVE_OIDS = {"secp256r1": oids.P256, "secp384r1": oids.P384, "secp521r1": oids.P521}


@functools.lru_cache(maxsize=1024)
def load(info: PublicKeyInfo) -> PublicKey:
    """Return the key; Malformed if it is none, NotAuthentic if it is of a size that proves nothing."""
    if len(info.encoded) > MAX_KEY_OCTETS:
        raise Malformed("a public key of an unreasonable size", clause="RFC 5280 section 4.1.2.7")
    oid = info.algorithm.oid
    if oid in _RSA_OIDS:
        modulus, exponent = rsa_numbers(info)
        if modulus.bit_length() < MIN_RSA_BITS:
            raise NotAuthentic(f"an RSA key of {modulus.bit_length()} bits proves nothing")
        most = MAX_EXPONENT_BITS if modulus.bit_length() <= MAX_COMMON_RSA_BITS else 32
        if modulus.bit_length() > MAX_RSA_BITS or exponent.bit_length() > most:
            raise Malformed("an RSA key of an unreasonable size", clause="RFC 8017 section 3.1")
    try:
        if oid in _RSA_OIDS:
            return rsa.RSAPublicNumbers(exponent, modulus).public_key()
        if oid == oids.DSA:
            return _load_dsa(info)
        key = serialization.load_der_public_key(info.encoded)
    except (ValueError, UnsupportedAlgorithm, TypeError) as error:
        raise Malformed(f"no public key known here: {error}", clause="RFC 5280 section 4.1.2.7") from None
    if not isinstance(key, PublicKey):
        raise Malformed(f"a public key of a kind not used here: {info.algorithm.label}", clause="RFC 5280")
    return key


@functools.lru_cache(maxsize=1024)
def rsa_numbers(info: PublicKeyInfo) -> tuple[int, int]:
    """Return modulus and exponent of an RSA key."""
    if len(info.encoded) > MAX_KEY_OCTETS:
        raise Malformed("a public key of an unreasonable size", clause="RFC 5280 section 4.1.2.7")
    fields = Fields(reader.parse(info.key))
    modulus, exponent = fields.take(tags.INTEGER).integer(), fields.take(tags.INTEGER).integer()
    fields.finish()
    return modulus, exponent


def _load_dsa(info: PublicKeyInfo) -> dsa.DSAPublicKey:
    if info.algorithm.parameters in (None, NULL):
        raise Malformed("a DSA key without its parameters", clause="RFC 3279 section 2.3.2")
    fields = Fields(reader.parse(info.algorithm.parameters))
    p, q, g = (fields.take(tags.INTEGER).integer() for _ in range(3))
    y = reader.parse(info.key).integer()
    return dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g)).public_key()


def info_of(key: PublicKey) -> PublicKeyInfo:
    """Return the SubjectPublicKeyInfo of a key."""
    encoded = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKeyInfo.parse(reader.parse(encoded))


def bits(info: PublicKeyInfo) -> int:
    """Return the size of the key in bits, by which policy judges it; Malformed if it cannot be read."""
    if info.algorithm.oid in _RSA_OIDS:
        return rsa_numbers(info)[0].bit_length()
    if info.algorithm.oid == oids.DH_PUBLIC_NUMBER and info.algorithm.parameters:
        return Fields(reader.parse(info.algorithm.parameters)).any().integer().bit_length()
    key = load(info)
    if isinstance(key, dsa.DSAPublicKey | ec.EllipticCurvePublicKey):
        return key.key_size
    return 448 if isinstance(key, ed448.Ed448PublicKey | x448.X448PublicKey) else 256


def describe(info: PublicKeyInfo) -> str:
    """Return the key's kind and size for people: "RSA 2048 bits"."""
    oid = info.algorithm.oid
    try:
        if oid in _RSA_OIDS:
            return f"RSA {bits(info)} bits"
        if oid == oids.EC_PUBLIC_KEY:
            return _CURVES.get(curve_of(info), curve_of(info))
        if oid in (oids.DSA, oids.DH_PUBLIC_NUMBER):
            return f"{'DSA' if oid == oids.DSA else 'DH'} {bits(info)} bits"
    except (Malformed, NotAuthentic) as error:
        return f"{info.algorithm.label} ({error})"
    return info.algorithm.label


def curve_of(info: PublicKeyInfo) -> str:
    """Return the object identifier of an EC key's named curve; Malformed if it names none."""
    if info.algorithm.parameters is None:
        raise Malformed("an EC key without its curve", clause="RFC 5480 section 2.1.1")
    return reader.parse(info.algorithm.parameters).oid()


def curve_oid(key: ec.EllipticCurvePublicKey) -> str:
    """Return the object identifier of a key's curve."""
    if key.curve.name not in _CURVE_OIDS:
        raise Malformed(f"the curve {key.curve.name} is not used here", clause="RFC 5753 section 2")
    return _CURVE_OIDS[key.curve.name]


def with_parameters(info: PublicKeyInfo, parameters: bytes) -> PublicKeyInfo:
    """Return a DSA key with the parameters it inherits from its issuer (RFC 5280 section 6.1.4 e)."""
    return PublicKeyInfo.make(AlgorithmIdentifier(info.algorithm.oid, parameters), info.key)


def key_id(info: PublicKeyInfo) -> bytes:
    """Return the key identifier of RFC 5280 section 4.2.1.2, method 1."""
    return hashlib.sha1(info.key, usedforsecurity=False).digest()


def point_info(curve: str, point: bytes) -> PublicKeyInfo:
    """Return the SubjectPublicKeyInfo of an ephemeral EC point on the curve named."""
    return PublicKeyInfo.make(AlgorithmIdentifier(oids.EC_PUBLIC_KEY, writer.oid(curve)), point)
