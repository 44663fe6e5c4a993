"""store/reclaim.py: room comes back, what lives stays, and the index can be made again from what is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.script_writer import ANNA, NOW, picture
from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.host.clock import SetClock
from letterlock.store.engine import LogStore, StoreSettings, open_store
from letterlock.store.interface import Delivery, Queued, Transaction
from letterlock.store.snapshot import to_ranges


async def opened(folder: Path) -> LogStore:
    settings = StoreSettings(folder, lanes=1, segment_octets=20_000, reserve_octets=0)
    return await open_store(settings, clock=SetClock(NOW))


async def filled(folder: Path) -> LogStore:
    """Return a store of many segments, in most of which one message in ten lives."""
    store = await opened(folder)
    for number in range(200):
        octets = (b"%d " % number) * 250
        transaction = Transaction(f"t{number}", NOW, (octets,), (Delivery(ANNA, prefix=b"P: 1\r\n"), Delivery(ANNA)))
        await store.commit(transaction)
    inbox = await store.mailbox(ANNA, "INBOX")
    assert inbox is not None
    await store.expunge(inbox.id, to_ranges([uid for uid in range(1, 401) if uid % 20]), only_deleted=False)
    return store


def sizes(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "log").iterdir())


async def test_room_comes_back_and_what_lives_stays(tmp_path: Path) -> None:
    store = await filled(tmp_path)
    before, size = await picture(store), sizes(tmp_path)
    done = await store.reclaim()
    assert done.segments_removed > 5
    assert done.octets_moved > 0
    assert sizes(tmp_path) < size / 4
    assert await picture(store) == before
    assert (await store.reclaim()).segments_removed <= 1
    await store.close()
    store = await opened(tmp_path)
    assert store.report.replayed == 0
    assert await picture(store) == before
    await store.close()


@pytest.mark.parametrize("is_taken_first", [False, True])
async def test_what_is_queued_is_read_where_it_was_moved_to(tmp_path: Path, is_taken_first: bool) -> None:
    """The place that was looked up when an entry was taken holds only until contents are moved."""
    store = await opened(tmp_path)
    envelope = Envelope(None, (Recipient(Address("ada", "harbor.test")),))
    for number in range(60):
        queued = (Queued(f"q{number}", envelope, NOW, NOW + 1000),) if number % 20 == 0 else ()
        octets = (b"%d " % number) * 1000
        await store.commit(Transaction(f"t{number}", NOW, (octets,), (Delivery(ANNA),), queued))
    inbox = await store.mailbox(ANNA, "INBOX")
    assert inbox is not None
    await store.expunge(inbox.id, ((1, 60),), only_deleted=False)
    entries = await store.take_due(NOW, 9) if is_taken_first else ()
    assert (await store.reclaim()).octets_moved > 0
    entries = entries or await store.take_due(NOW, 9)
    assert [(await store.read(entry.content))[:3] for entry in entries] == [b"0 0", b"20 ", b"40 "]
    assert (await store.reclaim()).segments_removed <= 1
    await store.close()


@pytest.mark.parametrize("damage", ["lost", "overwritten", "cut"])
async def test_a_damaged_index_is_made_again_from_its_copy_and_the_log(tmp_path: Path, damage: str) -> None:
    store = await filled(tmp_path)
    await store.reclaim()
    await store.commit(Transaction("after", NOW, (b"after the copy",), (Delivery(ANNA),)))
    before = await picture(store)
    await store.close()
    index = tmp_path / "index.sqlite"
    match damage:
        case "lost":
            index.unlink()
        case "overwritten":
            index.write_bytes(b"\xff" * index.stat().st_size)
        case "cut":
            index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])
    store = await opened(tmp_path)
    assert store.report.replayed > 0
    assert await picture(store) == before
    await store.close()


async def test_a_segment_that_comes_back_is_not_replayed(tmp_path: Path) -> None:
    """A removed file may reappear after a power cut, whatever we synced: its entries were applied long ago."""
    store = await filled(tmp_path)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "log").iterdir()}
    await store.reclaim()
    before = await picture(store)
    await store.close()
    for name, octets in kept.items():
        if not (tmp_path / "log" / name).exists():
            (tmp_path / "log" / name).write_bytes(octets)
    store = await opened(tmp_path)
    assert await picture(store) == before
    await store.close()


async def test_reading_goes_on_while_segments_go(tmp_path: Path) -> None:
    store = await filled(tmp_path)
    inbox = await store.mailbox(ANNA, "INBOX")
    assert inbox is not None
    handle = await store.open(inbox.id)
    contents = handle.snapshot().contents
    octets = [await store.read(content) for content in contents]
    await store.reclaim()
    assert [await store.read(content) for content in contents] == octets
    handle.close()
    await store.close()
