"""One domain's roles, wired and run: the only place that knows them all.

    async with running(settings, clock=SystemClock(), entropy=SystemEntropy()) as admd:
        ... admd.endpoints["imaps"] ...

Going up: sockets are bound, the store recovers, the resolver is probed, then services begin to accept. Going down, in the
opposite order: services let their sessions finish, the queue lets its transfers finish, the store closes last.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from letterlock.access.service import AccessService
from letterlock.access.settings import AccessSettings
from letterlock.admd.accounts import STORE_NAME, account_operations, opened_accounts
from letterlock.admd.control import SOCKET_NAME, Control
from letterlock.admd.queue_operations import queue_operations
from letterlock.admd.settings import Settings, split_endpoint
from letterlock.admd.signing import Signer
from letterlock.errors import SettingsFault
from letterlock.formats.mta_sts import LONGEST_POLICY
from letterlock.host.backoff import Backoff
from letterlock.host.clock import Clock
from letterlock.host.drive_sessions import Session
from letterlock.host.entropy import Entropy
from letterlock.host.https import Fetch
from letterlock.host.ledger import Ledger
from letterlock.host.listen import ConnectionLimits, Listener, bind
from letterlock.host.logs import Log
from letterlock.host.resolver.system import Mode, ResolverSettings, SystemResolver, open_resolver
from letterlock.host.stream import Endpoint
from letterlock.host.tls import KeyPair, ServerTls, authenticated_client
from letterlock.mda.deliver import DeliveryAgent
from letterlock.mda.resolve import Resolver, ResolveSettings
from letterlock.msa.inbound import Submission, SubmissionSettings
from letterlock.mta.assess import Assessor, AssessSettings
from letterlock.mta.demand import Demands
from letterlock.mta.inbound import Inbound, InboundSettings
from letterlock.mta.outbound import Outbound, OutboundSettings
from letterlock.mta.queue.runner import Runner
from letterlock.mta.queue.schedule import QueueSettings
from letterlock.mta.route import RoutingSettings
from letterlock.mta.sts_policies import StsPolicies
from letterlock.mta.tls_results import LedgerRecord
from letterlock.mta.transfer import transfer_over
from letterlock.store.accounts import Accounts
from letterlock.store.core import StoreSettings
from letterlock.store.engine import LogStore, open_store

_GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Parts:
    """What several services share."""

    store: LogStore
    accounts: Accounts
    agent: DeliveryAgent
    tls: ServerTls
    assessor: Assessor


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
        resolver = await _resolver(settings, log)
        stack.push_async_callback(resolver.aclose)
        ledger = stack.enter_context(contextlib.closing(Ledger.open(data / "ledger.sqlite")))
        parts = _Parts(
            store,
            accounts,
            DeliveryAgent(
                Resolver(ResolveSettings(settings.local_domains, settings.delivery.sub_address_separator), accounts),
                accounts,
                store,
            ),
            tls,
            Assessor(
                AssessSettings(
                    settings.host_name,
                    junk_mailbox=settings.assess.junk_mailbox,
                    honours_reject=settings.assess.honour_reject,
                ),
                resolver.resolver,
                ledger,
            ),
        )
        outbound = _outbound(settings, resolver, ledger, clock, entropy)
        stack.push_async_callback(outbound.close)
        runner = _runner(settings, parts, outbound, clock, entropy)
        transferring = asyncio.create_task(runner.run())
        stack.push_async_callback(_end, transferring)
        stack.push_async_callback(runner.stop, _GRACE_SECONDS)
        endpoints = {}
        for service, session in _services(settings, parts, clock, entropy).items():
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
        operations = queue_operations(store, clock) | account_operations(store)
        control = Control(data / SOCKET_NAME, operations, Log("control"))
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


def _services(settings: Settings, parts: _Parts, clock: Clock, entropy: Entropy) -> dict[str, Session]:
    """Return the session function of each service."""
    limits = settings.limits
    backoff = Backoff(clock)  # one for all doors: who guesses at one has to wait at the others
    inbound = Inbound(
        InboundSettings(
            settings.host_name,
            size_limit=limits.message_octets,
            recipient_limit=limits.recipients,
            expire_seconds=settings.transfer.expire_after_seconds,
        ),
        store=parts.store,
        recipients=parts.agent,
        clock=clock,
        entropy=entropy,
        log=Log("mta"),
        tls=parts.tls,
        assess=parts.assessor,
        judge_sender=parts.assessor.sender,
    )
    submission = Submission(
        SubmissionSettings(
            settings.host_name,
            size_limit=limits.message_octets,
            recipient_limit=limits.recipients,
            expire_seconds=settings.transfer.expire_after_seconds,
        ),
        store=parts.store,
        accounts=parts.accounts,
        recipients=parts.agent,
        tls=parts.tls,
        backoff=backoff,
        clock=clock,
        entropy=entropy,
        log=Log("msa"),
        sign=Signer(settings, clock),
    )
    access = AccessService(
        AccessSettings(settings.host_name, message_octets=limits.message_octets),
        parts.store,
        parts.accounts,
        tls=parts.tls,
        backoff=backoff,
        entropy=entropy,
        log=Log("access"),
    )
    return {
        "smtp": inbound.session,
        "submission": submission.session,
        "submissions": submission.session,
        "imap": access.imap,
        "imaps": access.imap,
        "pop3": access.pop3,
        "pop3s": access.pop3,
    }


def _outbound(settings: Settings, resolver: SystemResolver, ledger: Ledger, clock: Clock, entropy: Entropy) -> Outbound:
    transfer = settings.transfer
    routing = RoutingSettings(frozenset({settings.host_name}), port=transfer.port, ports=transfer.ports)
    trusted = settings.path(settings.tls.trusted) if settings.tls.trusted else None
    authenticated = authenticated_client(trusted, beside_system=True)
    policies = StsPolicies(
        Fetch(resolver.resolver, authenticated, LONGEST_POLICY),
        clock=clock,
        log=Log("mta"),
        file=settings.path(settings.data) / "mta-sts.json",
    )
    return Outbound(
        OutboundSettings(settings.host_name, routing, local_address=transfer.source_address or None),
        resolver=resolver.resolver,
        clock=clock,
        entropy=entropy,
        log=Log("mta"),
        demand=Demands(clock=clock, authenticated=authenticated, policies=policies),
        record=LedgerRecord(ledger, clock),
    )


def _runner(settings: Settings, parts: _Parts, outbound: Outbound, clock: Clock, entropy: Entropy) -> Runner:
    transfer = settings.transfer
    return Runner(
        store=parts.store,
        agent=parts.agent,
        transfer=transfer_over(outbound, parts.store),
        settings=QueueSettings(
            settings.host_name,
            retry_first_seconds=transfer.retry_first_seconds,
            retry_longest_seconds=transfer.retry_longest_seconds,
            warn_after_seconds=transfer.warn_after_seconds,
            expire_after_seconds=transfer.expire_after_seconds,
        ),
        clock=clock,
        entropy=entropy,
        log=Log("queue"),
    )


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
