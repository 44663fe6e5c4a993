"""What goes wrong beside the store's work does not end it, and does not reach what it keeps."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from fakes.script_writer import ANNA, NOW, picture
from letterlock.errors import Unavailable
from letterlock.host.clock import SetClock
from letterlock.host.logs import send_to
from letterlock.store import core, index
from letterlock.store.check import check_store
from letterlock.store.engine import LogStore, StoreSettings, open_store
from letterlock.store.entries import Appended, pack
from letterlock.store.index import INDEX_NAME, SUSPECT_NAME, Batch, Indexer, connect, prepare
from letterlock.store.interface import Delivery, Transaction
from letterlock.store.segments import Record, Segment
from letterlock.store.snapshot import to_ranges
from letterlock.store.state import State


async def opened(folder: Path, **changes: int) -> LogStore:
    return await open_store(StoreSettings(folder, **{"reserve_octets": 0, **changes}), clock=SetClock(NOW))


def letter(name: str, octets: bytes = b"letter") -> Transaction:
    return Transaction(name, NOW, (octets,), (Delivery(ANNA),))


async def messages(store: LogStore) -> int:
    inbox = await store.mailbox(ANNA, "INBOX")
    assert inbox is not None
    return inbox.messages


@pytest.fixture
def quiet() -> object:
    """What is logged goes nowhere."""
    before = send_to(lambda _line: None)
    yield None
    send_to(before)


# the index's thread


async def test_who_asked_for_a_checkpoint_may_go(tmp_path: Path) -> None:
    """The thread goes on for all others."""
    store = await opened(tmp_path)
    begun, go = threading.Event(), threading.Event()

    def hold_up(_connection: object) -> None:
        begun.set()
        go.wait(30)

    async with asyncio.timeout(60):
        held = asyncio.create_task(store._indexer.ask(hold_up))
        await asyncio.to_thread(begun.wait, 30)
        asking = asyncio.create_task(store._indexer.make_durable())
        await asyncio.sleep(0)
        answered = asyncio.create_task(store.queue_size())
        await asyncio.sleep(0)
        go.set()
        await answered  # which stood behind the question of `make_durable`: the checkpoint comes next
        begun.clear()
        go.clear()
        again = asyncio.create_task(store._indexer.ask(hold_up))
        await asyncio.sleep(0)
        asking.cancel()
        go.set()
        await asyncio.wait([asking, held, again])
        await store.commit(letter("t"))
        assert await store.queue_size() == (0, 0)
        await store.close()


async def test_a_value_that_no_column_holds_is_trouble_not_silence(tmp_path: Path) -> None:
    """Whoever asks the index is answered, and the store hears that it has failed."""
    connection = connect(tmp_path / INDEX_NAME)
    prepare(connection)
    troubles: list[Unavailable] = []
    indexer = Indexer(connection, lambda _batches: None, troubles.append)
    batch = Batch(1)
    batch.transactions.append((1 << 70, "t", "[]"))
    indexer.write(batch)
    async with asyncio.timeout(60):
        with pytest.raises(Unavailable, match="OverflowError|too large|too big"):
            await indexer.ask(lambda _connection: None)
        await asyncio.sleep(0)
        await indexer.close()
    assert troubles


# a fault in applying


async def test_what_is_half_applied_never_reaches_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store stops; the next start makes all that is durable from the log."""
    store = await opened(tmp_path)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, _context: None)
    await store.commit(letter("first"))

    def broken(*_anything: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(State, "_deliver", broken)
        with pytest.raises(Unavailable):
            await store.commit(letter("second"))
    assert store.stopped.is_set()
    store.keep_derived("kind", {1: b"octets"})  # what hands over to the index, too
    await store.close()
    loop.set_exception_handler(None)
    store = await opened(tmp_path)
    assert await messages(store) == 2
    assert store.report.strange == []
    await store.close()
    assert check_store(tmp_path).faults == ()


async def log_to_add_to(folder: Path) -> tuple[int, int, Segment]:
    """Make a store with a message; return its mailbox, the last sequence number, and the log, open behind its end."""
    store = await opened(folder, lanes=1)
    await store.commit(letter("first"))
    inbox = await store.mailbox(ANNA, "INBOX")
    assert inbox is not None
    await store.close()
    with closing(apsw.Connection(str(folder / INDEX_NAME))) as connection:
        number, end, checksum = connection.execute("SELECT id, end, checksum FROM segments").fetchone()
        (sequence,) = connection.execute("SELECT value FROM meta WHERE key = 'sequence'").fetchone()
    return inbox.id, sequence, Segment.resume(folder / "log", number, end, checksum)


async def test_a_record_that_cannot_be_applied_blocks_no_start(tmp_path: Path) -> None:
    """It is set aside, what comes behind it is applied, and later starts hear no more of it."""
    inbox, sequence, segment = await log_to_add_to(tmp_path)
    counts_more_than_it_has = pack(Appended(inbox, NOW, ((5, (), NOW),)))
    good = pack(Appended(inbox, NOW, ((4, (), NOW),)))
    segment.append([Record(sequence + 1, counts_more_than_it_has, (b"odd",)), Record(sequence + 2, good, (b"good",))])
    segment.close()
    store = await opened(tmp_path)
    assert len(store.report.strange) == 1
    assert await messages(store) == 2
    assert (tmp_path / "strange" / str(sequence + 1)).read_bytes() == counts_more_than_it_has + b"odd"
    await store.commit(letter("after"))
    await store.close()
    store = await opened(tmp_path)
    assert store.report.strange == []
    assert await messages(store) == 3
    await store.close()
    assert check_store(tmp_path).faults == ()


async def test_a_record_with_a_value_that_no_column_holds_blocks_no_start(tmp_path: Path) -> None:
    """Which one it is among those that are written together is found out, and the others are applied."""
    inbox, sequence, segment = await log_to_add_to(tmp_path)
    good, odd = (pack(Appended(inbox, NOW, ((4, (), date),))) for date in (NOW, 1e30))
    records = [Record(sequence + 1 + at, odd if at == 3 else good, (b"text",)) for at in range(6)]
    segment.append(records)
    segment.close()
    store = await opened(tmp_path)
    assert len(store.report.strange) == 1
    assert await messages(store) == 6
    assert (tmp_path / "strange" / str(sequence + 4)).exists()
    await store.close()
    assert check_store(tmp_path).faults == ()


# a start


DAMAGE: dict[str, Callable[[apsw.Connection, int], object]] = {
    "a transaction": lambda there, _: there.execute("UPDATE transactions SET placed = '['"),
    "a keyword": lambda there, _: there.execute("UPDATE mailboxes SET keywords = '['"),
    "a counter": lambda there, _: there.execute("DELETE FROM meta WHERE key = 'next_mailbox'"),
    "a row in the way": lambda there, last: there.execute(
        "INSERT INTO contents VALUES (?, 1, 0, 0, 0, 0, 1)", (last * 4096,)
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_an_index_that_makes_no_sense_is_made_again(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "store"
    store = await opened(folder)
    await store.commit(letter("first"))
    await store.close()
    shutil.copyfile(folder / INDEX_NAME, tmp_path / "kept")
    store = await opened(folder)
    await store.commit(letter("second"))
    before = await picture(store)
    last = store._committer.next_sequence - 1
    await store.close()
    for left in folder.glob(INDEX_NAME + "*"):
        left.unlink()
    shutil.copyfile(tmp_path / "kept", folder / INDEX_NAME)
    with closing(apsw.Connection(str(folder / INDEX_NAME))) as connection:
        DAMAGE[damage](connection, last)
    store = await opened(folder)
    assert await picture(store) == before
    assert any("damaged" in line for line in store.report.strange)
    await store.close()
    assert check_store(folder).faults == ()


async def test_a_torn_end_that_cannot_be_kept_aside_blocks_no_start(tmp_path: Path) -> None:
    """For want of room, for instance."""
    store = await opened(tmp_path)
    await store.commit(letter("first"))
    await store.close()
    with max((tmp_path / "log").iterdir()).open("ab") as file:
        file.write(b"half a record")
    (tmp_path / "torn").write_bytes(b"in the way")
    store = await opened(tmp_path)
    assert (store.report.torn_octets, await messages(store)) == (13, 1)
    await store.close()


async def test_a_start_that_failed_lets_go_of_the_folder(tmp_path: Path) -> None:
    """Whoever tries again, in the same process too, meets the same trouble and no other."""
    store = await opened(tmp_path)
    await store.close()
    with closing(apsw.Connection(str(tmp_path / INDEX_NAME))) as connection:
        connection.execute("UPDATE meta SET value = 99 WHERE key = 'version'")
    for _ in range(2):
        with pytest.raises(Unavailable, match="version 99"):
            await opened(tmp_path)


# room


async def filled(folder: Path) -> LogStore:
    """Return a store of many segments, in most of which one message in ten lives."""
    store = await opened(folder, lanes=1, segment_octets=20_000)
    for number in range(100):
        await store.commit(letter(f"t{number}", (b"%d " % number) * 400))
    inbox = await store.mailbox(ANNA, "INBOX")
    assert inbox is not None
    await store.expunge(inbox.id, to_ranges([uid for uid in range(1, 101) if uid % 10]), only_deleted=False)
    return store


@pytest.mark.usefixtures("quiet")
async def test_a_segment_that_cannot_be_read_keeps_no_other_from_being_reclaimed(tmp_path: Path) -> None:
    store = await filled(tmp_path)
    (tmp_path / "log" / "0000000002.log").unlink()
    done = await store.reclaim()
    assert done.segments_removed > 3
    await store.close()


@pytest.mark.usefixtures("quiet")
async def test_a_copy_of_the_index_that_cannot_be_made_is_made_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is when room is needed most: who gives it back does not give up."""
    store = await filled(tmp_path)
    (tmp_path / "index.new").mkdir()
    with pytest.raises(Unavailable):
        await store.reclaim()
    monkeypatch.setattr(core, "_MAINTENANCE_SECONDS", 0.001)
    store._maintenance.cancel()
    turns, reclaim = 0, store.reclaim

    async def counted() -> object:
        nonlocal turns
        turns += 1
        if turns == 1:
            raise ZeroDivisionError
        if turns == 3:
            (tmp_path / "index.new").rmdir()
        return await reclaim()

    monkeypatch.setattr(store, "reclaim", counted)
    store._maintenance = asyncio.create_task(store._maintain())
    segments = len(list((tmp_path / "log").iterdir()))
    async with asyncio.timeout(60):
        while len(list((tmp_path / "log").iterdir())) > segments - 3:  # noqa: ASYNC110 - the task works
            await asyncio.sleep(0.001)
    await store.close()
    assert turns >= 3


async def test_an_index_that_cannot_even_be_marked_as_suspect_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Its disk is gone, for instance."""
    connection = connect(tmp_path / INDEX_NAME)
    prepare(connection)
    (tmp_path / SUSPECT_NAME).symlink_to(tmp_path / "nowhere" / "at" / "all")
    troubles: list[Unavailable] = []
    indexer = Indexer(connection, lambda _batches: None, troubles.append)

    def damaged(_connection: object, _batches: object) -> None:
        raise apsw.CorruptError("database disk image is malformed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "write_batches", damaged)
        indexer.write(Batch(1))
        async with asyncio.timeout(60):
            with pytest.raises(Unavailable, match="malformed"):
                await indexer.ask(lambda _connection: None)
            await asyncio.sleep(0)
            await indexer.close()
    assert troubles
