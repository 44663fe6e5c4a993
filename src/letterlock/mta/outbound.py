"""Mail to other hosts: one message to the recipients of one domain, and one Outcome for each.

The hosts of the route are tried in order, the addresses of one host in a race; what a host says of a recipient counts,
what fails before it says anything leads to the next host, and so does a host that does not offer what the message needs.
A connection that served stays open for a moment for the next message to the same host; where a host bears no more
connections, the next message is begun behind the content of the one before. STARTTLS is used wherever it is
offered; where DANE (or another policy) demands it, nothing goes out without what is demanded, and the mail waits instead.

Promises: no recipient is without an outcome; a fault of ours or of the network is DEFERRED, never FAILED; a connection
lost after the content was sent is DEFERRED, for the host may or may not have it; a host that did not answer or refused
the connection is left in peace for a while, whatever else is for it.

Standards: RFC 5321 section 4.2.1, section 4.5.4.1 (sending strategy), section 5.1; RFC 3207; RFC 7672 section 2.2; RFC
8689 section 4.2.1 (the next host may offer REQUIRETLS).
See also: mta/route.py, mta/demand.py (what TLS must be), mta/opening.py (connections), mta/hosts.py (what is remembered
of hosts); mta/queue calls `Outbound.deliver`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from letterlock.errors import NotAuthentic, PeerFault
from letterlock.formats.address import Address
from letterlock.formats.envelope import Body, Envelope, Recipient
from letterlock.formats.mime.downgrade import downgraded
from letterlock.formats.outcome import Outcome
from letterlock.host.clock import Clock
from letterlock.host.entropy import Entropy
from letterlock.host.logs import Log
from letterlock.host.resolver.interface import Resolver
from letterlock.host.smtp_client import ClientPatience, Follow, Follower, SmtpClient
from letterlock.host.stream import TlsFailed
from letterlock.host.tls import authenticated_client
from letterlock.mta.answers import Attempt, failure_status, not_authentic, outcome_of, security_of, status_of
from letterlock.mta.demand import Demand, Demands, HostNotAllowed, TlsDemand, Wish, wish_of
from letterlock.mta.hosts import Hosts, KnownHost, Place
from letterlock.mta.opening import Opener, Race
from letterlock.mta.pool import Connection, Pool
from letterlock.mta.route import Hop, Route, RoutingSettings
from letterlock.mta.routes import Routes
from letterlock.mta.tls_results import DNSSEC_INVALID, AppliedPolicy, Record, TlsResult, record_nothing
from letterlock.mta.tls_results import FAILED as NOT_VALID
from letterlock.protocols.smtp.client import Refused, Transfer
from letterlock.protocols.smtp.reply import Reply

_MOST_DEMANDS = 1000


@dataclass(frozen=True, slots=True)
class OutboundSettings:
    """What sending is told. `messages_per_connection` and `idle_seconds` bound how long a connection is used again.

    `memory_seconds` is how long a host that did not answer is left in peace, `route_seconds` how long a route is used
    without asking again.
    """

    host_name: str
    routing: RoutingSettings
    patience: ClientPatience = field(default_factory=ClientPatience)
    local_address: str | None = None
    connections_per_host: int = 20
    messages_per_connection: int = 100
    idle_seconds: float = 5
    addresses_tried: int = 5
    memory_seconds: float = 60
    route_seconds: float = 5


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
        self._log = log
        self._entropy = entropy
        self.record = record
        self.demand = demand or Demands(clock=clock, authenticated=authenticated_client())
        self._clock = clock
        self.adopt(settings, resolver)

    def adopt(self, settings: OutboundSettings, resolver: Resolver) -> None:
        """Send by these settings from now on; what is under way ends as it began."""
        self._settings = settings
        self._routes = Routes(settings.routing, resolver, self._entropy, seconds=settings.route_seconds)
        self._hosts = Hosts(
            self._clock.elapsed, connections=settings.connections_per_host, memory_seconds=settings.memory_seconds
        )
        self._demanded: dict[tuple[str, str, Wish], tuple[Hop, TlsDemand]] = {}
        self._pool = Pool(messages=settings.messages_per_connection, idle_seconds=settings.idle_seconds)

    @property
    def connections(self) -> tuple[int, int]:
        """How many connections are in use, and how many wait for the next message."""
        return self._hosts.active, self._pool.waiting

    def forget_failures(self) -> None:
        """Ask hosts again that did not answer, and look routes up anew: somebody says that all is right again."""
        self._hosts.forget_failures()
        self._routes.forget()

    async def deliver(
        self, envelope: Envelope, content: bytes, *, route: str = "", priority: int = 0
    ) -> tuple[Outcome, ...]:
        """Send one message to all recipients of `envelope`; return their outcomes in order.

        `route` ("host" or "host:port") takes the place of MX; `priority` is MT-PRIORITY.
        """
        domains = dict.fromkeys(recipient.forward_path.domain for recipient in envelope.recipients)
        if len(domains) == 1:
            return tuple(await self._to_domain(next(iter(domains)), envelope, content, route, priority))
        outcomes: dict[int, Outcome] = {}
        for domain in domains:
            numbers = [n for n, to in enumerate(envelope.recipients) if to.forward_path.domain == domain]
            part = replace(envelope, recipients=tuple(envelope.recipients[number] for number in numbers))
            outcomes.update(zip(numbers, await self._to_domain(domain, part, content, route, priority), strict=True))
        return tuple(outcomes[number] for number in range(len(envelope.recipients)))

    async def ask(self, recipient: Address) -> Outcome | None:
        """Ask a recipient's hosts whether they would take mail for it; send nothing. None where none could be asked."""
        envelope = Envelope(None, (Recipient(recipient),))
        route = await self._routes.find(recipient.domain)
        opener = self._opener()
        for hop in route.hops:
            try:
                demand = await self.demand(recipient.domain, hop, wish_of(envelope, b""))
                endpoints = [host.endpoint for host in self._hosts.usable(hop.endpoints, demand.label)[0]]
                if not endpoints:
                    continue
                race = Race()
                client = await opener.open(hop, endpoints, demand, race)
                try:
                    reply = await client.try_recipient(envelope)
                finally:
                    self._pool.leave(client)
            except (PeerFault, NotAuthentic):
                continue
            address = client.stream.peer.host
            return outcome_of(
                envelope.recipients[0], reply, hop.host.name, address, security_of(client.tls, demand), client.offer
            )
        return None

    async def close(self) -> None:
        """Take leave on every connection that waits to be used again."""
        await self._pool.close()

    async def _to_domain(
        self, domain: str, envelope: Envelope, content: bytes, override: str, priority: int
    ) -> Sequence[Outcome]:
        route = await self._routes.find(domain, override)
        for name in route.unproved:
            policy = AppliedPolicy(route.domain, "tlsa", mx_hosts=(name,))
            self.record(TlsResult(policy, name, "", type=DNSSEC_INVALID))
        if route.hindrance is not None:
            hindrance = route.hindrance
            return [
                Outcome(to.forward_path, hindrance.result, hindrance.status, hindrance.reason, about_host=True)
                for to in envelope.recipients
            ]
        outcomes = await self._by_route(route, envelope, content, priority)
        if all(outcome.status == "5.6.3" for outcome in outcomes):
            # RFC 6152 section 3, RFC 3030 section 3: no host takes it as it is, and one may take it in seven bits.
            converted = await asyncio.to_thread(downgraded, content)
            if converted is not None and converted != content:
                return await self._by_route(route, replace(envelope, body=Body.SEVEN_BIT), converted, priority)
        return outcomes

    async def _by_route(self, route: Route, envelope: Envelope, content: bytes, priority: int) -> Sequence[Outcome]:
        tries = self._settings.addresses_tried
        way = _Way(
            self.demand,
            self._demanded,
            self._hosts,
            self._pool,
            self._opener(),
            self._clock,
            self._log,
            self.record,
            tries,
        )
        return await way.take(route, envelope, content, priority)

    def _opener(self) -> Opener:
        settings = self._settings
        return Opener(
            settings.host_name, settings.patience, settings.local_address, self._entropy, self._log, self.record
        )


