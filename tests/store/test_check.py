"""store/check.py: a store that is whole is called whole, and what was changed behind its back is named."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from fakes.script_writer import NOW, SETTINGS, STEPS
from letterlock.host.clock import SetClock
from letterlock.store.check import check_store
from letterlock.store.engine import StoreSettings, open_store


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    store = await open_store(StoreSettings(tmp_path, **SETTINGS), clock=SetClock(NOW))
    for step in STEPS:
        await step(store)
    await store.reclaim()
    await store.close()
    return tmp_path


def test_a_whole_store_has_no_faults(folder: Path) -> None:
    found = check_store(folder)
    assert found.faults == ()
    assert found.records >= 10
    assert found.messages > 5


async def test_a_store_in_use_can_be_checked(folder: Path) -> None:
    store = await open_store(StoreSettings(folder, **SETTINGS), clock=SetClock(NOW))
    await STEPS[-1](store)
    assert check_store(folder).faults == ()
    await store.close()


@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_a_changed_octet_is_found_wherever_it_is(folder: Path, place: float) -> None:
    log = max((folder / "log").iterdir(), key=lambda path: path.stat().st_size)
    octets = bytearray(log.read_bytes())
    octets[int(len(octets) * place)] ^= 1
    log.write_bytes(octets)
    (fault,) = check_store(folder).faults
    assert f"segment {log.stem} is damaged" in fault


def test_a_missing_segment_is_found(folder: Path) -> None:
    next((folder / "log").iterdir()).unlink()
    assert any("cannot be opened" in fault for fault in check_store(folder).faults)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE contents SET refs = refs + 1", "references"),
        ("UPDATE contents SET offset = offset + 1000000", "outside the log"),
        ("UPDATE mailboxes SET unseen = unseen + 1 WHERE messages > 0", "counters"),
        ("DELETE FROM mailboxes", "which is not there"),
        ("UPDATE messages SET content = 1", "has no content"),
    ],
)
def test_an_index_that_disagrees_is_found(folder: Path, change: str, named: str) -> None:
    connection = apsw.Connection(str(folder / "index.sqlite"))
    connection.execute(change)
    connection.close()
    assert any(named in fault for fault in check_store(folder).faults)


def test_an_index_that_cannot_be_read_is_a_fault(folder: Path) -> None:
    (folder / "index.sqlite").write_bytes(b"\xff" * 8192)
    assert len(check_store(folder).faults) == 1
