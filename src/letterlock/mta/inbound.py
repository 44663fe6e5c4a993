"""Mail from other domains: the policy of port 25.

A recipient is taken if the delivery agent knows what becomes of it; whatever can be refused is refused in the session, so
that no bounce is owed (RFC 5321 section 6.1). A whole message is assessed (mta/assess.py), gets its Received field, and
becomes one store transaction: copies for mailboxes here and queue entries for what goes on. 250 follows when that is on
disk. What goes on to other domains, because an alias leads there, has our seal before it, and the copies here do not.

Standards: RFC 5321 section 3.3, section 4.4, section 6.1 to 6.3; RFC 3463; RFC 8617 section 5.1.
See also: mta/session.py (the session), mta/arrival.py (what assessing and resolving are given and give).
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field, replace

import msgspec

from letterlock.errors import OurFault
from letterlock.formats.address import Address
from letterlock.formats.envelope import DeliverBy, Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import Clock
from letterlock.host.entropy import Entropy
from letterlock.host.logs import Log, follow
from letterlock.host.networks import Network, is_within
from letterlock.host.stream import Stream
from letterlock.host.tls import ServerTls
from letterlock.mta import wishes
from letterlock.mta.arrival import (
    SEAL,
    UNSEEN,
    Arrival,
    Assess,
    Assessment,
    Destination,
    Examine,
    Gate,
    JudgeSender,
    Recipients,
    Seal,
    becomes,
    take_as_it_is,
)
from letterlock.mta.border.border import Border
from letterlock.mta.border.client import Standing
from letterlock.mta.examination import Examination
from letterlock.mta.identifier import SessionName
from letterlock.mta.session import Answer, ContentBudget, Patience, Session
from letterlock.mta.trace import MOST_HOPS, count_hops, received_field
from letterlock.protocols.smtp.command import Sender
from letterlock.protocols.smtp.offer import Dialect, ServerSettings
from letterlock.protocols.smtp.reply import Reply, reply
from letterlock.protocols.smtp.xclient import CLIENT_ATTRIBUTES, Introduction
from letterlock.store.interface import Delivery, Intake, Queued, Transaction


@dataclass(frozen=True, slots=True)
class InboundSettings:
    """What the server on port 25 (or an LMTP socket) is told. Octets and seconds.

    `trusted_proxies` may say who their clients are (XCLIENT).
    """

    host_name: str
    dialect: Dialect = Dialect.SMTP
    size_limit: int = 50_000_000
    recipient_limit: int = 1000
    content_budget: int = 512 * 1024 * 1024
    expire_seconds: float = 432_000
    no_soliciting: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    patience: Patience = field(default_factory=Patience)


class Inbound:
    """The service: give `session` to a Listener.

    `examine`, if given, sees content while it comes, before `assess`; `gate`, what is going to be delivered here;
    `seal`, what goes on to other domains; `border` defends the door.
    """

    def __init__(
        self,
        settings: InboundSettings,
        *,
        store: Intake,
        recipients: Recipients,
        clock: Clock,
        entropy: Entropy,
        log: Log,
        tls: ServerTls | None = None,
        assess: Assess = take_as_it_is,
        judge_sender: JudgeSender | None = None,
        examine: Examine | None = None,
        seal: Seal | None = None,
        border: Border | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.recipients = recipients
        self.assess = assess
        self.judge_sender = judge_sender
        self.examine = examine
        self.seal = seal
        self.border = border
        self.gate = gate
        self.clock = clock
        self.entropy = entropy
        self._log = log
        self._tls = tls
        self._budget = ContentBudget(settings.content_budget)
        self._offer = ServerSettings(
            settings.host_name,
            dialect=settings.dialect,
            size_limit=settings.size_limit,
            recipient_limit=settings.recipient_limit,
            offers_tls=tls is not None,
            no_soliciting=settings.no_soliciting,
        )
        self._offer_to_proxies = replace(self._offer, client_attributes=CLIENT_ATTRIBUTES)
        self.refused_classes = frozenset(one.lower() for one in settings.no_soliciting)

    async def session(self, stream: Stream) -> None:
        """Hold one session."""
        name = SessionName(self.clock, self.entropy)
        follow(name.trace)
        log = self._log.bind(peer=str(stream.peer))
        policy = InboundPolicy(self, name, log)
        offer = self._offer
        if is_within(stream.peer.host, self.settings.trusted_proxies):
            offer = self._offer_to_proxies
        try:
            await Session(stream, offer, policy, log, self._tls, self._budget, self.settings.patience).run()
        finally:
            policy.end()


class InboundPolicy:
    """The decisions in one session."""

    def __init__(self, service: Inbound, name: SessionName, log: Log) -> None:
        self._service = service
        self._name = name
        self._log = log
        self._destinations: list[Destination] = []
        self._reverse_path: Address | None = None
        self._examination: Examination | None = None
        self._standing: Standing | None = None
        self._deliver_by: DeliverBy | None = None
        self._is_coming = False  # a message was announced to the store

    def end(self) -> None:
        """Forget what was begun: the session is over."""
        self._forget()

    async def connected(self, session: Session) -> Reply | None:
        """Talk to everybody the listener let in, and begin to look the client up."""
        if (border := self._service.border) is not None:
            border.expect(session.peer_address)
        return None

    async def introduced(self, session: Session, introduction: Introduction) -> Reply | str:
        """Treat who is introduced like who connects."""
        return await self.connected(session) or ""

    def sender_given(self, session: Session, sender: Sender) -> Answer:
        """Judge SPF while the client waits; what the message is worth is assessed with its content."""
        self._forget()
        self._reverse_path = sender.reverse_path
        service = self._service
        if service.border is not None and (refusal := service.border.message_begun(session.peer_address)):
            return refusal
        self._announce(True)
        now = service.clock.now()
        self._deliver_by = wishes.deadline(sender.by, now)
        if service.judge_sender is None:
            return None
        return service.judge_sender(session.peer_address, session.conversation.name, sender.reverse_path, now)

    def recipient_given(self, session: Session, sender: Sender, recipient: Recipient) -> Answer:
        """Take what the delivery agent takes."""
        recipients, border = self._service.recipients, self._service.border
        if sender.solicitation and (refused := wishes.unwanted(sender.solicitation, self._service.refused_classes)):
            return self._declined(recipient, refused)
        if not recipients.is_ours(recipient.forward_path.domain):
            if border is not None:
                border.recipient_unknown(session.peer_address)
            return self._declined(
                recipient, reply(550, "5.7.1", f"Mail for {recipient.forward_path.domain} is not taken here")
            )
        if border is not None and self._standing is None:
            return self._recipient_of_stranger(border, session, sender, recipient)
        return self._recipient_in_sight(session, sender, recipient)

    async def _recipient_of_stranger(
        self, border: Border, session: Session, sender: Sender, recipient: Recipient
    ) -> Reply | None:
        self._standing = await border.standing(session.peer_address, session.conversation.name)
        answer = self._recipient_in_sight(session, sender, recipient)
        return answer if answer is None or isinstance(answer, Reply) else await answer

    def _recipient_in_sight(self, session: Session, sender: Sender, recipient: Recipient) -> Answer:
        """Decide on a recipient where what is known of the client is at hand."""
        border = self._service.border
        if border is not None and self._standing is not None:
            refusal = border.judge(self._standing, recipient.forward_path)
            if refusal := refusal or border.recipient_given(session.peer_address):
                return self._declined(recipient, refusal)
        destination = self._service.recipients.accept(sender.reverse_path, recipient)
        if isinstance(destination, Awaitable):
            return self._resolved_later(session, recipient, destination)
        return self._resolved(session, recipient, destination)

    async def _resolved_later(
        self, session: Session, recipient: Recipient, destination: Awaitable[Destination | Outcome]
    ) -> Reply | None:
        return self._resolved(session, recipient, await destination)

    def _resolved(self, session: Session, recipient: Recipient, destination: Destination | Outcome) -> Reply | None:
        if isinstance(destination, Outcome):
            border = self._service.border
            code = 450 if destination.result is Result.DEFERRED else 550
            if border is not None and code == 550:
                border.recipient_unknown(session.peer_address)
            return self._declined(recipient, reply(code, destination.status, destination.reply))
        self._destinations.append(destination)
        return None

    def content_arrived(self, session: Session, octets: bytes) -> Awaitable[None] | None:
        """Examine the message while it comes, so that little is left to do when it is whole."""
        service = self._service
        if service.examine is None:
            return None
        if self._examination is None:
            self._examination = service.examine(session.peer_address, session.conversation.name, self._reverse_path)
        return self._examination.take(octets)

    async def content_given(self, session: Session, envelope: Envelope, content: tuple[bytes, ...]) -> Reply:
        """Assess the message and store it."""
        service = self._service
        now = service.clock.now()
        wished = wishes.with_wishes(envelope, self._deliver_by, content)
        arrival = Arrival(
            id=self._name.next_transaction(),
            received_at=now,
            client=session.stream.peer,
            client_name=session.conversation.name,
            protocol=session.conversation.protocol,
            tls=session.stream.tls,
            user=session.conversation.user,
            envelope=wished,
            content=content,
            examination=self._examination,
            standing=self._standing or UNSEEN,
            found=wishes.ownership(wished, service.recipients),
        )
        self._examination = None
        if content and count_hops(content[0]) > MOST_HOPS:
            return self._refused(arrival, reply(554, "5.4.6", f"More than {MOST_HOPS} Received fields: a mail loop"))
        if (refusal := await wishes.refusal(envelope, wished, service.refused_classes, service.recipients)) is not None:
            return self._refused(arrival, refusal)
        assessment = await service.assess(arrival)
        if assessment.refusal is not None:
            return self._refused(arrival, assessment.refusal, assessment)
        if assessment.added or assessment.removed:
            self._destinations = await redirected(
                service.recipients, self._destinations, envelope, assessment.added, assessment.removed, self._log
            )
        if service.gate is not None:
            is_junk = bool(assessment.mailbox)
            gated = await service.gate(assessment.content or content, tuple(self._destinations), is_junk)
            if isinstance(gated, Reply):
                return self._refused(arrival, gated, assessment)
            self._destinations[:] = gated
        transaction = await self._sealed(self._transaction(arrival, assessment), assessment)
        self._announce(False)
        await service.store.commit(transaction)
        self._log.event(
            "accepted",
            id=arrival.id,
            sender=str(envelope.reverse_path or ""),
            recipients=len(envelope.recipients),
            size_octets=arrival.size,
            client_name=arrival.client_name,
            protocol=arrival.protocol,
            deliveries=len(transaction.deliveries),
            queued=len(transaction.queued),
            **dict(assessment.remarks),
        )
        return reply(250, "2.0.0", f"Accepted as {arrival.id}")

    async def authentication(self, session: Session, mechanism: str, initial: bytes | None) -> None:
        """Never asked: AUTH is not offered here."""
        raise OurFault("AUTH on port 25")

    async def authentication_continued(self, session: Session, response: bytes) -> None:
        """Never asked: AUTH is not offered here."""
        raise OurFault("AUTH on port 25")

    def dropped(self, session: Session, reason: str) -> None:
        """Forget the transaction."""
        self._forget()

    def _forget(self) -> None:
        self._destinations.clear()
        self._examination = None
        self._standing = None
        self._announce(False)

    def _announce(self, is_coming: bool) -> None:
        if is_coming is not self._is_coming:
            self._is_coming = is_coming
            self._service.store.announce(1 if is_coming else -1)

    async def _sealed(self, transaction: Transaction, assessment: Assessment) -> Transaction:
        """Put our seal before what goes on to other domains, now or when the queue has resolved it."""
        service = self._service
        if service.seal is None or assessment.evidence is None or not transaction.queued:
            return transaction
        seal = await service.seal(assessment.evidence, transaction.octets)
        return msgspec.structs.replace(
            transaction, queued=tuple(self._with_seal(entry, seal) for entry in transaction.queued)
        )

    def _with_seal(self, entry: Queued, seal: bytes) -> Queued:
        if self._service.recipients.is_ours(entry.envelope.recipients[0].forward_path.domain):
            return replace(entry, details={**entry.details, SEAL: seal.decode()} if seal else entry.details)
        return replace(entry, prefix=seal)

    def _declined(self, recipient: Recipient, answer: Reply) -> Reply:
        self._log.event("recipient refused", recipient=str(recipient.forward_path), reply=str(answer))
        return answer

    def _refused(self, arrival: Arrival, answer: Reply, assessment: Assessment | None = None) -> Reply:
        self._log.event(
            "refused",
            id=arrival.id,
            sender=str(arrival.envelope.reverse_path or ""),
            size_octets=arrival.size,
            reply=str(answer),
            **dict(assessment.remarks if assessment else ()),
        )
        return answer

    def _transaction(self, arrival: Arrival, assessment: Assessment) -> Transaction:
        trace = received_field(
            client_name=arrival.client_name,
            client_address=arrival.client.host,
            host_name=self._service.settings.host_name,
            protocol=arrival.protocol,
            tls=arrival.tls,
            transaction_id=arrival.id,
            envelope=arrival.envelope,
            now=arrival.received_at,
            reverse_name=arrival.standing.name,
        )
        deliveries = [delivery for destination in self._destinations for delivery in destination.deliveries]
        relays = [relay for destination in self._destinations for relay in destination.relays]
        return Transaction(
            arrival.id,
            arrival.received_at,
            octets=(assessment.fields + trace, *(assessment.content or arrival.content)),
            deliveries=once(deliveries, assessment.mailbox),
            queued=queue_entries(
                arrival.id,
                arrival.envelope,
                relays,
                now=arrival.received_at,
                expires=arrival.received_at + self._service.settings.expire_seconds,
                source=f"{arrival.client_name} [{arrival.client.host}]",
            ),
        )


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A recipient that is for the queue."""

    relays: tuple[Recipient, ...]
    deliveries: tuple[()] = ()
    recipient: Recipient | None = None


