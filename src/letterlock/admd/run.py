"""One domain's roles, wired and run: the only place that knows them all.

    async with running(settings, clock=SystemClock(), entropy=SystemEntropy()) as admd:
        ... admd.endpoints["imaps"] ...

Going up: sockets are bound, the store recovers, the resolver is probed, then services begin to accept. Going down, in the
opposite order: services let their sessions finish, all at once, the queue its transfers, and the store closes last.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from letterlock.access.service import AccessService
from letterlock.access.settings import AccessSettings
from letterlock.admd import outward
from letterlock.admd.accounts import STORE_NAME, account_operations, opened_accounts
from letterlock.admd.border import Defence, border_operations, open_defence
from letterlock.admd.control import SOCKET_NAME, Control
from letterlock.admd.filters import Filters, filters_of
from letterlock.admd.incoming import (
    LEDGER_NAME,
    assess_settings,
    connection_limits,
    inbound_service,
    listener_for,
    prepare_incoming,
    resolve_settings,
    system_resolver,
    trusted_proxies,
)
from letterlock.admd.lmtp import lmtp_session
from letterlock.admd.own_policy import serve_policy
from letterlock.admd.own_zone import serve_own_zones
from letterlock.admd.proofs import login_tls, other_proofs
from letterlock.admd.queue_operations import queue_operations
from letterlock.admd.reload import Prepare, Reloader
from letterlock.admd.sending import Sending, begin_sending
from letterlock.admd.settings import Settings, key_pairs
from letterlock.admd.signing import Signer, load_keys
from letterlock.admd.smime import Foundation, Gateway, open_gateway
from letterlock.admd.sockets import SHARED, Sockets, bound_sockets
from letterlock.admd.watch import Watched, keep_certificates_current, reload_certificates
from letterlock.admd.workers import DOOR_NAME, Workers
from letterlock.host.clock import Clock
from letterlock.host.drive_sessions import Session
from letterlock.host.entropy import Entropy
from letterlock.host.ledger import Ledger
from letterlock.host.listen import Listener, bind_unix
from letterlock.host.logs import Log
from letterlock.host.resolver.system import SystemResolver
from letterlock.host.stream import Endpoint
from letterlock.host.tls import ServerTls
from letterlock.hostmaster.zone_host import ZoneHost
from letterlock.mda.deliver import DeliveryAgent
from letterlock.mda.resolve import Resolver
from letterlock.msa.inbound import Submission, SubmissionSettings
from letterlock.mta.assess import Assessor
from letterlock.postmaster.aggregate import Reporter
from letterlock.postmaster.failures import FailureSettings
from letterlock.postmaster.report_store import ReportStore
from letterlock.postmaster.send import SendSettings
from letterlock.postmaster.service import Postmaster, PostmasterSettings
from letterlock.store.accounts import Accounts
from letterlock.store.core import StoreSettings
from letterlock.store.engine import LogStore, open_store
from letterlock.store.proofs import Proofs
from letterlock.store.service import StoreService

_GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Parts:
    """What several services share."""

    store: LogStore
    accounts: Accounts
    agent: DeliveryAgent
    tls: ServerTls
    login_tls: ServerTls
    resolver: SystemResolver
    assessor: Assessor
    ledger: Ledger
    defence: Defence
    filters: Filters
    gateway: Gateway


@dataclass(frozen=True, slots=True)
class Admd:
    """A running domain. `endpoints` are by service, as bound."""

    endpoints: Mapping[str, tuple[Endpoint, ...]]
    tls: ServerTls
    store: LogStore
    transferring: asyncio.Task[None]
    reloader: Reloader
    workers: Workers
    reload_labels: Callable[[], None]

    def reload(self) -> None:
        """Read settings, label policies and TLS certificates again; where they are wrong, the old ones stay in force, as
        the log says.
        """
        self.reloader.reload()
        self.reload_labels()
        reload_certificates(self.tls, Log("admd"))
        self.workers.reload()

    async def failed(self) -> str:
        """Wait until the domain cannot go on by itself, and return why."""
        stopped = asyncio.create_task(self.store.stopped.wait())
        try:
            await asyncio.wait({stopped, self.transferring}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        return "the store failed" if self.store.stopped.is_set() else f"the queue failed: {self.transferring}"


@contextlib.asynccontextmanager
async def running(
    settings: Settings, *, clock: Clock, entropy: Entropy, sockets: Sockets | None = None
) -> AsyncIterator[Admd]:
    """Run the domain for the length of the context, on `sockets` or others. Raises SettingsFault, Unavailable."""
    async with contextlib.AsyncExitStack() as stack:
        sockets = sockets or bound_sockets(settings)
        stack.callback(sockets.close)
        zones = await serve_own_zones(settings, sockets.zones, stack, clock)
        parts = await _open(settings, stack, clock, entropy, zones)
        sending = begin_sending(
            settings,
            parts.store,
            parts.agent,
            parts.resolver.resolver,
            parts.ledger,
            clock,
            entropy,
            parts.gateway.programs,
        )
        stack.push_async_callback(sending.stop, _GRACE_SECONDS)
        _begin_reports(settings, parts, stack, clock)
        workers = Workers(settings, sockets, clock)
        if settings.workers:
            await _open_door(settings, parts.store, stack)
        listeners: dict[str, Listener] = {}
        stack.push_async_callback(_stop_together, listeners, workers)
        await workers.start()
        for service, session in _services(settings, parts, sending, clock, entropy).items():
            if service == SHARED and settings.workers:
                continue
            listener = listener_for(service, session, settings, parts.defence.admission, tls=parts.login_tls)
            listeners[service] = listener
            await listener.start(sockets.services.get(service, ()))
        operations = queue_operations(parts.store, clock, sending) | account_operations(parts.store)
        operations |= border_operations(parts.defence)
        control = Control(settings.path(settings.data) / SOCKET_NAME, operations, Log("control"))
        await control.start()
        stack.push_async_callback(control.stop)
        await _watch(settings, parts, sending, listeners, workers, sockets, stack, clock)
        if parts.gateway.pages is not None:
            listeners["registrar"] = Listener(
                parts.gateway.pages.session, log=Log("registrar"), limits=connection_limits(settings)
            )
            await listeners["registrar"].start(sockets.services.get("registrar", ()))
        policy = await serve_policy(settings, sockets.services.get("mta_sts", ()), stack)
        endpoints = {service: listener.endpoints for service, listener in listeners.items()}
        if settings.workers:
            endpoints[SHARED] = workers.endpoints
        if policy is not None:
            endpoints["mta_sts"] = policy.listener.endpoints
        adopters: list[Prepare] = [
            sending.prepare,
            partial(prepare_incoming, parts.defence.border, parts.filters, parts.assessor, parts.agent, listeners),
            *([policy.prepare] if policy else []),
        ]
        reloader = Reloader(settings, adopters, Log("admd"))
        labels = parts.gateway.reload_labels
        yield Admd(endpoints, parts.tls, parts.store, sending.task, reloader, workers, labels)


async def _watch(
    settings: Settings,
    parts: _Parts,
    sending: Sending,
    listeners: dict[str, Listener],
    workers: Workers,
    sockets: Sockets,
    stack: contextlib.AsyncExitStack,
    clock: Clock,
) -> None:
    """Show figures and health where that is wished, and keep the certificates current."""
    pairs = key_pairs(settings)
    files = tuple(path for pair in pairs for path in (pair.chain, pair.key))
    keeping = asyncio.create_task(keep_certificates_current(parts.tls, files, Log("admd")))
    stack.push_async_callback(_end, keeping)
    watched = Watched(
        parts.store,
        parts.ledger,
        dict(listeners),
        workers,
        sending.task,
        tuple(pair.chain for pair in pairs),
        settings.path(settings.data),
        clock,
        clock.now(),
        (sending.metrics, workers.metrics),
    )
    shown = listeners["metrics"] = Listener(watched.pages().session, log=Log("metrics"))
    await shown.start(sockets.services.get("metrics", ()))


async def _stop_together(listeners: Mapping[str, Listener], workers: Workers) -> None:
    stopping = [listener.stop(grace_seconds=_GRACE_SECONDS) for listener in listeners.values()]
    await asyncio.gather(*stopping, workers.stop(grace_seconds=_GRACE_SECONDS))


async def _open_door(settings: Settings, store: LogStore, stack: contextlib.AsyncExitStack) -> None:
    """Let workers commit to the store until everything else has ended."""
    service = StoreService(store)
    await service.start(bind_unix(settings.path(settings.data) / DOOR_NAME, mode=0o600))
    stack.push_async_callback(service.stop)


async def _open(
    settings: Settings, stack: contextlib.AsyncExitStack, clock: Clock, entropy: Entropy, zones: ZoneHost | None
) -> _Parts:
    """Open what the services share; `stack` closes it."""
    log = Log("admd")
    data = settings.path(settings.data)
    tls = ServerTls(key_pairs(settings))
    store = await open_store(StoreSettings(data / STORE_NAME), clock=clock)
    stack.push_async_callback(store.close)
    report = store.report
    if report.replayed or report.torn_octets or report.strange:
        log.warning("recovered", replayed=report.replayed, torn_octets=report.torn_octets, strange=report.strange)
    accounts = stack.enter_context(opened_accounts(settings))
    store.obey_quotas(accounts.quota_of)
    resolver = await system_resolver(settings, log)
    stack.push_async_callback(resolver.aclose)
    ledger = stack.enter_context(contextlib.closing(Ledger.open(data / LEDGER_NAME)))
    gateway = open_gateway(
        Foundation(settings, store, accounts, ledger, resolver.resolver, clock, entropy, zones), stack
    )
    defence = await open_defence(settings, resolver.resolver, ledger, clock, stack)
    return _Parts(
        store,
        accounts,
        DeliveryAgent(Resolver(resolve_settings(settings), accounts), accounts, store),
        tls,
        login_tls(settings, tls),
        resolver,
        Assessor(assess_settings(settings), resolver.resolver, ledger, border=defence.border, smime=gateway.judge),
        ledger,
        defence,
        filters_of(settings),
        gateway,
    )


def _begin_reports(settings: Settings, parts: _Parts, stack: contextlib.AsyncExitStack, clock: Clock) -> None:
    """Send reports to other domains and read theirs, in the background."""
    ledger = parts.assessor.ledger
    assert ledger is not None
    reports = stack.enter_context(contextlib.closing(ReportStore(settings.path(settings.data) / "reports.sqlite")))
    wanted = settings.reports
    address = f"postmaster@{settings.domain}"
    reporter = Reporter(wanted.organization or settings.domain, address, settings.domain)
    postmaster = Postmaster(
        PostmasterSettings(
            SendSettings(reporter),
            wanted.send_aggregate,
            wanted.send_tls,
            FailureSettings(reporter, is_on=wanted.send_failures),
            wanted.account,
        ),
        store=parts.store,
        ledger=ledger,
        resolver=parts.resolver.resolver,
        reports=reports,
        keys=lambda: load_keys(settings, settings.domain),
        clock=clock,
        log=Log("postmaster"),
        post=outward.poster(settings, parts.resolver.resolver, Log("postmaster")),
    )
    parts.assessor.observe = postmaster.observe
    stack.push_async_callback(_end, asyncio.create_task(postmaster.run()))


def _services(
    settings: Settings, parts: _Parts, sending: Sending, clock: Clock, entropy: Entropy
) -> dict[str, Session]:
    """Return the session function of each service."""
    proofs = other_proofs(settings, parts.accounts, parts.resolver.resolver, clock)
    signer = Signer(settings, clock)
    inbound = inbound_service(
        settings,
        store=parts.store,
        recipients=sending.recipients(settings, parts.agent, clock),
        tls=parts.tls,
        assessor=parts.assessor,
        filters=parts.filters,
        border=parts.defence.border,
        signer=signer,
        clock=clock,
        entropy=entropy,
        gate=parts.gateway.gate,
    )
    submission = _submission(settings, parts, sending, signer, proofs, clock, entropy)
    access = AccessService(
        AccessSettings(settings.host_name, message_octets=settings.limits.message_octets),
        parts.store,
        parts.accounts,
        tls=parts.login_tls,
        guard=parts.defence.guard,
        entropy=entropy,
        log=Log("access"),
        proofs=proofs,
    )
    return {
        "smtp": inbound.session,
        "lmtp": lmtp_session(settings, parts.store, parts.agent, clock, entropy, parts.gateway.gate),
        "submission": submission.session,
        "submissions": submission.session,
        "imap": access.imap,
        "imaps": access.imap,
        "pop3": access.pop3,
        "pop3s": access.pop3,
    }


def _submission(
    settings: Settings, parts: _Parts, sending: Sending, signer: Signer, proofs: Proofs, clock: Clock, entropy: Entropy
) -> Submission:
    limits, defence = settings.limits, parts.defence
    return Submission(
        SubmissionSettings(
            settings.host_name,
            size_limit=limits.message_octets,
            recipient_limit=limits.recipients,
            expire_seconds=settings.transfer.expire_after_seconds,
            trusted_proxies=trusted_proxies(settings),
        ),
        store=parts.store,
        accounts=parts.accounts,
        recipients=parts.agent,
        tls=parts.login_tls,
        guard=defence.guard,
        clock=clock,
        entropy=entropy,
        log=Log("msa"),
        sign=signer,
        messages=defence.messages,
        recipient_rate=defence.recipients,
        filters=parts.filters.submission,
        suppressed=sending.suppressions.refusal,
        protect=parts.gateway.protect,
        gate=parts.gateway.gate,
        proofs=proofs,
    )


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
