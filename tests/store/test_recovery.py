"""What a start makes of what it finds: the log alone is enough, whatever a crash did to its end."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from fakes.script_writer import NOW, SETTINGS, STEPS, models, picture
from letterlock.errors import Unavailable
from letterlock.host.clock import SetClock
from letterlock.store.engine import LogStore, StoreSettings, open_store
from letterlock.store.interface import Delivery, Transaction


async def opened(folder: Path, **changes: int) -> LogStore:
    return await open_store(StoreSettings(folder, **{**SETTINGS, **changes}), clock=SetClock(NOW))


async def written(folder: Path, **changes: int) -> None:
    store = await opened(folder, **changes)
    for step in STEPS:
        await step(store)
    await store.close()


async def test_every_step_agrees_with_the_model(tmp_path: Path) -> None:
    store = await opened(tmp_path / "store")
    for step, model in zip(STEPS, (await models())[1:], strict=True):
        await step(store)
        assert await picture(store) == model
    await store.close()


async def test_a_start_after_a_clean_stop_replays_nothing(tmp_path: Path) -> None:
    await written(tmp_path / "store")
    store = await opened(tmp_path / "store")
    assert (store.report.replayed, store.report.torn_octets, store.report.strange) == (0, 0, [])
    assert await picture(store) == (await models())[-1]
    await store.close()


async def test_a_lost_index_is_made_again_from_the_log(tmp_path: Path) -> None:
    """The same UIDs, UIDVALIDITYs and modification sequences, for they follow from the log."""
    await written(tmp_path / "store")
    for path in (tmp_path / "store").glob("index.sqlite*"):
        path.unlink()
    store = await opened(tmp_path / "store")
    assert store.report.replayed == len(STEPS)
    assert await picture(store) == (await models())[-1]
    await store.close()


async def test_a_log_cut_anywhere_gives_a_state_that_was(tmp_path: Path) -> None:
    """Whatever octet the end was torn at, what is before it stands, and the store goes on from there."""
    await written(tmp_path / "whole", segment_octets=1 << 20)
    pictures = await models()
    log = next((tmp_path / "whole" / "log").iterdir())
    chance = random.Random(1)
    seen = set()
    for number in range(25):
        folder = tmp_path / str(number)
        (folder / "log").mkdir(parents=True)
        octets = log.read_bytes()[: chance.randrange(20, log.stat().st_size)]
        kind = number % 3  # cut off; or followed by zeros, as file systems do; or by what lay there before
        octets += (b"", bytes(5000), chance.randbytes(5000))[kind]
        (folder / "log" / log.name).write_bytes(octets)
        store = await opened(folder)
        found = await picture(store)
        assert found in pictures
        seen.add(pictures.index(found))
        await store.commit(Transaction("after", NOW, (b"x",), (Delivery("new@rosewood.test"),)))
        await store.close()
        store = await opened(folder)
        assert (await store.mailboxes("new@rosewood.test"))[0].messages == 1
        assert store.report.torn_octets == 0
        await store.close()
    assert len(seen) > 5


async def test_a_torn_end_is_kept_aside(tmp_path: Path) -> None:
    await written(tmp_path / "store")
    log = max((tmp_path / "store" / "log").iterdir())
    with log.open("ab") as file:
        file.write(b"half a record")
    store = await opened(tmp_path / "store")
    assert store.report.torn_octets == 13
    assert [path.read_bytes() for path in (tmp_path / "store" / "torn").iterdir()] == [b"half a record"]
    await store.close()


async def test_left_overs_never_block_a_start(tmp_path: Path) -> None:
    await written(tmp_path / "store")
    log = tmp_path / "store" / "log"
    (log / "00000000ff.log").write_bytes(b"")
    (log / "00000000fe.log").write_bytes(b"no segment at all")
    (log / "other.log").write_bytes(b"not ours")
    (log / "x.tmp").mkdir()
    store = await opened(tmp_path / "store")
    assert len(store.report.strange) == 2
    assert await picture(store) == (await models())[-1]
    await store.commit(Transaction("after", NOW, (b"x" * 9000,), (Delivery("new@rosewood.test"),)))
    await store.close()
    assert (log / "other.log").exists()


async def test_a_changed_octet_is_found(tmp_path: Path) -> None:
    """What lies in the part of the log that is replayed is checked, octet for octet."""
    await written(tmp_path / "store", segment_octets=1 << 20)
    pictures = await models()
    shutil.copytree(tmp_path / "store" / "log", tmp_path / "copy" / "log")
    log = next((tmp_path / "copy" / "log").iterdir())
    octets = bytearray(log.read_bytes())
    octets[len(octets) // 2] ^= 1
    log.write_bytes(octets)
    store = await opened(tmp_path / "copy")
    assert (await picture(store)) in pictures[:-1]
    assert store.report.torn_octets > 0
    await store.close()


async def test_a_segment_that_shrank_or_went_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    await written(tmp_path / "store", segment_octets=2000)
    logs = sorted((tmp_path / "store" / "log").iterdir())
    logs[0].unlink()
    logs[-1].write_bytes(logs[-1].read_bytes()[:100])
    store = await opened(tmp_path / "store", segment_octets=2000)
    assert len(store.report.strange) == 2
    await store.commit(Transaction("after", NOW, (b"x" * 900,), (Delivery("new@rosewood.test"),)))
    handle = await store.open((await store.mailboxes("new@rosewood.test"))[0].id)
    assert await store.read(handle.snapshot().contents[0]) == b"x" * 900
    handle.close()
    archive = await store.mailbox("anna@rosewood.test", "Archive")
    assert archive is not None
    handle = await store.open(archive.id)
    with pytest.raises(Unavailable):
        await store.read(handle.snapshot().contents[0])
    handle.close()
    await store.close()


async def test_a_store_is_opened_by_one_process(tmp_path: Path) -> None:
    store = await opened(tmp_path / "store")
    with pytest.raises(Unavailable, match="in use"):
        await opened(tmp_path / "store")
    await store.close()
    await (await opened(tmp_path / "store")).close()


async def test_what_was_taken_on_twice_is_known_after_a_start(tmp_path: Path) -> None:
    transaction = Transaction("same", NOW, (b"x",), (Delivery("anna@rosewood.test"),))
    store = await opened(tmp_path / "store")
    first = await store.commit(transaction)
    await store.close()
    store = await opened(tmp_path / "store")
    again = await store.commit(transaction)
    assert again.repeated
    assert again.placed == first.placed
    await store.close()


@pytest.mark.parametrize("left", ["nothing", "an empty file", "a folder"])
async def test_the_ballast_is_there_after_any_start(tmp_path: Path, left: str) -> None:
    """A crash may have left it empty; that there can be none is no reason not to start."""
    ballast = tmp_path / "store" / "ballast"
    (tmp_path / "store").mkdir()
    if left == "a folder":
        ballast.mkdir()
    elif left == "an empty file":
        ballast.touch()
    store = await open_store(StoreSettings(tmp_path / "store", reserve_octets=1 << 20), clock=SetClock(NOW))
    await store.close()
    assert ballast.is_dir() or ballast.stat().st_blocks * 512 >= 1 << 18
