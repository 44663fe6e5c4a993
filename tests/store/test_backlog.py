"""The index when it is behind: however much waits, all of it is written, in order."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from letterlock.store import index
from letterlock.store.index import INDEX_NAME, Batch, Indexer, connect, prepare, value


@pytest.mark.parametrize("count", [1, 199, 200, 201, 202, 1001])
async def test_no_job_is_lost_however_many_wait(tmp_path: Path, count: int) -> None:
    """While the thread is held up, batches come, and a question after them."""
    connection = connect(tmp_path / INDEX_NAME)
    prepare(connection)
    written: list[Batch] = []
    indexer = Indexer(connection, written.extend, lambda trouble: pytest.fail(str(trouble)))
    begun, go = threading.Event(), threading.Event()

    def hold_up(_connection: object) -> None:
        begun.set()
        go.wait(30)

    held = asyncio.create_task(indexer.ask(hold_up))
    await asyncio.to_thread(begun.wait, 30)
    for number in range(1, count + 1):
        batch = Batch(number)
        batch.transactions.append((number, f"t{number}", "[]"))
        indexer.write(batch)
    go.set()
    async with asyncio.timeout(60):
        found = await indexer.ask(lambda there: value(there, "SELECT count(*) FROM transactions"))
        last = await indexer.ask(lambda there: value(there, "SELECT value FROM meta WHERE key = 'sequence'"))
        await held
        await indexer.close()
    assert (found, last) == (count, count)
    assert [batch.sequence for batch in written] == list(range(1, count + 1))


def test_the_counts_above_straddle_the_most_that_go_into_one_transaction() -> None:
    assert index._MOST_BATCHES == 200
