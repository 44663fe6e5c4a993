"""Our server in two processes for measurements: one takes the mail, the other has the store. Arguments: folder, port.

On SIGUSR1 it prints the CPU seconds that both used so far, and ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import uvloop

from bench._smtp_server import take_mail
from letterlock.admd.process import tidy
from letterlock.host.listen import bind, bind_unix
from letterlock.host.logs import send_to
from letterlock.store.engine import StoreSettings, open_store
from letterlock.store.remote import RemoteStore
from letterlock.store.service import StoreService

_DOOR = "door"


async def keep(folder: Path, port: int) -> None:
    """Have the store, and a worker."""
    store = await open_store(StoreSettings(folder / "store"))
    service = StoreService(store)
    await service.start(bind_unix(folder / _DOOR))
    bound = bind("127.0.0.1", port)
    command = [sys.executable, "-m", "bench._smtp_workers", str(folder), str(port), str(bound.fileno())]
    worker = await asyncio.create_subprocess_exec(*command, pass_fds=[bound.fileno()])
    stopped = asyncio.Event()
    tidying = asyncio.create_task(tidy())  # as `serve` does
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: print(_cpu(os.getpid()) + _cpu(worker.pid), flush=True))
    await stopped.wait()
    tidying.cancel()
    worker.terminate()
    await worker.wait()
    await service.stop()
    await store.close()


async def work(folder: Path, descriptor: int) -> None:
    """Take mail for the other process."""
    log = (folder / "log").open("a", buffering=64 * 1024)
    send_to(lambda line: log.write(line + "\n") and None)
    stopped = asyncio.Event()
    tidying = asyncio.create_task(tidy())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with RemoteStore(folder / _DOOR) as store:
        listener = await take_mail(store, socket.socket(fileno=descriptor))
        await stopped.wait()
        tidying.cancel()
        await listener.stop(grace_seconds=5)


def _cpu(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        uvloop.run(work(Path(sys.argv[1]), int(sys.argv[3])))
    else:
        uvloop.run(keep(Path(sys.argv[1]), int(sys.argv[2])))
