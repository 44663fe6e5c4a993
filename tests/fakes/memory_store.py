"""A store in plain dictionaries: slow, obvious, forgetful. It passes the contract tests of what it fakes.

Other tests use it where no file should be touched; the fault tests use it as the model of what a store must hold.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from letterlock.host.clock import Clock, SetClock
from letterlock.store.directory import normalise
from letterlock.store.interface import (
    Attempt,
    Copied,
    FlagChange,
    FlagsStored,
    Instant,
    Mailbox,
    NewMessage,
    Placed,
    Queued,
    QueuedRecipient,
    QueueEntry,
    QueueFilter,
    Receipt,
    Refusal,
    Refused,
    Settlement,
    Transaction,
    Usage,
)
from letterlock.store.snapshot import DELETED, MOST_FLAGS, SEEN, SYSTEM_FLAGS, Snapshot, UidRanges, to_ranges


@dataclass
class Message:
    uid: int
    flags: set[str]
    modseq: int
    internal_date: int
    save_date: int
    content: int


@dataclass
class Box:
    id: int
    account: str
    name: str
    uid_validity: int
    special_use: str = ""
    uid_next: int = 1
    modseq: int = 1
    keywords: list[str] = field(default_factory=lambda: list(SYSTEM_FLAGS))
    messages: list[Message] = field(default_factory=list)
    vanished: list[tuple[int, int]] = field(default_factory=list)
    touched: list[tuple[int, int]] = field(default_factory=list)
    exists: bool = True
    cached: Snapshot | None = None

    def names(self, flags: Sequence[str], *, lenient: bool = False) -> set[str]:
        """Return the flags as this mailbox spells them, making room for new ones."""
        fresh: list[str] = []
        found = set()
        for flag in flags:
            known = next((name for name in (*self.keywords, *fresh) if name.lower() == flag.lower()), None)
            if known is None:
                if lenient and len(self.keywords) + len(fresh) >= MOST_FLAGS:
                    continue
                fresh.append(known := flag)
            found.add(known)
        if len(self.keywords) + len(fresh) > MOST_FLAGS:
            raise Refused(Refusal.LIMIT)
        self.keywords += fresh
        return found

    def chosen(self, uids: UidRanges) -> list[Message]:
        return [one for one in self.messages if any(first <= one.uid <= last for first, last in uids)]


@dataclass
class Entry:
    owed: Queued
    content: int
    arrived: Instant
    recipients: dict[int, QueuedRecipient]
    attempts: list[Attempt] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)
    not_before: Instant = 0.0
    lane: str | None = None


class MemoryMailbox:
    def __init__(self, store: MemoryStore, box: Box) -> None:
        self._store, self._box = store, box

    def snapshot(self) -> Snapshot:
        box = self._box
        if box.cached is None:
            words = [sum(1 << box.keywords.index(flag) for flag in one.flags) for one in box.messages]
            planes = max(1, (len(box.keywords) + 7) // 8)
            box.cached = Snapshot(
                box.id,
                box.uid_validity,
                box.uid_next,
                box.modseq,
                tuple(box.keywords),
                array("I", [one.uid for one in box.messages]),
                tuple(bytes(word >> 8 * plane & 0xFF for word in words) for plane in range(planes)),
                array("Q", [one.modseq for one in box.messages]),
                array("q", [one.internal_date for one in box.messages]),
                array("q", [one.save_date for one in box.messages]),
                array("Q", [len(self._store.octets[one.content]) for one in box.messages]),
                array("Q", [one.content for one in box.messages]),
                box.exists,
            )
        return box.cached

    async def changed(self, since: Snapshot) -> Snapshot:
        async with self._store.news:
            await self._store.news.wait_for(lambda: self._box.modseq != since.highest_modseq or not self._box.exists)
        return self.snapshot()

    def touched_since(self, modseq: int) -> list[int] | None:
        return sorted({uid for at, uid in self._box.touched if at > modseq})

    def close(self) -> None:
        pass


class MemoryStore:
    """The Store in memory."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SetClock()
        self.octets: dict[int, bytes] = {}
        self.boxes: dict[int, Box] = {}
        self.entries: dict[str, Entry] = {}
        self.news = asyncio.Condition()
        self._subscribed: dict[str, set[str]] = {}
        self._receipts: dict[str, Receipt] = {}
        self._derived: dict[tuple[str, int], bytes] = {}
        self._number = 0
        self._uid_validity = 0
        self._queue_news = asyncio.Event()
        self._queue_news.set()

    async def close(self) -> None:
        pass

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _tell(self) -> None:
        """Forget octets nobody refers to, and wake whoever waits."""
        used = {one.content for box in self.boxes.values() for one in box.messages}
        used |= {entry.content for entry in self.entries.values()}
        for content in set(self.octets) - used:
            del self.octets[content]
        for box in self.boxes.values():
            if box.cached is not None and box.cached.highest_modseq != box.modseq:
                box.cached = None
        async with self.news:
            self.news.notify_all()

    # transactions

    def announce(self, change: int) -> None:
        """Say that messages are on their way."""

    async def commit(self, transaction: Transaction) -> Receipt:
        for delivery in transaction.deliveries:
            normalise(delivery.mailbox)
        receipt = self._commit(transaction)
        await self._tell()
        return receipt

    def _commit(self, transaction: Transaction) -> Receipt:
        if transaction.id in self._receipts:
            return msgspec.structs.replace(self._receipts[transaction.id], repeated=True)
        body = b"".join(transaction.octets) if transaction.content is None else self.octets[transaction.content]
        placed = []
        for delivery in transaction.deliveries:
            box = self._obtain(delivery.account, normalise(delivery.mailbox), transaction.arrived)
            box.modseq += 1
            flags = box.names(delivery.flags, lenient=True)
            instant = int(transaction.arrived)
            placed.append(self._place(box, delivery.prefix + body, flags, instant, instant))
        for owed in transaction.queued:
            content = self._next()
            self.octets[content] = owed.prefix + body
            recipients = {
                number: QueuedRecipient(number, recipient, owed.next_attempt, held=owed.held)
                for number, recipient in enumerate(owed.envelope.recipients)
            }
            self.entries[owed.queue_id] = Entry(owed, content, transaction.arrived, recipients)
            self._queue_news.set()
        receipt = self._receipts[transaction.id] = Receipt(self._next(), tuple(placed))
        return receipt

    def _place(self, box: Box, octets: bytes | int, flags: set[str], internal_date: int, save_date: int) -> Placed:
        content = octets if isinstance(octets, int) else self._next()
        if not isinstance(octets, int):
            self.octets[content] = octets
        uid = box.uid_next
        box.uid_next += 1
        box.messages.append(Message(uid, flags, box.modseq, internal_date, save_date, content))
        box.touched.append((box.modseq, uid))
        return Placed(box.id, box.uid_validity, uid)

    # mailboxes

    def _find(self, account: str, name: str) -> Box | None:
        return next((box for box in self.boxes.values() if (box.account, box.name) == (account, name)), None)

    def _get(self, account: str, name: str) -> Box:
        box = self._find(account, normalise(name))
        if box is None:
            raise Refused(Refusal.NONEXISTENT, name)
        return box

    def _box(self, mailbox: int) -> Box:
        if mailbox not in self.boxes:
            raise Refused(Refusal.NONEXISTENT)
        return self.boxes[mailbox]

    def _make(self, account: str, name: str, special_use: str, instant: float) -> Box:
        levels = name.split("/")
        for count in range(1, len(levels)):
            above = "/".join(levels[:count])
            if not self._find(account, above):
                self._make(account, above, "", instant)
        self._uid_validity = max(self._uid_validity + 1, int(instant))
        box = Box(self._next(), account, name, self._uid_validity, special_use)
        self.boxes[box.id] = box
        return box

    def _obtain(self, account: str, name: str, instant: float) -> Box:
        box = self._find(account, name)
        if box is None:
            box = self._make(account, name, "", instant)
            self._subscribed.setdefault(account, set()).add(name)
        return box

    async def prepare_account(self, account: str, mailboxes: Mapping[str, str]) -> None:
        for name, special_use in {"INBOX": "", **mailboxes}.items():
            if not self._find(account, normalise(name)):
                self._make(account, normalise(name), special_use, self.clock.now())
                self._subscribed.setdefault(account, set()).add(normalise(name))

    async def remove_account(self, account: str) -> None:
        for box in [box for box in self.boxes.values() if box.account == account]:
            self._drop(box)
        self._subscribed.pop(account, None)
        await self._tell()

    def _drop(self, box: Box) -> None:
        del self.boxes[box.id]
        box.exists, box.cached = False, None

    def _describe(self, box: Box) -> Mailbox:
        return Mailbox(
            box.id,
            box.account,
            box.name,
            box.uid_validity,
            box.uid_next,
            box.modseq,
            len(box.messages),
            sum(SEEN not in one.flags for one in box.messages),
            sum(DELETED in one.flags for one in box.messages),
            sum(len(self.octets[one.content]) for one in box.messages),
            box.special_use,
            box.name in self._subscribed.get(box.account, ()),
        )

    async def mailboxes(self, account: str) -> tuple[Mailbox, ...]:
        boxes = [box for box in self.boxes.values() if box.account == account]
        return tuple(self._describe(box) for box in sorted(boxes, key=lambda box: box.name))

    async def mailbox(self, account: str, name: str) -> Mailbox | None:
        try:
            return self._describe(self._get(account, name))
        except Refused:
            return None

    async def create(self, account: str, name: str, special_use: str = "") -> Mailbox:
        if self._find(account, normalise(name)):
            raise Refused(Refusal.ALREADYEXISTS, name)
        return self._describe(self._make(account, normalise(name), special_use, self.clock.now()))

    async def delete(self, account: str, name: str) -> None:
        box = self._get(account, name)
        if box.name == "INBOX":
            raise Refused(Refusal.CANNOT)
        self._drop(box)
        await self._tell()

    async def rename(self, account: str, name: str, new_name: str) -> None:
        box, new_name = self._get(account, name), normalise(new_name)
        if box.name == "INBOX":
            target = await self.create(account, new_name)
            if box.messages:
                await self.move(box.id, ((1, 0xFFFFFFFF),), target.id)
            return
        if self._find(account, new_name):
            raise Refused(Refusal.ALREADYEXISTS, new_name)
        if new_name.startswith(box.name + "/"):
            raise Refused(Refusal.CANNOT)
        old = box.name
        moving = [
            one
            for one in self.boxes.values()
            if one.account == account and (one.name == old or one.name.startswith(old + "/"))
        ]
        above = new_name.rpartition("/")[0]
        if above and not self._find(account, above):
            self._make(account, above, "", self.clock.now())
        for one in moving:
            one.name = new_name + one.name[len(old) :]

    async def subscribe(self, account: str, name: str, wanted: bool) -> None:
        names = self._subscribed.setdefault(account, set())
        (names.add if wanted else names.discard)(normalise(name))

    async def subscriptions(self, account: str) -> tuple[str, ...]:
        return tuple(sorted(self._subscribed.get(account, ())))

    async def usage(self, account: str) -> Usage:
        found = await self.mailboxes(account)
        return Usage(sum(one.messages for one in found), sum(one.octets for one in found))

    # messages

    async def open(self, mailbox: int) -> MemoryMailbox:
        return MemoryMailbox(self, self._box(mailbox))

    async def append(self, mailbox: int, messages: Sequence[NewMessage]) -> tuple[Placed, ...]:
        box, now = self._box(mailbox), self.clock.now()
        if len(messages) > 4096:
            raise Refused(Refusal.LIMIT)
        flags = [box.names(message.flags) for message in messages]
        box.modseq += 1
        placed = tuple(
            self._place(
                box,
                b"".join(message.octets),
                some,
                int(now if message.internal_date is None else message.internal_date),
                int(now),
            )
            for message, some in zip(messages, flags, strict=True)
        )
        await self._tell()
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
        box = self._box(mailbox)
        names = box.names(flags)
        box.cached = None
        changed, conflicting = [], []
        for one in box.chosen(uids):
            if unchanged_since is not None and one.modseq > unchanged_since:
                conflicting.append(one.uid)
                continue
            new = {FlagChange.ADD: one.flags | names, FlagChange.REMOVE: one.flags - names}.get(change, set(names))
            if new != one.flags:
                one.flags, one.modseq = new, box.modseq + 1
                box.touched.append((one.modseq, one.uid))
                changed.append(one.uid)
        box.modseq += bool(changed)
        await self._tell()
        return FlagsStored(to_ranges(changed), to_ranges(conflicting), box.modseq)

    async def copy(self, mailbox: int, uids: UidRanges, target: int) -> Copied:
        copied = self._copy(mailbox, uids, target)
        await self._tell()
        return copied

    def _copy(self, mailbox: int, uids: UidRanges, target: int) -> Copied:
        box, onto = self._box(mailbox), self._box(target)
        chosen = box.chosen(uids)
        onto.modseq += bool(chosen)
        placed = []
        for one in chosen:
            names = onto.names(sorted(one.flags, key=box.keywords.index), lenient=True)
            placed.append(self._place(onto, one.content, names, one.internal_date, int(self.clock.now())))
        return Copied(onto.uid_validity, tuple(one.uid for one in chosen), tuple(one.uid for one in placed))

    async def move(self, mailbox: int, uids: UidRanges, target: int) -> Copied:
        copied = self._copy(mailbox, uids, target)
        self._expunge(self._box(mailbox), set(copied.source))
        await self._tell()
        return copied

    async def expunge(self, mailbox: int, uids: UidRanges | None = None, *, only_deleted: bool = True) -> UidRanges:
        box = self._box(mailbox)
        chosen = box.messages if uids is None else box.chosen(uids)
        gone = {one.uid for one in chosen if not only_deleted or DELETED in one.flags}
        self._expunge(box, gone)
        await self._tell()
        return to_ranges(sorted(gone))

    def _expunge(self, box: Box, gone: set[int]) -> None:
        if gone:
            box.modseq += 1
            box.messages = [one for one in box.messages if one.uid not in gone]
            box.vanished += [(box.modseq, uid) for uid in gone]
            box.touched += [(box.modseq, uid) for uid in gone]

    async def vanished(self, mailbox: int, since_modseq: int) -> UidRanges:
        return to_ranges(sorted(uid for at, uid in self._box(mailbox).vanished if at > since_modseq))

    # contents

    async def read(self, content: int, offset: int = 0, length: int | None = None) -> bytes:
        if content not in self.octets:
            raise Refused(Refusal.EXPUNGEISSUED)
        return self.octets[content][offset : None if length is None else offset + length]

    def read_now(self, content: int, offset: int = 0, length: int | None = None) -> bytes | None:
        return None

    async def derived(self, kind: str, contents: Sequence[int]) -> list[bytes | None]:
        return [self._derived.get((kind, content)) for content in contents]

    def keep_derived(self, kind: str, derived: Mapping[int, bytes]) -> None:
        self._derived.update({(kind, content): octets for content, octets in derived.items()})

    # the queue

    def _entry(self, entry: Entry, numbers: Sequence[int]) -> QueueEntry:
        owed = entry.owed
        recipients = tuple(entry.recipients[number] for number in numbers)
        return QueueEntry(
            owed.queue_id,
            replace(owed.envelope, recipients=tuple(one.recipient for one in recipients)),
            entry.content,
            len(self.octets[entry.content]),
            entry.arrived,
            owed.expires,
            owed.priority,
            owed.source,
            owed.route,
            owed.details,
            recipients,
        )

    def _due(self, entry: Entry) -> Instant | None:
        times = [one.next_attempt for one in entry.recipients.values() if not one.held]
        return max(min(times), entry.not_before) if times and not entry.taken else None

    async def park(self, queue_id: str, lane: str) -> None:
        if queue_id in self.entries:
            self.entries[queue_id].taken.clear()
            self.entries[queue_id].lane = lane

    async def take_due(self, now: Instant, limit: int) -> tuple[QueueEntry, ...]:
        self._queue_news.clear()
        return self._take(None, now, limit)

    async def take_parked(self, lane: str, now: Instant, limit: int) -> tuple[QueueEntry, ...]:
        return self._take(lane, now, limit)

    def _take(self, lane: str | None, now: Instant, limit: int) -> tuple[QueueEntry, ...]:
        entries = [entry for entry in self.entries.values() if entry.lane == lane]
        due = [(entry, when) for entry in entries if (when := self._due(entry)) is not None]
        ready = [(-entry.owed.priority, when, entry.owed.queue_id) for entry, when in due if lane or when <= now]
        ready.sort(key=lambda one: one[:2])  # of equals the one that came first
        taken = []
        for _, _, queue_id in ready[:limit]:
            entry = self.entries[queue_id]
            entry.lane = None
            until = max(now, self._due(entry) or now)
            entry.taken = {n for n, one in entry.recipients.items() if not one.held and one.next_attempt <= until}
            taken.append(self._entry(entry, sorted(entry.taken)))
        return tuple(taken)

    async def next_due(self) -> Instant | None:
        entries = [entry for entry in self.entries.values() if entry.lane is None]
        return min((when for entry in entries if (when := self._due(entry)) is not None), default=None)

    async def queue_changed(self) -> None:
        await self._queue_news.wait()

    async def settle(
        self, queue_id: str, now: Instant, settlements: Sequence[Settlement], transactions: Sequence[Transaction] = ()
    ) -> None:
        entry = self.entries.get(queue_id)
        effective = [one for one in settlements if entry and one.number in entry.taken]
        if entry is None or not effective:
            return
        for transaction in transactions:
            self._commit(transaction)
        for one in effective:
            attempt = Attempt(now, one.outcome)
            entry.attempts.append(attempt)
            entry.taken.discard(one.number)
            if one.outcome.result.final:
                del entry.recipients[one.number]
                continue
            before = entry.recipients[one.number]
            entry.recipients[one.number] = replace(
                before,
                next_attempt=before.next_attempt if one.next_attempt is None else one.next_attempt,
                attempts=before.attempts + 1,
                delay_reported=before.delay_reported or one.delay_reported,
                last=attempt,
            )
        await self._swept()

    async def _swept(self) -> None:
        for queue_id in [queue_id for queue_id, entry in self.entries.items() if not entry.recipients]:
            del self.entries[queue_id]
        self._queue_news.set()
        await self._tell()

    async def release(self, queue_id: str, until: Instant | None = None) -> None:
        if queue_id in self.entries:
            self.entries[queue_id].taken.clear()
            self.entries[queue_id].not_before = until or 0.0
            self._queue_news.set()

    async def queue_entry(self, queue_id: str) -> QueueEntry | None:
        entry = self.entries.get(queue_id)
        return self._entry(entry, sorted(entry.recipients)) if entry else None

    async def attempts(self, queue_id: str) -> tuple[Attempt, ...]:
        return tuple(self.entries[queue_id].attempts) if queue_id in self.entries else ()

    def _chosen(self, chosen: QueueFilter) -> list[tuple[Entry, int]]:
        found = []
        for queue_id, entry in sorted(self.entries.items()):
            sender = str(entry.owed.envelope.reverse_path or "<>")
            for number, one in entry.recipients.items():
                address = one.recipient.forward_path
                if (
                    chosen.queue_id in ("", queue_id)
                    and (chosen.sender in ("", sender) or sender.endswith(f"@{chosen.sender}"))
                    and (chosen.arrived_before is None or entry.arrived < chosen.arrived_before)
                    and (not chosen.reason or (one.last is not None and chosen.reason in _said(one.last)))
                    and chosen.recipient in ("", str(address))
                    and chosen.destination in ("", address.domain)
                    and chosen.held in (None, one.held)
                ):
                    found.append((entry, number))
        return found

    async def queue(self, chosen: QueueFilter, *, limit: int = 100, after: str = "") -> tuple[QueueEntry, ...]:
        names = sorted({entry.owed.queue_id for entry, _ in self._chosen(chosen)})
        entries = [self.entries[name] for name in names if name > after][:limit]
        return tuple(self._entry(entry, sorted(entry.recipients)) for entry in entries)

    async def queue_size(self) -> tuple[int, int]:
        return len(self.entries), sum(len(entry.recipients) for entry in self.entries.values())

    async def hold(self, chosen: QueueFilter, held: bool) -> int:
        found = self._chosen(chosen)
        for entry, number in found:
            entry.lane = None
            entry.recipients[number] = replace(entry.recipients[number], held=held)
        await self._swept()
        return len(found)

    async def retry(self, chosen: QueueFilter, when: Instant, *, route: str | None = None) -> int:
        found = self._chosen(chosen)
        for entry, number in found:
            entry.recipients[number] = replace(entry.recipients[number], next_attempt=when)
            entry.not_before, entry.lane = 0.0, None
            if route is not None:
                entry.owed = replace(entry.owed, route=route)
        await self._swept()
        return len(found)

    async def bring_forward(self, now: Instant, longest_wait_seconds: float) -> int:
        count = 0
        for entry in self.entries.values():
            for number, one in entry.recipients.items():
                tried = one.attempts and (entry.arrived > now or one.next_attempt > now + longest_wait_seconds)
                untried = not one.attempts and one.next_attempt <= entry.arrived
                if one.next_attempt > now and (tried or untried):
                    entry.recipients[number] = replace(one, next_attempt=now)
                    entry.not_before, entry.lane = 0.0, None
                    count += 1
        await self._swept()
        return count

    async def prolong(self, seconds: float, arrived_until: Instant) -> None:
        for entry in self.entries.values():
            if entry.arrived <= arrived_until:
                entry.owed = replace(entry.owed, expires=entry.owed.expires + seconds)

    async def drop(self, chosen: QueueFilter) -> int:
        found = self._chosen(chosen)
        for entry, number in found:
            del entry.recipients[number]
            entry.taken.discard(number)
            entry.lane = None
        await self._swept()
        return len(found)


def _said(attempt: Attempt) -> str:
    return " ".join((attempt.outcome.status, attempt.outcome.reply, attempt.outcome.host))
