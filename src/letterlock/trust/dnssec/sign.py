"""Signing a zone: its keys, the chain of denial, and a signature over every set it speaks for.

Standards: RFC 4035 section 2 (NSEC, what is signed), RFC 5155 section 7.1 (NSEC3, opt-out), RFC 9276 section 3.1
(no salt, no extra iterations), RFC 9077 (TTL of denial), RFC 6781 section 3 (key roles).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from letterlock.formats.dns import name as names
from letterlock.formats.dns import rdata_wire, types
from letterlock.formats.dns.message import Record
from letterlock.formats.dns.nsec3 import OPT_OUT, SHA1, Hashing
from letterlock.formats.dns.zone import DNSKEY, DS, NS, NSEC, NSEC3, NSEC3PARAM, RRSIG, RecordSet, Zone
from letterlock.trust.dnssec.signatures import ds_digest, key_tag
from letterlock.trust.primitives import zone_keys
from letterlock.trust.primitives.zone_keys import PrivateKey

_ZONE_KEY, _SECURE_ENTRY = 256, 1
_MADE = {RRSIG, NSEC, NSEC3, NSEC3PARAM}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of a zone: `is_entry` for the one the parent's DS names (KSK); one that is not `active` is only published."""

    algorithm: int
    private: PrivateKey
    is_entry: bool = True
    active: bool = True

    @classmethod
    def generate(cls, algorithm: int = zone_keys.ECDSAP256SHA256, *, is_entry: bool = True) -> SigningKey:
        """Make a new key."""
        return cls(algorithm, zone_keys.generate(algorithm), is_entry)

    @property
    def rdata(self) -> bytes:
        """The key as DNSKEY data."""
        flags = _ZONE_KEY | (_SECURE_ENTRY if self.is_entry else 0)
        return struct.pack(">HBB", flags, 3, self.algorithm) + zone_keys.public_octets(self.private)

    @property
    def tag(self) -> int:
        """The key's tag."""
        return key_tag(self.rdata)

    def ds(self, origin: str, digest_type: int = 2) -> bytes:
        """Return the DS data the parent publishes for this key."""
        owner = names.to_wire(origin)
        return struct.pack(">HBB", self.tag, self.algorithm, digest_type) + ds_digest(owner, self.rdata, digest_type)


@dataclass(frozen=True, slots=True)
class Denial:
    """How absence is proved: by NSEC, or with `hashing` by NSEC3, there with or without opt-out."""

    hashing: Hashing | None = None
    opt_out: bool = False


def sign_zone(
    zone: Zone, keys: Iterable[SigningKey], inception: int, expiration: int, denial: Denial | None = None
) -> Zone:
    """Return the zone with keys, denial and signatures; what it had of them is dropped.

    `inception` and `expiration` are seconds since 1970. Every algorithm among the keys signs everything.
    """
    published = tuple(keys)
    denial = denial or Denial()
    bare = _with_keys(zone, published)
    with_denial = bare.replace([*bare.records(), *_denials(bare, denial)])
    signer = _Signer(zone.origin, published, inception, expiration)
    return with_denial.replace(
        record for record_set in with_denial for record in signer.signed(with_denial, record_set).records(signed=True)
    )


def _with_keys(zone: Zone, keys: tuple[SigningKey, ...]) -> Zone:
    kept = [
        record
        for record in zone.records()
        if record.type not in _MADE and not (record.type == DNSKEY and record.owner == zone.origin)
    ]
    ttl = zone.soa.ttl
    return zone.replace([*kept, *(Record(zone.origin, DNSKEY, types.IN, ttl, key.rdata) for key in keys)])


def _denials(zone: Zone, denial: Denial) -> Iterator[Record]:
    if denial.hashing is None:
        yield from _nsec(zone)
    else:
        yield from _nsec3(zone, denial.hashing, opt_out=denial.opt_out)


def _is_below_cut(zone: Zone, name: bytes) -> bool:
    cut = zone.cut_above(name)
    return cut is not None and cut.owner != name


