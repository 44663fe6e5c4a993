"""Mail to other hosts: one message to the recipients of one domain, and one Outcome for each.

The hosts of the route are tried in order, each address in turn; what a host says of a recipient counts, what fails
before it says anything leads to the next host. A connection that served stays open for a moment for the next message to
the same host. STARTTLS is used wherever it is offered; where DANE (or another policy) demands it, nothing goes out
without what is demanded, and the mail waits instead.

Promises: no recipient is without an outcome; a fault of ours or of the network is DEFERRED, never FAILED; a connection
lost after the content was sent is DEFERRED, for the host may or may not have it.

Standards: RFC 5321 section 4.2.1, section 4.5.4.1 (sending strategy), section 5.1; RFC 3207; RFC 7672 section 2.2.
See also: mta/route.py, mta/demand.py (what TLS must be), host/smtp_client.py; mta/queue calls `Outbound.deliver`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from weakref import WeakValueDictionary

from letterlock.errors import NotAuthentic, PeerFault
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import Clock
from letterlock.host.drive_decisions import drive
from letterlock.host.entropy import Entropy
from letterlock.host.logs import Log
from letterlock.host.resolver.interface import Resolver
from letterlock.host.smtp_client import ClientPatience, SmtpClient
from letterlock.host.stream import Endpoint, TlsFailed
from letterlock.host.tls import TlsState, authenticated_client
from letterlock.mta.demand import Demand, Demands, HostNotAllowed, TlsDemand, wish_of
from letterlock.mta.route import Hop, Route, RoutingSettings, find_route
from letterlock.mta.tls_results import (
    DNSSEC_INVALID,
    NOT_OFFERED,
    AppliedPolicy,
    Record,
    TlsResult,
    record_nothing,
    result_type,
)
from letterlock.mta.tls_results import FAILED as NOT_VALID
from letterlock.protocols.sasl.mechanism import client_exchange
from letterlock.protocols.smtp.client import Refused
from letterlock.protocols.smtp.offer import Offer
from letterlock.protocols.smtp.reply import Reply


@dataclass(frozen=True, slots=True)
class OutboundSettings:
    """What sending is told. `messages_per_connection` and `idle_seconds` bound how long a connection is used again."""

    host_name: str
    routing: RoutingSettings
    patience: ClientPatience = field(default_factory=ClientPatience)
    local_address: str | None = None
    connections_per_host: int = 20
    messages_per_connection: int = 100
    idle_seconds: float = 5
    addresses_tried: int = 5


class Outbound:
    """Sends; keeps connections that may be used again. Close it when done."""

    def __init__(
        self,
        settings: OutboundSettings,
        *,
        resolver: Resolver,
        clock: Clock,
        entropy: Entropy,
        log: Log,
        demand: Demand | None = None,
        record: Record = record_nothing,
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._clock = clock
        self._entropy = entropy
        self._log = log
        self._record = record
        self._demand = demand or Demands(clock=clock, authenticated=authenticated_client())
        self._idle: dict[tuple[str, Endpoint, str], list[_Connection]] = {}
        # A host's slots live as long as something is under way to it.
        self._slots: WeakValueDictionary[Endpoint, asyncio.Semaphore] = WeakValueDictionary()

    async def deliver(
        self, envelope: Envelope, content: bytes, *, route: str = "", priority: int = 0
    ) -> tuple[Outcome, ...]:
        """Send one message to all recipients of `envelope`; return their outcomes in order.

        `route` ("host" or "host:port") takes the place of MX; `priority` is MT-PRIORITY.
        """
        domains = dict.fromkeys(recipient.forward_path.domain for recipient in envelope.recipients)
        outcomes: dict[int, Outcome] = {}
        for domain in domains:
            numbers = [n for n, to in enumerate(envelope.recipients) if to.forward_path.domain == domain]
            part = replace(envelope, recipients=tuple(envelope.recipients[number] for number in numbers))
            found = await drive(
                find_route(domain, self._settings.routing, self._entropy, override=route), self._resolver
            )
            outcomes.update(zip(numbers, await self._by_route(found, part, _Content(content, priority)), strict=True))
        return tuple(outcomes[number] for number in range(len(envelope.recipients)))

    async def close(self) -> None:
        """Take leave on every connection that waits to be used again."""
        waiting = [connection for connections in self._idle.values() for connection in connections]
        self._idle.clear()
        for connection in waiting:
            connection.cancel_expiry()
        await asyncio.gather(*(connection.client.quit() for connection in waiting))

    async def _by_route(self, route: Route, envelope: Envelope, content: _Content) -> list[Outcome]:
        for name in route.unproved:
            policy = AppliedPolicy(route.domain, "tlsa", mx_hosts=(name,))
            self._record(TlsResult(policy, name, "", type=DNSSEC_INVALID))
        if route.hindrance is not None:
            hindrance = route.hindrance
            return [
                Outcome(to.forward_path, hindrance.result, hindrance.status, hindrance.reason)
                for to in envelope.recipients
            ]
        last = _Attempt(None, None, "4.4.1", "no host of the domain could be tried")
        tried = 0
        for hop in route.hops:
            for endpoint in hop.endpoints:
                if tried >= self._settings.addresses_tried:
                    break
                tried += 1
                attempt = await self._by_endpoint(route.domain, hop, endpoint, envelope, content)
                if isinstance(attempt, list):
                    return attempt
                if not (
                    tried > 1 and attempt.status[0] == "5"
                ):  # what may yet be otherwise elsewhere is worth waiting for
                    last = attempt
                if attempt.is_uncertain:
                    return last.outcomes(envelope)
        return last.outcomes(envelope)

    async def _by_endpoint(
        self, domain: str, hop: Hop, endpoint: Endpoint, envelope: Envelope, content: _Content
    ) -> list[Outcome] | _Attempt:
        """Return the outcomes that this endpoint decided, or why it decided nothing."""
        slot = self._slots.get(endpoint)
        if slot is None:
            self._slots[endpoint] = slot = asyncio.Semaphore(self._settings.connections_per_host)
        async with slot:
            try:
                demand = await self._demand(domain, hop, wish_of(envelope, content.octets))
                key = (hop.host.name, endpoint, demand.label)
                return await self._over_connection(key, hop, endpoint, demand, envelope, content)
            except Refused as refused:
                reply = refused.answer
                self._log.event("host refused", host=hop.host.name, endpoint=str(endpoint), reply=str(reply))
                # Whatever it says before a transaction is about the connection, not the message: another may take it.
                return _Attempt(hop, endpoint, "4" + _status(reply)[1:], str(reply))
            except (PeerFault, NotAuthentic) as fault:
                problem = fault.problem if isinstance(fault, PeerFault) else str(fault)
                self._log.event("host failed", host=hop.host.name, endpoint=str(endpoint), problem=problem)
                status = "4.7.5" if isinstance(fault, NotAuthentic | TlsFailed) else "4.4.2"
                if envelope.require_tls and status == "4.7.5":
                    status = "5.7.10"  # RFC 8689 section 4.2.1
                if isinstance(fault, HostNotAllowed) and fault.policy is not None:
                    self._record(TlsResult(fault.policy, hop.host.name, endpoint.host, "", NOT_VALID, problem))
                uncertain = isinstance(fault, _LostInTransfer)
                return _Attempt(hop, endpoint, status, problem, is_uncertain=uncertain)

    async def _over_connection(
        self,
        key: tuple[str, Endpoint, str],
        hop: Hop,
        endpoint: Endpoint,
        demand: TlsDemand,
        envelope: Envelope,
        content: _Content,
    ) -> list[Outcome]:
        waiting = self._idle.get(key, [])
        while waiting:
            connection = waiting.pop()
            connection.cancel_expiry()
            if connection.client.stream.is_lost or connection.client.stream.has_input:
                connection.client.stream.abort()
                continue
            try:
                return await self._transfer(key, connection, hop, endpoint, demand, envelope, content)
            except PeerFault as fault:
                if isinstance(fault, _LostInTransfer):
                    raise
                # It may have grown tired of us between two messages: a fresh connection will tell.
        self._idle.pop(key, None)
        client = await self._open(hop, endpoint, demand)
        return await self._transfer(key, _Connection(client), hop, endpoint, demand, envelope, content)

    async def _transfer(
        self,
        key: tuple[str, Endpoint, str],
        connection: _Connection,
        hop: Hop,
        endpoint: Endpoint,
        demand: TlsDemand,
        envelope: Envelope,
        content: _Content,
    ) -> list[Outcome]:
        client = connection.client
        replies: list[Reply] = []
        offer = client.offer
        limit = offer.recipient_limit
        try:
            for start in range(0, len(envelope.recipients), limit):
                part = replace(envelope, recipients=envelope.recipients[start : start + limit])
                replies += await client.transfer(part, content.octets, priority=content.priority, now=self._clock.now())
        except BaseException as fault:
            client.stream.abort()
            if isinstance(fault, PeerFault) and (replies or client.has_sent_content):
                raise _LostInTransfer(fault.problem) from fault
            raise
        connection.messages += 1
        security = _security(client.tls, demand)
        if any(reply.code == 421 for reply in replies):
            client.stream.abort()
        else:
            await self._keep(key, connection)
        return [
            _outcome(recipient, reply, hop, endpoint, security, offer)
            for recipient, reply in zip(envelope.recipients, replies, strict=True)
        ]

    async def _open(self, hop: Hop, endpoint: Endpoint, demand: TlsDemand) -> SmtpClient:
        try:
            return await self._open_with(hop, endpoint, demand, use_tls=True)
        except (TlsFailed, NotAuthentic) as failure:
            if demand.is_mandatory or hop.relay is not None:
                raise
            # RFC 7435 section 3: opportunistic means that broken TLS must not be worse than none.
            self._log.warning("TLS failed, sent without", host=hop.host.name, problem=str(failure))
            if demand.otherwise is not None:
                return await self._open(hop, endpoint, demand.otherwise)
            return await self._open_with(hop, endpoint, demand, use_tls=False)

    async def _open_with(self, hop: Hop, endpoint: Endpoint, demand: TlsDemand, *, use_tls: bool) -> SmtpClient:
        settings, relay = self._settings, hop.relay
        implicit = relay is not None and relay.implicit_tls
        client = await SmtpClient.open(
            endpoint,
            name=settings.host_name,
            patience=settings.patience,
            tls=(demand.context, demand.server_name) if implicit else None,
            local_address=settings.local_address,
        )
        try:
            await client.greet()
            await client.hello()
            if use_tls:
                await self._protect(client, hop, endpoint, demand)
            if relay is not None and relay.user:
                await client.authenticate(
                    client_exchange(
                        client.offer.mechanisms,
                        user=relay.user,
                        password=relay.password,
                        nonce=self._entropy.octets(18),
                        bindings=client.tls.bindings if client.tls else {},
                        protected=client.tls is not None,
                    )
                )
        except BaseException:
            client.stream.abort()
            raise
        return client

    async def _protect(self, client: SmtpClient, hop: Hop, endpoint: Endpoint, demand: TlsDemand) -> None:
        """Begin TLS as demanded, and record what came of it."""
        kind, information = "", ""
        try:
            if client.tls is None and "STARTTLS" in client.offer:
                try:
                    await client.start_tls(demand.context, server_name=demand.server_name)
                except Refused as refused:
                    raise TlsFailed(f"{hop.host.name} refused STARTTLS: {refused.answer}") from refused
                await client.hello()
            if client.tls is None:
                kind = NOT_OFFERED
                if demand.is_mandatory:
                    raise NotAuthentic(f"{hop.host.name} does not offer the TLS that {demand.label} demands")
            elif demand.judge is not None:
                demand.judge(client.tls)
        except (TlsFailed, NotAuthentic) as fault:
            kind, information = kind or result_type(fault), str(fault)
            raise
        finally:
            if demand.policy is not None:
                local = client.stream.local.host
                self._record(TlsResult(demand.policy, hop.host.name, endpoint.host, local, kind, information))

    async def _keep(self, key: tuple[str, Endpoint, str], connection: _Connection) -> None:
        most = self._settings.messages_per_connection
        most = min(most, connection.client.offer.message_limit or most)  # RFC 9422: MAILMAX
        if connection.messages >= most or self._settings.idle_seconds <= 0:
            await connection.client.quit()
            return
        connection.expire_after(self._settings.idle_seconds, lambda: self._expire(key, connection))
        self._idle.setdefault(key, []).append(connection)

    def _expire(self, key: tuple[str, Endpoint, str], connection: _Connection) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._idle[key].remove(connection)
        if not self._idle.get(key):
            self._idle.pop(key, None)
        connection.leave()


@dataclass(frozen=True, slots=True)
class _Content:
    """What is sent, apart from to whom."""

    octets: bytes
    priority: int


class _LostInTransfer(PeerFault):
    """The connection broke when the host may have taken the message."""


class _Connection:
    """A connection that may be used again, and the timer that ends its waiting."""

    def __init__(self, client: SmtpClient) -> None:
        self.client = client
        self.messages = 0
        self._timer: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Task[None] | None = None

    def expire_after(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` unless used before."""
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def cancel_expiry(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def leave(self) -> None:
        """Say QUIT, in the background."""
        self._leaving = asyncio.get_running_loop().create_task(self.client.quit())


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Why an endpoint decided nothing."""

    hop: Hop | None
    endpoint: Endpoint | None
    status: str
    reason: str
    is_uncertain: bool = False

    def outcomes(self, envelope: Envelope) -> list[Outcome]:
        """Return DEFERRED for everybody, or FAILED where the status says so."""
        host = self.hop.host.name if self.hop else ""
        address = self.endpoint.host if self.endpoint else ""
        result = Result.FAILED if self.status[0] == "5" else Result.DEFERRED
        return [Outcome(to.forward_path, result, self.status, self.reason, host, address) for to in envelope.recipients]


def _outcome(recipient: Recipient, reply: Reply, hop: Hop, endpoint: Endpoint, security: str, offer: Offer) -> Outcome:
    if reply.code < 300:
        result = Result.RELAYED
    else:
        result = Result.DEFERRED if reply.is_transient else Result.FAILED
    return Outcome(
        recipient.forward_path,
        result,
        _status(reply),
        str(reply),
        host=hop.host.name,
        address=endpoint.host,
        security=security,
        supports_dsn="DSN" in offer,
        supports_deliver_by="DELIVERBY" in offer,
    )


def _status(reply: Reply) -> str:
    if reply.status and reply.status[0] == str(reply.code)[0]:
        return reply.status
    return f"{reply.code // 100}.0.0"


def _security(tls: TlsState | None, demand: TlsDemand) -> str:
    return f"{tls.version} {demand.label}" if tls is not None else "none"
