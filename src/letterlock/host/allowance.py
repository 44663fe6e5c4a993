"""How much somebody may do in a while: a bucket of tokens by key, filled at a steady rate.

    allowance = Allowance(clock, burst=500, per_hour=500)
    wait = allowance.take("ada@rosewood.test", 3)      0 when taken; else the seconds until three could be

A bucket is one number, the moment when it is full again; so it is cheap to hold, to keep over restarts and to join with
what other processes took (host/notebook.py), and a clock that is set back costs a key one bucket at most.

Limits: 100,000 keys, the least recently used forgotten first; a key that was forgotten has a full bucket.
"""

from __future__ import annotations

from collections import OrderedDict

from letterlock.host.clock import Clock
from letterlock.host.notebook import MOST_NOTES, Note

_ROUNDING_SECONDS = 1e-6


class Allowance:
    """Buckets by key. `burst` tokens are in a full one; `per_hour` flow in. `name` is its name as a book."""

    def __init__(self, clock: Clock, *, burst: float, per_hour: float, name: str = "allowance") -> None:
        self.name = name
        self._clock = clock
        self._burst = burst
        self._seconds_each = 3600 / per_hour
        self._span = burst * self._seconds_each  # how long an empty bucket takes to fill
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._spent: dict[str, float] = {}  # in seconds of filling, since the last take_changes

    def take(self, key: str, tokens: float = 1) -> float:
        """Take tokens and return 0, or take none and return how many seconds are missing (inf for ever)."""
        now = self._clock.now()
        cost = tokens * self._seconds_each
        full_at = self._filling(key, now) + cost
        if full_at - now > self._span + _ROUNDING_SECONDS:
            return full_at - now - self._span if tokens <= self._burst else float("inf")
        self._set(key, full_at)
        self._spent[key] = self._spent.get(key, 0.0) + cost
        return 0.0

    def wait_seconds(self, key: str, tokens: float = 1) -> float:
        """Return how long it is until so many tokens can be taken, and take none."""
        now = self._clock.now()
        missing = self._filling(key, now) + tokens * self._seconds_each - now - self._span
        return missing if missing > _ROUNDING_SECONDS else 0.0

    def _filling(self, key: str, now: float) -> float:
        full_at = self._full_at.get(key, now)
        if full_at > now + self._span:  # the clock was set back: the bucket is empty now, and fills from here
            full_at = self._full_at[key] = now + self._span
        return max(full_at, now)

    def _set(self, key: str, full_at: float) -> None:
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > MOST_NOTES:
            self._full_at.popitem(last=False)

    # As a book: `first` is when the bucket is full, `second` what was spent of it since the last change.

    def take_changes(self) -> dict[str, Note]:
        """Return the buckets that were taken from."""
        changes = {}
        for key, spent in self._spent.items():
            if (full_at := self._full_at.get(key)) is not None:
                changes[key] = Note(full_at, spent, full_at)
        self._spent = {}
        return changes

    def joined(self, change: Note, known: Note | None) -> Note:
        """Return the bucket after what we and what others took."""
        full_at = change.first
        if known is not None:
            first = min(known.first, self._clock.now() + self._span)
            full_at = max(first, change.first - change.second) + change.second
        return Note(full_at, 0.0, full_at)

    def learn(self, key: str, note: Note) -> None:
        """Hear what is left of a bucket."""
        full_at = min(note.first, self._clock.now() + self._span)
        if full_at > self._full_at.get(key, 0.0):
            self._set(key, full_at)
