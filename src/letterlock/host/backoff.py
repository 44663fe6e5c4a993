"""Slowing down who guesses, by key (a network, an account), without slowing down anybody else.

    backoff.wait_seconds("192.0.2.0/24")   0 or how long this key is still shut
    backoff.failed("192.0.2.0/24")         after a few failures the key is shut, each time twice as long
    backoff.succeeded("192.0.2.0/24")      the slate is clean

Limits: 100,000 keys, the least recently used forgotten first; a failure is forgotten after an hour.
See also: host/login_guard.py (passwords), host/notebook.py (what outlives a restart).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from letterlock.host.clock import Clock
from letterlock.host.notebook import MOST_NOTES, Note


@dataclass(frozen=True, slots=True)
class BackoffSettings:
    """`free_failures` cost nothing; then a wait of `first_seconds`, doubled with each, up to `longest_seconds`."""

    free_failures: int = 5
    first_seconds: float = 5
    longest_seconds: float = 900
    forget_seconds: float = 3600
    most_keys: int = MOST_NOTES


class Backoff:
    """Failures by key. `name` is its name as a book."""

    def __init__(self, clock: Clock, settings: BackoffSettings | None = None, *, name: str = "backoff") -> None:
        self.name = name
        self._clock = clock
        self._settings = settings or BackoffSettings()
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how many, and when the last was
        self._changes: dict[str, float] = {}  # failures since the last take_changes; -1 - n after a clean slate

    def failed(self, key: str) -> None:
        """Count a failure."""
        self._set(key, self.failures(key) + 1, self._clock.now())
        count = self._changes.get(key, 0.0)
        self._changes[key] = count + 1 if count >= 0 else count - 1

    def succeeded(self, key: str) -> None:
        """Forget the failures of a key."""
        if self._failures.pop(key, None) is not None:
            self._changes[key] = -1

    def failures(self, key: str) -> float:
        """Return how many failures of a key are remembered."""
        return self._current(key)[0]

    def wait_seconds(self, *keys: str) -> float:
        """Return how long the longest shut of these keys is still shut, 0 if none is."""
        now = self._clock.now()
        waits = [0.0]
        for key in keys:
            count, last = self._current(key)
            excess = count - self._settings.free_failures
            if excess > 0:
                shut = min(self._settings.first_seconds * 2.0 ** min(excess - 1, 30), self._settings.longest_seconds)
                waits.append(last + shut - now)
        return max(waits)

    def shut(self) -> dict[str, float]:
        """Return the keys that are shut now, and for how many seconds."""
        return {key: wait for key in tuple(self._failures) if (wait := self.wait_seconds(key)) > 0}

    def _current(self, key: str) -> tuple[float, float]:
        count, last = self._failures.get(key, (0.0, 0.0))
        now = self._clock.now()
        if last > now:  # the clock was set back: the failure was just now, and no wait is longer than it was
            last = now
            self._failures[key] = (count, last)
        if count and now - last > self._settings.forget_seconds:
            del self._failures[key]
            return 0.0, 0.0
        return count, last

    def _set(self, key: str, count: float, last: float) -> None:
        self._failures[key] = (count, last)
        self._failures.move_to_end(key)
        if len(self._failures) > self._settings.most_keys:
            self._failures.popitem(last=False)

    # As a book: `first` is the number of failures (in a change, -1 - n where a slate was cleaned before), `second` when
    # the last was.

    def take_changes(self) -> dict[str, Note]:
        """Return the failures since the last call, and the slates that were cleaned."""
        now = self._clock.now()
        until = now + self._settings.forget_seconds
        changes = {
            key: Note(count, self._failures.get(key, (0, now))[1], until) for key, count in self._changes.items()
        }
        self._changes = {}
        return changes

    def joined(self, change: Note, known: Note | None) -> Note:
        """Return the failures we and others counted."""
        if change.first < 0:
            return Note(-change.first - 1, change.second, change.until)
        if known is None:
            return change
        last = max(min(known.second, self._clock.now()), change.second)
        return Note(known.first + change.first, last, last + self._settings.forget_seconds)

    def learn(self, key: str, note: Note) -> None:
        """Hear how many failures there were in all."""
        count, last = self._failures.get(key, (0.0, 0.0))
        if note.first <= 0:
            if note.second >= last:
                self._failures.pop(key, None)
        else:
            self._set(key, max(count, note.first), max(last, min(note.second, self._clock.now())))
