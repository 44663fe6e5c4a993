"""Submission: the policy of ports 465 and 587.

Who submits must authenticate, and may use only own addresses, in MAIL and in From. A message is prepared (msa/prepare.py),
signed by the hook if there is one, gets its Received field, and becomes one store transaction as on port 25.

An account may address so many recipients an hour; what is beyond waits with the client (450 4.7.1).

Standards: RFC 6409, RFC 4865 (future release), RFC 6710 (priority), RFC 8314 (465 and 587).
See also: msa/login.py (who it is), mta/session.py.
"""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from letterlock.formats.address import Address
from letterlock.formats.envelope import DeliverBy, Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.allowance import Allowance
from letterlock.host.clock import Clock
from letterlock.host.entropy import Entropy
from letterlock.host.login_guard import LoginGuard
from letterlock.host.logs import Log, follow
from letterlock.host.networks import Network, is_within
from letterlock.host.stream import Stream
from letterlock.host.tls import ServerTls
from letterlock.msa.filtered import ask_filters
from letterlock.msa.login import Accounts, Login
from letterlock.msa.prepare import Prepared, prepare
from letterlock.mta import wishes
from letterlock.mta.arrival import Destination, Gate, Recipients, becomes
from letterlock.mta.filters import FilterChain
from letterlock.mta.identifier import SessionName
from letterlock.mta.inbound import Elsewhere, once, queue_entries, redirected
from letterlock.mta.session import ContentBudget, Patience, Session
from letterlock.mta.trace import MOST_HOPS, count_hops, received_field
from letterlock.protocols.sasl.mechanism import PASSWORD_MECHANISMS
from letterlock.protocols.smtp.command import Sender
from letterlock.protocols.smtp.offer import ServerSettings
from letterlock.protocols.smtp.reply import Reply, reply
from letterlock.protocols.smtp.xclient import CLIENT_ATTRIBUTES, LOGIN, Introduction
from letterlock.store.interface import Store, Transaction
from letterlock.store.proofs import Proofs

_LONGEST_HOLD_SECONDS = 30 * 24 * 3600

Sign = Callable[[str, tuple[bytes, ...]], Awaitable[bytes]]
# Given the account, the envelope and the message in pieces: the message as it goes out (with its author's signature), or a
# refusal.
Protect = Callable[[str, Envelope, tuple[bytes, ...]], Awaitable[tuple[bytes, ...] | Reply]]


# Given the sender and a recipient elsewhere: why nothing is sent there from here, or None.
Suppressed = Callable[[Address | None, Address], Outcome | None]


def suppress_nobody(_sender: Address | None, _recipient: Address) -> Outcome | None:
    """Keep mail from nobody."""
    return None


async def sign_nothing(_author_domain: str, _content: tuple[bytes, ...]) -> bytes:
    """Put no signature before a message."""
    return b""


@dataclass(frozen=True, slots=True)
class SubmissionSettings:
    """What submission is told. Octets and seconds; `mechanisms` in the order they are offered, all under TLS only.

    `trusted_proxies` may say who their clients are and who has logged in (XCLIENT).
    """

    host_name: str
    size_limit: int = 50_000_000
    recipient_limit: int = 1000
    content_budget: int = 512 * 1024 * 1024
    expire_seconds: float = 432_000
    mechanisms: tuple[str, ...] = PASSWORD_MECHANISMS
    attempts_per_session: int = 3
    trusted_proxies: tuple[Network, ...] = ()
    patience: Patience = field(default_factory=Patience)


