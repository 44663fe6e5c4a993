"""One connection: octets read and written with bounds, deadlines nobody can stretch, and TLS begun in place.

A session is a coroutine that is given a `Stream`. It reads what has come, feeds its conversation, writes what the
conversation says, and may await any work between: what the peer sends meanwhile is kept up to a bound, then reading
pauses. The same class carries servers and clients, under asyncio and uvloop.

    async def echo(stream: Stream) -> None:
        stream.expect_within(30)
        while octets := await stream.read():
            await stream.send(octets)

Promises: at most `Bounds.unread_octets` (and one chunk) of input wait in memory; a deadline is a point in time, so
octets that trickle in do not move it; nothing received before `start_tls` is ever read after it; the peer's going
away never cancels the session's work, it only ends its input.

Standards: RFC 3207 section 4.2 (what was known before TLS is discarded), RFC 5321 section 4.5.3.2 (timeouts).
See also: host/listen.py (who makes streams), host/connect.py (the client side), host/tls.py (contexts and what a
handshake showed).
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from letterlock.errors import LetterlockError, OurFault, PeerFault
from letterlock.host.tls import TlsState, inspect


class DeadlinePassed(PeerFault):
    """The peer did not do in time what it was given time for."""


class ConnectionLost(PeerFault):
    """The connection ended while something was still to be sent or agreed."""


class TlsFailed(PeerFault):
    """The TLS handshake failed; `problem` says why. The connection is of no more use."""


class Stopping(LetterlockError):
    """The service is stopping and the session said it is idle: take leave politely and return."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection may cost: octets of unread input, octets of unsent output, and seconds."""

    unread_octets: int = 256 * 1024
    unsent_octets: int = 256 * 1024
    handshake_seconds: float = 60
    close_seconds: float = 5


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a connection: an IP address and a port, or for a Unix socket its path and 0."""

    host: str
    port: int

    def __str__(self) -> str:
        """`192.0.2.1:25` or `[2001:db8::1]:25`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Stream(asyncio.Protocol):
    """A connection as a session sees it. Made by host/listen.py and host/connect.py.

    `peer` and `local` are the two ends; `tls` is None until a handshake is done.
    """

    peer: Endpoint
    local: Endpoint
    tls: TlsState | None = None

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._unread = 0
        self._reading_paused = False
        self._writing_paused = False
        self._ended = False  # no more input will come
        self._lost = False  # the connection is gone
        self._stopping = False
        self._deadline = math.inf
        self._limit = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._rings = -math.inf  # when the timer does, if there is one
        self._waiters: list[asyncio.Future[None]] = []
        self._taker: _Taker | None = None  # while a session pumps and nothing is unread

    # What a session calls.

    def expect_within(self, seconds: float) -> None:
        """From now on the peer has this long: reads, drains and handshakes after it raise DeadlinePassed.

        Set it anew for each thing expected. Time spent in the session's own work counts only if it is not set again.
        """
        deadline = self._loop.time() + seconds
        self._deadline = min(self._limit, deadline)
        if self._deadline < self._rings:
            self._silence()
            if self._waiters:
                self._arm()

    def limit_within(self, seconds: float) -> None:
        """From now on no deadline lies later than this, however often one is set: for work that is to end as a whole."""
        self._limit = self._loop.time() + seconds
        self._deadline = min(self._deadline, self._limit)

    def extend(self, seconds: float) -> None:
        """Move deadline and limit by so much: what was sent bought this much more time, at a pace the caller sets."""
        self._deadline += seconds
        self._limit += seconds

    async def read(self, *, idle: bool = False) -> bytes:
        """Return what has come, as soon as anything has; b"" when the peer has ended its side.

        With `idle`, the session has nothing half done and Stopping may be raised instead of waiting.
        """
        if self._loop.time() >= self._deadline:
            raise DeadlinePassed("nothing whole came in time")
        while not self._chunks:
            if self._ended or self._lost:
                return b""
            if idle and self._stopping:
                raise Stopping
            await self._wait()
            if not self._chunks and self._loop.time() >= self._deadline:
                raise DeadlinePassed("nothing whole came in time")
        return self._take()

    async def pump(self, take: Callable[[bytes], bool], *, idle: Callable[[], bool]) -> bool:
        """Give `take` what comes until it returns False, and return True; False when the peer has ended its side.

        What `take` can do at once costs no turn of the session's task: it is called where the octets arrive, in the
        context of who pumps. With `idle` true, Stopping may be raised instead of waiting. Raises what `take` raises.
        """
        taker = _Taker(take, contextvars.copy_context())
        while True:
            if self._loop.time() >= self._deadline:
                raise DeadlinePassed("nothing whole came in time")
            if self._chunks:
                if not take(self._take()):
                    return True
                continue
            if self._ended or self._lost:
                return False
            if self._stopping and idle():
                raise Stopping
            self._taker = taker
            try:
                await self._wait()
            finally:
                self._taker = None
            if taker.fault is not None:
                raise taker.fault
            if taker.has_enough:
                return True

    def write(self, octets: bytes) -> None:
        """Send when possible, without waiting. What is written to a lost connection goes nowhere."""
        if self._transport is not None and not self._lost:
            self._transport.write(octets)

    async def drain(self) -> None:
        """Wait until little is left unsent. Raises DeadlinePassed, and ConnectionLost where nobody reads any more."""
        while self._writing_paused and not self._lost:
            if self._loop.time() >= self._deadline:
                raise DeadlinePassed("the peer does not read what it is sent")
            await self._wait()
        if self._lost:
            raise ConnectionLost("the connection was lost")

    async def send(self, octets: bytes) -> None:
        """Write, and wait where too much is unsent."""
        self.write(octets)
        if self._writing_paused or self._lost:
            await self.drain()

    async def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        announcement: bytes = b"",
        server_side: bool = True,
        server_name: str | None = None,
    ) -> TlsState:
        """Begin TLS in place; `announcement` ("220 ...") is sent first, in plain text, and input before it is dropped.

        `server_name` is the name a client asks for and, if its context says so, verifies. Raises TlsFailed.
        """
        if self._transport is None or self.tls is not None:
            raise OurFault("TLS can begin once, on an open connection")
        if self._lost:
            raise ConnectionLost("the connection was lost before TLS")
        # Nothing that came in plain text may be taken for protected (RFC 3207 section 4.2), and nothing more may be
        # read here: the next octets of the peer belong to the handshake.
        self._pause_reading()
        self._chunks.clear()
        self._unread = 0
        self.write(announcement)
        seconds = min(self._bounds.handshake_seconds, self._deadline - self._loop.time())
        transport, self._transport = self._transport, None
        try:
            protected = await self._loop.start_tls(
                transport,
                self,
                context,
                server_side=server_side,
                server_hostname=server_name,
                ssl_handshake_timeout=max(seconds, 0.001),
            )
        except (ssl.SSLError, OSError) as error:  # TimeoutError and ConnectionError are OSErrors
            self._lost = True
            transport.abort()
            raise TlsFailed(handshake_problem(error)) from error
        if protected is None or self._lost:
            self._lost = True
            transport.abort()
            raise TlsFailed("the connection was lost during the handshake")
        self._transport = protected
        self._reading_paused = False
        self._writing_paused = False
        self.tls = inspect(cast(ssl.SSLObject, protected.get_extra_info("ssl_object")), context)
        return self.tls

    async def close(self, *, linger: bool = False) -> None:
        """Send what is unsent, end the connection, and wait until it is gone; never longer than the bound.

        With `linger`, for parting words to a peer that may still be talking: it is read from, without keeping anything,
        until it ends too, so that the system does not discard our words with its.
        """
        self._limit = math.inf
        self.expect_within(self._bounds.close_seconds)
        if self._transport is None:
            return
        try:
            if linger and not self._lost and self._transport.can_write_eof():
                self._transport.write_eof()
                while await self.read():
                    pass
            if not self._lost:
                self._resume_reading()
                self._transport.close()
            while not self._lost:
                if self._loop.time() >= self._deadline:
                    break
                await self._wait()
        except DeadlinePassed:
            pass
        finally:
            self.abort()

    def hang_up(self) -> None:
        """End the connection without waiting: what is unsent is still sent, within the system's patience."""
        if self._transport is not None and not self._lost:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once, whatever is unsent."""
        self._silence()
        if self._transport is not None and not self._lost:
            self._transport.abort()

    @property
    def is_congested(self) -> bool:
        """Whether `drain` would wait, or raise."""
        return self._writing_paused or self._lost

    @property
    def is_lost(self) -> bool:
        """Whether the connection is known to be gone."""
        return self._lost

    @property
    def has_input(self) -> bool:
        """Whether `read` would return at once."""
        return bool(self._chunks)

    # What the listener calls.

    def stop(self) -> None:
        """Ask the session to take leave: it hears it at its next idle read."""
        self._stopping = True
        self._wake()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self.peer = _endpoint(transport.get_extra_info("peername"))
        self.local = _endpoint(transport.get_extra_info("sockname"))
        self._transport.set_write_buffer_limits(high=self._bounds.unsent_octets)
        if (protected := transport.get_extra_info("ssl_object")) is not None:
            self.tls = inspect(protected, transport.get_extra_info("sslcontext"))

    def data_received(self, data: bytes) -> None:
        """Give what came to who waits for it, or keep it; past the bound, stop reading."""
        if self._taker is not None:
            if not self._taker.give(data):
                self._taker = None
                self._wake()
            return
        self._chunks.append(data)
        self._unread += len(data)
        if self._unread > self._bounds.unread_octets:
            self._pause_reading()
        if self._waiters:
            self._wake()

    def eof_received(self) -> bool:
        """Remember that no more comes; the other direction stays open."""
        self._ended = True
        self._wake()
        return self.tls is None  # TLS has no half-closed state here

    def connection_lost(self, _error: Exception | None) -> None:
        """Remember that nobody is there."""
        self._lost = self._ended = True
        self._writing_paused = False
        self._silence()
        self._wake()

    def pause_writing(self) -> None:
        """The peer reads more slowly than we write."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._writing_paused = False
        self._wake()

    # Inside.

    def _take(self) -> bytes:
        chunks = self._chunks
        octets = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._unread = 0
        if self._reading_paused:
            self._resume_reading()
        return octets

    async def _wait(self) -> None:
        if self._timer is None and self._deadline < math.inf:
            self._arm()
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            raise

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _ring(self) -> None:
        # The timer is armed once and follows the deadline lazily: moving a deadline costs no more than a number.
        self._timer, self._rings = None, -math.inf
        if self._loop.time() >= self._deadline:
            self._wake()
        elif self._waiters:
            self._arm()

    def _arm(self) -> None:
        self._timer, self._rings = self._loop.call_at(self._deadline, self._ring), self._deadline

    def _silence(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._rings = None, -math.inf

    def _pause_reading(self) -> None:
        if not self._reading_paused and self._transport is not None and not self._lost:
            self._transport.pause_reading()
            self._reading_paused = True

    def _resume_reading(self) -> None:
        if self._reading_paused and self._transport is not None and not self._lost:
            self._transport.resume_reading()
        self._reading_paused = False


class _Taker:
    """Who takes what comes as it comes. What it raises is for the session's task, not for the event loop."""

    __slots__ = ("_context", "_take", "fault", "has_enough")

    def __init__(self, take: Callable[[bytes], bool], context: contextvars.Context) -> None:
        self._take = take
        self._context = context
        self.fault: BaseException | None = None
        self.has_enough = False

    def give(self, octets: bytes) -> bool:
        """Give it octets, and tell whether it wants more."""
        try:
            self.has_enough = not self._context.run(self._take, octets)
        except BaseException as fault:
            self.fault = fault
            return False
        return not self.has_enough


def _endpoint(name: object) -> Endpoint:
    if isinstance(name, tuple):
        return Endpoint(str(name[0]).partition("%")[0], int(name[1]))
    return Endpoint(name if isinstance(name, str) else "", 0)


def handshake_problem(error: Exception) -> str:
    """Return what went wrong in a TLS handshake, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"the handshake failed: {error.reason or error}"
    if isinstance(error, TimeoutError):
        return "the handshake took too long"
    return f"the handshake broke off: {str(error) or type(error).__name__}"
