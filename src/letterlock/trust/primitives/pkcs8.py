"""PKCS#8 private keys encrypted under a password, for keys the crypto library does not know.

What is written and read is PBES2 with PBKDF2 and AES-CBC, which everybody reads; Triple-DES is read too.

Standards: RFC 5958 sections 2 and 3, RFC 8018 section 6.2 (PBES2).
Limits: those of passwords.
"""

from __future__ import annotations

import os

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Fields
from letterlock.formats.x509.algorithm import AlgorithmIdentifier
from letterlock.trust.primitives import ciphers, passwords
from letterlock.trust.primitives.ciphers import ContentCipher

ROUNDS = 600_000


def seal(key: bytes, password: bytes) -> bytes:
    """Return an EncryptedPrivateKeyInfo around an encoded private key."""
    derivation = passwords.pbkdf2_algorithm(os.urandom(16), ROUNDS)
    cipher = ciphers.fresh(oids.AES256_CBC, os.urandom(16))
    sealed, _tag = ciphers.seal_whole(cipher, passwords.derive(derivation, password, cipher.key_octets), key)
    parameters = writer.sequence(derivation.encode(), cipher.encode().encode())
    return writer.sequence(AlgorithmIdentifier(oids.PBES2, parameters).encode(), writer.octet_string(b"".join(sealed)))


def unseal(octets: bytes, password: bytes) -> bytes | None:
    """Return the encoded private key, or None for what is not encrypted so.

    Raises NotAuthentic if the password does not open it, Malformed for a derivation made to cost.
    """
    opened = _schemes(octets)
    if opened is None:
        return None
    derivation, cipher, sealed = opened
    key = passwords.derive(derivation, password, cipher.key_octets)
    try:
        opened_key = ciphers.open_whole(cipher, key, (sealed,))
        # under one wrong password in 256 the padding looks right
        Fields(reader.parse(opened_key)).take(tags.INTEGER)
    except (NotAuthentic, Malformed):
        raise NotAuthentic("the password does not open this key") from None
    return opened_key


def _schemes(octets: bytes) -> tuple[AlgorithmIdentifier, ContentCipher, bytes] | None:
    """Return key derivation, cipher and what is encrypted; None for any other structure or scheme."""
    try:
        fields = Fields(reader.parse(octets))
        algorithm = AlgorithmIdentifier.parse(fields.take(tags.SEQUENCE))
        if algorithm.oid != oids.PBES2 or algorithm.parameters is None:
            return None
        inner = Fields(reader.parse(algorithm.parameters))
        derivation = AlgorithmIdentifier.parse(inner.take(tags.SEQUENCE))
        cipher = ContentCipher.parse(AlgorithmIdentifier.parse(inner.take(tags.SEQUENCE)))
        sealed = fields.take(tags.OCTET_STRING).octet_string()
    except Malformed:
        return None
    return (derivation, cipher, sealed) if derivation.oid == oids.PBKDF2 else None
