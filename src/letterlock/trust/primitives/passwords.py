"""Keys derived from passwords, for password recipients.

Standards: RFC 8018 section 5.2 (PBKDF2), RFC 3211, RFC 5652 section 6.2.4.
Limits: 10,000,000 rounds.
"""

from __future__ import annotations

import hashlib

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Fields
from letterlock.formats.x509.algorithm import NULL, AlgorithmIdentifier

MAX_ROUNDS = 10_000_000
_DIGESTS = {
    oids.HMAC_SHA1: "sha1",
    oids.HMAC_SHA224: "sha224",
    oids.HMAC_SHA256: "sha256",
    oids.HMAC_SHA384: "sha384",
    oids.HMAC_SHA512: "sha512",
}


def pbkdf2_algorithm(salt: bytes, rounds: int) -> AlgorithmIdentifier:
    """Return PBKDF2 with HMAC-SHA-256."""
    digest = AlgorithmIdentifier(oids.HMAC_SHA256, NULL).encode()
    return AlgorithmIdentifier(oids.PBKDF2, writer.sequence(writer.octet_string(salt), writer.integer(rounds), digest))


def derive(algorithm: AlgorithmIdentifier, password: bytes, size: int) -> bytes:
    """Return the key of `size` octets; Malformed for a derivation not known here, or one made to cost."""
    if algorithm.oid != oids.PBKDF2 or algorithm.parameters is None:
        raise Malformed(f"a key derivation not known here: {algorithm.label}", clause="RFC 5652 section 6.2.4")
    salt, rounds, digest = _parse(algorithm.parameters)
    if digest not in _DIGESTS or not 1 <= rounds <= MAX_ROUNDS:
        raise Malformed(f"PBKDF2 with {oids.label(digest)} and {rounds} rounds", clause="RFC 8018 section 5.2")
    return hashlib.pbkdf2_hmac(_DIGESTS[digest], password, salt, rounds, size)


def rounds_of(algorithm: AlgorithmIdentifier | None) -> int:
    """Return how many rounds a derivation asks for; 0 for one that `derive` refuses at once."""
    if algorithm is None or algorithm.oid != oids.PBKDF2 or algorithm.parameters is None:
        return 0
    try:
        _salt, rounds, _digest = _parse(algorithm.parameters)
    except Malformed:
        return 0
    return rounds if 1 <= rounds <= MAX_ROUNDS else 0


def _parse(parameters: bytes) -> tuple[bytes, int, str]:
    """Read PBKDF2-params: the salt, the rounds and the digest."""
    fields = Fields(reader.parse(parameters))
    salt = fields.take(tags.OCTET_STRING).octet_string()
    rounds = fields.take(tags.INTEGER).integer()
    fields.optional(tags.INTEGER)
    digest = AlgorithmIdentifier.parse(fields.any()).oid if fields.more else oids.HMAC_SHA1
    fields.finish()
    return salt, rounds, digest
