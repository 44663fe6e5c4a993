"""Private keys as PEM text: read and written, whatever their algorithm.

Standards: RFC 5958 (PKCS #8), RFC 8017 appendix A.1.2 (bare RSA keys).
"""

from __future__ import annotations

import binascii

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from letterlock.errors import Malformed
from letterlock.trust.primitives.eddsa import Ed25519PrivateKey
from letterlock.trust.primitives.rsa import PrivateKey as RsaPrivateKey

SigningPrivateKey = RsaPrivateKey | Ed25519PrivateKey


def read_pem(octets: bytes) -> SigningPrivateKey:
    """Read an unencrypted RSA or Ed25519 key. Raises Malformed."""
    try:
        key = serialization.load_pem_private_key(octets, None)
    except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error) as error:
        raise Malformed(f"no private key in PEM: {str(error).splitlines()[0]}", clause="RFC 5958") from None
    if not isinstance(key, RsaPrivateKey | Ed25519PrivateKey):
        raise Malformed("a private key that is neither RSA nor Ed25519", clause="RFC 5958")
    return key


def write_pem(key: SigningPrivateKey) -> bytes:
    """Return the key as PKCS #8 in PEM, unencrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_der(key: SigningPrivateKey) -> bytes:
    """Return the SubjectPublicKeyInfo of a private key."""
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
