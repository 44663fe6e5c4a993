"""What a long queue costs: the same steps with 100 and with 100,000 messages, `python -m bench queue`.

The store is opened anew, then each step of the queue's runner and of `letterlock queue` is timed, medians of several. The
peer of the long queue is the short one: a step should cost the same.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.store.core import StoreSettings
from letterlock.store.engine import LogStore, open_store
from letterlock.store.interface import Queued, QueueFilter, Settlement, Transaction

SIZES, TOGETHER, ROUNDS = (100, 100_000), 1000, 15


async def fill(store: LogStore, messages: int) -> None:
    """Queue messages to many domains."""
    now = time.time()
    for start in range(0, messages, TOGETHER):
        queued = tuple(
            Queued(
                f"q{number:07}",
                Envelope(
                    Address(f"u{number % 97}", "rosewood.test"),
                    (Recipient(Address("ada", f"d{number % 1000}.test")),),
                ),
                now - number / 1000,
                now + 86_400,
            )
            for number in range(start, min(start + TOGETHER, messages))
        )
        await store.commit(Transaction(f"t{start}", now, (b"Subject: x\r\n\r\nbody\r\n",), (), queued))


async def timed(step: Callable[[], Awaitable[object]], rounds: int = ROUNDS) -> float:
    """Return the milliseconds of a step, the median."""
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        await step()
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took)


async def steps(folder: Path, messages: int) -> dict[str, float]:
    """Return milliseconds by step for a queue of that length."""
    store = await open_store(StoreSettings(folder))
    await fill(store, messages)
    await store.close()
    started = time.perf_counter()
    store = await open_store(StoreSettings(folder))
    await store.take_due(time.time(), 1)
    found = {"open and take the first": (time.perf_counter() - started) * 1000}
    taken: list[str] = []

    async def take() -> None:
        taken.extend(entry.queue_id for entry in await store.take_due(time.time(), 5))

    async def relay() -> None:
        outcome = Outcome(Address("ada", "d.test"), Result.RELAYED, "2.0.0", "250 ok")
        await store.settle(taken.pop(), time.time(), [Settlement(0, outcome)])

    async def defer() -> None:
        outcome = Outcome(Address("ada", "d.test"), Result.DEFERRED, "4.4.1", "no answer")
        await store.settle(taken.pop(), time.time(), [Settlement(0, outcome, time.time() + 300)])

    middle = f"q{messages // 2:07}"
    found["take 5"] = await timed(take)
    found["settle: relayed"] = await timed(relay)
    found["settle: deferred"] = await timed(defer)
    found["when is the next due"] = await timed(store.next_due)
    found["show one"] = await timed(lambda: store.queue_entry(middle))
    found["list 100 by destination"] = await timed(
        lambda: store.queue(QueueFilter(destination="d7.test"), limit=100), 5
    )
    found["hold one"] = await timed(lambda: store.hold(QueueFilter(queue_id=middle), True))
    found["size of the queue"] = await timed(store.queue_size)
    await store.close()
    return found


async def measure() -> None:
    """Print a row a step."""
    # Not below /tmp, where a memory file system would flatter everybody.
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path.cwd()) as name:
        small, large = [await steps(Path(name) / str(size), size) for size in SIZES]
    print(f"{'step':>26} | {SIZES[0]:>7} | {SIZES[1]:>7} | ratio   (milliseconds by messages in the queue)")
    for step, short in small.items():
        print(f"{step:>26} | {short:>7.2f} | {large[step]:>7.2f} | {large[step] / short:>5.1f}")


def main() -> None:
    """Print the rows."""
    uvloop.run(measure())


if __name__ == "__main__":
    main()
