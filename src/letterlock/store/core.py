"""The heart of the engine: entries go to the log, are applied in order when durable, and wake their callers.

What the roles call stands in store/engine.py; here is what all of it needs: making a change durable, having a mailbox
in memory, asking the index.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw

from letterlock.errors import Unavailable
from letterlock.host.clock import Clock
from letterlock.host.drive_work import contain
from letterlock.host.logs import Log
from letterlock.store.committer import Committer, Ticket
from letterlock.store.entries import Accepted, AnyEntry, ContentsMoved, pack
from letterlock.store.index import Batch, Indexer
from letterlock.store.interface import Refused
from letterlock.store.live import Handle, LiveMailbox
from letterlock.store.reclaim import (
    Reclaimed,
    Sealed,
    copy_index,
    living,
    nothing_lives,
    remove_segment,
    sealed_segments,
)
from letterlock.store.recover import Recovered, read_mailbox, read_rows
from letterlock.store.vanished import forget_oldest

T = TypeVar("T")

_MAINTENANCE_SECONDS = 300.0
_LOOK_SECONDS = 0.1  # between looks at the room on the disk, unless much is written meanwhile
_MOST_BATCHES_WAITING = 2000
_MOST_IDLE_MESSAGES = 500_000
_MOST_IDLE_MAILBOXES = 200


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the store lies and how it writes. `reserve_octets` of disk are kept free for changes that free space."""

    folder: Path
    lanes: int = 4
    segment_octets: int = 64 << 20
    reserve_octets: int = 32 << 20


class _NotRead(Unavailable):
    """A segment that is to be reclaimed cannot be read."""


@dataclass(slots=True)
class _Pending:
    """A change under way: who waits for it, and the mailboxes that must stay in memory until it is applied."""

    entry: AnyEntry
    future: asyncio.Future[object]
    pinned: Sequence[Handle]


