"""Keys that are known for a while from when they were last seen: who used an account from where, whose mail came through.

    familiar = Familiar(clock, keep_seconds=36 * 86_400)
    familiar.seen("192.0.2.0/24")
    familiar.knows("192.0.2.0/24")       True for so long

Limits: 100,000 keys, those seen longest ago forgotten first.
See also: host/notebook.py (what outlives a restart).
"""

from __future__ import annotations

from collections import OrderedDict

from letterlock.host.clock import Clock
from letterlock.host.notebook import MOST_NOTES, Note

_DAY = 86_400.0
_WRITTEN_SECONDS = 3600.0  # who is seen all the time is written once in a while


class Familiar:
    """Keys, and when each was seen last. `name` is its name as a book."""

    def __init__(self, clock: Clock, *, keep_seconds: float = 90 * _DAY, name: str = "familiar") -> None:
        self.name = name
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._last: OrderedDict[str, float] = OrderedDict()
        self._changes: dict[str, float] = {}

    def seen(self, key: str) -> None:
        """Take note of a key."""
        now = self._clock.now()
        if abs(now - self._last.get(key, 0.0)) >= _WRITTEN_SECONDS:
            self._set(key, now)
            self._changes[key] = now

    def knows(self, key: str) -> bool:
        """Tell whether a key was seen within the time it is known for."""
        last = self._last.get(key)
        return last is not None and self._clock.now() - last < self._keep_seconds

    def _set(self, key: str, last: float) -> None:
        self._last[key] = last
        self._last.move_to_end(key)
        if len(self._last) > MOST_NOTES:
            self._last.popitem(last=False)

    # As a book: `first` is when the key was seen last.

    def take_changes(self) -> dict[str, Note]:
        """Return the keys seen since the last call."""
        changes = {key: Note(last, 0.0, last + self._keep_seconds) for key, last in self._changes.items()}
        self._changes = {}
        return changes

    def joined(self, change: Note, known: Note | None) -> Note:
        """Return the later sight."""
        return known if known is not None and known.first > change.first else change

    def learn(self, key: str, note: Note) -> None:
        """Hear when a key was seen last."""
        if note.first > self._last.get(key, 0.0):
            self._set(key, note.first)
