"""How much somebody may do in a while: a bucket of tokens by key, filled at a steady rate.

    allowance = Allowance(clock, burst=500, per_hour=500)
    wait = allowance.take("ada@rosewood.test", 3)      0 when taken; else the seconds until three could be

Limits: 100,000 keys, the fullest forgotten first; a key that was forgotten has a full bucket.
"""

from __future__ import annotations

from collections import OrderedDict

from letterlock.host.clock import Clock

_MOST_KEYS = 100_000


class Allowance:
    """Buckets by key. `burst` tokens are in a full one; `per_hour` flow in."""

    def __init__(self, clock: Clock, *, burst: float, per_hour: float) -> None:
        self._clock = clock
        self._burst = burst
        self._per_second = per_hour / 3600
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what was left, and when

    def take(self, key: str, tokens: float = 1) -> float:
        """Take tokens and return 0, or take none and return how many seconds are missing (inf for ever)."""
        now = self._clock.elapsed()
        level = self._level(key, now)
        if tokens > level:
            return (tokens - level) / self._per_second if tokens <= self._burst else float("inf")
        self._levels[key] = (level - tokens, now)
        self._levels.move_to_end(key)
        if len(self._levels) > _MOST_KEYS:
            self._levels.popitem(last=False)
        return 0.0

    def _level(self, key: str, now: float) -> float:
        left, when = self._levels.get(key, (self._burst, now))
        return min(left + (now - when) * self._per_second, self._burst)
