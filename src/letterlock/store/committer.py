"""The one way into the log: many commits share a sync, several syncs are under way, all become visible in one order.

A record gets its sequence number when it is submitted. A lane is a writer thread with a segment of its own; an idle
lane takes all that waits (up to a bound), appends and syncs it, and reports back to the event loop. Groups are handed
to `visible` strictly in sequence order, whichever lane was faster. A small group is laid out on the event loop, so that
its lane does nothing but wait for the disk: each time a thread wants the interpreter back, the sessions wait for it.

How many lanes run follows the disk: where a sync is quick, one lane with larger groups is best; where it is slow,
more lanes hide it. The measure is a moving average of the sync time. Where one lane is enough, a sync waits for company, a
moment at most, while messages are on their way that were announced: a sync costs as much processor time as two messages,
and ten sessions that share one are all answered sooner. A wait in which nobody came is not repeated for the same ones: a
client that stalls after it was announced costs one such moment, not one a message.

Promises:
- The event loop never waits for a disk.
- A full disk fails the groups that met it (Unavailable, full) after their octets were cut off durably, and no other.
- Any other error is fatal: what the file holds is unknown, so nothing later may be acknowledged. The committer stops,
  every waiting record fails, and recovery reads the log anew. (A second sync after a failed one can lie.)
"""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from letterlock.errors import Unavailable
from letterlock.store.segments import Laid, Record, Segment, Written

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_MOST_RECORDS = 400
_MOST_OCTETS = 8 << 20
_QUICK_SYNC_SECONDS = 0.002
_SMALL_OCTETS = 2 << 20  # a checksum over these takes about 0.1 ms
_COMPANY_SECONDS = 0.002
_COMPANY_ENOUGH = 20  # records, of which a sync is a small part


@dataclass(slots=True)
class Ticket:
    """One submitted record and what became of it; `context` is the submitter's."""

    record: Record
    context: object
    written: Written | None = None


@dataclass(slots=True)
class _Group:
    tickets: list[Ticket]
    octets: int
    laid: Laid | None = None
    finished: bool = False
    failure: Unavailable | None = None


@dataclass(slots=True)
class _Lane:
    thread: threading.Thread | None = None
    segment: Segment | None = None
    work: SimpleQueue[_Group | None] = field(default_factory=SimpleQueue)


