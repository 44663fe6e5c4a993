"""An SMTP or LMTP client over a stream: the client's conversation with time limits and TLS.

    client = await SmtpClient.open(Endpoint("192.0.2.1", 25), name="mx.rosewood.test")
    await client.greet(); await client.hello()
    await client.start_tls(context, server_name="mx.harbor.test"); await client.hello()
    replies = await client.transfer(envelope, content)
    await client.quit()

Whatever the peer does wrong is a PeerFault (ConnectionFailed, DeadlinePassed, TlsFailed, Refused and the like).

Standards: RFC 5321 section 4.5.3.2 (timeouts), RFC 3207 section 4, RFC 2920 section 3.1 (a message behind another).
See also: protocols/smtp/client.py, host/stream.py; mta/outbound.py and mua use it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from letterlock.errors import PeerFault
from letterlock.formats.envelope import Envelope
from letterlock.host.connect import connect
from letterlock.host.stream import ConnectionLost, DeadlinePassed, Endpoint, Stream
from letterlock.host.tls import TlsState
from letterlock.protocols.sasl.mechanism import ClientExchange
from letterlock.protocols.smtp.client import ClientConversation, Exchange, Phase, Send, Transfer
from letterlock.protocols.smtp.offer import Dialect, Offer
from letterlock.protocols.smtp.reply import Reply, ReplyReader

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClientPatience:
    """How many seconds each thing may take; the defaults are those of RFC 5321 section 4.5.3.2, connecting apart."""

    connect_seconds: float = 30
    greeting_seconds: float = 300
    command_seconds: float = 300
    data_seconds: float = 120
    end_of_data_seconds: float = 600
    block_seconds: float = 180

    def of(self, phase: Phase) -> float:
        """Return the time for the replies of one phase."""
        match phase:
            case Phase.GREETING:
                return self.greeting_seconds
            case Phase.COMMAND:
                return self.command_seconds
            case Phase.DATA:
                return self.data_seconds
            case Phase.END_OF_DATA:
                return self.end_of_data_seconds


class Follower:
    """A message begun behind the content of another on its connection; `turn` comes when that one has its answer.

    The turn is False where it had none: the connection is of no more use.
    """

    def __init__(self, exchange: Exchange[tuple[Reply, ...]], step: Send) -> None:
        self.exchange = exchange
        self.step = step
        self.turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


Follow = Callable[[], Follower | None]


class SmtpClient:
    """One connection to a server."""

    def __init__(self, stream: Stream, *, name: str, patience: ClientPatience, dialect: Dialect = Dialect.SMTP) -> None:
        self.stream = stream
        self._conversation = ClientConversation(name, dialect=dialect)
        self._patience = patience
        self._reader = ReplyReader()
        self.has_sent_content = False  # of the transfer that is under way: the server may have the message
        self._follower: Follower | None = None

    @classmethod
    async def open(
        cls,
        endpoint: Endpoint,
        *,
        name: str,
        patience: ClientPatience | None = None,
        dialect: Dialect = Dialect.SMTP,
        tls: tuple[ssl.SSLContext, str] | None = None,
        local_address: str | None = None,
    ) -> SmtpClient:
        """Connect; with `tls` (context and server name) begin with a handshake. Raises ConnectionFailed, TlsFailed."""
        patience = patience or ClientPatience()
        stream = await connect(
            endpoint,
            within_seconds=patience.connect_seconds,
            local_address=local_address,
        )
        client = cls(stream, name=name, patience=patience, dialect=dialect)
        if tls is not None:
            try:
                await client.handshake(tls[0], server_name=tls[1])
            except PeerFault:
                stream.abort()
                raise
        return client

    @property
    def offer(self) -> Offer:
        """What the server offered with its last answer to EHLO."""
        return self._conversation.offer

    @property
    def greeting(self) -> str:
        """What the server greeted with."""
        return self._conversation.greeting

    @property
    def tls(self) -> TlsState | None:
        """What the handshake showed, or None without TLS."""
        return self.stream.tls

    async def greet(self) -> None:
        """Hear the greeting."""
        await self._run(self._conversation.greet())

    async def hello(self) -> Offer:
        """Say EHLO and return what is offered."""
        return await self._run(self._conversation.hello())

    async def start_tls(self, context: ssl.SSLContext, *, server_name: str) -> TlsState:
        """Begin TLS with STARTTLS; `hello` must follow. Raises Refused, TlsFailed."""
        await self._run(self._conversation.start_tls())
        if self._reader.has_input or self.stream.has_input:
            # Octets behind the 220 are in plain text: somebody between wants them taken for protected.
            raise PeerFault("the server sent octets behind its answer to STARTTLS")
        return await self.handshake(context, server_name=server_name)

    async def authenticate(self, exchange: ClientExchange) -> None:
        """Prove who we are."""
        await self._run(self._conversation.authenticate(exchange))

    async def try_recipient(self, envelope: Envelope) -> Reply:
        """Ask whether the first recipient would be taken; nothing is sent."""
        return await self._run(self._conversation.try_recipient(envelope))

    async def transfer(
        self, envelope: Envelope, content: bytes, *, priority: int = 0, now: float = 0.0
    ) -> tuple[Reply, ...]:
        """Send one message, with its MT-PRIORITY; `now` (seconds since 1970) is what its BY is counted from.

        Returns a reply for each recipient.
        """
        return await self.carry(Transfer(envelope, content, priority, now))

    async def carry(self, transfer: Transfer, *, follow: Follow | None = None) -> tuple[Reply, ...]:
        """Send one message; return a reply for each recipient. `follow` is asked for the next one behind its content."""
        self.has_sent_content = False
        return await self._run(self._conversation.carry(transfer), follow=follow)

    def begin_behind(self, transfer: Transfer) -> Follower | None:
        """Begin a message behind the content of the one under way; None where nothing can be sent of it here."""
        exchange = self._conversation.carry(transfer)
        try:
            return Follower(exchange, next(exchange))
        except StopIteration:
            return None

    async def go_on(self, follower: Follower, *, follow: Follow | None = None) -> tuple[Reply, ...]:
        """Go on with a message that was begun behind another, as `carry` does."""
        if not await follower.turn:
            self.has_sent_content = False
            raise ConnectionLost("the connection was lost with the message before this one")
        self.has_sent_content = False
        return await self._run(follower.exchange, begun=follower.step, follow=follow)

    async def quit(self) -> None:
        """Take leave and close, whatever the server says to that."""
        try:
            if not self.stream.is_lost:
                await self._run(self._conversation.quit())
        except PeerFault:
            pass
        finally:
            await self.stream.close()

    async def handshake(self, context: ssl.SSLContext, *, server_name: str) -> TlsState:
        """Begin TLS here and now, as on a port where it comes first. Raises TlsFailed."""
        self.stream.expect_within(self._patience.command_seconds)
        state = await self.stream.start_tls(context, server_side=False, server_name=server_name)
        self._reader = ReplyReader()
        self._conversation.tls_begun()
        return state

    async def _run(self, exchange: Exchange[T], *, begun: Send | None = None, follow: Follow | None = None) -> T:
        """Carry an exchange, of which the step `begun` has been sent; `follow` gives what goes behind its content."""
        try:
            step = begun or next(exchange)
            while True:
                if step is not begun:
                    # A server that hangs up while we send may have said why: hear it.
                    with contextlib.suppress(ConnectionLost):
                        await self._send_step(step, follow)
                    self.has_sent_content = step.phase is Phase.END_OF_DATA
                replies = await self._hear(step.replies, step.phase)
                self._call_follower(is_our_turn_over=True)
                step = exchange.send(replies)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            exchange.close()
            self._call_follower(is_our_turn_over=False)

    def _call_follower(self, *, is_our_turn_over: bool) -> None:
        follower, self._follower = self._follower, None
        if follower is not None and not follower.turn.done():
            follower.turn.set_result(is_our_turn_over)

    async def _send_step(self, step: Send, follow: Follow | None) -> None:
        octets = step.octets
        if (
            follow is not None
            and step.phase is Phase.END_OF_DATA
            and "PIPELINING" in self.offer
            and len(octets[-1]) <= _BLOCK  # who sends much more keeps nobody else waiting for it
        ):
            self._follower = follow()  # RFC 2920 section 3.1: in the same group as the end of the content
            if self._follower is not None:
                octets = (b"".join((*octets, *self._follower.step.octets)),)
        for part in octets:
            await self._send(part)

    async def _send(self, octets: bytes) -> None:
        for start in range(0, len(octets), _BLOCK):
            self.stream.expect_within(self._patience.block_seconds)
            await self.stream.send(octets[start : start + _BLOCK] if len(octets) > _BLOCK else octets)

    async def _hear(self, count: int, phase: Phase) -> tuple[Reply, ...]:
        replies: list[Reply] = []
        while len(replies) < count:
            self.stream.expect_within(self._patience.of(phase))
            reply = self._reader.next_reply()
            while reply is None:
                try:
                    octets = await self.stream.read()
                except DeadlinePassed:
                    raise DeadlinePassed(f"{phase.value} did not come in time") from None
                if not octets:
                    raise PeerFault(f"the server closed before {phase.value}")
                self._reader.receive(octets)
                reply = self._reader.next_reply()
            if reply.code == 421 and len(replies) + 1 < count:
                # RFC 5321 section 3.8: it closes; the rest will not come.
                replies += [reply] * (count - len(replies))
                break
            replies.append(reply)
        return tuple(replies)


_BLOCK = 256 * 1024
