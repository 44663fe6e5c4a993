"""A zone as a value: its record sets by name and type, and the order that denial of existence needs.

Standards: RFC 1034 section 4.2, RFC 1912 and RFC 2181 section 10.1 (CNAME alone), RFC 2181 section 5 (sets),
RFC 4034 section 6 (order), RFC 5155 section 3 (hashed order).
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from letterlock.errors import Malformed
from letterlock.formats.dns import name as names
from letterlock.formats.dns import types, zone_text
from letterlock.formats.dns.message import Record
from letterlock.formats.dns.nsec3 import Hashing, owner_hash

NS, CNAME, SOA, DS = (types.NUMBERS[mnemonic] for mnemonic in ("NS", "CNAME", "SOA", "DS"))
RRSIG, NSEC, DNSKEY = (types.NUMBERS[mnemonic] for mnemonic in ("RRSIG", "NSEC", "DNSKEY"))
NSEC3, NSEC3PARAM = types.NUMBERS["NSEC3"], types.NUMBERS["NSEC3PARAM"]
_BESIDE_CNAME = {CNAME, RRSIG, NSEC}


class RecordSet(msgspec.Struct, frozen=True, gc=False):
    """All records of one name and type; `rdatas` in canonical order, `signatures` the RRSIG data that cover them."""

    owner: bytes
    type: int
    ttl: int
    rdatas: tuple[bytes, ...]
    signatures: tuple[bytes, ...] = ()

    def records(self, *, signed: bool = False, owner: bytes | None = None) -> tuple[Record, ...]:
        """Return the records, with `signed` their signatures too, under another owner if one is given."""
        name = self.owner if owner is None else owner
        found = tuple([Record(name, self.type, types.IN, self.ttl, rdata) for rdata in self.rdatas])
        if signed and self.signatures:
            found += tuple([Record(name, RRSIG, types.IN, self.ttl, rdata) for rdata in self.signatures])
        return found


Node = Mapping[int, RecordSet]


@dataclass(frozen=True, slots=True)
class Zone:
    """The data of one zone; make it with `build` or `parse`, which refuse what is no zone.

    `nodes` holds every owner name with its sets; `exists` also the names that have only names below them.
    """

    origin: bytes
    nodes: Mapping[bytes, Node]
    exists: frozenset[bytes] = field(repr=False)
    _nsec: tuple[tuple[tuple[bytes, ...], bytes], ...] = field(default=(), repr=False)
    _nsec3: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    hashing: Hashing | None = None

    @classmethod
    def parse(cls, text: str, origin: str, default_ttl: int = 3600) -> Zone:
        """Read zone text; raises Malformed."""
        return cls.build(origin, zone_text.read(text, origin, default_ttl))

    @classmethod
    def build(cls, origin: str, records: Iterable[Record]) -> Zone:
        """Make a zone of records; raises Malformed for what is no zone."""
        apex = names.to_wire(origin)
        nodes = _gather(records)
        _check(apex, nodes)
        exists = {apex}
        for owner in nodes:
            for above in names.ancestors(owner):
                if above in exists:
                    break
                exists.add(above)
        nsec = sorted((names.key(owner), owner) for owner, node in nodes.items() if NSEC in node)
        parameters = nodes[apex].get(NSEC3PARAM)
        hashing = Hashing.from_rdata(parameters.rdatas[0]) if parameters else None
        nsec3 = sorted((owner_hash(owner), owner) for owner, node in nodes.items() if NSEC3 in node) if hashing else []
        return cls(apex, nodes, frozenset(exists), tuple(nsec), tuple(nsec3), hashing)

    def replace(self, records: Iterable[Record]) -> Zone:
        """Return a zone of the same origin with other records."""
        return Zone.build(names.to_text(self.origin), records)

    @property
    def soa(self) -> RecordSet:
        """The SOA record set."""
        return self.nodes[self.origin][SOA]

    @property
    def serial(self) -> int:
        """The serial number of this version."""
        return int.from_bytes(self.soa.rdatas[0][-20:-16], "big")

    @property
    def negative_ttl(self) -> int:
        """For how long absence may be remembered (RFC 2308 section 5)."""
        return min(self.soa.ttl, int.from_bytes(self.soa.rdatas[0][-4:], "big"))

    @property
    def is_signed(self) -> bool:
        """Whether the zone has signatures."""
        return bool(self.soa.signatures)

    def __iter__(self) -> Iterator[RecordSet]:
        """Every record set, the SOA first, then in canonical order of names."""
        yield self.soa
        for owner in sorted(self.nodes, key=names.key):
            for number, record_set in sorted(self.nodes[owner].items()):
                if owner != self.origin or number != SOA:
                    yield record_set

    def records(self) -> Iterator[Record]:
        """Every record with the signatures, the SOA first."""
        for record_set in self:
            yield from record_set.records(signed=True)

    def text(self) -> str:
        """Return the zone as zone text."""
        return zone_text.write(self.records())

    def cut_above(self, name: bytes) -> RecordSet | None:
        """Return the NS set of the highest delegation at or above `name`, below the apex."""
        found = None
        while name != self.origin and name != names.ROOT:
            node = self.nodes.get(name)
            if node is not None and NS in node:
                found = node[NS]
            name = names.parent(name)
        return found

    def covering_nsec(self, name: bytes) -> RecordSet | None:
        """Return the NSEC set at `name`, or the one whose span covers it."""
        if not self._nsec:
            return None
        # One element less than any equal key with an owner, hence the set at the name itself is at index - 1.
        index = bisect.bisect_right(self._nsec, (names.key(name), b"\xff"))
        return self.nodes[self._nsec[index - 1][1]][NSEC]

    def matching_nsec3(self, name: bytes) -> RecordSet | None:
        """Return the NSEC3 set whose owner is the hash of `name`."""
        if self.hashing is None or not self._nsec3:
            return None
        digest = self.hashing.hash(name)
        index = bisect.bisect_left(self._nsec3, (digest, b""))
        if index < len(self._nsec3) and self._nsec3[index][0] == digest:
            return self.nodes[self._nsec3[index][1]][NSEC3]
        return None

    def covering_nsec3(self, name: bytes) -> RecordSet | None:
        """Return the NSEC3 set whose span covers the hash of `name`."""
        if self.hashing is None or not self._nsec3:
            return None
        index = bisect.bisect_left(self._nsec3, (self.hashing.hash(name), b""))
        return self.nodes[self._nsec3[index - 1][1]][NSEC3]


def _gather(records: Iterable[Record]) -> dict[bytes, dict[int, RecordSet]]:
    gathered: dict[tuple[bytes, int], dict[bytes, None]] = defaultdict(dict)
    ttls: dict[tuple[bytes, int], int] = {}
    signatures: dict[tuple[bytes, int], list[bytes]] = defaultdict(list)
    for record in records:
        if record.type == RRSIG:
            signatures[record.owner, int.from_bytes(record.rdata[:2], "big")].append(record.rdata)
            continue
        key = record.owner, record.type
        gathered[key][record.rdata] = None
        ttls[key] = min(record.ttl, ttls.get(key, record.ttl))  # RFC 2181 section 5.2: one TTL a set
    nodes: dict[bytes, dict[int, RecordSet]] = defaultdict(dict)
    for key, rdatas in gathered.items():
        owner, number = key
        record_set = RecordSet(owner, number, ttls[key], tuple(sorted(rdatas)), tuple(signatures.get(key, ())))
        nodes[owner][number] = record_set
    return dict(nodes)


def _check(apex: bytes, nodes: Mapping[bytes, Node]) -> None:
    at_apex = nodes.get(apex, {})
    origin = names.to_text(apex) or "the root"
    if SOA not in at_apex or len(at_apex[SOA].rdatas) != 1:
        raise Malformed(f"{origin} needs one SOA record", clause="RFC 1035 section 5.2")
    if NS not in at_apex:
        raise Malformed(f"{origin} needs NS records", clause="RFC 1035 section 5.2")
    for owner, node in nodes.items():
        if not names.is_within(owner, apex):
            raise Malformed(f"{names.to_text(owner)} is not within {origin}", clause="RFC 1035 section 5.2")
        if SOA in node and owner != apex:
            raise Malformed(f"a SOA record at {names.to_text(owner)}", clause="RFC 1035 section 5.2")
        if CNAME in node and (len(node[CNAME].rdatas) > 1 or not _BESIDE_CNAME.issuperset(node)):
            raise Malformed(f"more than one CNAME at {names.to_text(owner)}", clause="RFC 2181 section 10.1")
