"""Our server in two processes for measurements: one takes the mail, the other has the store.

Arguments: the module whose `taking_mail` the first enters, a folder, the port, and what that asks for besides.

On SIGUSR1 it prints the CPU seconds that both used so far, and ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import socket
import sys
from pathlib import Path

import uvloop

from letterlock.admd.process import tidy
from letterlock.host.listen import bind, bind_unix
from letterlock.host.logs import send_to
from letterlock.store.engine import StoreSettings, open_store
from letterlock.store.remote import RemoteStore
from letterlock.store.service import StoreService

_DOOR = "door"


async def keep(module: str, folder: Path, port: int, *arguments: str) -> None:
    """Have the store, and a worker."""
    store = await open_store(StoreSettings(folder / "store"))
    service = StoreService(store)
    await service.start(bind_unix(folder / _DOOR))
    bound = bind("127.0.0.1", port)
    command = ["-m", "bench._workers", "--worker", module, str(folder), str(bound.fileno()), *arguments]
    worker = await asyncio.create_subprocess_exec(sys.executable, *command, pass_fds=[bound.fileno()])
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


async def work(module: str, folder: Path, descriptor: int, *arguments: str) -> None:
    """Take mail for the other process."""
    taking_mail = importlib.import_module(module).taking_mail
    log = (folder / "log").open("a", buffering=64 * 1024)
    send_to(lambda line: log.write(line + "\n") and None)
    stopped = asyncio.Event()
    tidying = asyncio.create_task(tidy())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with (
        RemoteStore(folder / _DOOR) as store,
        taking_mail(store, folder, socket.socket(fileno=descriptor), *arguments),
    ):
        await stopped.wait()
        tidying.cancel()
    log.flush()


def _cpu(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    is_worker = sys.argv[1] == "--worker"
    name, where, number, *more = sys.argv[2 if is_worker else 1 :]
    uvloop.run((work if is_worker else keep)(name, Path(where), int(number), *more))
