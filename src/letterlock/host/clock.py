"""Time as an argument: what needs to know the time is given a `Clock`.

`SystemClock` is the real one; `SetClock` stands still until it is moved, for tests and for the lab.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since 1970 (`now`), and seconds that only grow (`elapsed`)."""

    def now(self) -> float:
        """Return the seconds since 1970-01-01T00:00:00Z, as the system believes."""
        ...

    def elapsed(self) -> float:
        """Return seconds from an arbitrary start, never set back."""
        ...


class SystemClock:
    """The system's clocks."""

    def now(self) -> float:
        """Return the system's time."""
        return time.time()

    def elapsed(self) -> float:
        """Return the system's monotonic time."""
        return time.monotonic()


class SetClock:
    """A clock that stands where it is set."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._elapsed = 0.0

    def now(self) -> float:
        """Return the time set."""
        return self._now

    def elapsed(self) -> float:
        """Return the seconds moved since it was made."""
        return self._elapsed

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        self._elapsed += seconds

    def jump(self, seconds: float) -> None:
        """Set the clock ahead or back, while no time passes."""
        self._now += seconds
