"""One domain's roles, wired and run: the only place that knows them all.

    async with running(settings, clock=SystemClock(), entropy=SystemEntropy()) as admd:
        ... admd.endpoints["imaps"] ...

Going up: sockets are bound, the store recovers, the resolver is probed, then services begin to accept. Going down, in the
opposite order: services let their sessions finish, the queue lets its transfers finish, the store closes last.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from letterlock.access.service import AccessService
from letterlock.access.settings import AccessSettings
from letterlock.admd.accounts import opened_accounts
from letterlock.admd.control import SOCKET_NAME, Control
from letterlock.admd.doorkeeper import Doorkeeper
from letterlock.admd.queue_operations import queue_operations
from letterlock.admd.settings import Settings, split_endpoint
from letterlock.errors import SettingsFault, Unavailable
from letterlock.host.clock import Clock
from letterlock.host.drive_sessions import Session
from letterlock.host.entropy import Entropy
from letterlock.host.listen import ConnectionLimits, Listener, bind
from letterlock.host.logs import Log
from letterlock.host.resolver.system import Mode, ResolverSettings, SystemResolver, open_resolver
from letterlock.host.stream import Endpoint
from letterlock.host.tls import KeyPair, ServerTls
from letterlock.mta.inbound import Inbound, InboundSettings
from letterlock.store.accounts import Accounts
from letterlock.store.core import StoreSettings
from letterlock.store.engine import LogStore, open_store

STORE_NAME = "store"
_GRACE_SECONDS = 10.0
# Every account begins with these (RFC 6154).
FIRST_MAILBOXES = {"Drafts": "\\Drafts", "Sent": "\\Sent", "Junk": "\\Junk", "Trash": "\\Trash", "Archive": "\\Archive"}


@dataclass(frozen=True, slots=True)
class Admd:
    """A running domain. `endpoints` are by service, as bound; `reload` takes up renewed TLS certificates."""

    endpoints: Mapping[str, tuple[Endpoint, ...]]
    tls: ServerTls
    store: LogStore

    def reload(self) -> None:
        """Read the TLS certificates again. Raises SettingsFault; then the old ones stay in force."""
        self.tls.reload()


@contextlib.asynccontextmanager
async def running(settings: Settings, *, clock: Clock, entropy: Entropy) -> AsyncIterator[Admd]:
    """Run the domain for the length of the context. Raises SettingsFault, Unavailable."""
    log = Log("admd")
    data = settings.path(settings.data)
    async with contextlib.AsyncExitStack() as stack:
        sockets = _bind(settings, stack)
        tls = ServerTls([KeyPair(settings.path(settings.tls.certificate), settings.path(settings.tls.key))])
        store = await open_store(StoreSettings(data / STORE_NAME), clock=clock)
        stack.push_async_callback(store.close)
        if store.report.replayed or store.report.torn_octets or store.report.strange:
            log.warning("recovered", replayed=store.report.replayed, torn_octets=store.report.torn_octets)
        accounts = stack.enter_context(opened_accounts(settings))
        for account in accounts.accounts():
            await store.prepare_account(account.name, FIRST_MAILBOXES)
        resolver = await _resolver(settings, log)
        stack.push_async_callback(resolver.aclose)
        sessions = _sessions(settings, store, accounts, tls, clock, entropy)
        endpoints = {}
        for service, session in sessions.items():
            listener = Listener(
                session,
                log=Log(service),
                tls=tls if service in _TLS_FROM_THE_START else None,
                limits=ConnectionLimits(settings.limits.connections, settings.limits.connections_per_network),
                refusal=_REFUSALS[service],
            )
            await listener.start(sockets.pop(service))
            stack.push_async_callback(listener.stop, grace_seconds=_GRACE_SECONDS)
            endpoints[service] = listener.endpoints
        control = Control(data / SOCKET_NAME, queue_operations(store, clock), Log("control"))
        await control.start()
        stack.push_async_callback(control.stop)
        yield Admd(endpoints, tls, store)


_TLS_FROM_THE_START = frozenset({"submissions", "imaps", "pop3s"})
_TOO_MANY = b"421 4.7.0 Too many connections: try again later\r\n"
_REFUSALS = {
    "smtp": _TOO_MANY,
    "submission": _TOO_MANY,
    "submissions": _TOO_MANY,
    "imap": b"* BYE [UNAVAILABLE] Too many connections\r\n",
    "imaps": b"* BYE [UNAVAILABLE] Too many connections\r\n",
    "pop3": b"-ERR [SYS/TEMP] Too many connections\r\n",
    "pop3s": b"-ERR [SYS/TEMP] Too many connections\r\n",
}


def _bind(
    settings: Settings, stack: contextlib.ExitStack | contextlib.AsyncExitStack
) -> dict[str, list[socket.socket]]:
    """Bind every endpoint; raises SettingsFault naming all that could not be."""
    sockets: dict[str, list[socket.socket]] = {}
    problems = []
    for service in type(settings.listen).model_fields:
        bound = sockets[service] = []
        for endpoint in getattr(settings.listen, service):
            try:
                bound.append(bind(*split_endpoint(endpoint)))
                stack.callback(bound[-1].close)
            except OSError as error:
                problems.append(f"listen.{service} = {endpoint!r}: {error.strerror}; choose another, or free this one")
    if problems:
        raise SettingsFault(tuple(problems))
    return sockets


async def _resolver(settings: Settings, log: Log) -> SystemResolver:
    dns = settings.dns
    resolver = await open_resolver(
        ResolverSettings(
            Mode(dns.mode),
            servers=tuple(dns.servers),
            anchors=settings.path(dns.anchors) if dns.anchors else None,
            root_servers=tuple(dns.root_servers),
            port=dns.port,
        )
    )
    for finding in resolver.findings:
        log.warning("resolver", problem=finding)
    return resolver


def _sessions(
    settings: Settings, store: LogStore, accounts: Accounts, tls: ServerTls, clock: Clock, entropy: Entropy
) -> dict[str, Session]:
    """Return the session function of each service."""
    access = AccessService(
        AccessSettings(settings.host_name, message_octets=settings.limits.message_octets),
        store,
        Doorkeeper(accounts),
        tls=tls,
        entropy=entropy,
        log=Log("access"),
    )
    return {"imap": access.imap, "imaps": access.imap, "pop3": access.pop3, "pop3s": access.pop3}


__all__ = ["Admd", "Inbound", "InboundSettings", "Path", "Unavailable", "running"]
