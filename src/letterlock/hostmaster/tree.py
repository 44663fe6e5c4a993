"""A tree of zones signed from its leaves to its top, each parent vouching for its children's keys.

Standards: RFC 4034 section 5 (DS), RFC 4035 section 2.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from letterlock.formats.dns import name as names
from letterlock.formats.dns import types
from letterlock.formats.dns.message import Record
from letterlock.formats.dns.zone import DNSKEY, DS, RecordSet, Zone
from letterlock.trust.dnssec.sign import Denial, SigningKey, sign_zone

_VALID_BEFORE, _VALID_AFTER = 3600, 14 * 86400


@dataclass(frozen=True, slots=True)
class ZonePlan:
    """One zone of a tree: its data, and how it is signed; without keys it stays unsigned.

    `vouched` are the DS data its parent shows, by default those of the entry keys; `age` shifts the span of the
    signatures into the past, in seconds; `finish` may change the signed zone.
    """

    zone: Zone
    keys: tuple[SigningKey, ...] = ()
    denial: Denial | None = None
    vouched: tuple[bytes, ...] | None = None
    age: int = 0
    finish: Callable[[Zone], Zone] | None = None

    def ds(self) -> tuple[bytes, ...]:
        """Return the DS data the parent shows."""
        if self.vouched is not None:
            return self.vouched
        origin = names.to_text(self.zone.origin)
        return tuple(key.ds(origin) for key in self.keys if key.is_entry)


def sign_tree(plans: Iterable[ZonePlan], now: int) -> list[Zone]:
    """Return the zones, signed at a time in seconds since 1970; a plan's parent is the nearest zone above it."""
    by_origin = {plan.zone.origin: plan for plan in plans}
    signed = []
    for origin in sorted(by_origin, key=names.key):
        plan = by_origin[origin]
        delegated = [
            Record(child, DS, types.IN, 3600, rdata)
            for child, other in by_origin.items()
            if child != origin and _parent_of(child, by_origin) == origin
            for rdata in other.ds()
        ]
        zone = plan.zone.replace([*plan.zone.records(), *delegated])
        if plan.keys:
            start, end = now - _VALID_BEFORE - plan.age, now + _VALID_AFTER - plan.age
            zone = sign_zone(zone, plan.keys, start, end, plan.denial)
        signed.append(plan.finish(zone) if plan.finish else zone)
    return signed


def _parent_of(child: bytes, origins: dict[bytes, ZonePlan]) -> bytes | None:
    return next((above for above in names.ancestors(child)[1:] if above in origins), None)


def anchors_of(zone: Zone) -> dict[bytes, tuple[RecordSet, ...]]:
    """Return trust anchors made of a zone's own keys."""
    keys = zone.nodes[zone.origin][DNSKEY]
    entries = tuple(rdata for rdata in keys.rdatas if rdata[1] & 1)
    return {zone.origin: (RecordSet(zone.origin, DNSKEY, keys.ttl, entries),)}