def _nsec(zone: Zone) -> Iterator[Record]:
    owners = sorted((owner for owner in zone.nodes if not _is_below_cut(zone, owner)), key=names.key)
    for owner, following in zip(owners, [*owners[1:], owners[0]], strict=True):
        present = [*_types_at(zone, owner), RRSIG, NSEC]
        rdata = following + rdata_wire.write_bit_map(present)
        yield Record(owner, NSEC, types.IN, zone.negative_ttl, rdata)


def _types_at(zone: Zone, owner: bytes) -> list[int]:
    """The types at a name that denial lists: at a delegation only what the parent speaks for."""
    node = zone.nodes.get(owner, {})
    if owner != zone.origin and NS in node:
        return [number for number in node if number in (NS, DS)]
    return list(node)


def _nsec3(zone: Zone, hashing: Hashing, *, opt_out: bool) -> Iterator[Record]:
    parameters = struct.pack(">BBHB", SHA1, 0, hashing.iterations, len(hashing.salt)) + hashing.salt
    yield Record(zone.origin, NSEC3PARAM, types.IN, 0, parameters)
    covered = {owner for owner in zone.nodes if not _is_below_cut(zone, owner)}
    if opt_out:
        covered = {owner for owner in covered if owner == zone.origin or not _is_insecure_cut(zone, owner)}
    # RFC 5155 section 7.1: the names that only have names below them get a record too.
    for owner in list(covered):
        covered |= {above for above in names.ancestors(owner) if names.is_within(above, zone.origin)}
    hashed = sorted((hashing.hash(owner), owner) for owner in covered)
    head = struct.pack(">BBHB", SHA1, OPT_OUT if opt_out else 0, hashing.iterations, len(hashing.salt)) + hashing.salt
    for (_, owner), (following, _) in zip(hashed, [*hashed[1:], hashed[0]], strict=True):
        present = _types_at(zone, owner)
        if present and (NS not in present or DS in present or owner == zone.origin):
            present.append(RRSIG)
        if owner == zone.origin:
            present.append(NSEC3PARAM)
        rdata = head + bytes((len(following),)) + following + rdata_wire.write_bit_map(present)
        yield Record(hashing.owner(owner, zone.origin), NSEC3, types.IN, zone.negative_ttl, rdata)


def _is_insecure_cut(zone: Zone, owner: bytes) -> bool:
    node = zone.nodes.get(owner, {})
    return NS in node and DS not in node


@dataclass(frozen=True, slots=True)
class _Signer:
    """Signs the sets of one zone."""

    origin: bytes
    keys: tuple[SigningKey, ...]
    inception: int
    expiration: int

    def signed(self, zone: Zone, record_set: RecordSet) -> RecordSet:
        """Return the set with its signatures; what a zone does not speak for stays without."""
        owner, number = record_set.owner, record_set.type
        cut = zone.cut_above(owner)
        if cut is not None and not (cut.owner == owner and number in (DS, NSEC)):
            return record_set
        signatures = tuple(self._sign(key, record_set) for key in self._signing(number))
        return RecordSet(owner, number, record_set.ttl, record_set.rdatas, signatures)

    def _signing(self, number: int) -> list[SigningKey]:
        active = [key for key in self.keys if key.active]
        chosen = []
        for algorithm in sorted({key.algorithm for key in active}):
            same = [key for key in active if key.algorithm == algorithm]
            fitting = [key for key in same if key.is_entry == (number == DNSKEY)]
            chosen += fitting or same  # one key may have both roles
        return chosen

    def _sign(self, key: SigningKey, record_set: RecordSet) -> bytes:
        head = struct.pack(
            ">HBBIIIH",
            record_set.type,
            key.algorithm,
            names.count_labels(record_set.owner),
            record_set.ttl,
            self.expiration & 0xFFFFFFFF,
            self.inception & 0xFFFFFFFF,
            key.tag,
        )
        head += self.origin
        record_head = record_set.owner + struct.pack(">HHI", record_set.type, types.IN, record_set.ttl)
        parts = [head]
        for rdata in record_set.rdatas:
            parts += (record_head, len(rdata).to_bytes(2, "big"), rdata)
        return head + zone_keys.sign(key.algorithm, key.private, b"".join(parts))
