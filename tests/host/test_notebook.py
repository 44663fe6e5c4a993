"""What is remembered over restarts and among processes: buckets, failures, sights."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from letterlock.host.allowance import Allowance
from letterlock.host.backoff import Backoff, BackoffSettings
from letterlock.host.clock import SetClock
from letterlock.host.familiar import Familiar
from letterlock.host.logs import Log, send_to
from letterlock.host.notebook import Book, Notebook


@contextlib.asynccontextmanager
async def keeping(path: Path, clock: SetClock, *books: Book) -> AsyncIterator[Notebook]:
    """A process that keeps books in the file, and ends."""
    notebook = Notebook.open(path, clock=clock, log=Log("border"))
    notebook.keep(*books)
    yield notebook
    await notebook.close()


async def test_a_bucket_outlives_a_restart(tmp_path: Path) -> None:
    """What was taken stays taken, and what flowed in while nobody ran is there."""
    clock, file = SetClock(), tmp_path / "notes"
    async with keeping(file, clock, allowance := Allowance(clock, burst=10, per_hour=3600)):
        assert allowance.take("a", 10) == 0
    clock.move(4)
    async with keeping(file, clock, allowance := Allowance(clock, burst=10, per_hour=3600)):
        assert allowance.take("a", 5) == 1
        assert allowance.take("a", 4) == 0
        assert allowance.take("b", 10) == 0


async def test_failures_outlive_a_restart(tmp_path: Path) -> None:
    """A shut key stays shut for as long as it was to be; a clean slate stays clean, and counts what came after it."""
    clock, file = SetClock(), tmp_path / "notes"
    settings = BackoffSettings(free_failures=0, first_seconds=100)
    async with keeping(file, clock, backoff := Backoff(clock, settings)) as notebook:
        for key in ("a", "b", "c"):
            backoff.failed(key)
            backoff.failed(key)
        await notebook.exchange()
        backoff.succeeded("b")
        backoff.succeeded("c")
        backoff.failed("c")
    clock.move(50)
    async with keeping(file, clock, backoff := Backoff(clock, settings)):
        assert [backoff.wait_seconds(key) for key in "abc"] == [150, 0, 50]
    clock.move(3600)
    async with keeping(file, clock, backoff := Backoff(clock, settings)):
        assert backoff.wait_seconds("a") == 0


async def test_processes_learn_from_each_other(tmp_path: Path) -> None:
    """One limit for all of them: the file adds up what each took, and each hears of it at its next exchange."""
    clock, file = SetClock(), tmp_path / "notes"
    one, two = (Allowance(clock, burst=10, per_hour=36) for _ in range(2))
    ours, theirs = (Backoff(clock, BackoffSettings(free_failures=2)) for _ in range(2))
    mine, other = Familiar(clock), Familiar(clock)
    async with keeping(file, clock, one, ours, mine) as first, keeping(file, clock, two, theirs, other) as second:
        one.take("a", 6)
        two.take("a", 4)
        ours.failed("k")
        theirs.failed("k")
        ours.failed("k")
        mine.seen("x")
        for notebook in (first, second, first):
            await notebook.exchange()
        assert one.take("a") == 100
        assert two.take("a") == 100
        assert ours.wait_seconds("k") == 5
        assert theirs.wait_seconds("k") == 5
        assert other.knows("x")
        assert not other.knows("y")
        theirs.succeeded("k")
        for notebook in (second, first):
            await notebook.exchange()
        assert ours.wait_seconds("k") == 0


async def test_a_clock_set_back_shuts_nobody_out_for_long(tmp_path: Path) -> None:
    """A day back: an empty bucket is empty for one filling, a shut key for one wait."""
    clock, file = SetClock(), tmp_path / "notes"
    settings = BackoffSettings(free_failures=0, first_seconds=60)
    async with keeping(
        file, clock, backoff := Backoff(clock, settings), allowance := Allowance(clock, burst=5, per_hour=3600)
    ):
        backoff.failed("a")
        allowance.take("a", 5)
    clock.move(-86_400)
    async with keeping(
        file, clock, backoff := Backoff(clock, settings), allowance := Allowance(clock, burst=5, per_hour=3600)
    ) as notebook:
        assert backoff.wait_seconds("a") == 60
        assert allowance.take("a") == 1
        clock.move(1)
        assert allowance.take("a") == 0
        await notebook.exchange()
        assert allowance.take("a") == 1
        clock.move(59)
        assert backoff.wait_seconds("a") == 0
        backoff.failed("a")
        await notebook.exchange()
        assert 0 < backoff.wait_seconds("a") <= 120
        clock.move(120)
        assert backoff.wait_seconds("a") == 0
        assert allowance.take("a", 5) == 0


def test_a_clock_set_back_under_a_running_server_shuts_nobody_out_for_long() -> None:
    clock = SetClock()
    backoff, allowance = (
        Backoff(clock, BackoffSettings(free_failures=0, first_seconds=60)),
        Allowance(clock, burst=5, per_hour=3600),
    )
    backoff.failed("a")
    allowance.take("a", 5)
    clock.jump(-86_400)
    assert backoff.wait_seconds("a") == 60
    assert allowance.take("a") == 1
    clock.move(60)
    assert backoff.wait_seconds("a") == 0
    assert allowance.take("a", 5) == 0


@pytest.mark.parametrize("damage", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
async def test_a_damaged_file_is_put_aside(tmp_path: Path, damage: bytes) -> None:
    """It is no reason not to start; a new one is begun, and the old is there to be looked at."""
    file = tmp_path / "notes"
    file.write_bytes(damage)
    lines: list[str] = []
    before = send_to(lines.append)
    clock = SetClock()
    async with keeping(file, clock, familiar := Familiar(clock)):
        familiar.seen("a")
    async with keeping(file, clock, familiar := Familiar(clock)):
        assert familiar.knows("a")
    send_to(before)
    assert [json.loads(line)["event"] for line in lines] == ["notes not read"]
    assert (tmp_path / "notes.damaged").read_bytes() == damage


async def test_what_has_run_out_is_removed(tmp_path: Path) -> None:
    """The file does not grow for ever."""
    clock, file = SetClock(), tmp_path / "notes"
    async with keeping(file, clock, familiar := Familiar(clock, keep_seconds=10)) as notebook:
        familiar.seen("old")
        await notebook.exchange()
        clock.move(4000)
        familiar.seen("new")
        await notebook.exchange()
        (count,) = notebook._connection.execute("SELECT count(*) FROM notes").fetchone()
        assert count == 1
        assert not familiar.knows("old")
