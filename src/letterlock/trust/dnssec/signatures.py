"""Record sets and the signatures over them: gathering, canonical form, and the check of one set by a zone's keys.

Standards: RFC 4034 sections 3 and 6, RFC 4035 section 5.3, RFC 6840 section 5.11 (one good signature is enough).
Limits: the budget's (8 signatures a set, 2 keys a tag, 32 operations and 128 hashes a validation).
"""

from __future__ import annotations

import hashlib
import struct
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.dns import name as names
from letterlock.formats.dns import types
from letterlock.formats.dns.message import Record
from letterlock.formats.dns.types import ExtendedError
from letterlock.formats.dns.zone import RRSIG, RecordSet
from letterlock.trust.primitives import zone_keys

_FIXED = struct.Struct(">HBBIIIH")
_ZONE_KEY, _REVOKED = 0x0100, 0x0080
_DIGESTS = {2: hashlib.sha256, 4: hashlib.sha384}  # RFC 8624 section 3.3; SHA-1 is left out
SUPPORTED_DIGESTS = frozenset(_DIGESTS)


class Bogus(NotAuthentic):
    """Data that should be provable is not; `code` is the extended error (RFC 8914)."""

    def __init__(self, reason: str, code: int = ExtendedError.DNSSEC_BOGUS) -> None:
        self.reason = reason
        self.code = code
        super().__init__(reason)


@dataclass(slots=True)
class Budget:
    """The work one validation may cause, however many sets and zones it touches (CVE-2023-50387, CVE-2023-50868)."""

    operations: int = 32
    hashes: int = 128
    signatures_a_set: int = 8
    keys_a_tag: int = 2

    def spend_operation(self) -> None:
        """Count one public-key operation; raises Bogus when there have been too many."""
        self.operations -= 1
        if self.operations < 0:
            raise Bogus("the proof needs more signature checks than one look-up may cost")

    def spend_hash(self) -> None:
        """Count one hash of a name or key; raises Bogus when there have been too many."""
        self.hashes -= 1
        if self.hashes < 0:
            raise Bogus("the proof needs more hashes than one look-up may cost")


class Signature(msgspec.Struct, frozen=True, gc=False):
    """The fields of RRSIG data (RFC 4034 section 3.1)."""

    type_covered: int
    algorithm: int
    labels: int
    original_ttl: int
    expiration: int
    inception: int
    key_tag: int
    signer: bytes
    signature: bytes
    head: bytes

    @classmethod
    def read(cls, rdata: bytes) -> Signature:
        """Read RRSIG data; raises Malformed."""
        if len(rdata) < 20:
            raise Malformed("RRSIG data that ends early", clause="RFC 4034 section 3.1")
        signer, after = names.read(rdata, 18)
        covered, algorithm, labels, ttl, expiration, inception, tag = _FIXED.unpack_from(rdata)
        head, signature = rdata[:after], rdata[after:]
        return cls(covered, algorithm, labels, ttl, expiration, inception, tag, signer, signature, head)

    def is_early(self, now: int) -> bool:
        """Tell whether the signature does not hold yet, in serial arithmetic (RFC 4034 section 3.1.5)."""
        return (self.inception - now) % (1 << 32) in range(1, 1 << 31)

    def is_late(self, now: int) -> bool:
        """Tell whether the signature has run out."""
        return (now - self.expiration) % (1 << 32) in range(1, 1 << 31)


class Key(msgspec.Struct, frozen=True, gc=False):
    """A zone's public key, from DNSKEY data."""

    flags: int
    algorithm: int
    public_key: bytes
    tag: int
    rdata: bytes

    @classmethod
    def read(cls, rdata: bytes) -> Key:
        """Read DNSKEY data; raises Malformed."""
        if len(rdata) < 5:
            raise Malformed("DNSKEY data that ends early", clause="RFC 4034 section 2.1")
        return cls(int.from_bytes(rdata[:2], "big"), rdata[3], rdata[4:], key_tag(rdata), rdata)

    @property
    def may_sign(self) -> bool:
        """Whether the key belongs to the zone, is not revoked, and of a kind we know."""
        return (
            bool(self.flags & _ZONE_KEY)
            and not self.flags & _REVOKED
            and self.rdata[2] == 3
            and self.algorithm in zone_keys.SUPPORTED
        )


def key_tag(rdata: bytes) -> int:
    """Return the tag of DNSKEY data (RFC 4034 appendix B)."""
    padded = rdata + b"\0" if len(rdata) % 2 else rdata
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    return (total + (total >> 16)) & 0xFFFF