class Submission:
    """The service: give `session` to a Listener, with TLS from the start (465) or for STARTTLS (587).

    `protect` is given the prepared message and returns it as it goes out (S/MIME); `sign` is given that and the author's
    domain and returns the fields to put before it (DKIM); `gate` looks at what is going to be delivered here. `proofs`
    are those that count beside passwords; `suppressed` tells of addresses that nothing is sent to. `messages` and
    `recipient_rate` are what an account may submit in a while; `filters` see a message before it is protected.
    """

    def __init__(
        self,
        settings: SubmissionSettings,
        *,
        store: Store,
        accounts: Accounts,
        recipients: Recipients,
        tls: ServerTls,
        guard: LoginGuard,
        clock: Clock,
        entropy: Entropy,
        log: Log,
        sign: Sign = sign_nothing,
        messages: Allowance | None = None,
        recipient_rate: Allowance | None = None,
        filters: FilterChain | None = None,
        suppressed: Suppressed = suppress_nobody,
        protect: Protect | None = None,
        gate: Gate | None = None,
        proofs: Proofs | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.accounts = accounts
        self.recipients = recipients
        self.guard = guard
        self.clock = clock
        self.entropy = entropy
        self.sign = sign
        self.messages = messages
        self.recipient_rate = recipient_rate
        self.filters = filters
        self.suppressed = suppressed
        self.protect = protect
        self.gate = gate
        self.proofs = proofs
        self.mechanisms = settings.mechanisms
        if proofs is not None:
            self.mechanisms = (*proofs.first_mechanisms, *settings.mechanisms, *proofs.last_mechanisms)
        self._log = log
        self._tls = tls
        self._budget = ContentBudget(settings.content_budget)

    async def session(self, stream: Stream) -> None:
        """Hold one session."""
        settings = self.settings
        offer = ServerSettings(
            settings.host_name,
            size_limit=settings.size_limit,
            recipient_limit=settings.recipient_limit,
            offers_tls=True,
            demands_tls=True,
            tls_mechanisms=self.mechanisms,
            demands_authentication=True,
            offers_priority=True,
            longest_hold=(_LONGEST_HOLD_SECONDS, _instant(self.clock.now() + _LONGEST_HOLD_SECONDS)),
        )
        if is_within(stream.peer.host, settings.trusted_proxies):
            # The client's TLS ends at the proxy; passwords are still taken under TLS only.
            offer = replace(offer, client_attributes=(*CLIENT_ATTRIBUTES, LOGIN), demands_tls=False)
        name = SessionName(self.clock, self.entropy)
        follow(name.trace)
        log = self._log.bind(peer=str(stream.peer))
        policy = SubmissionPolicy(self, name, offer.tls_mechanisms, log)
        try:
            await Session(stream, offer, policy, log, self._tls, self._budget, settings.patience).run()
        finally:
            policy.leave()


class SubmissionPolicy:
    """The decisions in one session."""

    def __init__(self, service: Submission, name: SessionName, offered: tuple[str, ...], log: Log) -> None:
        self._service = service
        self._name = name
        self._log = log
        self._destinations: list[Destination] = []
        self._priority = 0
        self._release = 0.0
        self._deliver_by: DeliverBy | None = None
        self._login = Login(
            service.accounts,
            service.guard,
            service.entropy,
            log,
            offered=offered,
            proofs=service.proofs,
            attempts=service.settings.attempts_per_session,
        )

    def leave(self) -> None:
        """Give the account's place back, if it was taken."""
        self._login.leave()

    async def connected(self, session: Session) -> Reply | None:
        """Talk to everybody the listener let in."""
        return None

    async def introduced(self, session: Session, introduction: Introduction) -> Reply | str:
        """Let in whom a trusted proxy has authenticated, if there is such an account."""
        if (refusal := await self.connected(session)) is not None:
            return refusal
        if not introduction.login:
            return ""
        account = self._service.accounts.authenticated(introduction.login)
        return account.name if account is not None else reply(535, "5.7.8", "No account of that name may log in")

    async def sender_given(self, session: Session, sender: Sender) -> Reply | None:
        """An author may use own addresses, and `<>` for notifications."""
        self._destinations.clear()
        path = sender.reverse_path
        if path is not None and not self._service.accounts.may_send_as(session.conversation.user, path):
            return self._declined(str(path), reply(553, "5.7.1", f"{path} is not an address of yours"))
        now = self._service.clock.now()
        release = sender.hold_until or now + sender.hold_seconds
        if release > now + _LONGEST_HOLD_SECONDS:
            return reply(501, "5.5.4", f"A message is held for {_LONGEST_HOLD_SECONDS} seconds at most")
        by = wishes.deadline(sender.by, now)
        if by is not None and release > by.instant and release > now:  # RFC 4865 section 5.2.2
            return reply(501, "5.5.4", "The message would be released only after the time it is to be delivered by")
        if wait := _taken(self._service.messages, session.conversation.user):
            answer = reply(450, "4.7.1", f"Too many messages this hour: wait {int(wait) + 1} seconds")
            return self._declined(str(path or ""), answer)
        self._priority, self._release, self._deliver_by = sender.priority, release, by
        return None

    async def recipient_given(self, session: Session, sender: Sender, recipient: Recipient) -> Reply | None:
        """Anybody elsewhere; here, who is there."""
        if wait := _taken(self._service.recipient_rate, session.conversation.user):
            answer = reply(450, "4.7.1", f"Too many recipients this hour: wait {int(wait) + 1} seconds")
            return self._declined(str(recipient.forward_path), answer)
        recipients = self._service.recipients
        if not recipients.is_ours(recipient.forward_path.domain):
            refusal = self._service.suppressed(sender.reverse_path, recipient.forward_path)
            if refusal is not None:
                return self._declined(str(recipient.forward_path), reply(550, refusal.status, refusal.reply))
            self._destinations.append(Elsewhere((recipient,)))
            return None
        destination = await becomes(recipients, sender.reverse_path, recipient)
        if isinstance(destination, Outcome):
            code = 450 if destination.result is Result.DEFERRED else 550
            answer = reply(code, destination.status, destination.reply)
            return self._declined(str(recipient.forward_path), answer)
        held = self._release > self._service.clock.now()
        self._destinations.append(Elsewhere((recipient,)) if held else destination)
        return None

    def content_arrived(self, session: Session, octets: bytes) -> None:
        """Wait for the whole message: what is to be signed is known only when it was prepared."""

    async def content_given(self, session: Session, envelope: Envelope, content: tuple[bytes, ...]) -> Reply:
        """Prepare, sign and store the message."""
        service, user = self._service, session.conversation.user
        wished = wishes.with_wishes(envelope, self._deliver_by, content)
        if (refusal := await wishes.refusal(envelope, wished, frozenset(), service.recipients)) is not None:
            return self._declined(user, refusal)
        envelope = wished
        now = service.clock.now()
        identifier = self._name.next_transaction()
        prepared = prepare(
            content,
            may_send_as=lambda address: service.accounts.may_send_as(user, address),
            identifier=identifier,
            host_name=service.settings.host_name,
            now=now,
        )
        if isinstance(prepared, Prepared) and content and count_hops(content[0]) > MOST_HOPS:
            prepared = reply(554, "5.4.6", f"More than {MOST_HOPS} Received fields: a mail loop")
        if isinstance(prepared, Reply):
            self._log.event("refused", id=identifier, user=user, reply=str(prepared))
            return prepared
        message = (prepared.fields, *content) if prepared.fields else content
        for step in (self._filtered, self._protected):
            changed = await step(session, envelope, identifier, message)
            if isinstance(changed, Reply):
                self._log.event("refused", id=identifier, user=user, reply=str(changed))
                return changed
            message = changed
        signature = await service.sign(prepared.author_domain, message)
        transaction = self._transaction(session, envelope, identifier, now, signature, message)
        await service.store.commit(transaction)
        self._log.event(
            "submitted",
            id=identifier,
            user=user,
            sender=str(envelope.reverse_path or ""),
            recipients=len(envelope.recipients),
            size_octets=sum(map(len, content)),
            protocol=session.conversation.protocol,
            deliveries=len(transaction.deliveries),
            queued=len(transaction.queued),
        )
        return reply(250, "2.0.0", f"Accepted as {identifier}")

    async def _filtered(
        self, session: Session, envelope: Envelope, identifier: str, message: tuple[bytes, ...]
    ) -> tuple[bytes, ...] | Reply:
        """Return the message as the filters left it, or their refusal."""
        service = self._service
        if service.filters is None or not service.filters.filters:
            return message
        opinion = await ask_filters(service.filters, session, envelope, identifier, service.clock.now(), message)
        if isinstance(opinion, Reply):
            return opinion
        if opinion.added or opinion.removed:
            self._destinations = await redirected(
                service.recipients, self._destinations, envelope, opinion.added, opinion.removed, self._log
            )
        return message if opinion.content is None else (opinion.content,)

    async def _protected(
        self, session: Session, envelope: Envelope, _identifier: str, message: tuple[bytes, ...]
    ) -> tuple[bytes, ...] | Reply:
        """Return the message as it goes out, its recipients here looked at, or the reply that refuses it."""
        service = self._service
        if service.protect is not None:
            protected = await service.protect(session.conversation.user, envelope, message)
            if isinstance(protected, Reply):
                return protected
            message = protected
        if service.gate is not None:
            gated = await service.gate(message, tuple(self._destinations), False)
            if isinstance(gated, Reply):
                return gated
            self._destinations[:] = gated
        return message

    def dropped(self, session: Session, reason: str) -> None:
        """Forget the recipients."""
        self._destinations.clear()

    async def authentication(self, session: Session, mechanism: str, initial: bytes | None) -> None:
        """Begin an exchange."""
        await self._login.begin(session, mechanism, initial)

    async def authentication_continued(self, session: Session, response: bytes) -> None:
        """Go on with the exchange."""
        await self._login.go_on(session, response)

    # Inside.

    def _declined(self, address: str, answer: Reply) -> Reply:
        self._log.event("address refused", address=address, reply=str(answer))
        return answer

    def _transaction(
        self,
        session: Session,
        envelope: Envelope,
        identifier: str,
        now: float,
        signature: bytes,
        message: tuple[bytes, ...],
    ) -> Transaction:
        conversation, settings = session.conversation, self._service.settings
        trace = received_field(
            client_name=conversation.name,
            client_address=session.peer_address,
            host_name=settings.host_name,
            protocol=conversation.protocol,
            tls=session.stream.tls,
            transaction_id=identifier,
            envelope=envelope,
            now=now,
        )
        relays = [relay for destination in self._destinations for relay in destination.relays]
        due = max(now, self._release)
        return Transaction(
            identifier,
            now,
            octets=(trace + signature, *message),
            deliveries=once(delivery for destination in self._destinations for delivery in destination.deliveries),
            queued=queue_entries(
                identifier,
                envelope,
                relays,
                now=due,
                expires=due + settings.expire_seconds,
                source=f"submission {conversation.user}",
                priority=self._priority,
            ),
        )


def _taken(rate: Allowance | None, user: str) -> float:
    """Count one of an account's, and return the seconds it has to wait, 0 for none."""
    return 0.0 if rate is None else rate.take(user)


def _instant(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
