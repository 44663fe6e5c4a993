"""Lanes: how many errands for one destination run at once, and when none does.

A lane begins narrow and gets wider by one with each success, so that it doubles with each round of a destination that
bears it; a failure of the destination itself halves it. A destination that answered nobody since as many failures as ran
at once is left in peace for a while: errands for it are deferred untried.

Errands wait by priority, then in the order in which they came (RFC 6710 section 5.1).

A lane nobody needs is dropped as soon as nothing would be lost with it, and every minute those are looked through that
were kept for their failure.

See also: runner.py.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from letterlock.formats.outcome import Outcome, Result
from letterlock.store.interface import QueueEntry


@dataclass(frozen=True, slots=True)
class Errand:
    """A message for one destination: a domain, or the route an operator chose. `entry` holds only its recipients."""

    destination: str
    entry: QueueEntry


@dataclass(slots=True)
class Lane:
    """The errands for one destination. `credit` is how many more failures are borne before it counts as down.

    Times are seconds that only grow (Clock.elapsed): a clock that is set back keeps no destination in peace for longer.
    """

    limit: float
    running: int = 0
    credit: int = 0
    waiting: list[tuple[int, int, Errand]] = field(default_factory=list)  # a heap
    added: int = 0
    failing_until: float = 0.0
    failure: Outcome | None = None
    has_parked: bool = False
    is_fetching: bool = False

    @property
    def has_room(self) -> bool:
        """Whether one more may run."""
        return self.running < int(self.limit)

    def add(self, errand: Errand) -> None:
        """Let an errand wait for its turn."""
        self.added += 1
        heapq.heappush(self.waiting, (-errand.entry.priority, self.added, errand))

    @property
    def first(self) -> Errand:
        """The errand whose turn it is, which stays."""
        return self.waiting[0][2]

    def next(self) -> Errand:
        """Return the errand whose turn it is."""
        return heapq.heappop(self.waiting)[2]

    def is_full(self, priority: int, most: int) -> bool:
        """Tell whether one more of a priority must not wait here: twice as many may where it is the most urgent."""
        if len(self.waiting) < most:
            return False
        return -priority >= self.waiting[0][0] or len(self.waiting) >= 2 * most

    def is_spare(self, elapsed: float) -> bool:
        """Tell whether nothing would be lost with it."""
        return (
            not (self.running or self.waiting or self.has_parked or self.is_fetching) and elapsed >= self.failing_until
        )

    def hindrance(self, elapsed: float) -> Outcome | None:
        """Return why nothing is tried now, or None."""
        return self.failure if elapsed < self.failing_until else None

    def learn(self, outcomes: Sequence[Outcome], elapsed: float, *, widest: int, peace_seconds: float) -> None:
        """Take note of how an errand ended."""
        if not all(outcome.result is Result.DEFERRED and outcome.about_host for outcome in outcomes):
            self.limit = min(self.limit + 1, widest)
            self.credit = int(self.limit)
            self.failing_until, self.failure = 0.0, None
            return
        self.limit = max(self.limit / 2, 1)
        self.credit -= 1
        if self.credit < 0:
            self.failing_until, self.failure = elapsed + peace_seconds, outcomes[0]


_LOOK_SECONDS = 60.0


class Lanes:
    """The lanes there are, by destination."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}
        self._looked = 0.0

    def __iter__(self) -> Iterator[Lane]:
        """The lanes there are now."""
        return iter(self._lanes.values())

    def __len__(self) -> int:
        """How many there are."""
        return len(self._lanes)

    def __contains__(self, destination: str) -> bool:
        """Whether there is one for a destination."""
        return destination in self._lanes

    def __getitem__(self, destination: str) -> Lane:
        """The lane for a destination that has one."""
        return self._lanes[destination]

    def obtain(self, destination: str, limit: float) -> Lane:
        """Return the lane for a destination, made with this limit if there is none."""
        lane = self._lanes.get(destination)
        if lane is None:
            lane = self._lanes[destination] = Lane(limit)
        return lane

    def drop_if_spare(self, destination: str, elapsed: float) -> None:
        """Drop a lane with which nothing would be lost."""
        if self._lanes[destination].is_spare(elapsed):
            del self._lanes[destination]

    def tidy(self, elapsed: float) -> None:
        """Drop all such lanes, now and then."""
        if elapsed < self._looked + _LOOK_SECONDS:
            return
        self._looked = elapsed
        for destination in [name for name, lane in self._lanes.items() if lane.is_spare(elapsed)]:
            del self._lanes[destination]
