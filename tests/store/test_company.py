"""Commits that share a sync: what was announced is waited for, but not for long."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from letterlock.errors import Unavailable
from letterlock.host.listen import bind_unix
from letterlock.store import committer
from letterlock.store.engine import LogStore, StoreSettings, open_store
from letterlock.store.interface import Delivery, Intake, Transaction
from letterlock.store.remote import RemoteStore
from letterlock.store.segments import Laid, Segment
from letterlock.store.service import StoreService


def letter(number: int) -> Transaction:
    return Transaction(f"letter-{number}", 1e9, octets=(b"x" * 1000,), deliveries=(Delivery("ada@rosewood.test"),))


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts what is synced at a time."""
    sizes: list[int] = []
    write = Segment.write

    def counted(segment: Segment, laid: Laid) -> None:
        sizes.append(len(laid.written))
        write(segment, laid)

    monkeypatch.setattr(Segment, "write", counted)
    return sizes


async def opened(folder: Path) -> LogStore:
    return await open_store(StoreSettings(folder / "store"))


async def come(store: Intake, number: int, turns: int) -> None:
    """A message that was announced, and comes some turns of the loop later."""
    for _ in range(turns):
        await asyncio.sleep(0)
    store.announce(-1)
    await store.commit(letter(number))


async def test_messages_that_were_announced_share_a_sync(
    tmp_path: Path, syncs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "_COMPANY_SECONDS", 3600)
    monkeypatch.setattr(committer, "_QUICK_SYNC_SECONDS", 3600)
    store = await opened(tmp_path)
    store.announce(10)
    await asyncio.gather(*(come(store, number, 50 * number) for number in range(10)))
    await store.close()
    assert syncs == [10]


async def test_who_comes_not_after_all_keeps_nobody_waiting(
    tmp_path: Path, syncs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "_COMPANY_SECONDS", 3600)
    monkeypatch.setattr(committer, "_QUICK_SYNC_SECONDS", 3600)
    store = await opened(tmp_path)
    store.announce(2)
    coming = asyncio.create_task(come(store, 1, 0))
    await asyncio.sleep(0.01)
    assert not coming.done()
    store.announce(-1)
    await coming
    await store.close()
    assert syncs == [1]


async def test_nobody_waits_for_long(tmp_path: Path, syncs: list[int]) -> None:
    """One that was announced and hangs: those that are here go without it."""
    store = await opened(tmp_path)
    store.announce(4)
    async with asyncio.timeout(30):
        await asyncio.gather(*(come(store, number, 0) for number in range(3)))
        await store.close()
    assert sum(syncs) == 3


async def test_who_stalls_is_waited_for_once(tmp_path: Path, syncs: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who come after that go at once; for one more that is announced there is a wait again."""
    monkeypatch.setattr(committer, "_QUICK_SYNC_SECONDS", 3600)
    monkeypatch.setattr(committer, "_COMPANY_SECONDS", 0.01)
    store = await opened(tmp_path)
    store.announce(2)
    await store.commit(letter(0))  # in vain
    monkeypatch.setattr(committer, "_COMPANY_SECONDS", 3600)
    async with asyncio.timeout(30):
        for number in range(1, 6):
            store.announce(1)
            await come(store, number, 0)
        store.announce(1)
        waiting = asyncio.create_task(store.commit(letter(6)))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await asyncio.gather(waiting, come(store, 7, 3))
        store.announce(-2)  # they give up
        store.announce(2)  # two others
        await asyncio.gather(come(store, 8, 3), come(store, 9, 30))
        await store.close()
    assert syncs == [1] * 6 + [2, 2]


async def test_a_lane_that_meets_a_fault_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store stops, and says why."""
    store = await opened(tmp_path)

    def broken(_segment: Segment, _laid: Laid) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Segment, "write", broken)
        async with asyncio.timeout(30):
            with pytest.raises(Unavailable, match="MemoryError"):
                await store.commit(letter(1))
    assert store.stopped.is_set()
    await store.close()


async def test_another_process_announces_with_what_it_asks(
    tmp_path: Path, syncs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And takes what it announced with it when it goes."""
    monkeypatch.setattr(committer, "_COMPANY_SECONDS", 3600)
    monkeypatch.setattr(committer, "_QUICK_SYNC_SECONDS", 3600)
    store = await opened(tmp_path)
    service = StoreService(store)
    await service.start(bind_unix(tmp_path / "socket"))
    async with RemoteStore(tmp_path / "socket") as front:
        front.announce(5)
        await asyncio.gather(*(come(front, number, 50 * number) for number in range(5)))
        front.announce(5)
        lonely = asyncio.create_task(front.commit(letter(7)))
        await asyncio.sleep(0.01)
        assert not lonely.done()
        lonely.cancel()
    async with asyncio.timeout(30):
        await store.commit(letter(8))
    await service.stop()
    await store.close()
    assert syncs == [5, 2]
