"""A full disk: what cannot be kept is deferred and leaves no trace, what was acknowledged stays, and room heals all.

Needs root, to mount a small tmpfs.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.fault_writer import body
from fakes.script_writer import ANNA, NOW
from letterlock.errors import Unavailable
from letterlock.host.clock import SetClock
from letterlock.store.engine import LogStore, StoreSettings, open_store
from letterlock.store.interface import Delivery, Transaction

pytestmark = pytest.mark.interop


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=72m", "tmpfs", str(tmp_path)], check=True)
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


async def opened(folder: Path, reserve: int) -> LogStore:
    settings = StoreSettings(folder / "store", segment_octets=1 << 20, reserve_octets=reserve)
    return await open_store(settings, clock=SetClock(NOW))


async def fill(store: LogStore, name: str) -> list[str]:
    """Commit from ten clients until every one is told that the disk is full; return what was acknowledged."""
    acknowledged: list[str] = []

    async def client(number: int) -> None:
        for count in range(10_000):
            message = f"{name}.{number}.{count}"
            try:
                await store.commit(Transaction(message, NOW, (body(message),), (Delivery(ANNA),)))
            except Unavailable as trouble:
                assert trouble.full
                return
            acknowledged.append(message)

    await asyncio.gather(*map(client, range(10)))
    return acknowledged


async def stored(store: LogStore) -> list[str]:
    """Return the names of the messages in INBOX, checking their octets."""
    inbox = await store.mailbox(ANNA, "INBOX")
    assert inbox is not None
    handle = await store.open(inbox.id)
    names = []
    for content in handle.snapshot().contents:
        octets = await store.read(content)
        name = octets.partition(b"\n")[0].decode()
        assert octets == body(name)
        names.append(name)
    handle.close()
    return names


async def healed(store: LogStore) -> None:
    """Wait until the index, which tries again every second, has caught up."""
    for _ in range(100):
        if not store._indexer.trouble:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the index did not recover")


@pytest.mark.parametrize("reserve", [0, 12 << 20])
async def test_a_full_disk_defers_and_room_heals(small_disk: Path, reserve: int) -> None:
    ballast = [small_disk / "1", small_disk / "2"]
    for path in ballast:
        path.write_bytes(bytes(14 << 20))
    store = await opened(small_disk, reserve)
    acknowledged: list[str] = []
    for number, path in enumerate(ballast):
        more = await fill(store, str(number))
        assert len(more) > 30
        acknowledged += more
        if reserve:
            assert sorted(await stored(store)) == sorted(acknowledged)  # reading goes on
        path.unlink()
        await healed(store)
        assert sorted(await stored(store)) == sorted(acknowledged)
    assert not store.stopped.is_set()
    await store.close()


async def test_after_a_crash_on_a_full_disk_all_that_was_acknowledged_is_there(small_disk: Path) -> None:
    store = await opened(small_disk, 24 << 20)
    acknowledged = await fill(store, "first")
    await store.close()
    for path in (small_disk / "store").glob("index.sqlite*"):  # as if the index had got nothing
        path.unlink()
    with contextlib.suppress(OSError), (small_disk / "others").open("wb") as file:  # somebody fills the rest
        while True:
            file.write(bytes(1 << 16))
    store = await opened(small_disk, 24 << 20)
    assert "full" in store.report.strange[0]
    assert sorted(await stored(store)) == sorted(acknowledged)
    with pytest.raises(Unavailable):
        await store.commit(Transaction("more", NOW, (b"x",), (Delivery(ANNA),)))
    await store.close()


async def test_expunging_makes_room_on_a_full_disk(small_disk: Path) -> None:
    store = await opened(small_disk, 12 << 20)
    acknowledged = await fill(store, "first")
    inbox = await store.mailbox(ANNA, "INBOX")
    assert inbox is not None
    await store.expunge(inbox.id, ((1, len(acknowledged) - 5),), only_deleted=False)
    done = await store.reclaim()
    assert done.octets_freed > 2 << 20
    assert len(await fill(store, "second")) > 100
    await store.close()
