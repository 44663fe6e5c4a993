"""What every engine of the message store promises (store/interface.py), claim by claim."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fakes.memory_store import MemoryStore
from letterlock.formats.address import Address
from letterlock.formats.envelope import Body, Envelope, Notify, Recipient, Return
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import SetClock
from letterlock.store.engine import StoreSettings, open_store
from letterlock.store.interface import (
    Copied,
    Delivery,
    FlagChange,
    NewMessage,
    Queued,
    QueueFilter,
    Refusal,
    Refused,
    Settlement,
    Store,
    Transaction,
    Usage,
)
from letterlock.store.snapshot import DELETED, FLAGGED, SEEN

ANNA = "anna@rosewood.test"
NOW = 1_800_000_000.0
ALL = ((1, 0xFFFFFFFF),)


@pytest.fixture(params=["log", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store = MemoryStore(SetClock(NOW))
    if request.param == "log":
        opened = await open_store(StoreSettings(tmp_path / "store", reserve_octets=0), clock=SetClock(NOW))
    await opened.prepare_account(ANNA, {"Sent": "\\Sent", "Work": ""})
    yield opened
    await opened.close()


async def inbox(store: Store) -> int:
    found = await store.mailbox(ANNA, "INBOX")
    assert found is not None
    return found.id


async def number(store: Store, name: str) -> int:
    found = await store.mailbox(ANNA, name)
    assert found is not None
    return found.id


async def fill(store: Store, count: int) -> int:
    """Append `count` messages of the octets b"<n>" to INBOX and return its id."""
    mailbox = await inbox(store)
    await store.append(mailbox, [NewMessage((b"%d" % n,)) for n in range(1, count + 1)])
    return mailbox


def queued(queue_id: str, *recipients: str, **changes: object) -> Queued:
    envelope = Envelope(
        Address.parse(ANNA),
        tuple(Recipient(Address.parse(recipient)) for recipient in recipients),
    )
    return Queued(queue_id, envelope, **{"next_attempt": NOW, "expires": NOW + 1000, **changes})  # type: ignore[arg-type]


def relayed(number: int, recipient: str) -> Settlement:
    return Settlement(number, Outcome(Address.parse(recipient), Result.RELAYED, "2.0.0", "250 2.0.0 Ok"))


def deferred(number: int, recipient: str, when: float) -> Settlement:
    return Settlement(number, Outcome(Address.parse(recipient), Result.DEFERRED, "4.4.1", "no route"), when)


# transactions


async def test_a_delivery_is_prefix_then_octets_byte_for_byte(store: Store) -> None:
    """Octets are sacred: NUL, bare CR and LF, 8-bit, no final CRLF all come back as they came."""
    octets = (b"Received: here\r\n", b"Subject: \xff\x00\r\n\r\nbare\rbare\nend")
    receipt = await store.commit(Transaction("t", NOW, octets, (Delivery(ANNA, prefix=b"Return-Path: <>\r\n"),)))
    handle = await store.open(receipt.placed[0].mailbox)
    snapshot = handle.snapshot()
    assert b"Return-Path: <>\r\n" + b"".join(octets) == await store.read(snapshot.contents[0])
    assert snapshot.sizes[0] == 17 + sum(map(len, octets))
    handle.close()


async def test_every_recipient_has_its_own_prefix_before_the_same_body(store: Store) -> None:
    deliveries = (
        Delivery(ANNA, prefix=b"1: a\r\n"),
        Delivery(ANNA, prefix=b"2: bcd\r\n"),
        Delivery(ANNA),
    )
    receipt = await store.commit(Transaction("t", NOW, (b"body",), deliveries))
    handle = await store.open(await inbox(store))
    contents = handle.snapshot().contents
    assert [await store.read(content) for content in contents] == [b"1: a\r\nbody", b"2: bcd\r\nbody", b"body"]
    assert [placed.uid for placed in receipt.placed] == [1, 2, 3]
    handle.close()


async def test_a_slice_is_read_across_prefix_and_body(store: Store) -> None:
    await store.commit(Transaction("t", NOW, (b"0123456789",), (Delivery(ANNA, prefix=b"abc"), Delivery(ANNA))))
    handle = await store.open(await inbox(store))
    content = handle.snapshot().contents[0]
    whole = b"abc0123456789"
    for offset in range(15):
        for length in (0, 1, 5, 20):
            assert whole[offset : offset + length] == await store.read(content, offset, length)
        assert whole[offset:] == await store.read(content, offset)
    handle.close()


async def test_a_transaction_committed_twice_stores_once(store: Store) -> None:
    transaction = Transaction("same", NOW, (b"x",), (Delivery(ANNA),), (queued("q", "b@harbor.test"),))
    first = await store.commit(transaction)
    again = await store.commit(transaction)
    assert first.placed == again.placed
    assert again.repeated
    found = await store.mailbox(ANNA, "INBOX")
    assert found is not None
    assert found.messages == 1
    assert await store.queue_size() == (1, 1)


async def test_a_delivery_makes_the_mailbox_it_names(store: Store) -> None:
    await store.commit(Transaction("t", NOW, (b"x",), (Delivery(ANNA, "Lists/mta", flags=(SEEN,)),)))
    found = await store.mailbox(ANNA, "Lists/mta")
    assert found is not None
    assert (found.messages, found.unseen, found.subscribed) == (1, 0, True)


async def test_many_commits_at_once_get_each_uid_once(store: Store) -> None:
    transactions = [Transaction(f"t{n}", NOW, (b"%d" % n,), (Delivery(ANNA),)) for n in range(300)]
    receipts = await asyncio.gather(*map(store.commit, transactions))
    assert sorted(receipt.placed[0].uid for receipt in receipts) == list(range(1, 301))
    handle = await store.open(await inbox(store))
    snapshot = handle.snapshot()
    for n, receipt in enumerate(receipts):
        content = snapshot.contents[snapshot.slot(receipt.placed[0].uid)]
        assert b"%d" % n == await store.read(content)
    handle.close()


# mailboxes


async def test_an_account_begins_with_its_mailboxes(store: Store) -> None:
    names = [(mailbox.name, mailbox.special_use, mailbox.subscribed) for mailbox in await store.mailboxes(ANNA)]
    assert names == [("INBOX", "", True), ("Sent", "\\Sent", True), ("Work", "", True)]


async def test_inbox_is_found_in_any_case(store: Store) -> None:
    assert await store.mailbox(ANNA, "iNbOx") == await store.mailbox(ANNA, "INBOX")
    assert await store.mailbox(ANNA, "work") is None


async def test_create_makes_the_levels_above(store: Store) -> None:
    made = await store.create(ANNA, "a/b/c")
    assert made.name == "a/b/c"
    assert await store.mailbox(ANNA, "a/b") is not None
    with pytest.raises(Refused) as caught:
        await store.create(ANNA, "a/b")
    assert caught.value.refusal is Refusal.ALREADYEXISTS


@pytest.mark.parametrize(
    "name", ["", "/", "a//b", "/a", "a/", "a\x00b", "a\r\nb", "x" * 600, "\ud800", "/".join("x" * 30)]
)
async def test_a_name_that_is_no_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(Refused) as caught:
        await store.create(ANNA, name)
    assert caught.value.refusal is Refusal.CANNOT


async def test_uid_validity_is_never_the_same_again_for_a_name(store: Store) -> None:
    first = await store.create(ANNA, "x")
    await store.delete(ANNA, "x")
    second = await store.create(ANNA, "x")
    assert second.uid_validity > first.uid_validity
    assert second.id != first.id


async def test_delete_leaves_the_mailboxes_below(store: Store) -> None:
    await store.create(ANNA, "a/b")
    await store.delete(ANNA, "a")
    assert await store.mailbox(ANNA, "a") is None
    assert await store.mailbox(ANNA, "a/b") is not None
    with pytest.raises(Refused) as caught:
        await store.delete(ANNA, "a")
    assert caught.value.refusal is Refusal.NONEXISTENT
    with pytest.raises(Refused) as caught:
        await store.delete(ANNA, "Inbox")
    assert caught.value.refusal is Refusal.CANNOT


async def test_a_deleted_mailbox_tells_those_who_look_at_it(store: Store) -> None:
    handle = await store.open(await number(store, "Work"))
    waiting = asyncio.create_task(handle.changed(handle.snapshot()))
    await store.delete(ANNA, "Work")
    assert not (await waiting).exists
    handle.close()


async def test_rename_moves_what_is_below_too(store: Store) -> None:
    await store.create(ANNA, "old/sub")
    before = await store.mailbox(ANNA, "old/sub")
    await store.rename(ANNA, "old", "new/place")
    after = await store.mailbox(ANNA, "new/place/sub")
    assert before is not None
    assert after is not None
    assert (before.id, before.uid_validity) == (after.id, after.uid_validity)
    assert await store.mailbox(ANNA, "old") is None
    with pytest.raises(Refused) as caught:
        await store.rename(ANNA, "new", "Sent")
    assert caught.value.refusal is Refusal.ALREADYEXISTS


async def test_renaming_inbox_moves_its_messages_and_leaves_it_empty(store: Store) -> None:
    mailbox = await fill(store, 3)
    await store.rename(ANNA, "INBOX", "2026/old")
    moved, left = await store.mailbox(ANNA, "2026/old"), await store.mailbox(ANNA, "INBOX")
    assert moved is not None
    assert left is not None
    assert (moved.messages, left.messages, left.id) == (3, 0, mailbox)


async def test_subscriptions_need_no_mailbox(store: Store) -> None:
    await store.subscribe(ANNA, "not/there", True)
    await store.subscribe(ANNA, "Work", False)
    assert await store.subscriptions(ANNA) == ("INBOX", "Sent", "not/there")


async def test_a_removed_account_has_nothing(store: Store) -> None:
    await fill(store, 2)
    await store.remove_account(ANNA)
    assert await store.mailboxes(ANNA) == ()
    assert await store.subscriptions(ANNA) == ()
    assert await store.usage(ANNA) == Usage(0, 0)


# messages


async def test_an_append_is_bounded(store: Store) -> None:
    mailbox = await inbox(store)
    with pytest.raises(Refused) as caught:
        await store.append(mailbox, [NewMessage((b"x",))] * 4097)
    assert caught.value.refusal is Refusal.LIMIT
    assert len(await store.append(mailbox, [NewMessage((b"x",))] * 4096)) == 4096


async def test_flags_change_and_only_changed_messages_get_a_new_modseq(store: Store) -> None:
    mailbox = await fill(store, 4)
    await store.store_flags(mailbox, ((2, 3),), FlagChange.ADD, [SEEN])
    before = (await store.mailboxes(ANNA))[0]
    stored = await store.store_flags(mailbox, ALL, FlagChange.ADD, ["\\seen", "$Work"])
    assert stored.changed == ((1, 4),)
    assert stored.modseq == before.highest_modseq + 1
    stored = await store.store_flags(mailbox, ((1, 2),), FlagChange.REPLACE, [FLAGGED])
    assert stored.changed == ((1, 2),)
    assert (await store.store_flags(mailbox, ((1, 2),), FlagChange.REPLACE, [FLAGGED])).changed == ()
    handle = await store.open(mailbox)
    snapshot = handle.snapshot()
    assert [snapshot.flags(slot) for slot in range(4)] == [(FLAGGED,), (FLAGGED,), (SEEN, "$Work"), (SEEN, "$Work")]
    assert snapshot.where(SEEN, set=False) == [1, 2]
    assert snapshot.where("$work") == [3, 4]
    assert snapshot.where("$never") == []
    assert list(snapshot.modseqs) == [stored.modseq, stored.modseq, stored.modseq - 1, stored.modseq - 1]
    counts = (await store.mailboxes(ANNA))[0]
    assert (counts.messages, counts.unseen) == (4, 2)
    handle.close()


async def test_unchanged_since_leaves_newer_messages_alone(store: Store) -> None:
    """RFC 7162 section 3.1.3."""
    mailbox = await fill(store, 3)
    since = (await store.store_flags(mailbox, ((1, 1),), FlagChange.ADD, [SEEN])).modseq
    await store.store_flags(mailbox, ((2, 2),), FlagChange.ADD, [SEEN])
    stored = await store.store_flags(mailbox, ALL, FlagChange.ADD, [FLAGGED], unchanged_since=since)
    assert (stored.changed, stored.conflicting) == (((1, 1), (3, 3)), ((2, 2),))


async def test_keywords_are_many_but_not_endless(store: Store) -> None:
    mailbox = await fill(store, 1)
    await store.store_flags(mailbox, ALL, FlagChange.ADD, [f"k{n}" for n in range(57)])
    with pytest.raises(Refused) as caught:
        await store.store_flags(mailbox, ALL, FlagChange.ADD, ["one-more"])
    assert caught.value.refusal is Refusal.LIMIT
    handle = await store.open(mailbox)
    assert handle.snapshot().flags(0) == tuple(f"k{n}" for n in range(57))
    handle.close()


async def test_copies_share_octets_and_keep_flags_and_date(store: Store) -> None:
    mailbox = await inbox(store)
    await store.append(mailbox, [NewMessage((b"one",), (SEEN, "$k"), 12345.0), NewMessage((b"two",))])
    target = await number(store, "Work")
    await store.append(target, [NewMessage((b"zero",), ("other",))])
    copied = await store.copy(mailbox, ((1, 9),), target)
    found = await store.mailbox(ANNA, "Work")
    assert found is not None
    assert copied == Copied(found.uid_validity, (1, 2), (2, 3))
    source, handle = await store.open(mailbox), await store.open(target)
    snapshot = handle.snapshot()
    assert snapshot.flags(1) == (SEEN, "$k")
    assert snapshot.internal_dates[1] == 12345
    assert snapshot.contents[1] == source.snapshot().contents[0]
    source.close()
    handle.close()


async def test_move_leaves_nothing_behind_and_tells_what_vanished(store: Store) -> None:
    mailbox = await fill(store, 4)
    since = (await store.mailboxes(ANNA))[0].highest_modseq
    target = await number(store, "Work")
    copied = await store.move(mailbox, ((2, 3),), target)
    assert copied.source == (2, 3)
    assert await store.vanished(mailbox, since) == ((2, 3),)
    assert await store.vanished(mailbox, since + 1) == ()
    handle = await store.open(target)
    assert [await store.read(content) for content in handle.snapshot().contents] == [b"2", b"3"]
    handle.close()


async def test_expunge_takes_only_the_deleted(store: Store) -> None:
    mailbox = await fill(store, 6)
    await store.store_flags(mailbox, ((2, 2), (4, 5)), FlagChange.ADD, [DELETED])
    assert await store.expunge(mailbox, ((1, 4),)) == ((2, 2), (4, 4))
    assert await store.expunge(mailbox) == ((5, 5),)
    assert await store.expunge(mailbox) == ()
    assert await store.expunge(mailbox, ((1, 1),), only_deleted=False) == ((1, 1),)
    handle = await store.open(mailbox)
    assert list(handle.snapshot().uids) == [3, 6]
    counts = (await store.mailboxes(ANNA))[0]
    assert (counts.messages, counts.deleted, counts.octets, counts.uid_next) == (2, 0, 2, 7)
    handle.close()


async def test_a_uid_is_never_used_again(store: Store) -> None:
    mailbox = await fill(store, 2)
    await store.expunge(mailbox, ALL, only_deleted=False)
    (placed,) = await store.append(mailbox, [NewMessage((b"x",))])
    assert placed.uid == 3


async def test_octets_are_gone_when_nothing_refers_to_them(store: Store) -> None:
    mailbox = await fill(store, 1)
    handle = await store.open(mailbox)
    content = handle.snapshot().contents[0]
    target = await number(store, "Work")
    await store.copy(mailbox, ALL, target)
    await store.expunge(mailbox, ALL, only_deleted=False)
    await store.queue_size()
    assert await store.read(content) == b"1"
    await store.expunge(target, ALL, only_deleted=False)
    await store.queue_size()
    with pytest.raises(Refused) as caught:
        await store.read(content)
    assert caught.value.refusal is Refusal.EXPUNGEISSUED
    handle.close()


async def test_a_snapshot_never_changes(store: Store) -> None:
    mailbox = await fill(store, 3)
    handle = await store.open(mailbox)
    old = handle.snapshot()
    assert handle.snapshot() is old
    await store.expunge(mailbox, ((2, 2),), only_deleted=False)
    await store.store_flags(mailbox, ALL, FlagChange.ADD, [SEEN])
    await store.append(mailbox, [NewMessage((b"4",))])
    assert (list(old.uids), old.planes, len(old.modseqs)) == ([1, 2, 3], (b"\0\0\0",), 3)
    new = handle.snapshot()
    assert list(new.uids) == [1, 3, 4]
    assert handle.touched_since(old.highest_modseq) == [1, 2, 3, 4]
    assert handle.touched_since(new.highest_modseq) == []
    handle.close()


async def test_whoever_waits_for_a_change_wakes(store: Store) -> None:
    mailbox = await fill(store, 1)
    handle = await store.open(mailbox)
    waiting = asyncio.create_task(handle.changed(handle.snapshot()))
    await store.commit(Transaction("t", NOW, (b"x",), (Delivery(ANNA),)))
    assert list((await waiting).uids) == [1, 2]
    handle.close()


async def test_derived_octets_are_kept_for_living_contents(store: Store) -> None:
    mailbox = await fill(store, 3)
    handle = await store.open(mailbox)
    contents = list(handle.snapshot().contents)
    store.keep_derived("envelope", {contents[0]: b"E1", contents[2]: b"E3"})
    assert await store.derived("envelope", contents) == [b"E1", None, b"E3"]
    assert await store.derived("structure", contents) == [None, None, None]
    handle.close()


# the queue


async def test_a_queue_entry_remembers_its_envelope(store: Store) -> None:
    recipient = Recipient(Address.parse("b@harbor.test"), Notify.SUCCESS | Notify.FAILURE, "rfc822;b@harbor.test")
    envelope = Envelope(None, (recipient,), Body.EIGHT_BIT, True, True, Return.HEADERS, "QQ314159")
    owed = Queued("q", envelope, NOW, NOW + 9, 3, source="test", route="lmtp", prefix=b"P: 1\r\n", details={"a": "b"})
    await store.commit(Transaction("t", NOW, (b"body",), (), (owed,)))
    entry = await store.queue_entry("q")
    assert entry is not None
    assert entry.envelope == envelope
    assert (entry.size, entry.arrived, entry.expires, entry.priority) == (10, NOW, NOW + 9, 3)
    assert (entry.source, entry.route, entry.details) == ("test", "lmtp", {"a": "b"})
    assert await store.read(entry.content) == b"P: 1\r\nbody"
    assert await store.queue_entry("other") is None


async def test_due_entries_come_by_priority_then_age_and_only_once(store: Store) -> None:
    owed = (
        queued("late", "a@b.test", next_attempt=NOW + 50),
        queued("second", "a@b.test", next_attempt=NOW - 1),
        queued("first", "a@b.test", next_attempt=NOW - 2),
        queued("urgent", "a@b.test", priority=4),
        queued("held", "a@b.test", held=True),
    )
    await store.commit(Transaction("t", NOW, (b"x",), (), owed))
    assert [entry.queue_id for entry in await store.take_due(NOW, 2)] == ["urgent", "first"]
    assert [entry.queue_id for entry in await store.take_due(NOW, 9)] == ["second"]
    assert await store.take_due(NOW, 9) == ()
    assert await store.next_due() == NOW + 50
    await store.release("first")
    assert [entry.queue_id for entry in await store.take_due(NOW, 9)] == ["first"]


async def test_an_entry_given_back_until_later_is_not_due_before(store: Store) -> None:
    await store.commit(Transaction("t", NOW, (b"x",), (), (queued("q", "a@b.test"),)))
    await store.take_due(NOW, 9)
    await store.release("q", NOW + 7)
    assert await store.take_due(NOW + 6, 9) == ()
    assert await store.next_due() == NOW + 7
    assert len(await store.take_due(NOW + 7, 9)) == 1


async def test_a_parked_entry_is_found_by_its_lane_only(store: Store) -> None:
    owed = (queued("q1", "a@b.test"), queued("q2", "a@b.test"), queued("q3", "a@b.test", priority=1))
    await store.commit(Transaction("t", NOW, (b"x",), (), owed))
    await store.take_due(NOW, 9)
    for queue_id in ("q1", "q2", "q3"):
        await store.park(queue_id, "b.test")
    assert await store.take_due(NOW, 9) == ()
    assert await store.next_due() is None
    assert await store.take_parked("c.test", NOW, 9) == ()
    assert [entry.queue_id for entry in await store.take_parked("b.test", NOW, 2)] == ["q3", "q1"]
    await store.settle("q1", NOW, [relayed(0, "a@b.test")])
    assert await store.queue_size() == (2, 2)
    await store.retry(QueueFilter(queue_id="q2"), NOW)
    assert await store.take_parked("b.test", NOW, 9) == ()
    assert [entry.queue_id for entry in await store.take_due(NOW, 9)] == ["q2"]


async def test_an_entry_is_settled_in_parts_and_gone_when_nothing_is_owed(store: Store) -> None:
    await store.commit(Transaction("t", NOW, (b"x",), (), (queued("q", "a@b.test", "c@d.test", "e@f.test"),)))
    (entry,) = await store.take_due(NOW, 9)
    await store.settle("q", NOW, [relayed(0, "a@b.test")])
    await store.settle("q", NOW, [deferred(1, "c@d.test", NOW + 60), relayed(2, "e@f.test")])
    left = await store.queue_entry("q")
    assert left is not None
    (recipient,) = left.recipients
    assert (recipient.number, recipient.attempts, recipient.next_attempt) == (1, 1, NOW + 60)
    assert recipient.last is not None
    assert recipient.last.outcome.reply == "no route"
    assert [attempt.outcome.status for attempt in await store.attempts("q")] == ["2.0.0", "4.4.1", "2.0.0"]
    assert await store.take_due(NOW, 9) == ()
    await store.take_due(NOW + 60, 9)
    await store.settle("q", NOW + 60, [relayed(1, "c@d.test")])
    assert await store.queue_entry("q") is None
    assert await store.attempts("q") == ()
    with pytest.raises(Refused):
        await store.read(entry.content)


async def test_many_attempts_settled_at_once_are_each_their_own(store: Store) -> None:
    """Of a crowd some are gone, some wait for another attempt, some are owed to one more; an operator comes between."""
    names = [f"q{number:03}" for number in range(150)]
    for name in names:
        owed = queued(name, f"{name}@b.test", f"{name}@d.test")
        await store.commit(Transaction(name, NOW, (name.encode(),), (), (owed,)))
    taken = [entry for _ in range(2) for entry in await store.take_due(NOW, 100)]
    assert [entry.queue_id for entry in taken] == names

    async def settle(number: int) -> None:
        name = names[number]
        await store.settle(name, NOW, [relayed(0, f"{name}@b.test")])
        if number % 3 == 1:
            await store.settle(name, NOW, [deferred(1, f"{name}@d.test", NOW + number)])
        elif number % 3 == 2:
            await store.settle(name, NOW, [relayed(1, f"{name}@d.test")])
        if number % 50 == 1:
            await store.hold(QueueFilter(queue_id=name), held=True)

    await asyncio.gather(*map(settle, range(150)))
    assert await store.queue_size() == (100, 100)
    left = {entry.queue_id: entry for entry in await store.queue(QueueFilter(), limit=200)}
    assert sorted(left) == [name for number, name in enumerate(names) if number % 3 < 2]
    for number, name in enumerate(names):
        tries = [attempt.outcome.status for attempt in await store.attempts(name)]
        assert tries == [["2.0.0"], ["2.0.0", "4.4.1"], []][number % 3]
    assert [entry.queue_id for entry in await store.take_due(NOW + 30, 200)] == [
        name for number, name in enumerate(names) if number % 3 == 1 and number <= 30 and number % 50 != 1
    ]
    assert await store.read(left["q003"].content) == b"q003"


async def test_what_an_attempt_leads_to_is_stored_with_it_and_once(store: Store) -> None:
    """A queued message delivered here, and a report: in the change that ends the debt, however often it is said."""
    await store.commit(Transaction("t", NOW, (b"body",), (), (queued("q", "a@b.test", "c@d.test"),)))
    (entry,) = await store.take_due(NOW, 9)
    local = Transaction("t2", NOW, (), (Delivery(ANNA, prefix=b"D: 1\r\n"),), content=entry.content)
    report = Transaction("t3", NOW, (b"report",), (Delivery(ANNA),))
    await store.settle("q", NOW, [relayed(0, "a@b.test")], [local])
    await store.settle("q", NOW, [relayed(1, "c@d.test")], [report])
    await store.settle("q", NOW, [relayed(1, "c@d.test")], [Transaction("t4", NOW, (b"again",), (Delivery(ANNA),))])
    handle = await store.open(await inbox(store))
    contents = handle.snapshot().contents
    assert [await store.read(content) for content in contents] == [b"D: 1\r\nbody", b"report"]
    handle.close()


async def test_queue_commands_choose_by_filter(store: Store) -> None:
    owed = (
        queued("q1", "a@b.test", "c@d.test"),
        queued("q2", "a@b.test"),
        Queued("q3", Envelope(None, (Recipient(Address.parse("x@d.test")),)), NOW, NOW + 9),
    )
    await store.commit(Transaction("t", NOW, (b"x",), (), owed))
    assert [e.queue_id for e in await store.queue(QueueFilter(destination="d.test"))] == ["q1", "q3"]
    assert [e.queue_id for e in await store.queue(QueueFilter(sender="<>"))] == ["q3"]
    assert [e.queue_id for e in await store.queue(QueueFilter(recipient="a@b.test"), limit=1, after="q1")] == ["q2"]
    assert await store.hold(QueueFilter(destination="d.test"), True) == 2
    (first, second) = await store.take_due(NOW, 9)
    assert [recipient.number for recipient in first.recipients] == [0]
    assert second.queue_id == "q2"
    await store.release("q1")
    await store.release("q2")
    assert await store.queue_size() == (3, 4)
    assert await store.hold(QueueFilter(held=True), False) == 2
    assert await store.retry(QueueFilter(queue_id="q1"), NOW + 5, route="[192.0.2.1]") == 2
    entry = await store.queue_entry("q1")
    assert entry is not None
    assert (entry.route, entry.recipients[0].next_attempt) == ("[192.0.2.1]", NOW + 5)
    assert await store.drop(QueueFilter(destination="d.test")) == 2
    assert await store.queue_size() == (2, 2)


async def test_what_a_clock_that_was_ahead_put_off_is_made_due(store: Store) -> None:
    """By when it came, or by a wait longer than any; not what was to be released later, nor what waits as it should."""
    ahead, hour = NOW + 7 * 3600, 3600.0
    for queue_id, arrived, wait in (("new", ahead, 0.0), ("deferred ahead", ahead, 0.0), ("old", NOW, 0.0),
                                    ("late", NOW, 0.0), ("release", NOW, 9 * hour)):  # fmt: skip
        envelope = Envelope(None, (Recipient(Address.parse("x@d.test")),))
        owed = Queued(queue_id, envelope, arrived + wait, ahead + 9 * hour)
        await store.commit(Transaction(queue_id, arrived, (b"x",), (), (owed,)))
    outcome = Outcome(Address.parse("x@d.test"), Result.DEFERRED, "4.2.0")
    await store.take_due(ahead, 9)
    for queue_id, wait in (("deferred ahead", 7 * hour + 300), ("old", hour), ("late", 8 * hour)):
        await store.settle(queue_id, ahead, [Settlement(0, outcome, NOW + wait)])
    await store.release("new")
    await store.park("late", "d.test")
    assert await store.bring_forward(NOW + 1, 4 * hour) == 3
    assert {entry.queue_id for entry in await store.take_due(NOW + 1, 9)} == {"new", "deferred ahead", "late"}
    assert await store.next_due() == NOW + hour
    assert await store.bring_forward(NOW + 1, 4 * hour) == 0


async def test_what_is_prolonged_expires_later(store: Store) -> None:
    """Only what came until an instant."""
    await store.commit(Transaction("t1", NOW - 100, (b"x",), (), (queued("q1", "a@b.test"),)))
    await store.commit(Transaction("t2", NOW, (b"x",), (), (queued("q2", "c@d.test"),)))
    before = {entry.queue_id: entry.expires for entry in await store.queue(QueueFilter())}
    await store.prolong(3600.0, NOW - 100)
    after = {entry.queue_id: entry.expires for entry in await store.queue(QueueFilter())}
    assert after == {"q1": before["q1"] + 3600, "q2": before["q2"]}


async def test_queue_entries_are_found_by_domain_of_sender_age_and_reason(store: Store) -> None:
    """The last answer counts, in whatever part: what was said before it and overcome does not."""
    await store.commit(Transaction("t1", NOW - 100, (b"x",), (), (queued("q1", "a@b.test"),)))
    await store.commit(Transaction("t2", NOW, (b"x",), (), (queued("q2", "c@d.test"),)))
    for number, (queue_id, to) in enumerate((("q1", "a@b.test"), ("q2", "c@d.test"))):
        await store.take_due(NOW, 9)
        for reply in ("451 4.7.1 greylisted", f"450 4.2.{number} müde"):
            outcome = Outcome(Address.parse(to), Result.DEFERRED, f"4.2.{number}", reply, f"mx{number}.test")
            await store.settle(queue_id, NOW, [Settlement(0, outcome, NOW)])
            await store.take_due(NOW, 9)

    async def found(**conditions: object) -> list[str]:
        return [entry.queue_id for entry in await store.queue(QueueFilter(**conditions))]  # type: ignore[arg-type]

    sender = str(queued("q", "a@b.test").envelope.reverse_path)
    assert await found(sender=sender.partition("@")[2]) == ["q1", "q2"]
    assert await found(sender=sender.partition("@")[2][1:]) == []
    assert await found(arrived_before=NOW - 50) == ["q1"]
    assert await found(arrived_before=NOW + 1) == ["q1", "q2"]
    assert await found(reason="greylisted") == []
    assert await found(reason="müde") == ["q1", "q2"]
    assert await found(reason="4.2.1") == ["q2"]
    assert await found(reason="mx0.test") == ["q1"]
    assert await found(reason="mx0.test", arrived_before=NOW - 200) == []


async def test_a_recipient_dropped_while_taken_is_not_settled(store: Store) -> None:
    await store.commit(Transaction("t", NOW, (b"x",), (), (queued("q", "a@b.test"),)))
    await store.take_due(NOW, 9)
    assert await store.drop(QueueFilter(queue_id="q")) == 1
    report = Transaction("t2", NOW, (b"report",), (Delivery(ANNA),))
    await store.settle("q", NOW, [relayed(0, "a@b.test")], [report])
    assert (await store.mailboxes(ANNA))[0].messages == 0
    assert await store.queue_size() == (0, 0)


async def test_taking_what_was_parked_hides_no_news(store: Store) -> None:
    """Who takes for a lane does not look at the rest, and whoever does must still hear of it."""
    await store.take_due(NOW, 9)
    await store.commit(Transaction("t", NOW, (b"x",), (), (queued("q", "a@b.test"),)))
    await store.take_parked("c.test", NOW, 9)
    async with asyncio.timeout(30):
        await store.queue_changed()
    assert len(await store.take_due(NOW, 9)) == 1


async def test_the_runner_wakes_when_something_is_queued(store: Store) -> None:
    await store.take_due(NOW, 9)
    waiting = asyncio.create_task(store.queue_changed())
    await asyncio.sleep(0)
    assert not waiting.done()
    await store.commit(Transaction("t", NOW, (b"x",), (), (queued("q", "a@b.test"),)))
    await waiting
