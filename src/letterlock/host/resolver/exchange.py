"""One query to one server, and its response: over UDP, TCP with pipelining, or TLS.

Every UDP query has a socket of its own, so its port is chosen afresh and the kernel drops what comes from another
address. A response that does not match the query is ignored, not believed and not an error. A truncated one is asked
again over TCP. TCP and TLS connections stay open for the next query and carry many at once.

Standards: RFC 1035 section 4.2, RFC 5452 section 9, RFC 7766 section 6.2 (pipelining, reuse), RFC 7858.
Limits: 64 KiB a response, the caller's time-out, 400 UDP queries at once, 10 s for an idle connection.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
import ssl
from dataclasses import dataclass, replace

from letterlock.errors import Malformed, PeerFault
from letterlock.formats.dns import message as messages
from letterlock.formats.dns import types
from letterlock.formats.dns.message import Message
from letterlock.protocols.dns import client, tsig
from letterlock.protocols.dns.tsig import TsigKey

_IDLE_SECONDS = 10.0
_MAX_SOCKETS = 400


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask: an address and a port; with `tls_name`, over TLS to a server that proves that name."""

    address: str
    port: int = 53
    tls_name: str | None = None

    @classmethod
    def parse(cls, text: str) -> Server:
        """Read "192.0.2.1", "192.0.2.1:5353", "[::1]:5353" or any of them with "#name" for TLS; raises ValueError."""
        place, _, tls_name = text.partition("#")
        default = "853" if tls_name else "53"
        if place.startswith("["):
            address, _, port = place[1:].partition("]")
            port = port.removeprefix(":") or default
        elif place.count(":") == 1:
            address, _, port = place.partition(":")
        else:
            address, port = place, default
        return cls(str(ipaddress.ip_address(address)), int(port), tls_name or None)

    def __str__(self) -> str:
        """The server as messages name it."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}" + (f" ({self.tls_name})" if self.tls_name else "")


class Exchange:
    """Sends queries and waits for responses; owns the open connections."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._connections: dict[Server, _Connection] = {}
        self._opening: dict[Server, asyncio.Task[_Connection]] = {}
        self._sockets = asyncio.Semaphore(_MAX_SOCKETS)

    async def ask(self, server: Server, query: Message, timeout_seconds: float, *, tcp: bool = False) -> Message:
        """Return the response to a query, whose id is chosen here; raises PeerFault when none can be had."""
        query = replace(query, id=secrets.randbits(16))
        try:
            async with asyncio.timeout(timeout_seconds):
                if not tcp and server.tls_name is None:
                    async with self._sockets:
                        response = await _over_udp(server, query)
                    if not response.is_truncated:
                        return response
                return await self._over_tcp(server, query)
        except TimeoutError:
            raise PeerFault(f"{server} did not answer within {timeout_seconds:g} s") from None
        except OSError as error:
            raise PeerFault(f"{server}: {error.strerror or error}") from None

    async def ask_signed(
        self, server: Server, query: Message, key: TsigKey, now: int, timeout_seconds: float
    ) -> Message:
        """Return the response to a query signed with a shared key, over TCP; raises PeerFault, also if it is not signed.

        `now` is the time in seconds since 1970.
        """
        query = replace(query, id=secrets.randbits(16))
        octets, mac = tsig.sign(messages.write(query), key, now)
        try:
            async with asyncio.timeout(timeout_seconds):
                response, raw = await (await self._connection(server)).ask(query, octets)
            if not tsig.is_signed(response):
                raise PeerFault(f"{server} answered {types.rcode_text(response.rcode)} without a signature")
            tsig.verify(raw, response, {key.name: key}, now, previous=mac)
        except TimeoutError:
            raise PeerFault(f"{server} did not answer within {timeout_seconds:g} s") from None
        except OSError as error:
            raise PeerFault(f"{server}: {error.strerror or error}") from None
        except (tsig.TsigFault, Malformed) as error:
            raise PeerFault(f"{server} answered with a signature that is not good: {error}") from None
        return response

    async def _over_tcp(self, server: Server, query: Message) -> Message:
        # RFC 7766 section 6.2.4: a server may close an idle connection just as we use it; try a new one once.
        try:
            response, _ = await (await self._connection(server)).ask(query)
        except ConnectionError:
            response, _ = await (await self._connection(server)).ask(query)
        return response

    async def _connection(self, server: Server) -> _Connection:
        connection = self._connections.get(server)
        if connection is not None and connection.is_open:
            return connection
        task = self._opening.get(server)
        if task is None:
            task = asyncio.create_task(self._open(server))
            self._opening[server] = task
            task.add_done_callback(lambda done: self._opened(server, done))
        return await asyncio.shield(task)

    def _opened(self, server: Server, task: asyncio.Task[_Connection]) -> None:
        self._opening.pop(server, None)
        if not task.cancelled():
            task.exception()  # those who waited have it; when all gave up, nobody needs it

    async def _open(self, server: Server) -> _Connection:
        loop = asyncio.get_running_loop()
        tls = (self._tls or ssl.create_default_context()) if server.tls_name else None
        async with asyncio.timeout(10):
            _, connection = await loop.create_connection(
                _Connection, server.address, server.port, ssl=tls, server_hostname=server.tls_name
            )
        self._connections[server] = connection
        return connection

    async def aclose(self) -> None:
        """Close every connection."""
        for task in list(self._opening.values()):
            task.cancel()
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        await asyncio.sleep(0)


