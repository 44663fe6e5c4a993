"""A worker: a process that takes mail from other domains and gives it to the process with the store.

    python -m letterlock.admd.worker SETTINGS NUMBER SOCKET...

It is started by admd/workers.py with listening sockets for the clients of some networks. It knows everything that is to
be decided in a session: names, reputation, authentication, whose mailbox; a message it takes goes through the store's
door (store/remote.py) and is answered 250 when that says it is on disk.

It obeys orders on standard input ("reload", "stop") and stops where that ends; it tells of itself on standard output.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from letterlock.admd import outward
from letterlock.admd.accounts import opened_accounts
from letterlock.admd.border import open_defence
from letterlock.admd.filters import filters_of
from letterlock.admd.incoming import (
    LEDGER_NAME,
    assess_settings,
    inbound_service,
    listener_for,
    prepare_incoming,
    resolve_settings,
    system_resolver,
)
from letterlock.admd.log_file import LogFile, log_file
from letterlock.admd.process import raise_descriptor_limit, tidy
from letterlock.admd.reload import Prepare, Reloader
from letterlock.admd.settings import Settings, key_pairs, load
from letterlock.admd.signing import Signer
from letterlock.admd.sockets import SHARED
from letterlock.admd.watch import keep_certificates_current, reload_certificates
from letterlock.admd.workers import DOOR_NAME, RELOAD, News
from letterlock.errors import LetterlockError, SettingsFault
from letterlock.host import logs
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.ledger import Ledger
from letterlock.host.listen import Listener
from letterlock.host.logs import Log
from letterlock.host.memory import give_memory_back
from letterlock.host.tls import ServerTls
from letterlock.mda.deliver import DeliveryAgent
from letterlock.mda.resolve import Resolver
from letterlock.mta.arrival import Recipients
from letterlock.mta.assess import Assessor
from letterlock.mta.backup import Backup
from letterlock.store.remote import RemoteStore

_NEWS_SECONDS = 1.0
_GRACE_SECONDS = 10.0


def main() -> None:
    """Work until told to stop."""
    file, number, *descriptors = sys.argv[1:]
    for number_of_signal in (signal.SIGINT, signal.SIGTERM):  # sent to all of a group: we hear of it as an order
        signal.signal(number_of_signal, signal.SIG_IGN)
    raise_descriptor_limit()
    give_memory_back()
    try:
        settings = load(Path(file))
        sockets = [socket.socket(fileno=int(descriptor)) for descriptor in descriptors]
        with log_file(settings) as lines, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_work(settings, int(number), sockets, lines))
    except* (LetterlockError, OSError) as problems:
        Log("admd").error("worker failed", problems=[str(problem) for problem in problems.exceptions])
        raise SystemExit(1) from None


async def _work(settings: Settings, number: int, sockets: list[socket.socket], lines: LogFile | None) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with contextlib.AsyncExitStack() as stack:
        pairs = key_pairs(settings)
        tls = ServerTls(pairs)
        listener, prepare = await _open(settings, number, tls, stack)
        stack.push_async_callback(listener.stop, grace_seconds=_GRACE_SECONDS)
        await listener.start(sockets)
        reloader = Reloader(settings, (prepare,), Log("admd"))
        files = tuple(path for pair in pairs for path in (pair.chain, pair.key))
        for work in (
            _obey(orders, stopped, reloader, tls, lines),
            _tell(listener),
            keep_certificates_current(tls, files, Log("admd")),
            tidy(),
        ):
            stack.push_async_callback(_end, asyncio.create_task(work))
        await stopped.wait()


async def _open(
    settings: Settings, number: int, tls: ServerTls, stack: contextlib.AsyncExitStack
) -> tuple[Listener, Prepare]:
    """Open what port 25 needs; return its listener, and what takes up other settings."""
    clock, entropy = SystemClock(), SystemEntropy()
    data = settings.path(settings.data)
    store = await stack.enter_async_context(RemoteStore(data / DOOR_NAME))
    accounts = stack.enter_context(opened_accounts(settings))
    resolver = await system_resolver(settings, Log("admd"))
    stack.push_async_callback(resolver.aclose)
    ledger = stack.enter_context(contextlib.closing(Ledger.open(data / LEDGER_NAME)))
    notes = f"border-{number}.sqlite"
    defence = await open_defence(settings, resolver.resolver, ledger, clock, stack, notes=notes)
    assessor = Assessor(assess_settings(settings), resolver.resolver, ledger, border=defence.border)
    agent = DeliveryAgent(Resolver(resolve_settings(settings), accounts), accounts, store)
    recipients: Recipients = agent
    if settings.transfer.backup_for:
        outbound = outward.outbound(settings, resolver.resolver, ledger, clock, entropy)
        stack.push_async_callback(outbound.close)
        recipients = Backup(agent, settings.transfer.backup_for, outbound.ask, clock)
    filters = filters_of(settings)
    service = inbound_service(
        settings,
        store=store,
        recipients=recipients,
        tls=tls,
        assessor=assessor,
        filters=filters,
        border=defence.border,
        signer=Signer(settings, clock),
        clock=clock,
        entropy=entropy,
    )
    listener = listener_for(SHARED, service.session, settings, defence.admission, tls=tls)
    return listener, partial(prepare_incoming, defence.border, filters, assessor, agent, {SHARED: listener})


async def _obey(
    orders: asyncio.StreamReader, stopped: asyncio.Event, reloader: Reloader, tls: ServerTls, lines: LogFile | None
) -> None:
    while (order := (await orders.readline()).strip()) == RELOAD:
        if lines is not None:
            try:
                lines.open_anew()
            except SettingsFault as fault:
                Log("admd").error("log not opened anew", problems=list(fault.problems))
        reloader.reload()
        reload_certificates(tls, Log("admd"))
    del order  # "stop", or nobody is there any more
    stopped.set()


async def _tell(listener: Listener) -> None:
    """Tell of ourselves now and then; the first word says that we take mail."""
    while True:
        used = resource.getrusage(resource.RUSAGE_SELF)
        events = tuple((*event, count) for event, count in logs.counts().items())
        news = News(listener.connections, events, used.ru_utime + used.ru_stime, _resident_octets())
        os.write(sys.stdout.fileno(), msgspec.json.encode(news) + b"\n")
        await asyncio.sleep(_NEWS_SECONDS)


def _resident_octets() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    main()