def ds_digest(owner: bytes, key_rdata: bytes, digest_type: int) -> bytes:
    """Return the digest of a key for DS data (RFC 4034 section 5.1.4); raises KeyError for an unknown digest."""
    return _DIGESTS[digest_type](owner + key_rdata).digest()


def gather(records: Iterable[Record]) -> dict[tuple[bytes, int], RecordSet]:
    """Put the records of a section together to sets with the signatures that cover them."""
    gathered: dict[tuple[bytes, int], list[Record]] = defaultdict(list)
    signatures: dict[tuple[bytes, int], list[bytes]] = defaultdict(list)
    for record in records:
        if record.rdclass != types.IN:
            continue
        if record.type == RRSIG and len(record.rdata) > 2:
            signatures[record.owner, int.from_bytes(record.rdata[:2], "big")].append(record.rdata)
        else:
            gathered[record.owner, record.type].append(record)
    return {
        key: RecordSet(
            key[0],
            key[1],
            min([record.ttl for record in found]),
            tuple(sorted({record.rdata for record in found})),
            tuple(signatures.get(key, ())),
        )
        for key, found in gathered.items()
    }


def signed_octets(record_set: RecordSet, signature: Signature) -> bytes:
    """Return what a signature over a set signs (RFC 4034 section 3.1.8.1)."""
    owner = record_set.owner
    labels = names.labels_of(owner)
    if signature.labels < len(labels) and not (signature.labels == len(labels) - 1 and labels[0] == b"*"):
        owner = names.wildcard(names.from_labels(labels[len(labels) - signature.labels :]))
    head = owner + struct.pack(">HHI", record_set.type, types.IN, signature.original_ttl)
    parts = [signature.head]
    for rdata in record_set.rdatas:
        parts += (head, len(rdata).to_bytes(2, "big"), rdata)
    return b"".join(parts)


def verify_set(record_set: RecordSet, zone: bytes, keys: Iterable[Key], now: int, budget: Budget) -> Signature:
    """Return the first signature of a set that a key of the zone made and that holds now; raises Bogus.

    The caller cuts TTLs with `trusted_ttl` and, where the signature has fewer labels than the owner, proves that the
    name itself does not exist.
    """
    if not record_set.signatures:
        raise Bogus(f"{describe(record_set)} is not signed, though its zone is", ExtendedError.RRSIGS_MISSING)
    problem = Bogus(f"{describe(record_set)} has no signature by its zone", ExtendedError.RRSIGS_MISSING)
    able = [key for key in keys if key.may_sign]
    for rdata in record_set.signatures[: budget.signatures_a_set]:
        try:
            signature = Signature.read(rdata)
            _check_fields(record_set, signature, zone, now)
        except Malformed as error:
            problem = Bogus(f"{describe(record_set)}: {error}")
            continue
        except Bogus as error:
            problem = error
            continue
        fitting = [key for key in able if key.tag == signature.key_tag and key.algorithm == signature.algorithm]
        if not fitting:
            what = f"{describe(record_set)} is signed by key {signature.key_tag}, which its zone does not have"
            problem = Bogus(what, ExtendedError.DNSKEY_MISSING)
        octets = signed_octets(record_set, signature) if fitting else b""
        for key in fitting[: budget.keys_a_tag]:
            budget.spend_operation()
            try:
                zone_keys.verify(key.algorithm, key.public_key, signature.signature, octets)
            except NotAuthentic as error:
                problem = Bogus(f"{describe(record_set)}, signature by key {key.tag}: {error}")
                continue
            return signature
    raise problem


def _check_fields(record_set: RecordSet, signature: Signature, zone: bytes, now: int) -> None:
    # RFC 4035 section 5.3.1
    what = f"the signature of {describe(record_set)}"
    if signature.signer != zone:
        raise Bogus(f"{what} is not by its zone {names.to_text(zone)}.")
    if signature.labels > names.count_labels(record_set.owner):
        raise Bogus(f"{what} claims more labels than the name has")
    if signature.is_late(now):
        raise Bogus(f"{what} has expired", ExtendedError.SIGNATURE_EXPIRED)
    if signature.is_early(now):
        raise Bogus(f"{what} does not hold yet", ExtendedError.SIGNATURE_NOT_YET_VALID)


def trusted_ttl(record_set: RecordSet, signature: Signature, now: int) -> int:
    """Return for how long a verified set may be kept (RFC 4035 section 5.3.3)."""
    return min(record_set.ttl, signature.original_ttl, (signature.expiration - now) % (1 << 32))


def describe(record_set: RecordSet) -> str:
    """Name a set for people: "rosewood.test. MX"."""
    return f"{names.to_text(record_set.owner)}. {types.mnemonic(record_set.type)}"