@dataclass(slots=True)
class _Way:
    """One message on its way along a route. `tries` more addresses are asked, and a host that bears no more connections is
    waited for `waits` times; `last` is the last that decided nothing."""

    demand: Demand
    demanded: dict[tuple[str, str, Wish], tuple[Hop, TlsDemand]]
    hosts: Hosts
    pool: Pool
    opener: Opener
    clock: Clock
    log: Log
    record: Record
    tries: int
    waits: int = 3
    last: Attempt | None = None

    async def take(self, route: Route, envelope: Envelope, content: bytes, priority: int) -> Sequence[Outcome]:
        """Return the outcomes of the first host that decides, or why none did."""
        message = _Message(route.domain, envelope, content, priority)
        for hop in route.hops:
            decided = await self._by_hop(hop, message)
            if decided is not None:
                return decided
            if self.last is not None and self.last.is_uncertain:
                break
        last = self.last or Attempt("", "", "4.4.1", "no host of the domain could be tried")
        return last.outcomes(envelope)

    def _note(self, attempt: Attempt) -> None:
        # What may yet be otherwise elsewhere is worth waiting for.
        if self.last is None or attempt.status[0] != "5":
            self.last = attempt

    async def _by_hop(self, hop: Hop, message: _Message) -> Sequence[Outcome] | None:
        name = hop.host.name
        try:
            demand = await self._demanded(hop, message)
        except HostNotAllowed as fault:
            self.log.event("host failed", host=name, problem=str(fault))
            if fault.policy is not None:
                self.record(TlsResult(fault.policy, name, hop.endpoints[0].host, "", NOT_VALID, str(fault)))
            self._note(Attempt(name, "", not_authentic(message.envelope), str(fault)))
            return None
        left, failure = self.hosts.usable(hop.endpoints, demand.label)
        if failure is not None and not left:
            status = "5.7.10" if failure.status == "4.7.5" and message.envelope.require_tls else failure.status
            self._note(Attempt(name, "", status, failure.reason))
        while left and self.tries > 0:
            key = hop.host.name, left[0].endpoint, demand.label
            waiting = Transfer(message.envelope, message.content, message.priority)
            async with Place(self.hosts, left[0], key=key, transfer=waiting) as place:
                result = await self._by_place(place, hop, left, demand, message)
            if isinstance(result, Attempt):
                self._note(result)
                if result.is_uncertain or result.is_about_message:
                    return None
            elif result is not None:
                return result
        return None

    async def _demanded(self, hop: Hop, message: _Message) -> TlsDemand:
        """Return what is demanded of a hop; as long as the route is kept, so is this. Raises HostNotAllowed."""
        wish = wish_of(message.envelope, message.content)
        key = message.domain, hop.host.name, wish
        kept = self.demanded.get(key)
        if kept is not None and kept[0] is hop:
            return kept[1]
        demand = await self.demand(message.domain, hop, wish)
        if len(self.demanded) >= _MOST_DEMANDS:
            self.demanded.clear()
        self.demanded[key] = hop, demand
        return demand

    async def _by_place(
        self, place: Place, hop: Hop, left: list[KnownHost], demand: TlsDemand, message: _Message
    ) -> Sequence[Outcome] | Attempt | None:
        """Return outcomes, or why an address decided nothing, or None to wait for a place; takes addresses from `left`."""
        race = Race()
        try:
            return await self._over_connection(place, race, hop, left, demand, message)
        except (PeerFault, NotAuthentic) as fault:
            answer = fault.answer if isinstance(fault, Refused) else None
            if race.winner is not None:
                place.move_to(self.hosts.known(race.winner))
            if answer is not None and answer.is_transient and self.waits > 0 and self.hosts.bears_no_more(place.host):
                self.waits -= 1
                return None
            problem = str(answer) if answer else fault.problem if isinstance(fault, PeerFault) else str(fault)
            # Whatever it says before a transaction is about the connection, not the message: another may take it.
            status = "4" + status_of(answer)[1:] if answer else failure_status(fault, message.envelope)
            if answer is not None and answer.code == 521:
                status = "5.3.2"  # RFC 7504 section 3: it never takes mail; where no host does, waiting is no use
            tried = race.winner or place.host.endpoint
            self.log.event("host failed", host=hop.host.name, endpoint=str(tried), problem=problem)
            self._remember(race, place.host, fault, demand.label, status, problem)
            gone = {*race.failures, tried}
            self.tries -= len(gone)
            left[:] = [host for host in left if host.endpoint not in gone]
            return Attempt(hop.host.name, tried.host, status, problem, is_uncertain=isinstance(fault, _LostInTransfer))

    def _remember(self, race: Race, host: KnownHost, fault: Exception, label: str, status: str, problem: str) -> None:
        """Remember which addresses need not be asked again by the next message."""
        for endpoint, reason in race.failures.items():
            self.hosts.failed(self.hosts.known(endpoint), "", "4.4.1", reason)
        if isinstance(fault, _DuringTransfer):
            return  # it may be this message that it does not bear
        if isinstance(fault, NotAuthentic | TlsFailed):
            self.hosts.failed(host, label, "4.7.5", problem)
        elif race.winner is not None and host.active <= 1:  # beside connections that serve, it is not down
            self.hosts.failed(host, "", status, problem)

    async def _over_connection(
        self, place: Place, race: Race, hop: Hop, left: list[KnownHost], demand: TlsDemand, message: _Message
    ) -> Sequence[Outcome] | Attempt:
        endpoints = [host.endpoint for host in left]
        connection, follower = place.passed or (self.pool.take(hop.host.name, endpoints, demand.label), None)
        while connection is not None:
            place.move_to(self.hosts.known(connection.key[1]))
            try:
                replies = await self._transfer(connection, message, place, follower)
                if not all(reply.code == 421 for reply in replies):
                    return self._decided(connection, replies, place, hop, demand, message)
                connection.client.stream.abort()
            except _LostInTransfer:
                raise
            except PeerFault:
                pass  # it may have grown tired of us between two messages: a fresh connection will tell
            connection, follower = self.pool.take(hop.host.name, endpoints, demand.label), None
        client = await self.opener.open(hop, endpoints, demand, race)
        assert race.winner is not None
        place.move_to(self.hosts.known(race.winner))
        place.host.served()
        for endpoint in race.slower:
            self.hosts.slow(self.hosts.known(endpoint))
        for endpoint, reason in race.failures.items():
            self.hosts.failed(self.hosts.known(endpoint), "", "4.4.1", reason)
        connection = Connection(client, (hop.host.name, race.winner, demand.label))
        replies = await self._transfer(connection, message, place)
        return self._decided(connection, replies, place, hop, demand, message)

    async def _transfer(
        self, connection: Connection, message: _Message, place: Place, follower: Follower | None = None
    ) -> Sequence[Reply]:
        """Return a reply for each recipient; `follower` is the message where it was begun already. Raises _DuringTransfer."""
        client, envelope = connection.client, message.envelope
        limit = client.offer.recipient_limit
        follow = partial(self._next_behind, connection, place)
        replies: list[Reply] = []
        message.hindrance = None
        try:
            if follower is not None:
                return await client.go_on(follower, follow=follow)
            if len(envelope.recipients) <= limit:
                return await self._carry(client, message, envelope, follow)
            for start in range(0, len(envelope.recipients), limit):
                part = replace(envelope, recipients=envelope.recipients[start : start + limit])
                replies += await self._carry(client, message, part, None)
        except PeerFault as fault:
            client.stream.abort()
            lost = replies or client.has_sent_content
            raise (_LostInTransfer if lost else _DuringTransfer)(fault.problem) from fault
        except BaseException:
            client.stream.abort()
            raise
        return replies

    async def _carry(
        self, client: SmtpClient, message: _Message, envelope: Envelope, follow: Follow | None
    ) -> Sequence[Reply]:
        transfer = Transfer(envelope, message.content, message.priority, self.clock.now())
        replies = await client.carry(transfer, follow=follow)
        message.hindrance = message.hindrance or transfer.hindrance
        return replies

    def _next_behind(self, connection: Connection, place: Place) -> Follower | None:
        """Begin a message that waits for a place behind the content of the one that has this place."""
        if not self.pool.bears_another(connection):
            return None
        other = place.next_for(connection.key)
        if other is None or other.transfer is None:
            return None
        transfer, client = other.transfer, connection.client
        follower = None
        if len(transfer.envelope.recipients) <= client.offer.recipient_limit:
            transfer.now = self.clock.now()
            follower = client.begin_behind(transfer)
        if follower is None:
            other.transfer = None  # it has to have its own turn
            return None
        place.take_along(other, connection, follower)
        return follower

    def _decided(
        self,
        connection: Connection,
        replies: Sequence[Reply],
        place: Place,
        hop: Hop,
        demand: TlsDemand,
        message: _Message,
    ) -> Sequence[Outcome] | Attempt:
        client, name, address = connection.client, hop.host.name, connection.key[1].host
        hindrance = message.hindrance
        is_leaving = any(reply.code == 421 for reply in replies)
        if is_leaving:
            client.stream.abort()
            if all(reply.code == 421 for reply in replies) and not self.hosts.bears_no_more(place.host):
                self.hosts.failed(place.host, "", "4" + status_of(replies[0])[1:], str(replies[0]))
        elif place.has_passed_on(connection):
            connection.messages += 1
        else:
            self.pool.keep(connection)
        if hindrance is not None:  # RFC 8689 section 4.2.1, and likewise for whatever else the next host may offer
            return Attempt(name, address, status_of(hindrance), str(hindrance), is_about_message=True)
        security, offer = security_of(client.tls, demand), client.offer
        return [
            outcome_of(recipient, reply, name, address, security, offer)
            for recipient, reply in zip(message.envelope.recipients, replies, strict=True)
        ]


@dataclass(slots=True)
class _Message:
    """What is sent, to which of the recipients' domains; `hindrance` is why the last host asked could not have it."""

    domain: str
    envelope: Envelope
    content: bytes
    priority: int
    hindrance: Reply | None = None


class _DuringTransfer(PeerFault):
    """The connection broke while the message was being handed over."""


class _LostInTransfer(_DuringTransfer):
    """It broke when the host may have taken the message."""