async def _over_udp(server: Server, query: Message) -> Message:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((server.address, server.port))
        sock.send(messages.write(query))
        future: asyncio.Future[Message] = loop.create_future()
        loop.add_reader(sock.fileno(), _receive, sock, query, future)
        try:
            return await future
        finally:
            loop.remove_reader(sock.fileno())


def _receive(sock: socket.socket, query: Message, future: asyncio.Future[Message]) -> None:
    try:
        octets = sock.recv(65535)
    except (BlockingIOError, InterruptedError):
        return
    except OSError as error:
        if not future.done():
            future.set_exception(error)
        return
    try:
        response = messages.read(octets)
    except Malformed:
        # A truncated message may be cut anywhere: its header is enough to ask again over TCP.
        if len(octets) < 12 or octets[:2] != query.id.to_bytes(2, "big") or not octets[2] & 0x02:
            return
        response = messages.response(query, 0, messages.TC)
    if client.is_answer_to(query, response) and not future.done():
        future.set_result(response)


class _Connection(asyncio.Protocol):
    """One connection and the queries that wait on it."""

    def __init__(self) -> None:
        self._frames = client.Frames()
        self._waiting: dict[int, tuple[Message, asyncio.Future[tuple[Message, bytes]]]] = {}
        self._transport: asyncio.Transport | None = None
        self._idle: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for octets in self._frames.receive(data):
            try:
                response = messages.read(octets)
            except Malformed as error:
                self._fail(PeerFault(f"a response that cannot be read: {error}"))
                self.close()
                return
            query, future = self._waiting.get(response.id, (None, None))
            if query is not None and future is not None and client.is_answer_to(query, response) and not future.done():
                future.set_result((response, octets))

    def connection_lost(self, _: Exception | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._transport = None
        self._fail(ConnectionResetError("the server closed the connection"))

    def _fail(self, error: Exception) -> None:
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(error)

    async def ask(self, query: Message, octets: bytes | None = None) -> tuple[Message, bytes]:
        """Send a query, as `octets` if they are given, and return its response and that one's octets."""
        if self._transport is None:
            raise ConnectionResetError("the server closed the connection")
        while query.id in self._waiting and octets is None:
            query = replace(query, id=secrets.randbits(16))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[Message, bytes]] = loop.create_future()
        self._waiting[query.id] = query, future
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._transport.write(client.frame(octets or messages.write(query)))
        try:
            return await future
        finally:
            self._waiting.pop(query.id, None)
            if not self._waiting and self._transport is not None:
                self._idle = loop.call_later(_IDLE_SECONDS, self.close)

    def close(self) -> None:
        """Close the connection; queries that wait fail."""
        if self._idle is not None:
            self._idle.cancel()
        if self._transport is not None:
            self._transport.close()
