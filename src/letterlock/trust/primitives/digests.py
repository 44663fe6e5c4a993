"""Message digests, named by their object identifiers.

Standards: FIPS 180-4, FIPS 202, RFC 5754, RFC 8419 section 3.1 (SHAKE256 with 512 bits for Ed448).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Protocol

from cryptography.hazmat.primitives import hashes

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids

_HASHES: dict[str, hashes.HashAlgorithm] = {
    oids.MD5: hashes.MD5(),
    oids.SHA1: hashes.SHA1(),
    oids.SHA224: hashes.SHA224(),
    oids.SHA256: hashes.SHA256(),
    oids.SHA384: hashes.SHA384(),
    oids.SHA512: hashes.SHA512(),
}


class Digester(Protocol):
    """What takes octets piece by piece and gives their digest."""

    def update(self, octets: bytes | memoryview, /) -> None:
        """Take more octets."""

    def digest(self) -> bytes:
        """Return the digest of all octets taken."""


class _Shake:
    """SHAKE256 with 512 bits of output."""

    def __init__(self, octets: bytes | memoryview = b"") -> None:
        self._state = hashlib.shake_256(octets)

    def update(self, octets: bytes | memoryview) -> None:
        self._state.update(octets)

    def digest(self) -> bytes:
        return self._state.digest(64)


_DIGESTERS: dict[str, Callable[[bytes | memoryview], Digester]] = {
    oids.MD5: functools.partial(hashlib.md5, usedforsecurity=False),
    oids.SHA1: functools.partial(hashlib.sha1, usedforsecurity=False),
    oids.SHA224: hashlib.sha224,
    oids.SHA256: hashlib.sha256,
    oids.SHA384: hashlib.sha384,
    oids.SHA512: hashlib.sha512,
    oids.SHAKE256: _Shake,
    oids.SHAKE256_512: _Shake,
}


def is_known(oid: str) -> bool:
    """Tell whether this digest can be computed."""
    return oid in _DIGESTERS


def digester(oid: str, octets: bytes | memoryview = b"") -> Digester:
    """Return a digester that has taken `octets`; Malformed for a digest not known here."""
    make = _DIGESTERS.get(oid)
    if make is None:
        raise Malformed(f"a message digest not known here: {oids.label(oid)}", clause="RFC 5652 section 10.1.1")
    return make(octets)


def digest(oid: str, octets: bytes | memoryview = b"", *more: bytes | memoryview) -> bytes:
    """Return the digest of octets, whole or in pieces; Malformed for a digest not known here."""
    make = _DIGESTERS.get(oid)
    state = digester(oid, octets) if make is None else make(octets)
    for piece in more:
        state.update(piece)
    return state.digest()


def hash_algorithm(oid: str) -> hashes.HashAlgorithm:
    """Return the crypto library's name of a digest; Malformed if it has none."""
    if oid not in _HASHES:
        raise Malformed(f"a digest that cannot be signed: {oids.label(oid)}", clause="RFC 5652 section 10.1.1")
    return _HASHES[oid]
