"""Message digests, named by their object identifiers.

Standards: FIPS 180-4, FIPS 202, RFC 5754, RFC 8419 section 3.1 (SHAKE256 with 512 bits for Ed448).
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from cryptography.hazmat.primitives import hashes

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids

_NAMES = {
    oids.MD5: "md5",
    oids.SHA1: "sha1",
    oids.SHA224: "sha224",
    oids.SHA256: "sha256",
    oids.SHA384: "sha384",
    oids.SHA512: "sha512",
}
_HASHES: dict[str, hashes.HashAlgorithm] = {
    oids.MD5: hashes.MD5(),
    oids.SHA1: hashes.SHA1(),
    oids.SHA224: hashes.SHA224(),
    oids.SHA256: hashes.SHA256(),
    oids.SHA384: hashes.SHA384(),
    oids.SHA512: hashes.SHA512(),
}
_SHAKES = (oids.SHAKE256, oids.SHAKE256_512)


class Digester(Protocol):
    """What takes octets piece by piece and gives their digest."""

    def update(self, octets: bytes | memoryview, /) -> None:
        """Take more octets."""

    def digest(self) -> bytes:
        """Return the digest of all octets taken."""


class _Shake:
    """SHAKE256 with 512 bits of output."""

    def __init__(self) -> None:
        self._state = hashlib.shake_256()

    def update(self, octets: bytes | memoryview) -> None:
        self._state.update(octets)

    def digest(self) -> bytes:
        return self._state.digest(64)


def is_known(oid: str) -> bool:
    """Tell whether this digest can be computed."""
    return oid in _NAMES or oid in _SHAKES


def digester(oid: str) -> Digester:
    """Return a fresh digester; Malformed for a digest not known here."""
    if oid in _SHAKES:
        return _Shake()
    if oid not in _NAMES:
        raise Malformed(f"a message digest not known here: {oids.label(oid)}", clause="RFC 5652 section 10.1.1")
    if oid == oids.SHA256:  # the usual one, made without looking its name up
        return hashlib.sha256()
    return hashlib.new(_NAMES[oid], usedforsecurity=False)


def digest(oid: str, *pieces: bytes | memoryview) -> bytes:
    """Return the digest of octets, whole or in pieces."""
    state = digester(oid)
    for piece in pieces:
        state.update(piece)
    return state.digest()


def hash_algorithm(oid: str) -> hashes.HashAlgorithm:
    """Return the crypto library's name of a digest; Malformed if it has none."""
    if oid not in _HASHES:
        raise Malformed(f"a digest that cannot be signed: {oids.label(oid)}", clause="RFC 5652 section 10.1.1")
    return _HASHES[oid]
