"""Hashed owner names (RFC 5155): how a zone hashes, and the hash in an owner name.

Limits: hashing is the caller's to bound; RFC 9276 section 3.1 wants no extra iterations and no salt.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.dns import name as names

SHA1 = 1  # RFC 5155 section 11: the only hash algorithm
OPT_OUT = 0x01
_CLAUSE = "RFC 5155 section 3.2"


@dataclass(frozen=True, slots=True)
class Hashing:
    """The parameters of a zone's hashed names: extra iterations and salt."""

    iterations: int = 0
    salt: bytes = b""
    algorithm: int = SHA1

    @classmethod
    def from_rdata(cls, rdata: bytes) -> Hashing:
        """Read the parameters that NSEC3 and NSEC3PARAM data begin with; raises Malformed."""
        if len(rdata) < 5 or len(rdata) < 5 + rdata[4]:
            raise Malformed("NSEC3 data that ends early", clause=_CLAUSE)
        return cls(int.from_bytes(rdata[2:4], "big"), rdata[5 : 5 + rdata[4]], rdata[0])

    def hash(self, name: bytes) -> bytes:
        """Return the hash of a name (RFC 5155 section 5)."""
        salt = self.salt
        digest = hashlib.sha1(name + salt).digest()
        for _ in range(self.iterations):
            digest = hashlib.sha1(digest + salt).digest()
        return digest

    def owner(self, name: bytes, zone: bytes) -> bytes:
        """Return the owner name of the NSEC3 record that stands for `name` in `zone`."""
        return names.from_labels([base64.b32hexencode(self.hash(name))])[:-1] + zone


def owner_hash(owner: bytes) -> bytes:
    """Return the hash that the first label of an NSEC3 record's owner spells; raises Malformed."""
    label = owner[1 : 1 + owner[0]]
    try:
        return base64.b32hexdecode(label.upper() + b"=" * (-len(label) % 8))
    except binascii.Error:
        raise Malformed("an NSEC3 owner name that is no hash", clause=_CLAUSE) from None


def next_hash(rdata: bytes) -> bytes:
    """Return the next hashed owner name of NSEC3 data; raises Malformed."""
    return _split(rdata)[0]


def bit_map(rdata: bytes) -> bytes:
    """Return the type bit map of NSEC3 data; raises Malformed."""
    return _split(rdata)[1]


def _split(rdata: bytes) -> tuple[bytes, bytes]:
    start = 5 + rdata[4] if len(rdata) > 5 else len(rdata)
    if start >= len(rdata) or start + 1 + rdata[start] > len(rdata):
        raise Malformed("NSEC3 data that ends early", clause=_CLAUSE)
    end = start + 1 + rdata[start]
    return rdata[start + 1 : end], rdata[end:]
