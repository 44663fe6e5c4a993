"""Slowing down who guesses passwords, by network and by account, without slowing down anybody else.

    backoff.wait_seconds("192.0.2.0/24")   0 or how long this key is still shut
    backoff.failed("192.0.2.0/24")         after a few failures the key is shut, each time twice as long
    backoff.succeeded("192.0.2.0/24")      the slate is clean

Limits: 100,000 keys, the least recently used forgotten first; a failure is forgotten after an hour.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from letterlock.host.clock import Clock


@dataclass(frozen=True, slots=True)
class BackoffSettings:
    """`free_failures` cost nothing; then a wait of `first_seconds`, doubled with each, up to `longest_seconds`."""

    free_failures: int = 5
    first_seconds: float = 5
    longest_seconds: float = 900
    forget_seconds: float = 3600
    most_keys: int = 100_000


class Backoff:
    """Failures by key."""

    def __init__(self, clock: Clock, settings: BackoffSettings | None = None) -> None:
        self._clock = clock
        self._settings = settings or BackoffSettings()
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how many, and when the last was

    def failed(self, key: str) -> None:
        """Count a failure."""
        count = self._current(key)[0] + 1
        self._failures[key] = (count, self._clock.elapsed())
        self._failures.move_to_end(key)
        if len(self._failures) > self._settings.most_keys:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)

    def wait_seconds(self, *keys: str) -> float:
        """Return how long the longest shut of these keys is still shut, 0 if none is."""
        now = self._clock.elapsed()
        waits = [0.0]
        for key in keys:
            count, last = self._current(key)
            excess = count - self._settings.free_failures
            if excess > 0:
                shut = min(self._settings.first_seconds * 2.0 ** min(excess - 1, 30), self._settings.longest_seconds)
                waits.append(last + shut - now)
        return max(waits)

    def _current(self, key: str) -> tuple[int, float]:
        count, last = self._failures.get(key, (0, 0.0))
        if count and self._clock.elapsed() - last > self._settings.forget_seconds:
            del self._failures[key]
            return 0, 0.0
        return count, last
