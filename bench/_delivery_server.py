"""Our server as `serve` composes it for port 25, answering look-ups from a zone in memory behind the cache.

Arguments: folder, port, zone file. The one account is ada@rosewood.test. SPF, DKIM and DMARC are judged and written down.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop

from letterlock.admd.process import tidy
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.ledger import Ledger
from letterlock.host.listen import ConnectionLimits, Listener, bind
from letterlock.host.logs import Log, send_to
from letterlock.host.resolver.cache import CachingResolver
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.mda.deliver import DeliveryAgent
from letterlock.mda.resolve import Resolver, ResolveSettings
from letterlock.mta.assess import Assessor, AssessSettings
from letterlock.mta.inbound import Inbound, InboundSettings
from letterlock.store.accounts import Accounts
from letterlock.store.engine import StoreSettings, open_store
from letterlock.store.interface import Intake


@contextlib.asynccontextmanager
async def taking_mail(store: Intake, folder: Path, bound: socket.socket, zone: str) -> AsyncIterator[None]:
    """Take mail at a socket."""
    accounts = Accounts(folder / "accounts.sqlite", default_domain="rosewood.test")
    accounts.add("ada@rosewood.test", "not asked for")
    ledger = Ledger.open(folder / "ledger.sqlite")
    assessor = Assessor(AssessSettings("mx.rosewood.test"), CachingResolver(ZoneTable.load(Path(zone))), ledger)
    service = Inbound(
        InboundSettings("mx.rosewood.test"), store=store,
        recipients=DeliveryAgent(Resolver(ResolveSettings(("rosewood.test",)), accounts), accounts, store),
        clock=SystemClock(), entropy=SystemEntropy(), log=Log("mta"), assess=assessor, judge_sender=assessor.sender,
        examine=assessor.examine,
    )  # fmt: skip
    listener = Listener(service.session, log=Log("mta"), limits=ConnectionLimits(per_network=5000))
    await listener.start([bound])
    yield
    await listener.stop(grace_seconds=5)
    ledger.close()
    accounts.close()


async def serve(folder: Path, port: int, zone: str) -> None:
    log = (folder / "log").open("a", buffering=64 * 1024)
    send_to(lambda line: log.write(line + "\n") and None)
    store = await open_store(StoreSettings(folder / "store"))
    stopped = asyncio.Event()
    tidying = asyncio.create_task(tidy())  # as `serve` does
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with taking_mail(store, folder, bind("127.0.0.1", port), zone):
        await stopped.wait()
        tidying.cancel()
    await store.close()
    log.flush()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
