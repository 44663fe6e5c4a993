"""The store on one machine, as the roles call it: segment log, index and mailboxes in memory behind the interface.

See also: store/interface.py for what each call promises, store/core.py for how a change becomes durable and visible.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import apsw

from letterlock.host.clock import Clock, SystemClock
from letterlock.store import queue_rows
from letterlock.store.core import Core, StoreSettings
from letterlock.store.derived import Derived
from letterlock.store.directory import normalise
from letterlock.store.entries import (
    AccountPrepared,
    AccountRemoved,
    Appended,
    Expunged,
    FlagsChanged,
    MailboxCreated,
    MailboxDeleted,
    MailboxRenamed,
    MessagesCopied,
    QueueDropped,
    QueueHeld,
    QueueProlonged,
    QueueRetried,
    Settled,
    Subscribed,
    demand_numbers,
    pack_settlement,
    pack_transaction,
)
from letterlock.store.interface import (
    Attempt,
    Copied,
    FlagChange,
    FlagsStored,
    Instant,
    Mailbox,
    NewMessage,
    OpenMailbox,
    Placed,
    QueueEntry,
    QueueFilter,
    Receipt,
    Refusal,
    Refused,
    Settlement,
    Transaction,
    Usage,
)
from letterlock.store.live import Handle
from letterlock.store.recover import Recovered, recover
from letterlock.store.snapshot import UidRanges
from letterlock.store.vanished import vanished

_CHOSEN_AN_ENTRY = 5000


async def open_store(settings: StoreSettings, *, clock: Clock | None = None) -> LogStore:
    """Open the store in `settings.folder`, replaying what a crash left. Raises Unavailable."""
    ballast = settings.reserve_octets // 4
    recovered = await asyncio.to_thread(recover, settings.folder, settings.segment_octets, ballast)
    return LogStore(settings, recovered, clock or SystemClock())


class LogStore(Core):
    """The Store over a segment log and an SQLite index. Open one with `await open_store(settings)`."""

    def __init__(self, settings: StoreSettings, recovered: Recovered, clock: Clock) -> None:
        super().__init__(settings, recovered, clock)
        self._derived = Derived()
        self._quota_of: Callable[[str], int] = lambda _account: 0
        self._taking = asyncio.Lock()

    async def commit(self, transaction: Transaction) -> Receipt:
        """Take responsibility for a message."""
        for delivery in transaction.deliveries:
            normalise(delivery.mailbox)
        entry, octets = pack_transaction(transaction)
        receipt = await self._change(entry, octets)
        assert isinstance(receipt, Receipt)
        return receipt

    # mailboxes

    async def prepare_account(self, account: str, mailboxes: Mapping[str, str]) -> None:
        """Make INBOX and the given mailboxes."""
        wanted = {"INBOX": "", **{normalise(name): special_use for name, special_use in mailboxes.items()}}
        if any(self._directory.find(account, name) is None for name in wanted):
            await self._change(AccountPrepared(account, tuple(wanted.items()), self._clock.now()))

    async def remove_account(self, account: str) -> None:
        """Remove every mailbox of an account."""
        await self._change(AccountRemoved(account), frees=True)

    async def mailboxes(self, account: str) -> tuple[Mailbox, ...]:
        """Return the mailboxes of an account."""
        return tuple(map(self._directory.describe, self._directory.of_account(account)))

    async def mailbox(self, account: str, name: str) -> Mailbox | None:
        """Return one mailbox, or None."""
        try:
            return self._directory.describe(self._directory.get(account, name))
        except Refused:
            return None

    async def create(self, account: str, name: str, special_use: str = "") -> Mailbox:
        """Make a mailbox."""
        normalise(name)
        mailbox = await self._change(MailboxCreated(account, name, special_use, self._clock.now()))
        assert isinstance(mailbox, Mailbox)
        return mailbox

    async def delete(self, account: str, name: str) -> None:
        """Delete a mailbox."""
        await self._change(MailboxDeleted(account, name), frees=True)

    async def rename(self, account: str, name: str, new_name: str) -> None:
        """Rename a mailbox."""
        entry = self._directory.get(account, name)
        normalise(new_name)
        needed = [entry.id] if entry.name == "INBOX" else []
        await self._change(MailboxRenamed(account, name, new_name, self._clock.now()), mailboxes=needed)

    async def subscribe(self, account: str, name: str, wanted: bool) -> None:
        """Add or remove a subscription."""
        normalise(name)
        await self._change(Subscribed(account, name, wanted))

    async def subscriptions(self, account: str) -> tuple[str, ...]:
        """Return the subscribed names."""
        return self._directory.subscriptions(account)

    async def usage(self, account: str) -> Usage:
        """Return what the account holds."""
        return self._directory.usage(account)

    def obey_quotas(self, quota_of: Callable[[str], int]) -> None:
        """Let `append` and `copy` keep to the octets an account may hold, 0 for no limit."""
        self._quota_of = quota_of

    def _demand_quota(self, mailbox: int, octets: int) -> None:
        account = self._directory.number(mailbox).account
        quota = self._quota_of(account)
        if quota and self._directory.usage(account).octets + octets > quota:
            raise Refused(Refusal.OVERQUOTA, account)

    # messages

    async def open(self, mailbox: int) -> OpenMailbox:
        """Load a mailbox for looking at."""
        return Handle(await self._load(mailbox))

    async def append(self, mailbox: int, messages: Sequence[NewMessage]) -> tuple[Placed, ...]:
        """Store messages, all or none."""
        self._directory.number(mailbox)
        demand_numbers(len(messages))
        instant = self._clock.now()
        described = tuple(
            (
                sum(map(len, message.octets)),
                message.flags,
                instant if message.internal_date is None else message.internal_date,
            )
            for message in messages
        )
        self._demand_quota(mailbox, sum(length for length, _, _ in described))
        octets = tuple(chunk for message in messages for chunk in message.octets)
        placed = await self._change(Appended(mailbox, instant, described), octets)
        assert isinstance(placed, tuple)
        return placed

    async def store_flags(
        self,
        mailbox: int,
        uids: UidRanges,
        change: FlagChange,
        flags: Sequence[str],
        *,
        unchanged_since: int | None = None,
    ) -> FlagsStored:
        """Change flags."""
        entry = FlagsChanged(mailbox, uids, change.value, tuple(flags), unchanged_since)
        stored = await self._change(entry, mailboxes=[mailbox], frees=True)
        assert isinstance(stored, FlagsStored)
        return stored

    async def copy(self, mailbox: int, uids: UidRanges, target: int) -> Copied:
        """Copy messages."""
        source = Handle(await self._load(mailbox))
        shot = source.snapshot()
        source.close()
        self._demand_quota(target, sum(sum(shot.sizes[run.start : run.stop]) for run in shot.slots(uids)))
        return await self._copy(mailbox, uids, target, move=False)

    async def move(self, mailbox: int, uids: UidRanges, target: int) -> Copied:
        """Copy and expunge in one change."""
        return await self._copy(mailbox, uids, target, move=True)

    async def _copy(self, mailbox: int, uids: UidRanges, target: int, *, move: bool) -> Copied:
        self._directory.number(target)
        entry = MessagesCopied(mailbox, uids, target, self._clock.now(), move)
        copied = await self._change(entry, mailboxes=[mailbox], frees=move)
        assert isinstance(copied, Copied)
        return copied

    async def expunge(self, mailbox: int, uids: UidRanges | None = None, *, only_deleted: bool = True) -> UidRanges:
        """Remove messages for good."""
        ranges = await self._change(Expunged(mailbox, uids, only_deleted), mailboxes=[mailbox], frees=True)
        assert isinstance(ranges, tuple)
        return ranges

    async def vanished(self, mailbox: int, since_modseq: int) -> UidRanges:
        """Return the UIDs expunged since."""
        uid_next = self._directory.number(mailbox).uid_next
        return await self._ask(lambda connection: vanished(connection, mailbox, since_modseq, uid_next))

    # contents

    async def read(self, content: int, offset: int = 0, length: int | None = None) -> bytes:
        """Return octets of a content."""
        octets = self._contents.read_now(content, offset, length)
        if octets is None:
            reading = self._contents.reading(content, offset, length)
            octets = await asyncio.get_running_loop().run_in_executor(self._contents.pool, reading)
        return octets

    def read_now(self, content: int, offset: int = 0, length: int | None = None) -> bytes | None:
        """Return octets of a content if they are in memory."""
        return self._contents.read_now(content, offset, length)

    async def derived(self, kind: str, contents: Sequence[int]) -> list[bytes | None]:
        """Return what was kept for each content."""
        missing = self._derived.missing(kind, contents)
        if missing:
            found = await self._ask(lambda connection: Derived.read(connection, kind, missing))
            self._derived.keep(kind, found)
        return self._derived.get(kind, contents)

    def keep_derived(self, kind: str, derived: Mapping[int, bytes]) -> None:
        """Keep octets computed from contents."""
        self._derived.keep(kind, derived)
        self._derived.save(self._state.batch, kind, derived)
        self._hand_over()

    # the queue

    async def take_due(self, now: Instant, limit: int) -> tuple[QueueEntry, ...]:
        """Return due entries and mark them taken."""
        self._queue_news.clear()
        return await self._take(partial(queue_rows.take_due, now=now, limit=limit))

    async def take_parked(self, lane: str, now: Instant, limit: int) -> tuple[QueueEntry, ...]:
        """Return due entries parked under a lane and mark them taken."""
        return await self._take(partial(queue_rows.take_parked, lane=lane, now=now, limit=limit))

    async def _take(self, choose: Callable[[apsw.Connection], queue_rows.Taken]) -> tuple[QueueEntry, ...]:
        task = asyncio.create_task(self._take_chosen(choose))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._give_back)
            raise

    async def _take_chosen(self, choose: Callable[[apsw.Connection], queue_rows.Taken]) -> tuple[QueueEntry, ...]:
        async with self._taking:
            dropped = self._state.dropped = set()
            moves = self._contents.moves
            try:
                chosen = await self._ask(choose)
            finally:
                self._state.dropped = None
            for queue_id, problem in chosen.unreadable:
                self._log.error("queue entry set aside", queue_id=queue_id, problem=problem)
            places = chosen.places if self._contents.moves == moves else {}
            taken: list[QueueEntry] = []
            passed: list[str] = []
            for entry in chosen.entries:
                owed = {recipient.number for recipient in entry.recipients}
                if entry.queue_id in self._state.taken:
                    continue
                if any((entry.queue_id, number) in dropped for number in owed):
                    passed.append(entry.queue_id)
                    continue
                self._state.taken[entry.queue_id] = owed
                if (place := places.get(entry.content)) is not None:
                    self._contents.expect(entry.queue_id, entry.content, place)
                taken.append(entry)
            if passed:  # what is still owed of them is taken at the next turn
                queue_rows.again(self._state.batch, passed, release=True)
                self._hand_over()
                self._queue_news.set()
            return tuple(taken)

    def _give_back(self, task: asyncio.Task[tuple[QueueEntry, ...]]) -> None:
        if not task.cancelled() and not task.exception():
            for entry in task.result():
                self._release(entry.queue_id)

    async def next_due(self) -> Instant | None:
        """Return when the next recipient falls due."""
        return await self._ask(queue_rows.next_due)

    async def queue_changed(self) -> None:
        """Wait until something may have become due."""
        await self._queue_news.wait()

    async def settle(
        self, queue_id: str, now: Instant, settlements: Sequence[Settlement], transactions: Sequence[Transaction] = ()
    ) -> None:
        """Record an attempt and what it led to."""
        packed = tuple(pack_settlement(settlement, now) for settlement in settlements)
        entries, octets = [], list[bytes]()
        for transaction in transactions:
            entry, chunks = pack_transaction(transaction)
            entries.append(entry)
            octets += chunks
        demand_numbers(sum(len(entry.prefixes) + 1 + len(entry.queued) for entry in entries))
        await self._change(Settled(queue_id, now, packed, tuple(entries)), tuple(octets), frees=not octets)

    async def release(self, queue_id: str, until: Instant | None = None) -> None:
        """Give back a taken entry."""
        self._release(queue_id, until)

    def _release(self, queue_id: str, until: Instant | None = None) -> None:
        if self._state.give_back(queue_id):
            queue_rows.again(self._state.batch, [queue_id], release=True)
            if until is not None:
                queue_rows.postpone(self._state.batch, queue_id, until)
            self._hand_over()
            self._queue_news.set()

    async def park(self, queue_id: str, lane: str) -> None:
        """Give back a taken entry for `take_parked`."""
        if self._state.give_back(queue_id):
            queue_rows.park(self._state.batch, queue_id, lane)
            self._hand_over()

    async def queue_entry(self, queue_id: str) -> QueueEntry | None:
        """Return an entry, or None."""
        return await self._ask(lambda connection: queue_rows.find(connection, queue_id))

    async def attempts(self, queue_id: str) -> tuple[Attempt, ...]:
        """Return every attempt for an entry."""
        return await self._ask(lambda connection: queue_rows.attempts(connection, queue_id))

    async def queue(self, chosen: QueueFilter, *, limit: int = 100, after: str = "") -> tuple[QueueEntry, ...]:
        """Return entries by queue id."""
        return tuple(await self._ask(lambda connection: queue_rows.listing(connection, chosen, limit, after)))

    async def queue_size(self) -> tuple[int, int]:
        """Return how many entries and recipients are queued."""
        return await self._ask(queue_rows.size)

    async def hold(self, chosen: QueueFilter, held: bool) -> int:
        """Hold entries back, or let them go."""
        return await self._change_chosen(partial(queue_rows.choose, chosen=chosen), lambda some: QueueHeld(some, held))

    async def retry(self, chosen: QueueFilter, when: Instant, *, route: str | None = None) -> int:
        """Make entries due."""
        choose = partial(queue_rows.choose, chosen=chosen)
        return await self._change_chosen(choose, lambda some: QueueRetried(some, when, route))

    async def bring_forward(self, now: Instant, longest_wait_seconds: float) -> int:
        """Make due what a clock that was ahead put off."""
        choose = partial(queue_rows.put_off, now=now, longest_wait_seconds=longest_wait_seconds)
        return await self._change_chosen(choose, lambda some: QueueRetried(some, now, None))

    async def prolong(self, seconds: float, arrived_until: Instant) -> None:
        """Let entries expire later."""
        await self._change(QueueProlonged(seconds, arrived_until), frees=True)

    async def drop(self, chosen: QueueFilter) -> int:
        """Forget entries."""
        return await self._change_chosen(partial(queue_rows.choose, chosen=chosen), QueueDropped)

    async def _change_chosen(
        self,
        choose: Callable[[apsw.Connection], list[tuple[str, int]]],
        change: Callable[[tuple[tuple[str, int], ...]], QueueHeld | QueueRetried | QueueDropped],
    ) -> int:
        numbers = await self._ask(choose)
        for start in range(0, len(numbers), _CHOSEN_AN_ENTRY):
            await self._change(change(tuple(numbers[start : start + _CHOSEN_AN_ENTRY])), frees=True)
        return len(numbers)
