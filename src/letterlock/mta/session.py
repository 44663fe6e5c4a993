"""A server's SMTP session: the conversation carried over a stream, with a policy that answers.

The session reads, obeys time limits, begins TLS, keeps the content as it comes within one budget for all sessions, and
asks its `Policy` for every decision. mta/inbound.py has the policy of port 25, msa/inbound.py that of submission.

Promises: a command line must be whole in `command_seconds`, content must keep a least pace, whatever trickles in, and a
transaction must come to its end, however many commands a client finds to fill its time with; content that is not wanted
any more is not kept; what a policy raises as Unavailable is answered 451 or 452, never with a loss.

Standards: RFC 5321 section 4.5.3.2 (timeouts), section 3.8 (421), RFC 3463 section 3.4 (4.3.x).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from letterlock.errors import PeerFault, Unavailable
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.host.logs import Log
from letterlock.host.stream import DeadlinePassed, Endpoint, Stopping, Stream
from letterlock.host.tls import ServerTls
from letterlock.protocols.smtp import event as events
from letterlock.protocols.smtp.command import Sender
from letterlock.protocols.smtp.offer import ServerSettings
from letterlock.protocols.smtp.reply import Reply, reply
from letterlock.protocols.smtp.server import ServerConversation
from letterlock.protocols.smtp.words import State
from letterlock.protocols.smtp.xclient import Introduction


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client is waited for: for a command, or for content to begin, and the least pace content must keep.

    Every transaction, with all that precedes it, must be whole in `transaction_seconds` and the time its content may take,
    however quick each of its commands is.
    """

    command_seconds: float = 300  # RFC 5321 section 4.5.3.2.7
    octets_per_second: int = 1000
    transaction_seconds: float = 1800


class ContentBudget:
    """How many octets of content all sessions together may hold in memory before it is on disk."""

    def __init__(self, octets: int) -> None:
        self._free = octets

    def take(self, octets: int) -> bool:
        """Take room for so many octets; return whether there was room."""
        if octets > self._free:
            return False
        self._free -= octets
        return True

    def give_back(self, octets: int) -> None:
        """Give room back."""
        self._free += octets


# An answer, None being yes in the usual words; or, where something has to be waited for, the promise of one.
Answer = Reply | None | Awaitable[Reply | None]


class Policy(Protocol):
    """What decides in a session; one object a connection. What is answered at once costs the session no turn of its task."""

    async def connected(self, session: Session) -> Reply | None:
        """Decide whether to talk at all; a reply (421, 554) is said in place of the greeting, and that is all."""
        ...

    async def introduced(self, session: Session, introduction: Introduction) -> Reply | str:
        """Decide whether to talk to a client that a trusted proxy introduces; return who has logged in, or empty."""
        ...

    def sender_given(self, session: Session, sender: Sender) -> Answer:
        """Decide on MAIL."""
        ...

    def recipient_given(self, session: Session, sender: Sender, recipient: Recipient) -> Answer:
        """Decide on RCPT."""
        ...

    def content_arrived(self, session: Session, octets: bytes) -> Awaitable[None] | None:
        """Look at a piece of the content when it comes; all of it is given in the end."""
        ...

    async def content_given(self, session: Session, envelope: Envelope, content: tuple[bytes, ...]) -> Reply:
        """Take or refuse a whole message. A positive reply says that it is on disk."""
        ...

    async def authentication(self, session: Session, mechanism: str, initial: bytes | None) -> None:
        """Begin AUTH; answer through `session.conversation`."""
        ...

    async def authentication_continued(self, session: Session, response: bytes) -> None:
        """Go on with AUTH."""
        ...

    def dropped(self, session: Session, reason: str) -> None:
        """Forget the transaction that was begun; `reason` is empty where the client wished it."""
        ...


