"""Ed25519 keys and signatures.

Standards: RFC 8032 (EdDSA), RFC 8410 (their keys in PKIX).
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from letterlock.errors import Malformed, NotAuthentic

Ed25519PublicKey = ed25519.Ed25519PublicKey
Ed25519PrivateKey = ed25519.Ed25519PrivateKey


def ed25519_public_key(octets: bytes) -> Ed25519PublicKey:
    """Read the 32 octets of a public key. Raises Malformed."""
    try:
        return Ed25519PublicKey.from_public_bytes(octets)
    except (ValueError, UnsupportedAlgorithm):
        raise Malformed("no Ed25519 public key", clause="RFC 8032") from None


def ed25519_public_octets(key: Ed25519PrivateKey) -> bytes:
    """Return the 32 octets of the public key."""
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def verify_ed25519(key: Ed25519PublicKey, signature: bytes, octets: bytes) -> None:
    """Check a signature over `octets`. Raises NotAuthentic."""
    try:
        key.verify(signature, octets)
    except InvalidSignature:
        raise NotAuthentic("the Ed25519 signature does not verify") from None


def sign_ed25519(key: Ed25519PrivateKey, octets: bytes) -> bytes:
    """Return a signature over `octets`."""
    return key.sign(octets)


def generate_ed25519() -> Ed25519PrivateKey:
    """Return a new key."""
    return Ed25519PrivateKey.generate()