class Committer:
    """Appends records to the log through lanes.

    `visible(tickets, failure)` is called on the event loop for every group in order: with failure None the records are
    durable and know where they were written. `stopped` is set after a fatal error. `segments` are those recovery left open.
    """

    def __init__(
        self,
        folder: Path,
        visible: Callable[[list[Ticket], Unavailable | None], None],
        *,
        next_sequence: int,
        next_segment: int,
        segments: list[Segment],
        lanes: int = 4,
        segment_octets: int = 64 << 20,
    ) -> None:
        self.next_sequence = next_sequence
        self.stopped = asyncio.Event()
        self.failure: Unavailable | None = None
        self._folder = folder
        self._visible = visible
        self._segment_octets = segment_octets
        self._loop = asyncio.get_running_loop()
        self._numbers = threading.Lock()
        self._next_segment = next_segment
        self._lanes = [_Lane() for _ in range(lanes)]
        for lane, segment in zip(self._lanes, segments, strict=False):
            lane.segment = segment
        for surplus in segments[lanes:]:
            surplus.close()
        self._idle = list(reversed(self._lanes))
        self._waiting: deque[Ticket] = deque()
        self._under_way: deque[_Group] = deque()
        self._scheduled = False
        self._sync_seconds = 0.0
        self._coming = 0  # messages announced
        self._stalled = 0  # of these, for whom was waited in vain
        self._company: asyncio.TimerHandle | None = None  # ends the wait for them
        self._alone = 0  # how many waited when it began
        self._has_waited = False
        self._drained = asyncio.Event()
        self._drained.set()

    def submit(self, description: bytes, octets: tuple[bytes, ...], context: object) -> int:
        """Queue a record and return its sequence number. Raises Unavailable once the committer has stopped."""
        if self.failure:
            raise Unavailable(self.failure.problem)
        sequence = self.next_sequence
        self.next_sequence += 1
        self._waiting.append(Ticket(Record(sequence, description, octets), context))
        self._drained.clear()
        self._schedule()
        return sequence

    def announce(self, change: int) -> None:
        """Say that so many more records are on their way, or fewer."""
        self._coming += change
        self._stalled = min(self._stalled, max(self._coming, 0))
        if self._coming <= self._stalled and self._waiting:
            self._schedule()

    def stop(self, failure: Unavailable) -> None:
        """Take nothing more and fail what waits: the rest of the store cannot go on."""
        self.failure = self.failure or failure
        self.stopped.set()
        self._give_up()

    def active_segments(self) -> set[int]:
        """Return the segments that may still be written to."""
        return {lane.segment.number for lane in self._lanes if lane.segment}

    async def drain(self) -> None:
        """Wait until everything submitted has become visible or failed."""
        await self._drained.wait()

    async def close(self) -> None:
        """Finish what was submitted and end the threads."""
        await self.drain()
        threads = [lane.thread for lane in self._lanes if lane.thread]
        for lane in self._lanes:
            lane.work.put(None)
        for thread in threads:
            await asyncio.to_thread(thread.join)
        for lane in self._lanes:
            if lane.segment:
                lane.segment.close()
                lane.segment = None

    def _schedule(self) -> None:
        if not self._scheduled:  # everything submitted in this turn of the loop shares a group
            self._scheduled = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._scheduled = False
        if self.failure:
            self._give_up()
            return
        if self._should_wait():
            return
        while self._waiting and self._idle and len(self._lanes) - len(self._idle) < self._wanted_lanes():
            lane = self._idle.pop()
            group = self._take()
            if lane.segment is not None and group.octets <= _SMALL_OCTETS and not self._is_full(lane.segment):
                group.laid = lane.segment.lay_out([ticket.record for ticket in group.tickets])
            self._under_way.append(group)
            if lane.thread is None:
                lane.thread = threading.Thread(target=self._run, args=(lane,), name="store lane", daemon=True)
                lane.thread.start()
            lane.work.put(group)
        if not self._waiting:
            self._has_waited = False
            if self._company is not None:
                self._company.cancel()
                self._company = None

    def _should_wait(self) -> bool:
        """Tell whether what waits should have company, and see that it does not wait for long."""
        if (
            self._coming <= self._stalled
            or self._has_waited
            or len(self._waiting) >= _COMPANY_ENOUGH
            or self._wanted_lanes() > 1
        ):
            return False
        if self._company is None:
            self._alone = len(self._waiting)
            self._company = self._loop.call_later(_COMPANY_SECONDS, self._end_waiting)
        return True

    def _end_waiting(self) -> None:
        self._company = None
        self._has_waited = True
        if len(self._waiting) <= self._alone:
            self._stalled = self._coming
        self._dispatch()

    def _wanted_lanes(self) -> int:
        return 1 + int(self._sync_seconds / _QUICK_SYNC_SECONDS)

    def _is_full(self, segment: Segment) -> bool:
        return segment.offset >= self._segment_octets

    def _take(self) -> _Group:
        tickets: list[Ticket] = []
        octets = 0
        while self._waiting and len(tickets) < _MOST_RECORDS and octets < _MOST_OCTETS:
            ticket = self._waiting.popleft()
            octets += sum(map(len, ticket.record.octets))
            tickets.append(ticket)
        return _Group(tickets, octets)

    def _run(self, lane: _Lane) -> None:
        """Write groups until told to end. Runs in the lane's thread."""
        while (group := lane.work.get()) is not None:
            started = time.monotonic()
            try:
                if self.failure is None:
                    self._write(lane, group)
                group.failure = self.failure
            except OSError as error:
                self._contain(lane, group, error)
            except Exception as fault:  # the border: a lane that ended would keep all that waits for ever
                self.failure = group.failure = Unavailable(f"a fault of the program: {fault!r}")
            try:
                self._loop.call_soon_threadsafe(self._finished, lane, group, time.monotonic() - started)
            except RuntimeError:  # the loop was closed under us: nobody is left to tell
                return

    def _write(self, lane: _Lane, group: _Group) -> None:
        if lane.segment is None or self._is_full(lane.segment):
            with self._numbers:
                number = self._next_segment
                self._next_segment += 1
            fresh = Segment.create(self._folder, number)
            if lane.segment:
                lane.segment.close()
            lane.segment = fresh
        laid = group.laid = group.laid or lane.segment.lay_out([ticket.record for ticket in group.tickets])
        lane.segment.write(laid)

    def _contain(self, lane: _Lane, group: _Group, error: OSError) -> None:
        """Decide whether the error is a full disk that left no trace, or fatal. Runs in the lane's thread."""
        problem = f"writing the log failed: {error.strerror or error}"
        full = error.errno in _FULL
        try:
            if lane.segment:
                lane.segment.cut_back()
        except OSError as second:
            full = False
            problem += f"; and cutting it back: {second.strerror or second}"
        group.failure = Unavailable(problem, full=full)
        if not full:
            self.failure = group.failure

    def _finished(self, lane: _Lane, group: _Group, seconds: float) -> None:
        group.finished = True
        self._sync_seconds += (seconds - self._sync_seconds) / 8
        self._idle.append(lane)
        if self._waiting:
            self._dispatch()
        while self._under_way and self._under_way[0].finished:
            first = self._under_way.popleft()
            if first.failure and not first.failure.full:
                self._under_way.appendleft(first)
                self._give_up()
                return
            if first.laid is not None:
                for ticket, place in zip(first.tickets, first.laid.written, strict=True):
                    ticket.written = place
            self._visible(first.tickets, first.failure)
        if not self._under_way and not self._waiting:
            self._drained.set()

    def _give_up(self) -> None:
        """Fail everything that is not visible yet: it follows a record whose fate is unknown."""
        failure = self.failure or Unavailable("the store has stopped")
        if self._under_way and not self._under_way[0].finished:
            return  # an earlier group may still succeed; its end comes back here
        tickets = [ticket for group in self._under_way for ticket in group.tickets] + list(self._waiting)
        self._under_way.clear()
        self._waiting.clear()
        self.stopped.set()
        if tickets:
            self._visible(tickets, failure)
        self._drained.set()