async def redirected(
    recipients: Recipients,
    destinations: list[Destination],
    envelope: Envelope,
    added: Iterable[Address],
    removed: Iterable[Address],
    log: Log,
) -> list[Destination]:
    """Return where a message goes when a filter has added and taken out recipients; it never goes nowhere."""
    gone = {str(address).lower() for address in removed}
    pairs = zip(destinations, envelope.recipients, strict=True)
    chosen = [destination for destination, one in pairs if str(one.forward_path).lower() not in gone]
    for address in added:
        if not recipients.is_ours(address.domain):
            chosen.append(Elsewhere((Recipient(address),)))
            continue
        destination = await becomes(recipients, envelope.reverse_path, Recipient(address))
        if isinstance(destination, Outcome):
            log.warning("recipient of a filter not taken", recipient=str(address), problem=destination.reply)
        else:
            chosen.append(destination)
    return chosen or destinations


def queue_entries(
    transaction_id: str,
    envelope: Envelope,
    recipients: list[Recipient],
    *,
    now: float,
    expires: float,
    source: str,
    priority: int = 0,
) -> tuple[Queued, ...]:
    """Return one queue entry for each domain among `recipients`, due at `now`."""
    domains: dict[str, dict[Address, Recipient]] = {}
    for recipient in recipients:
        domains.setdefault(recipient.forward_path.domain, {})[recipient.forward_path] = recipient
    entries = []
    for number, owed in enumerate(domains.values(), 1):
        queue_id = transaction_id if len(domains) == 1 else f"{transaction_id}-{number}"
        part = replace(envelope, recipients=tuple(owed.values()))
        entries.append(Queued(queue_id, part, next_attempt=now, expires=expires, source=source, priority=priority))
    return tuple(entries)


def once(deliveries: Iterable[Delivery], mailbox: str = "") -> tuple[Delivery, ...]:
    """Return one copy a mailbox, however many of its addresses were named; `mailbox` takes the place of INBOX."""
    chosen: dict[tuple[str, str], Delivery] = {}
    for delivery in deliveries:
        if mailbox and delivery.mailbox == "INBOX":
            delivery = msgspec.structs.replace(delivery, mailbox=mailbox)
        chosen.setdefault((delivery.account, delivery.mailbox), delivery)
    return tuple(chosen.values())
