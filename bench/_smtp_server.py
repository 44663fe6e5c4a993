"""Our server on one port for measurements: port 25's policy over the real store. Arguments: folder, port, a sink, and TLS.

With the port of a sink (not 0) everything is queued and sent on to it, else everything is put into mailboxes here. With
the files of a certificate and its key it offers STARTTLS.

On SIGUSR1 it prints the CPU seconds used so far, and ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop

from bench._queue import sending
from letterlock.admd.process import tidy
from letterlock.formats.address import Address
from letterlock.formats.envelope import Recipient
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.listen import ConnectionLimits, Listener, bind
from letterlock.host.logs import Log, send_to
from letterlock.host.tls import KeyPair, ServerTls
from letterlock.mta.inbound import Inbound, InboundSettings
from letterlock.store.engine import StoreSettings, open_store
from letterlock.store.interface import Delivery, Intake


class Anybody:
    """Every address of rosewood.test has a mailbox here."""

    def is_ours(self, domain: str) -> bool:
        return domain == "rosewood.test"

    def __init__(self, *, relays: bool) -> None:
        self._relays = relays

    def accept(self, reverse_path: Address | None, recipient: Recipient) -> Copy:
        if self._relays:
            return Copy((), (Recipient(Address(recipient.forward_path.local_part, "harbor.test")),))
        prefix = f"Return-Path: <{reverse_path or ''}>\r\nDelivered-To: {recipient.forward_path}\r\n".encode()
        return Copy((Delivery(str(recipient.forward_path), prefix=prefix),))


class Copy:
    """One copy, here or elsewhere."""

    def __init__(self, deliveries: tuple[Delivery, ...], relays: tuple[Recipient, ...] = ()) -> None:
        self.deliveries = deliveries
        self.relays = relays


@contextlib.asynccontextmanager
async def taking_mail(
    store: Intake, _folder: Path, bound: socket.socket, *, relays: bool = False, identity: tuple[Path, ...] = ()
) -> AsyncIterator[None]:
    """Take mail at a socket."""
    service = Inbound(
        InboundSettings("mx.rosewood.test"), store=store, recipients=Anybody(relays=relays), clock=SystemClock(),
        entropy=SystemEntropy(), log=Log("mta"), tls=ServerTls([KeyPair(*identity)]) if identity else None,
    )  # fmt: skip
    listener = Listener(service.session, log=Log("mta"), limits=ConnectionLimits(per_network=5000))
    await listener.start([bound])
    yield
    await listener.stop(grace_seconds=5)


async def serve(folder: Path, port: int, sink: int = 0, identity: tuple[Path, ...] = ()) -> None:
    log = (folder / "log").open("a", buffering=64 * 1024)
    send_to(lambda line: log.write(line + "\n") and None)
    store = await open_store(StoreSettings(folder / "store"))
    running = asyncio.create_task(sending(folder, store, sink)[0].run()) if sink else None
    tidying = asyncio.create_task(tidy())  # as `serve` does
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_signal_handler(signal.SIGUSR1, _print_cpu)
    async with taking_mail(store, folder, bind("127.0.0.1", port), relays=bool(sink), identity=identity):
        await stopped.wait()
        tidying.cancel()
    if running is not None:
        running.cancel()
        await asyncio.wait([running])
    await store.close()


def _print_cpu() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_utime + used.ru_stime, used.ru_maxrss, flush=True)


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), *map(int, sys.argv[2:4]), tuple(map(Path, sys.argv[4:]))))
