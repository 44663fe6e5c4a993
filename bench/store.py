"""The store alone: durable commits a second beside plain files, the queue's and the mailboxes' steps.

    python -m bench store

The peer of a commit is what every mail system without a log does: write a file, fsync it, rename it, fsync the
directory, in as many threads as there are writers. Ours stores the message in a mailbox as well. Runs alternate; the
medians of the rounds are shown.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.store.engine import LogStore, StoreSettings, open_store
from letterlock.store.interface import Delivery, FlagChange, NewMessage, Queued, Settlement, Transaction
from letterlock.store.snapshot import SEEN

ANNA = "anna@rosewood.test"
ROUNDS = 3


def row(what: str, ours: str, peer: str = "", ratio: str = "") -> None:
    print(f"{what:46} | {ours:>16} | {peer:>16} | {ratio:>6}")


def per_second_of_files(folder: Path, writers: int, octets: bytes, seconds: float) -> float:
    """Return how many files a second `writers` threads make durable."""
    counts = [0] * writers
    end = time.perf_counter() + seconds
    directory = os.open(folder, os.O_RDONLY)

    def write(number: int) -> None:
        while time.perf_counter() < end:
            temporary = folder / f"{number}.{counts[number]}.new"
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(descriptor, octets)
            os.fsync(descriptor)
            os.close(descriptor)
            temporary.rename(folder / f"{number}.{counts[number]}")
            os.fsync(directory)
            counts[number] += 1

    started = time.perf_counter()
    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(directory)
    return sum(counts) / (time.perf_counter() - started)


async def per_second_of_commits(store: LogStore, writers: int, octets: bytes, seconds: float, name: str) -> float:
    """Return how many messages a second `writers` tasks bring into a mailbox."""
    end = time.perf_counter() + seconds
    counts = [0] * writers

    async def write(number: int) -> None:
        while time.perf_counter() < end:
            transaction = Transaction(
                f"{name}.{number}.{counts[number]}", time.time(), (octets,), (Delivery(ANNA, prefix=b"P: 1\r\n"),)
            )
            await store.commit(transaction)
            counts[number] += 1

    started = time.perf_counter()
    await asyncio.gather(*map(write, range(writers)))
    return sum(counts) / (time.perf_counter() - started)


async def commits(folder: Path, seconds: float) -> None:
    """Compare commits with files."""
    for size in (1, 10, 100):
        octets = os.urandom(512) * (2 * size)
        for writers in (1, 10, 50):
            ours, theirs = [], []
            for number in range(ROUNDS):
                place = folder / f"{size}.{writers}.{number}"
                (place / "files").mkdir(parents=True)
                files = asyncio.to_thread(per_second_of_files, place / "files", writers, octets, seconds)
                theirs.append(await files)
                store = await open_store(StoreSettings(place / "store"))
                ours.append(await per_second_of_commits(store, writers, octets, seconds, str(number)))
                await store.close()
                shutil.rmtree(place)
            mine, peer = statistics.median(ours), statistics.median(theirs)
            row(f"commits/s, {writers} writers x {size} KB", f"{mine:,.0f}", f"{peer:,.0f}", f"{mine / peer:.1f}")


async def timed(action: Callable[[], Awaitable[object]], times: int = 5) -> float:
    """Return the median seconds an action takes."""
    measured = []
    for _ in range(times):
        started = time.perf_counter()
        await action()
        measured.append(time.perf_counter() - started)
    return statistics.median(measured)


async def fill_queue(store: LogStore, start: int, count: int) -> None:
    """Queue messages that are due in the order of their numbers."""
    for chunk in range(start, start + count, 1000):
        transactions = []
        for number in range(chunk, min(chunk + 1000, start + count)):
            recipient = Recipient(Address("user", f"d{number % 500}.test"))
            owed = Queued(f"q{number:07}", Envelope(Address.parse(ANNA), (recipient,)), number, 1e9)
            transactions.append(Transaction(f"t{number}", 0.0, (b"x" * 500,), (), (owed,)))
        await asyncio.gather(*map(store.commit, transactions))
    await store.queue_size()


async def queue_step(store: LogStore) -> None:
    """Take one entry and settle it: a deferral, so that the queue keeps its length."""
    (entry,) = await store.take_due(1e8, 1)
    (recipient,) = entry.recipients
    outcome = Outcome(recipient.recipient.forward_path, Result.DEFERRED, "4.4.1", "450 later")
    await store.settle(entry.queue_id, 0.0, [Settlement(recipient.number, outcome, 2e8)])


async def queue(folder: Path) -> None:
    """Measure a short and a long queue, step by step in turn."""
    stores = {}
    for length in (100, 100_000):
        place = folder / f"queue{length}"
        store = await open_store(StoreSettings(place))
        await fill_queue(store, 0, length)
        await store.close()
        started = time.perf_counter()
        stores[length] = await open_store(StoreSettings(place))
        row(f"queue of {length:,}: open", f"{(time.perf_counter() - started) * 1e3:.0f} ms")
    steps: dict[int, list[float]] = {length: [] for length in stores}
    for _ in range(90):
        for length, store in stores.items():
            started = time.perf_counter()
            await queue_step(store)
            steps[length].append(time.perf_counter() - started)
    short, long = (statistics.median(steps[length]) for length in stores)
    row("an attempt in a queue of 100", f"{short * 1e6:.0f} us")
    row("an attempt in a queue of 100,000", f"{long * 1e6:.0f} us", "", f"{long / short:.2f}")
    for store in stores.values():
        await store.close()


async def mailbox(folder: Path) -> None:
    """Measure a mailbox of 10,000 messages."""
    store = await open_store(StoreSettings(folder / "mailbox"))
    await store.prepare_account(ANNA, {})
    inbox = await store.mailbox(ANNA, "INBOX")
    assert inbox is not None
    for _ in range(10):
        await store.append(inbox.id, [NewMessage((b"x" * 1000,), (SEEN,) if n % 10 else ()) for n in range(1000)])
    await store.close()
    store = await open_store(StoreSettings(folder / "mailbox"))
    started = time.perf_counter()
    handle = await store.open(inbox.id)
    row("open a mailbox of 10,000 (cold)", f"{(time.perf_counter() - started) * 1e3:.1f} ms")
    everything = ((1, 10_000),)

    async def flag_all() -> None:
        nonlocal change
        await store.store_flags(inbox.id, everything, change, ["\\Flagged"])
        change = FlagChange.REMOVE if change is FlagChange.ADD else FlagChange.ADD

    change = FlagChange.ADD
    row("STORE 1:10000 +FLAGS, durable", f"{await timed(flag_all, 9) * 1e3:.2f} ms")

    async def unseen() -> None:
        assert len(handle.snapshot().where(SEEN, set=False)) == 1000

    row("SEARCH UNSEEN of 10,000", f"{await timed(unseen, 50) * 1e3:.3f} ms")

    async def bodies() -> None:
        for content in handle.snapshot().contents:
            if store.read_now(content) is None:
                await store.read(content)

    row("read 10,000 bodies of 1 KB", f"{10_000 / await timed(bodies, 3):,.0f}/s")
    handle.close()
    await store.close()


async def run(seconds: float) -> None:
    folder = Path(tempfile.mkdtemp(prefix="bench-store-", dir=os.environ.get("BENCH_FOLDER")))
    try:
        row("what", "ours", "files + fsync", "ratio")
        await commits(folder, seconds)
        await queue(folder)
        await mailbox(folder)
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Print the rows."""
    uvloop.run(run(0.5))


if __name__ == "__main__":
    main()