class Core:
    """The engine without its calls."""

    def __init__(self, settings: StoreSettings, recovered: Recovered, clock: Clock) -> None:
        self.report = recovered.report
        self._log = Log("store")
        self._settings = settings
        self._clock = clock
        self._state = recovered.state
        self._directory = recovered.state.directory
        self._contents = recovered.state.contents
        self._reader = recovered.reader
        self._lock = recovered.lock
        self._indexer = Indexer(recovered.connection, self._indexed, self._index_failed)
        self._committer = Committer(
            settings.folder / "log",
            self._visible,
            next_sequence=recovered.next_sequence,
            next_segment=recovered.next_segment,
            segments=recovered.segments,
            lanes=settings.lanes,
            segment_octets=settings.segment_octets,
        )
        self._queue_news = asyncio.Event()
        self._queue_news.set()
        self._loads: dict[int, asyncio.Task[LiveMailbox]] = {}
        self._looked = float("-inf")  # when the disk was last seen to have room
        self._unlooked = 0  # octets taken on since
        self._closed = False
        self._is_faulty = False  # what is in memory may be half changed, and must not reach the index
        self._maintenance = asyncio.create_task(self._maintain(), name="store maintenance")

    @property
    def stopped(self) -> asyncio.Event:
        """Set once the disk failed: every change is refused until the store is opened anew."""
        return self._committer.stopped

    async def close(self) -> None:
        """Finish what was begun and close the files."""
        if self._closed:
            return
        self._closed = True
        self._maintenance.cancel()
        await asyncio.gather(self._maintenance, return_exceptions=True)
        await self._committer.close()
        await self._indexer.close()
        self._contents.close()
        self._reader.close()
        os.close(self._lock)

    def announce(self, change: int) -> None:
        """Say that so many more messages are on their way to `commit`, or fewer."""
        self._committer.announce(change)

    @property
    def reserve_octets(self) -> int:
        """How much of the disk is kept free: with less, only what frees space is taken."""
        return self._settings.reserve_octets

    async def _change(
        self,
        entry: AnyEntry,
        octets: tuple[bytes, ...] = (),
        *,
        mailboxes: Sequence[int] = (),
        frees: bool = False,
    ) -> object:
        """Make an entry durable and return what applying it gave, with `mailboxes` in memory meanwhile.

        `frees` lets it through on a disk that is nearly full. Raises Refused, Unavailable.
        """
        if self._closed:
            raise Unavailable("the store is closed")
        if not frees:
            self._demand_room(sum(map(len, octets)))
        if self._indexer.waiting > _MOST_BATCHES_WAITING:
            await self._ask(lambda _: None)
        pinned = [Handle(await self._load(mailbox)) for mailbox in mailboxes]
        return await self._submit(entry, pack(entry), octets, pinned)

    def begin(self, entry: Accepted, description: bytes, octets: tuple[bytes, ...]) -> asyncio.Future[object]:
        """Begin to make a transaction durable that was packed elsewhere. Raises Unavailable."""
        if self._closed or self._indexer.waiting > _MOST_BATCHES_WAITING:
            return asyncio.ensure_future(self._change(entry, octets))
        self._demand_room(sum(map(len, octets)))
        return self._submit(entry, description, octets, ())

    def _submit(
        self, entry: AnyEntry, description: bytes, octets: tuple[bytes, ...], pinned: Sequence[Handle]
    ) -> asyncio.Future[object]:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._committer.submit(description, octets, _Pending(entry, future, pinned))
        return future

    def _demand_room(self, octets: int) -> None:
        if self._indexer.trouble:
            raise Unavailable(self._indexer.trouble.problem, full=self._indexer.trouble.full)
        now = time.monotonic()
        self._unlooked += octets
        if now - self._looked < _LOOK_SECONDS and self._unlooked < self._settings.reserve_octets // 8:
            return  # a look a message would cost more than the rest: the call gives up the interpreter to the writers
        try:
            disk = os.statvfs(self._settings.folder)
        except OSError as error:
            raise Unavailable(f"looking at the disk failed: {error.strerror}") from None
        if disk.f_bavail * disk.f_frsize < self._settings.reserve_octets or (disk.f_files and not disk.f_favail):
            raise Unavailable("the disk is nearly full", full=True)
        self._looked, self._unlooked = now, octets

    def _visible(self, tickets: list[Ticket], failure: Unavailable | None) -> None:
        """Apply a group that is durable, or fail it."""
        try:
            results: list[object] = [failure or self._apply(ticket) for ticket in tickets]
        except BaseException as fault:  # what is in memory may be half changed: go no further
            self._is_faulty = True
            self._committer.stop(Unavailable(f"a fault of the program: {fault!r}"))
            self._wake(tickets, [self._committer.failure] * len(tickets))
            raise
        if not failure:
            self._hand_over()
        self._wake(tickets, results)
        if self._state.queued:
            self._state.queued = False
            self._queue_news.set()

    def _wake(self, tickets: list[Ticket], results: Sequence[object]) -> None:
        """Give each waiting caller its result."""
        for ticket, result in zip(tickets, results, strict=True):
            pending = ticket.context
            assert isinstance(pending, _Pending)
            for handle in pending.pinned:
                handle.close()
            if pending.future.done():  # whoever asked has gone; the change stands
                continue
            if isinstance(result, Exception):
                pending.future.set_exception(result)
            else:
                pending.future.set_result(result)

    def _apply(self, ticket: Ticket) -> object:
        pending = ticket.context
        assert isinstance(pending, _Pending)
        assert ticket.written is not None
        sequence, place = ticket.record.sequence, ticket.written.octets
        batch = self._state.batch
        batch.sequence = sequence
        batch.ends[place.segment] = (place.offset + place.length, ticket.written.checksum, sequence)
        try:
            return self._state.apply(sequence, pending.entry, place)
        except Refused as refused:
            return refused

    def _hand_over(self) -> None:
        """Give the index what was applied; what is applied from now on comes behind it."""
        if self._is_faulty:  # the next start makes it from the log
            return
        batch = self._state.batch
        self._directory.save(batch)
        self._indexer.write(batch)
        self._state.batch = Batch(batch.sequence)

    def _indexed(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self._contents.forget(batch.places)

    def _index_failed(self, trouble: Unavailable) -> None:
        self._committer.stop(trouble)

    async def _ask(self, question: Callable[[apsw.Connection], T]) -> T:
        if self._closed:
            raise Unavailable("the store is closed")
        return await self._indexer.ask(question)

    # room

    async def reclaim(self, *, most_octets: int = 64 << 20, least_dead: float = 0.5) -> Reclaimed:
        """Write again what lives in mostly dead segments, and remove those that hold nothing. Raises Unavailable.

        A segment that cannot be read stays, and does not keep the others.
        """
        active = self._committer.active_segments()
        sealed = await self._ask(lambda connection: sealed_segments(connection, active))
        moved = 0
        for segment in sealed:
            if segment.live > segment.end * (1 - least_dead):
                break
            try:
                while moved < most_octets and (some := await self._ask(partial(living, segment=segment.number))):
                    moved += await self._write_again(some)
            except _NotRead as trouble:
                self._log.error("segment not reclaimed", segment=f"{segment.number:010x}", problem=trouble.problem)
        freed = await self._remove([segment for segment in sealed if segment.live <= segment.end * (1 - least_dead)])
        return Reclaimed(len(freed), sum(segment.end for segment in freed), moved)

    async def _write_again(self, contents: list[tuple[int, int]]) -> int:
        """Write contents behind the log; return how many octets."""
        kept: list[tuple[int, int]] = []
        octets: list[bytes] = []
        for content, length in contents:
            try:
                reading = self._contents.reading(content, 0, length)
                octets.append(await asyncio.get_running_loop().run_in_executor(self._contents.pool, reading))
                kept.append((content, length))
            except Refused:  # it died meanwhile
                continue
            except Unavailable as trouble:
                raise _NotRead(trouble.problem) from None
        if kept:
            await self._change(ContentsMoved(tuple(kept)), tuple(octets), frees=True)
        return max(sum(map(len, octets)), 1)

    async def _remove(self, candidates: list[Sealed]) -> list[Sealed]:
        empty = [one for one in candidates if await self._ask(partial(nothing_lives, segment=one.number))]
        if not empty:
            return []
        durable = min(await self._indexer.make_durable(), await asyncio.to_thread(copy_index, self._settings.folder))
        removed: list[Sealed] = []
        for segment in empty:
            log = self._settings.folder / "log"
            if segment.last_sequence <= durable and await asyncio.to_thread(remove_segment, log, segment):
                self._contents.retire(segment.number)
                self._state.batch.add("DELETE FROM segments WHERE id = ?", segment.number)
                removed.append(segment)
        self._hand_over()
        return removed

    async def _maintain(self) -> None:
        """Reclaim now and then, and forget what is too old to be asked for."""
        while True:
            await asyncio.sleep(_MAINTENANCE_SECONDS)
            for work in (self.reclaim, partial(self._ask, forget_oldest)):
                try:
                    await contain(work())
                except Unavailable as trouble:  # next time, perhaps
                    self._log.error("store not tidied", problem=trouble.problem)

    # mailboxes in memory

    async def _load(self, mailbox: int) -> LiveMailbox:
        """Return a mailbox in memory. Raises Refused(NONEXISTENT)."""
        live = self._state.live.get(mailbox)
        if live is None:
            self._directory.number(mailbox)
            task = self._loads.get(mailbox)
            if task is None:
                self._make_way()
                task = self._loads[mailbox] = asyncio.create_task(self._read_mailbox(mailbox))
            live = await asyncio.shield(task)
        return live

    async def _read_mailbox(self, mailbox: int) -> LiveMailbox:
        """Read a mailbox from the index; what arrives meanwhile comes behind."""
        arriving = self._state.loading[mailbox] = []
        try:
            rows = await self._ask(lambda connection: read_rows(connection, mailbox))
            entry = self._directory.number(mailbox)
            live = read_mailbox(entry, [*rows, *arriving])
        finally:
            self._state.loading.pop(mailbox, None)
            del self._loads[mailbox]
        self._state.live[mailbox] = live
        return live

    def _make_way(self) -> None:
        """Let go of mailboxes nobody looks at, oldest first, while they are too many."""
        idle = [live for live in self._state.live.values() if not live.users]
        messages = sum(len(live.uids) for live in idle)
        for count, live in enumerate(idle):
            if messages <= _MOST_IDLE_MESSAGES and len(idle) - count <= _MOST_IDLE_MAILBOXES:
                break
            messages -= len(live.uids)
            del self._state.live[live.mailbox]