@dataclass(slots=True)
class Session:
    """One connection. `conversation` says where it stands; `peer_address` is the client's IP address."""

    stream: Stream
    settings: ServerSettings
    policy: Policy
    log: Log
    tls: ServerTls | None
    budget: ContentBudget
    patience: Patience
    conversation: ServerConversation = field(init=False)
    _chunks: list[bytes] = field(init=False, default_factory=list)
    _held: int = field(init=False, default=0)
    _sender: Sender = field(init=False, default=Sender(None))
    _ended: bool = field(init=False, default=False)
    # What must be waited for before the session goes on.
    _owed: Awaitable[None] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.conversation = ServerConversation(self.settings, tls=self.stream.tls is not None)
        self._note_certificate()

    @property
    def peer_address(self) -> str:
        """The client's IP address."""
        return self.stream.peer.host

    def finish(self, answer: Reply) -> None:
        """Say last words (421) after what was said, and end the session."""
        self.conversation.end(answer)
        self._ended = True

    async def run(self) -> None:
        """Hold the whole session; returns when it is over."""
        refusal = await self.policy.connected(self)
        if refusal is not None:
            self.conversation.end(refusal)
            return await self._take_leave()
        self.conversation.greet()
        try:
            await self._converse()
        except DeadlinePassed:
            self.log.event("client too slow", state=self.conversation.state.value)
            self.conversation.end(reply(421, "4.4.2", f"{self.settings.host_name} waited too long. Closing"))
        except Stopping:
            self.conversation.end(self._stopping())
        except asyncio.CancelledError:  # the grace is over: what was begun may come again
            self.conversation.end(self._stopping())
            self.stream.write(self.conversation.take_output())
            raise
        except PeerFault:
            raise
        except Exception:  # ours: the border logs it (host/drive_sessions.py), and the client is to come again
            self.conversation.end(reply(421, "4.3.0", f"{self.settings.host_name} has met a fault: come back later"))
            with suppress(PeerFault):
                await self._take_leave()
            raise
        finally:
            self._forget_content()
        return await self._take_leave()

    def _stopping(self) -> Reply:
        return reply(421, "4.3.2", f"{self.settings.host_name} is stopping: come back later")

    async def _converse(self) -> None:
        conversation, stream = self.conversation, self.stream
        stream.limit_within(self.patience.transaction_seconds)
        self._owed = self._go_on()
        while not self._ended:
            if self._owed is None:
                if await stream.pump(self._take, idle=self._is_idle):
                    continue
                if not conversation.is_between_transactions:
                    self.log.event("client vanished", state=conversation.state.value, octets_held=self._held)
                return
            try:
                await self._owed
            except Unavailable as problem:
                self._excuse(problem)
            self._owed = self._go_on()

    def _is_idle(self) -> bool:
        return self.conversation.is_between_transactions

    def _take(self, octets: bytes) -> bool:
        """Do what can be done at once about octets that came; tell whether that was all."""
        conversation = self.conversation
        if conversation.state in _WITHIN_CONTENT:
            self.stream.extend(len(octets) / self.patience.octets_per_second)
        conversation.receive(octets)
        self._owed = self._go_on()
        return self._owed is None and not self._ended

    def _go_on(self) -> Awaitable[None] | None:
        """Handle what happened and answer it; return what must be waited for before this can go on."""
        conversation = self.conversation
        while (event := conversation.next_event()) is not None:
            try:
                owed = _HANDLERS[type(event)](self, event)
            except Unavailable as problem:
                self._excuse(problem)
                continue
            if owed is not None:
                return owed
        if not self._ended:
            # A deadline moves when something whole is answered, not when octets come.
            if output := conversation.take_output():
                self.stream.expect_within(self.patience.command_seconds)
                self.stream.write(output)
            if self.stream.is_congested:
                return self.stream.drain()
        return None

    async def _take_leave(self) -> None:
        self.stream.limit_within(self.patience.command_seconds)
        self.stream.expect_within(self.patience.command_seconds)
        await self.stream.send(self.conversation.take_output())
        await self.stream.close(linger=True)

    # One handler an event: each returns None, or what must be waited for.

    def _client_introduced(self, event: events.ClientIntroduced) -> Awaitable[None]:
        who = event.introduction
        if who.address:
            self.stream.peer = Endpoint(who.address, who.port)
        self.log.event("client introduced", client=str(self.stream.peer), reverse_name=who.name, user=who.login or "")
        return self._introduce(who)

    async def _introduce(self, who: Introduction) -> None:
        answer = await self.policy.introduced(self, who)
        if isinstance(answer, Reply):
            self.finish(answer)
        else:
            self.conversation.introduced(answer)

    def _sender_given(self, event: events.SenderGiven) -> Awaitable[None] | None:
        self._sender = event.sender
        return self._answer(self.policy.sender_given(self, event.sender))

    def _recipient_given(self, event: events.RecipientGiven) -> Awaitable[None] | None:
        return self._answer(self.policy.recipient_given(self, self._sender, event.recipient))

    def _content_received(self, event: events.ContentReceived) -> Awaitable[None] | None:
        if not self.budget.take(len(event.octets)):
            self._forget_content()
            self.policy.dropped(self, "no memory for content now")
            self.conversation.discard(reply(452, "4.3.1", "No room for this message now: try again later"))
            return None
        self._held += len(event.octets)
        self._chunks.append(event.octets)
        return self.policy.content_arrived(self, event.octets)

    async def _content_ended(self, event: events.ContentEnded) -> None:
        content = tuple(self._chunks)
        try:
            self._say(await self.policy.content_given(self, event.envelope, content))
        finally:
            self._forget_content()
            self.stream.limit_within(self.patience.transaction_seconds)

    def _dropped(self, event: events.TransactionDropped) -> None:
        self._forget_content()
        self.policy.dropped(self, event.reason)
        if event.reason:
            self.log.event("message refused", problem=event.reason)

    async def _tls_requested(self, event: events.TlsRequested) -> None:
        if self.tls is None:
            self.conversation.refuse(reply(454, "4.7.0", "TLS is not available now"))
            return
        if output := self.conversation.take_output():
            await self.stream.send(output)
        self.stream.expect_within(self.patience.command_seconds)
        # Who may also speak without TLS is better off with an old suite than with none.
        context = self.tls.context if self.settings.demands_tls else self.tls.opportunistic_context
        await self.stream.start_tls(context, announcement=event.announcement)
        self.stream.expect_within(self.patience.command_seconds)
        self.conversation.tls_begun()
        self._note_certificate()

    def _authentication_begun(self, event: events.AuthenticationBegun) -> Awaitable[None]:
        return self.policy.authentication(self, event.mechanism, event.initial)

    def _authentication_continued(self, event: events.AuthenticationContinued) -> Awaitable[None]:
        return self.policy.authentication_continued(self, event.response)

    def _over(self, event: events.Ended) -> None:
        self._ended = True
        if event.reason:
            self.log.event("session broken off", problem=event.reason)

    def _noted(self, _event: events.Event) -> None:
        """Some events need nothing done."""

    # Inside.

    def _excuse(self, problem: Unavailable) -> None:
        # Our own fault is never the message's: it may come again.
        self.log.error("unavailable", problem=problem.problem)
        if problem.full:
            self.conversation.refuse(reply(452, "4.3.1", "No room for this message now: try again later"))
        else:
            self.conversation.refuse(
                reply(451, "4.3.0", "A local problem keeps this from being taken: try again later")
            )

    def _note_certificate(self) -> None:
        self.conversation.certified = self.stream.tls is not None and bool(self.stream.tls.validated_chain)

    def _answer(self, answer: Answer) -> Awaitable[None] | None:
        if answer is None or isinstance(answer, Reply):
            self._say(answer)
            return None
        return self._answer_later(answer)

    async def _answer_later(self, answer: Awaitable[Reply | None]) -> None:
        self._say(await answer)

    def _say(self, answer: Reply | None) -> None:
        if answer is None or answer.is_positive:
            self.conversation.accept(answer)
        else:
            self.conversation.refuse(answer)

    def _forget_content(self) -> None:
        self.budget.give_back(self._held)
        self._held = 0
        self._chunks.clear()


_WITHIN_CONTENT = frozenset({State.CONTENT, State.CHUNK})
_HANDLERS: dict[type[events.Event], Callable[..., Awaitable[None] | None]] = {
    events.Greeted: Session._noted,
    events.ClientIntroduced: Session._client_introduced,
    events.SenderGiven: Session._sender_given,
    events.RecipientGiven: Session._recipient_given,
    events.ContentBegun: Session._noted,
    events.ContentReceived: Session._content_received,
    events.ContentEnded: Session._content_ended,
    events.TransactionDropped: Session._dropped,
    events.TlsRequested: Session._tls_requested,
    events.AuthenticationBegun: Session._authentication_begun,
    events.AuthenticationContinued: Session._authentication_continued,
    events.AuthenticationCancelled: Session._noted,
    events.Ended: Session._over,
}
