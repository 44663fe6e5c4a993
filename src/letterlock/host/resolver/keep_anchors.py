"""Trust anchors that follow their zones' keys, remembered in a file.

    keeper = AnchorKeeper(source, root_anchors(), Path("anchors.json"))
    resolver = ValidatingResolver(source, keeper.anchors)
    await keeper.run()                # as a task of its own

Standards: RFC 5011 (see trust/dnssec/track_anchors.py).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from letterlock.errors import Malformed, PeerFault, Unavailable
from letterlock.formats.dns.zone import DNSKEY, DS, RecordSet
from letterlock.host.drive_work import contain
from letterlock.host.resolver.anchors import Anchors
from letterlock.host.resolver.source import Source
from letterlock.trust.dnssec.signatures import SUPPORTED_DIGESTS, Bogus, Key, ds_digest, gather
from letterlock.trust.dnssec.track_anchors import TrustPoint, begin, observe

_RETRY_SECONDS = 3600


class AnchorKeeper:
    """Keeps `anchors`, a table that a resolver may hold on to while it changes."""

    def __init__(self, source: Source, initial: Anchors, file: Path, clock: Callable[[], float] = time.time) -> None:
        self._source = source
        self._file = file
        self._clock = clock
        self._initial = initial
        self.points = {zone: point for zone, point in self._load().items() if self._continues(point)}
        self.anchors: Anchors = dict(initial)
        self.problems: dict[bytes, str] = {}
        self._adopt()

    def _load(self) -> dict[bytes, TrustPoint]:
        try:
            octets = self._file.read_bytes()
        except FileNotFoundError:
            return {}
        try:
            points = msgspec.json.decode(octets, type=list[TrustPoint])
        except msgspec.DecodeError as error:
            raise Malformed(f"{self._file}: not a file of trust anchors: {error}") from None
        return {point.zone: point for point in points}

    def _continues(self, point: TrustPoint) -> bool:
        """Whether what was remembered grew out of the initial anchors; new ones from the admin replace it."""
        known = RecordSet(point.zone, DNSKEY, 0, tuple(key.rdata for key in point.keys))
        return not set(known.rdatas).isdisjoint(_vouched(self._initial.get(point.zone, ()), known))

    def _adopt(self) -> None:
        for zone, point in self.points.items():
            anchor = point.anchor()
            if anchor.rdatas:
                self.anchors[zone] = (anchor,)

    async def look(self) -> float:
        """Look at the keys of every anchor that is due; return the seconds until the next is.

        What went wrong stands in `problems` by zone; anchors are only ever changed on good evidence.
        """
        now = int(self._clock())
        changed = False
        for zone, sets in self._initial.items():
            point = self.points.get(zone)
            if point is not None and point.look_again_at > now:
                continue
            try:
                self.points[zone] = await self._look_at(zone, point, sets, now)
                self.problems.pop(zone, None)
                changed = True
            except (PeerFault, Bogus, Malformed) as error:
                self.problems[zone] = str(error)
        if changed:
            self._adopt()
            try:
                await asyncio.to_thread(self._save)
            except OSError as error:
                self.problems[b""] = f"{self._file}: {error.strerror}"
        due = [point.look_again_at - now for zone, point in self.points.items() if zone not in self.problems]
        return float(max(min([_RETRY_SECONDS] if self.problems else due, default=_RETRY_SECONDS), 1))

    async def _look_at(
        self, zone: bytes, point: TrustPoint | None, sets: tuple[RecordSet, ...], now: int
    ) -> TrustPoint:
        response = await self._source.fetch(zone, DNSKEY)
        key_set = gather(response.answer).get((zone, DNSKEY))
        if key_set is None:
            raise Bogus("the anchor's zone shows no keys")
        if point is None:
            point = begin(zone, _vouched(sets, key_set), now)
        return observe(point, key_set, now)

    def _save(self) -> None:
        octets = msgspec.json.encode(list(self.points.values()))
        draft = self._file.with_suffix(".new")
        with draft.open("wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._file)

    async def run(self) -> None:
        """Look whenever it is due, for ever."""
        while True:
            try:
                seconds = await contain(self.look())
            except Unavailable as trouble:  # a fault of the program must not end this: keys roll
                self.problems[b""] = trouble.problem
                seconds = _RETRY_SECONDS
            await asyncio.sleep(seconds)


def _vouched(sets: tuple[RecordSet, ...], key_set: RecordSet) -> tuple[bytes, ...]:
    """Return the keys of a set that the initial anchors name, as keys or by digest."""
    named = {rdata for found in sets if found.type == DNSKEY for rdata in found.rdatas}
    digests = [rdata for found in sets if found.type == DS for rdata in found.rdatas if rdata[3] in SUPPORTED_DIGESTS]
    for rdata in key_set.rdatas:
        tag = Key.read(rdata).tag.to_bytes(2, "big")
        for ds in digests:
            if ds[:2] == tag and ds_digest(key_set.owner, rdata, ds[3]) == ds[4:]:
                named.add(rdata)
    return tuple(sorted(named))
