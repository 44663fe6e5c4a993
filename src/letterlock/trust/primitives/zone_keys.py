"""Public-key operations of DNSSEC by the numbers of its algorithm registry.

Keys and signatures are in the forms of the DNS: RSA as exponent and modulus, ECDSA as two numbers, EdDSA as it is.

Standards: RFC 3110 section 2 (RSA keys), RFC 5702 (RSA with SHA-2), RFC 6605 (ECDSA), RFC 8080 (Ed25519, Ed448),
RFC 8624 section 3.1 (which to use). RSA with SHA-1 (5, 7) is not supported: zones signed only with it are insecure.
Limits: RSA keys of 1024 to 4096 bits with exponents of at most 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from letterlock.errors import Malformed, NotAuthentic, OurFault

RSASHA256, RSASHA512, ECDSAP256SHA256, ECDSAP384SHA384, ED25519, ED448 = 8, 10, 13, 14, 15, 16
SUPPORTED = frozenset({RSASHA256, RSASHA512, ECDSAP256SHA256, ECDSAP384SHA384, ED25519, ED448})
NAMES = {
    RSASHA256: "RSASHA256",
    RSASHA512: "RSASHA512",
    ECDSAP256SHA256: "ECDSAP256SHA256",
    ECDSAP384SHA384: "ECDSAP384SHA384",
    ED25519: "ED25519",
    ED448: "ED448",
}

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
_Verify = Callable[[bytes, bytes], None]
_HASHES: dict[int, hashes.HashAlgorithm] = {
    RSASHA256: hashes.SHA256(),
    RSASHA512: hashes.SHA512(),
    ECDSAP256SHA256: hashes.SHA256(),
    ECDSAP384SHA384: hashes.SHA384(),
}
_CURVES: dict[int, tuple[ec.EllipticCurve, int]] = {
    ECDSAP256SHA256: (ec.SECP256R1(), 32),
    ECDSAP384SHA384: (ec.SECP384R1(), 48),
}


def verify(algorithm: int, public_key: bytes, signature: bytes, signed: bytes) -> None:
    """Check a signature; raises NotAuthentic when it, or the key, is not good."""
    try:
        _verifier(algorithm, public_key)(signature, signed)
    except InvalidSignature:
        raise NotAuthentic("the signature does not fit the data") from None
    except Malformed as error:
        raise NotAuthentic(str(error)) from None


@lru_cache(maxsize=1024)
def _verifier(algorithm: int, public_key: bytes) -> _Verify:
    """Return what checks a signature (signature, data) with a key; raises Malformed for a key that is none."""
    try:
        if algorithm in (RSASHA256, RSASHA512):
            return _rsa(algorithm, public_key)
        if algorithm in _CURVES:
            return _ecdsa(algorithm, public_key)
        if algorithm == ED25519:
            return ed25519.Ed25519PublicKey.from_public_bytes(public_key).verify
        if algorithm == ED448:
            return ed448.Ed448PublicKey.from_public_bytes(public_key).verify
    except ValueError as error:
        raise Malformed(f"a key that is none: {error}", clause="RFC 4034 section 2.1.4") from None
    raise Malformed(f"algorithm {algorithm} is not supported", clause="RFC 8624 section 3.1")


def _rsa(algorithm: int, public_key: bytes) -> _Verify:
    exponent_at, length = (1, public_key[0]) if public_key[:1] > b"\0" else (3, int.from_bytes(public_key[1:3], "big"))
    exponent = int.from_bytes(public_key[exponent_at : exponent_at + length], "big")
    modulus = int.from_bytes(public_key[exponent_at + length :], "big")
    if not 0 < length <= 8 or not 1024 <= modulus.bit_length() <= 4096:
        raise Malformed("an RSA key outside the limits", clause="RFC 3110 section 2")
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    digest = _HASHES[algorithm]
    pkcs1 = padding.PKCS1v15()
    return lambda signature, signed: key.verify(signature, signed, pkcs1, digest)


def _ecdsa(algorithm: int, public_key: bytes) -> _Verify:
    curve, size = _CURVES[algorithm]
    key = ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\x04" + public_key)
    method = ec.ECDSA(_HASHES[algorithm])

    def check(signature: bytes, signed: bytes) -> None:
        if len(signature) != 2 * size:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        key.verify(encode_dss_signature(r, s), signed, method)

    return check


def generate(algorithm: int) -> PrivateKey:
    """Make a key pair; raises OurFault for an algorithm we do not sign with."""
    match algorithm:
        case 8 | 10:
            return rsa.generate_private_key(65537, 2048)
        case 13 | 14:
            return ec.generate_private_key(_CURVES[algorithm][0])
        case 15:
            return ed25519.Ed25519PrivateKey.generate()
        case 16:
            return ed448.Ed448PrivateKey.generate()
    raise OurFault(f"algorithm {algorithm} is not one we sign with")


def public_octets(key: PrivateKey) -> bytes:
    """Return the public key in the form of DNSKEY data."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")
        return bytes((len(exponent),)) + exponent + numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
    if isinstance(public, ec.EllipticCurvePublicKey):
        return public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)[1:]
    return public.public_bytes_raw()


def sign(algorithm: int, key: PrivateKey, data: bytes) -> bytes:
    """Return the signature of data in the form of RRSIG data."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), _HASHES[algorithm])
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = _CURVES[algorithm][1]
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(_HASHES[algorithm])))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    return key.sign(data)


def to_pem(key: PrivateKey) -> bytes:
    """Return the private key as unencrypted PKCS #8."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def from_pem(pem: bytes) -> PrivateKey:
    """Read a private key; raises Malformed for anything else."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise Malformed(f"no private key: {error}", clause="RFC 5958 section 2") from None
    if not isinstance(key, PrivateKey):
        raise Malformed("a private key of a kind no zone is signed with", clause="RFC 8624 section 3.1")
    return key
