"""RSA keys and signatures.

Standards: RFC 8017 section 8.2 (PKCS #1 v1.5 signatures), RFC 5958 (private keys), RFC 5280 section 4.1.2.7
(SubjectPublicKeyInfo).
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from letterlock.errors import Malformed, NotAuthentic

PublicKey = rsa.RSAPublicKey
PrivateKey = rsa.RSAPrivateKey

_DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_PKCS1V15 = padding.PKCS1v15()


def public_key(der: bytes) -> PublicKey:
    """Read a SubjectPublicKeyInfo or a bare RSAPublicKey. Raises Malformed for anything else, other key types too."""
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Malformed(f"no RSA public key: {str(error).splitlines()[0]}", clause="RFC 8017 section 3.1") from None
    if not isinstance(key, PublicKey):
        raise Malformed("a public key of another type than RSA", clause="RFC 8017 section 3.1")
    return key


def verify(key: PublicKey, signature: bytes, octets: bytes, digest: str) -> None:
    """Check a PKCS #1 v1.5 signature over `octets`. Raises NotAuthentic."""
    try:
        key.verify(signature, octets, _PKCS1V15, _DIGESTS[digest])
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        raise NotAuthentic("the RSA signature does not verify") from None


def sign(key: PrivateKey, octets: bytes, digest: str) -> bytes:
    """Return a PKCS #1 v1.5 signature over `octets`."""
    return key.sign(octets, _PKCS1V15, _DIGESTS[digest])


def generate(bits: int = 2048) -> PrivateKey:
    """Return a new key with the exponent 65537."""
    return rsa.generate_private_key(65537, bits)
