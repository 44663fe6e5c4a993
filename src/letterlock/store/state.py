"""What the log means: applying an entry to the mailboxes and the queue in memory, and to the index.

`State.apply` is the only place where UIDs, modification sequences and content ids are given out, and it depends on
nothing but the entry and the state before it: replaying the log after a crash gives the same ones again. Each apply
adds its statements to `batch`, which the engine hands to the index.

Raises Refused where an entry has no effect (the mailbox is gone, the name exists); replay meets the same refusal.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import assert_never

import msgspec

from letterlock.errors import OurFault
from letterlock.store import queue_rows
from letterlock.store.contents import Contents
from letterlock.store.directory import Directory, Entry
from letterlock.store.entries import (
    CONTENTS_A_RECORD,
    Accepted,
    AccountPrepared,
    AccountRemoved,
    AnyEntry,
    Appended,
    ContentsMoved,
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
)
from letterlock.store.index import Batch
from letterlock.store.interface import Copied, FlagChange, FlagsStored, Placed, Receipt, Refusal, Refused
from letterlock.store.live import LiveMailbox, Row
from letterlock.store.segments import Location
from letterlock.store.snapshot import UidRanges, to_ranges

REMEMBERED_TRANSACTIONS = 16_384
_FORGOTTEN_AT_ONCE = 1024
_SEEN, _DELETED = 1, 8
_HIGHEST_UID = 0xFFFFFFFF

_RELEASE_RANGE = (
    "UPDATE contents SET refs = refs - n FROM (SELECT content, count(*) AS n FROM messages WHERE mailbox = ?"
    " AND uid BETWEEN ? AND ? GROUP BY content) AS gone WHERE contents.id = gone.content"
)
_CHANGE_FLAGS = {
    FlagChange.ADD: "UPDATE messages SET flags = flags | ?, modseq = ? WHERE mailbox = ? AND uid BETWEEN ? AND ?",
    FlagChange.REMOVE: "UPDATE messages SET flags = flags & ~?, modseq = ? WHERE mailbox = ? AND uid BETWEEN ? AND ?",
    FlagChange.REPLACE: "UPDATE messages SET flags = ?, modseq = ? WHERE mailbox = ? AND uid BETWEEN ? AND ?",
}


class _Octets:
    """Deals out the octets of one record, in order."""

    def __init__(self, location: Location) -> None:
        self._segment, self._offset, self._left = location.segment, location.offset, location.length

    def take(self, length: int) -> Location:
        if length > self._left:
            raise OurFault("a log entry counts more octets than its record has")
        taken = Location(self._segment, self._offset, length)
        self._offset += length
        self._left -= length
        return taken


class State:
    """Everything the engine knows in memory.

    `live` holds mailboxes in memory; `load` brings one there during replay (in service the engine has loaded them
    before it submits an entry). `taken` maps queue ids to the recipients their taker still owes; `owed` reads the same
    from the index during replay.
    """

    def __init__(self, directory: Directory, contents: Contents) -> None:
        self.directory = directory
        self.contents = contents
        self.batch = Batch()
        self.live: dict[int, LiveMailbox] = {}
        self.loading: dict[int, list[Row]] = {}  # what arrives while a mailbox is being read from the index
        self.taken: dict[str, set[int]] = {}
        self.dropped: set[tuple[str, int]] | None = None  # recipients dropped while a taker is choosing
        self.recent: dict[str, Receipt] = {}
        self.load: Callable[[Entry], LiveMailbox] | None = None
        self.owed: Callable[[str], set[int]] | None = None
        self.queued = False  # set when something may have become due

    def apply(self, sequence: int, entry: AnyEntry, location: Location) -> object:
        """Apply one entry and return its result (the value the interface promises). Raises Refused."""
        octets = _Octets(location)
        numbers = iter(range(sequence * CONTENTS_A_RECORD, (sequence + 1) * CONTENTS_A_RECORD))
        take = numbers.__next__
        match entry:
            case Accepted():
                return self._accept(sequence, entry, octets, take)
            case Appended():
                return self._append(entry, octets, take)
            case FlagsChanged():
                return self._change_flags(entry)
            case MessagesCopied():
                return self._copy(entry)
            case Expunged():
                return self._expunge(entry)
            case Settled():
                self._settle(sequence, entry, octets, take)
            case ContentsMoved():
                for number, length in entry.contents:
                    self.contents.move(self.batch, number, octets.take(length))
            case QueueHeld() | QueueRetried() | QueueDropped():
                self._change_queue(entry)
            case QueueProlonged():
                queue_rows.prolong(self.batch, entry.seconds, entry.arrived_until)
            case _:
                return self._change_directory(entry)
        return None

    # transactions

    def _accept(self, sequence: int, entry: Accepted, octets: _Octets, take: Callable[[], int]) -> Receipt:
        known = self.recent.get(entry.id)
        if known:
            return Receipt(known.sequence, known.placed, repeated=True)
        contents = self._add_contents(entry, octets, take)
        placed = tuple(
            self._deliver(delivery.account, delivery.mailbox, delivery.flags, entry.arrived, *contents[delivery.prefix])
            for delivery in entry.deliveries
        )
        for owed in entry.queued:
            queue_rows.add(self.batch, take(), owed, *contents[owed.prefix], entry.arrived)
            self.queued = True
        receipt = Receipt(sequence, placed)
        self._remember(entry.id, receipt)
        return receipt

    def _add_contents(self, entry: Accepted, octets: _Octets, take: Callable[[], int]) -> dict[int, tuple[int, int]]:
        """Record a transaction's contents; return (content, size) by prefix index, -1 for none."""
        users = [delivery.prefix for delivery in entry.deliveries] + [owed.prefix for owed in entry.queued]
        if not users:
            return {}
        if entry.joined:
            number = take()
            place = octets.take(entry.prefixes[0] + entry.body)
            return {0: (number, self.contents.add(self.batch, number, place, len(users)))}
        prefixes = [octets.take(length) for length in entry.prefixes]
        bare = users.count(-1)
        if entry.content is None:
            body = take()
            size = self.contents.add(self.batch, body, octets.take(entry.body), bare + len(prefixes))
        else:
            body = entry.content
            found = self.contents.find(body)
            if found is None:
                raise Refused(Refusal.EXPUNGEISSUED)
            size = found.size
            self.contents.refer(self.batch, body, bare + len(prefixes))
        contents = {-1: (body, size)}
        for index, place in enumerate(prefixes):
            number = take()
            refs = users.count(index)
            contents[index] = (number, self.contents.add(self.batch, number, place, refs, body, size))
        return contents

    def _remember(self, transaction: str, receipt: Receipt) -> None:
        self.recent[transaction] = receipt
        placed = msgspec.json.encode([(place.mailbox, place.uid_validity, place.uid) for place in receipt.placed])
        self.batch.transactions.append((receipt.sequence, transaction, placed.decode()))
        if len(self.recent) >= REMEMBERED_TRANSACTIONS + _FORGOTTEN_AT_ONCE:
            oldest = [self.recent.pop(name) for name in tuple(itertools.islice(self.recent, _FORGOTTEN_AT_ONCE))]
            self.batch.add("DELETE FROM transactions WHERE sequence <= ?", oldest[-1].sequence)

    def _deliver(
        self, account: str, mailbox: str, flags: Sequence[str], instant: float, content: int, size: int
    ) -> Placed:
        entry = self.directory.obtain(self.batch, account, mailbox, instant)
        mask = entry.mask(flags, lenient=True)
        entry.modseq += 1
        return self._add_message(entry, mask, int(instant), int(instant), size, content)

    def _add_message(
        self, entry: Entry, mask: int, internal_date: int, save_date: int, size: int, content: int
    ) -> Placed:
        """Add a row to a mailbox; the content already counts it, the mailbox's modseq is already this change's."""
        uid = entry.uid_next
        if uid > _HIGHEST_UID:
            raise Refused(Refusal.LIMIT, "the mailbox has used up its UIDs")
        entry.uid_next += 1
        entry.messages += 1
        entry.octets += size
        entry.unseen += not mask & _SEEN
        entry.deleted += bool(mask & _DELETED)
        row = (uid, mask, entry.modseq, internal_date, save_date, size, content)
        self.batch.messages.append((entry.id, *row))
        self.directory.touch(entry)
        live = self.live.get(entry.id)
        if live:
            live.append(row)
        elif entry.id in self.loading:
            self.loading[entry.id].append(row)
        return Placed(entry.id, entry.uid_validity, uid)

    def _append(self, entry: Appended, octets: _Octets, take: Callable[[], int]) -> tuple[Placed, ...]:
        mailbox = self.directory.number(entry.mailbox)
        masks = [mailbox.mask(flags) for _, flags, _ in entry.messages]
        mailbox.modseq += 1
        placed: list[Placed] = []
        for (length, _, internal_date), mask in zip(entry.messages, masks, strict=True):
            number = take()
            size = self.contents.add(self.batch, number, octets.take(length), 1)
            placed.append(self._add_message(mailbox, mask, int(internal_date), int(entry.instant), size, number))
        return tuple(placed)

    # messages

    def _live(self, mailbox: int) -> tuple[Entry, LiveMailbox]:
        entry = self.directory.number(mailbox)
        live = self.live.get(mailbox)
        if live is None:
            if self.load is None:
                raise OurFault("a mailbox must be loaded before its messages are changed")
            live = self.load(entry)
        return entry, live

    def _count(self, entry: Entry, live: LiveMailbox) -> None:
        """Take a mailbox's counters from its messages."""
        entry.messages = len(live.uids)
        entry.unseen = entry.messages - live.count(_SEEN)
        entry.deleted = live.count(_DELETED)
        self.directory.touch(entry)

    def _change_flags(self, entry: FlagsChanged) -> FlagsStored:
        mailbox, live = self._live(entry.mailbox)
        change = FlagChange(entry.change)
        names = len(mailbox.flag_names)
        mask = mailbox.mask(entry.flags)
        modseq = mailbox.modseq + 1
        changed, conflicting = live.change_flags(entry.uids, change, mask, modseq, entry.unchanged_since)
        if changed:
            mailbox.modseq = modseq
            self._count(mailbox, live)
        elif len(mailbox.flag_names) != names:
            self.directory.touch(mailbox)
            live.refresh()
        for first, last in changed:
            self.batch.add(_CHANGE_FLAGS[change], mask, modseq, mailbox.id, first, last)
        return FlagsStored(changed, conflicting, mailbox.modseq)

    def _copy(self, entry: MessagesCopied) -> Copied:
        source, live = self._live(entry.mailbox)
        target = self.directory.number(entry.target)
        runs = live.runs(entry.uids)
        rows = live.rows(runs)
        if rows:
            target.modseq += 1
        masks: dict[int, int] = {}
        placed: list[int] = []
        for _, word, _, internal_date, _, size, content in rows:
            if word not in masks:
                names = [name for number, name in enumerate(source.flag_names) if word >> number & 1]
                masks[word] = target.mask(names, lenient=True)
            self.contents.refer(self.batch, content, 1)
            place = self._add_message(target, masks[word], internal_date, int(entry.instant), size, content)
            placed.append(place.uid)
        if entry.move and rows:
            self._remove(source, live, runs)
        return Copied(target.uid_validity, tuple(row[0] for row in rows), tuple(placed))

    def _expunge(self, entry: Expunged) -> UidRanges:
        mailbox, live = self._live(entry.mailbox)
        runs = live.runs(entry.uids if entry.uids is not None else ((1, _HIGHEST_UID),))
        if entry.only_deleted:
            plane = live.planes[0]
            slots = [slot for run in runs for slot in run if plane[slot] & _DELETED]
            runs = [range(first, last + 1) for first, last in to_ranges(slots)]
        return self._remove(mailbox, live, runs) if runs else ()

    def _remove(self, mailbox: Entry, live: LiveMailbox, runs: Sequence[range]) -> UidRanges:
        ranges = live.uids_of(runs)
        mailbox.modseq += 1
        mailbox.octets -= sum(row[5] for row in live.rows(runs))
        live.expunge(runs, mailbox.modseq)
        self._count(mailbox, live)
        for first, last in ranges:
            self.batch.add(_RELEASE_RANGE, mailbox.id, first, last)
            self.batch.add("DELETE FROM messages WHERE mailbox = ? AND uid BETWEEN ? AND ?", mailbox.id, first, last)
            self.batch.add("INSERT INTO vanished VALUES (?, ?, ?, ?)", mailbox.id, mailbox.modseq, first, last)
        return ranges

    # mailboxes

    def _change_directory(
        self,
        entry: AccountPrepared | AccountRemoved | MailboxCreated | MailboxDeleted | MailboxRenamed | Subscribed,
    ) -> object:
        directory = self.directory
        match entry:
            case AccountPrepared():
                for name, special_use in entry.mailboxes:
                    if not directory.find(entry.account, name):
                        directory.create(entry.account, name, special_use, entry.instant)
                        directory.subscribe(self.batch, entry.account, name, True)
            case AccountRemoved():
                for mailbox in directory.of_account(entry.account):
                    self._delete(mailbox)
                directory.forget_account(self.batch, entry.account)
            case MailboxCreated():
                made = directory.create(entry.account, entry.name, entry.special_use, entry.instant)
                return directory.describe(made)
            case MailboxDeleted():
                mailbox = directory.get(entry.account, entry.name)
                if mailbox.name == "INBOX":
                    raise Refused(Refusal.CANNOT, "INBOX cannot be deleted")  # RFC 9051 section 6.3.5
                self._delete(mailbox)
            case MailboxRenamed():
                self._rename(entry)
            case Subscribed():
                directory.subscribe(self.batch, entry.account, entry.name, entry.wanted)
            case _:
                assert_never(entry)
        return None

    def _delete(self, mailbox: Entry) -> None:
        self.directory.remove(mailbox)
        live = self.live.pop(mailbox.id, None)
        if live:
            live.delete()
        self.loading.pop(mailbox.id, None)
        self.batch.add(_RELEASE_RANGE, mailbox.id, 1, _HIGHEST_UID)
        self.batch.add("DELETE FROM messages WHERE mailbox = ?", mailbox.id)
        self.batch.add("DELETE FROM vanished WHERE mailbox = ?", mailbox.id)
        self.batch.add("DELETE FROM vanished_floors WHERE mailbox = ?", mailbox.id)

    def _rename(self, entry: MailboxRenamed) -> None:
        mailbox = self.directory.get(entry.account, entry.name)
        if mailbox.name != "INBOX":
            self.directory.rename(mailbox, entry.new_name, entry.instant)
            return
        # RFC 9051 section 6.3.6: the messages move to a new mailbox, INBOX stays and is empty
        _, live = self._live(mailbox.id)
        target = self.directory.create(entry.account, entry.new_name, "", entry.instant)
        first_to_last = ((1, _HIGHEST_UID),)
        self._copy(MessagesCopied(mailbox.id, first_to_last, target.id, entry.instant, move=bool(len(live.uids))))

    # the queue

    def _settle(self, sequence: int, entry: Settled, octets: _Octets, take: Callable[[], int]) -> None:
        owed = self.owed(entry.queue_id) if self.owed else self.taken.get(entry.queue_id, set())
        settlements = [settlement for settlement in entry.settlements if settlement.number in owed]
        if settlements:
            for transaction in entry.transactions:
                self._accept(sequence, transaction, octets, take)
        owed.difference_update(settlement.number for settlement in settlements)
        if not owed:
            self.give_back(entry.queue_id)
        queue_rows.settle(self.batch, entry.queue_id, settlements, release=not owed)
        self.queued = True

    def give_back(self, queue_id: str) -> bool:
        """Let an entry be taken by nobody; return whether it was taken."""
        self.contents.expect_no_more(queue_id)
        return self.taken.pop(queue_id, None) is not None

    def _change_queue(self, entry: QueueHeld | QueueRetried | QueueDropped) -> None:
        match entry:
            case QueueHeld():
                queue_rows.hold(self.batch, entry.chosen, entry.held)
            case QueueRetried():
                queue_rows.retry(self.batch, entry.chosen, entry.when, entry.route)
            case QueueDropped():
                queue_rows.drop(self.batch, entry.chosen)
                self.contents.forget_expected()
                for queue_id, number in entry.chosen:
                    self.taken.get(queue_id, set()).discard(number)
                if self.dropped is not None:
                    self.dropped.update(entry.chosen)
            case _:
                assert_never(entry)
        self.queued = True
