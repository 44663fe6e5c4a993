"""Our queue filled and let go, for measurements: arguments are a folder, the port of a sink, messages and octets of each.

The queue is filled durably, then "filled" is printed and a line on standard input lets it go; after that CPU seconds and
the peak of memory are printed on each SIGUSR1. It ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from pathlib import Path

import uvloop

from bench._queue import sending
from letterlock.admd.process import tidy
from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.host.clock import SystemClock
from letterlock.host.logs import send_to
from letterlock.host.memory import give_memory_back
from letterlock.store.engine import StoreSettings, open_store
from letterlock.store.interface import Queued, Store, Transaction


async def fill(store: Store, messages: int, octets: int) -> None:
    """Queue messages that are due."""
    now = SystemClock().now()
    line = b"x" * 78 + b"\r\n"
    content = b"From: <x@client.test>\r\nSubject: a message\r\n\r\n" + line * (octets // len(line))
    envelope = Envelope(Address("x", "rosewood.test"), (Recipient(Address("ada", "harbor.test")),))

    async def one(number: int) -> None:
        name = f"m{number:06}"
        await store.commit(Transaction(name, now, (content,), (), (Queued(name, envelope, now, now + 86_400),)))

    for start in range(0, messages, 500):
        await asyncio.gather(*map(one, range(start, min(start + 500, messages))))


async def send(folder: Path, sink: int, messages: int, octets: int) -> None:
    """Fill the queue, wait for the word, send."""
    log = (folder / "log").open("a", buffering=64 * 1024)
    send_to(lambda line: log.write(line + "\n") and None)
    store = await open_store(StoreSettings(folder / "store"))
    await fill(store, messages, octets)
    runner, outbound = sending(folder, store, sink)
    loop = asyncio.get_running_loop()
    stopped, released = asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_signal_handler(signal.SIGUSR1, _print_cpu)
    loop.add_reader(sys.stdin.fileno(), released.set)
    tidying = asyncio.create_task(tidy())  # as in a served domain
    print("filled", flush=True)
    await released.wait()
    loop.remove_reader(sys.stdin.fileno())
    running = asyncio.create_task(runner.run())
    await stopped.wait()
    tidying.cancel()
    await runner.stop()
    await running
    await outbound.close()
    await store.close()


def _print_cpu() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_utime + used.ru_stime, used.ru_maxrss, flush=True)


if __name__ == "__main__":
    give_memory_back()
    uvloop.run(send(Path(sys.argv[1]), *map(int, sys.argv[2:])))
