"""Verified denials kept for later questions: what a known span covers need not be asked again.

Standards: RFC 8198 sections 5.1 (NSEC), 5.2 (NSEC3, without opt-out) and 5.4 (TTL).
Limits: `size` records a zone; a zone that has more begins anew.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from dataclasses import dataclass, field

from letterlock.errors import Malformed
from letterlock.formats.dns import name as names
from letterlock.formats.dns import nsec3
from letterlock.formats.dns.zone import NSEC, RecordSet
from letterlock.trust.dnssec import denial
from letterlock.trust.dnssec.denial import Proof
from letterlock.trust.dnssec.signatures import Bogus, Budget

_Key = tuple[bytes, ...] | bytes


@dataclass(slots=True)
class _Spans:
    """The spans of one zone in the order of their owners: of names for NSEC, of hashes for NSEC3."""

    order: list[_Key] = field(default_factory=list)
    sets: dict[_Key, tuple[RecordSet, int]] = field(default_factory=dict)
    hashing: nsec3.Hashing | None = None

    def add(self, key: _Key, record_set: RecordSet, expires: int) -> None:
        if key not in self.sets:
            bisect.insort(self.order, key)
        self.sets[key] = record_set, expires

    def before(self, key: _Key, now: int) -> tuple[RecordSet, int] | None:
        """Return the span whose owner is the key or comes before it, if it still holds."""
        if not self.order:
            return None
        index = bisect.bisect_right(self.order, key)
        found = self.sets[self.order[index - 1]]
        return found if found[1] > now else None


@dataclass(slots=True)
class KnownDenials:
    """The denials of all zones."""

    size: int = 2000
    _zones: defaultdict[bytes, _Spans] = field(default_factory=lambda: defaultdict(_Spans))

    def add(self, zone: bytes, record_set: RecordSet, expires: int) -> None:
        """Keep a verified NSEC or NSEC3 set until a time in seconds since 1970."""
        try:
            hashing = None if record_set.type == NSEC else nsec3.Hashing.from_rdata(record_set.rdatas[0])
            key: _Key = names.key(record_set.owner) if hashing is None else nsec3.owner_hash(record_set.owner)
        except Malformed:
            return
        spans = self._zones[zone]
        if spans.hashing != hashing or len(spans.order) >= self.size:
            spans = self._zones[zone] = _Spans(hashing=hashing)
        spans.add(key, record_set, expires)

    def prove(self, zone: bytes, name: bytes, number: int, now: int) -> tuple[Proof, int] | None:
        """Return what the denials kept prove about a name in a zone, and for how many seconds; None for nothing."""
        spans = self._zones.get(zone)
        if spans is None:
            return None
        budget = Budget()
        candidates = _by_name(spans, name, now) if spans.hashing is None else _by_hash(spans, zone, name, now, budget)
        try:
            proof = denial.prove_absence(name, number, zone, [found for found, _ in candidates], budget)
        except Bogus:
            return None
        if proof not in (Proof.NO_NAME, Proof.NO_DATA):
            return None
        return proof, min(expires for _, expires in candidates) - now


def _by_name(spans: _Spans, name: bytes, now: int) -> list[tuple[RecordSet, int]]:
    covering = spans.before(names.key(name), now)
    if covering is None:
        return []
    record_set, _ = covering
    try:
        following, _ = names.read(record_set.rdatas[0], 0)
    except Malformed:
        return []
    encloser = max(names.closest_common(name, record_set.owner), names.closest_common(name, following), key=len)
    wild = spans.before(names.key(names.wildcard(encloser)), now)
    return [covering, wild] if wild is not None else [covering]


def _by_hash(spans: _Spans, zone: bytes, name: bytes, now: int, budget: Budget) -> list[tuple[RecordSet, int]]:
    hashing = spans.hashing
    if hashing is None or hashing.iterations > denial.MAX_ITERATIONS:
        return []
    found: dict[bytes, tuple[RecordSet, int]] = {}
    for above in names.ancestors(name)[:16]:
        for asked in (above, names.wildcard(above) if len(above) < 254 else above):
            budget.hashes -= 1
            span = spans.before(hashing.hash(asked), now)
            if span is not None and not span[0].rdatas[0][1] & nsec3.OPT_OUT:
                found[span[0].owner] = span
        if above == zone:
            break
    return list(found.values())
