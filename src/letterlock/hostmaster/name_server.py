"""The name server: zones served over UDP and TCP at one or several addresses.

    server = NameServer([Zone.parse(text, "rosewood.test")])
    await server.listen("127.0.0.1", 5353)
    ...
    await server.aclose()

Standards: RFC 1035 section 4.2, RFC 7766 (TCP), and what protocols/dns says.
Limits: 200 TCP connections, 30 s for a silent one, 64 KiB a query.
"""

from __future__ import annotations

import asyncio
import collections
import socket
import time
from collections.abc import Callable, Iterable, Iterator

from letterlock.formats.dns.zone import Zone
from letterlock.protocols.dns import client
from letterlock.protocols.dns.server import Access, Catalog, respond

_MAX_CONNECTIONS = 200
_SILENT_SECONDS = 30.0
_BIND_ATTEMPTS = 8


class NameServer:
    """Answers for its zones. `put` changes a zone while it runs."""

    def __init__(
        self, zones: Iterable[Zone] = (), access: Access | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.catalog = Catalog(zones, access)
        self.clock = clock
        self._transports: list[asyncio.DatagramTransport] = []
        self._servers: list[asyncio.Server] = []
        self.connections: set[_Stream] = set()

    def put(self, zone: Zone) -> None:
        """Serve a zone from now on, or a new version of one."""
        self.catalog.put(zone)

    def respond(self, octets: bytes, address: str, *, tcp: bool) -> Iterator[bytes]:
        """Return the messages that answer what came from an address."""
        return respond(self.catalog, octets, tcp=tcp, address=address, now=int(self.clock()))

    async def listen(self, address: str, port: int = 0) -> int:
        """Listen at an address over UDP and TCP; return the port, which the system chooses for 0. Raises OSError."""
        return await self.serve(*bind_pair(address, port))

    async def serve(self, stream: socket.socket, datagrams: socket.socket) -> int:
        """Answer at sockets that `bind_pair` has bound, which are ours from now on; return their port."""
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(lambda: _Stream(self), sock=stream))
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=datagrams)
        self._transports.append(transport)
        port: int = stream.getsockname()[1]
        return port

    async def aclose(self) -> None:
        """Stop listening and close every connection."""
        for transport in self._transports:
            transport.close()
        for server in self._servers:
            server.close()
        for stream in list(self.connections):
            stream.close()
        for server in self._servers:
            await server.wait_closed()
        await asyncio.sleep(0)


def bind_pair(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Bind a port of an address for TCP and for UDP, before privileges are given up. Raises OSError.

    For port 0 the system chooses one that is free for both.
    """
    for attempt in range(_BIND_ATTEMPTS):
        stream = _bind(address, port, socket.SOCK_STREAM)
        try:
            return stream, _bind(address, stream.getsockname()[1], socket.SOCK_DGRAM)
        except OSError:
            stream.close()
            if port or attempt == _BIND_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _bind(address: str, port: int, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    try:
        sock.setblocking(False)
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


class _Datagrams(asyncio.DatagramProtocol):
    """Queries over UDP."""

    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's datagram transports derive from none of asyncio's

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for octets in self._server.respond(data, addr[0], tcp=False):
            if self._transport is not None:
                self._transport.sendto(octets, addr)


class _Stream(asyncio.Protocol):
    """Queries over one TCP connection, answered in their order and no faster than the asker reads."""

    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._frames = client.Frames()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answers: collections.deque[Iterator[bytes]] = collections.deque()
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # as above
        if len(self._server.connections) >= _MAX_CONNECTIONS:
            transport.close()
            return
        self._server.connections.add(self)
        self._wait()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_SILENT_SECONDS, self.close)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._wait()
        address = self._transport.get_extra_info("peername")[0]
        for query in self._frames.receive(data):
            self._answers.append(self._server.respond(query, address, tcp=True))
        self._write()

    def _write(self) -> None:
        """Write answers while they are taken; a long transfer goes on when the asker has read."""
        while self._answers and not self._is_paused and self._transport is not None:
            octets = next(self._answers[0], None)
            if octets is None:
                self._answers.popleft()
            else:
                self._transport.write(client.frame(octets))

    def pause_writing(self) -> None:
        """Stop reading from one who asks but does not read."""
        self._is_paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_paused = False
        self._wait()
        self._write()
        if not self._is_paused and self._transport is not None:
            self._transport.resume_reading()

    def connection_lost(self, _: Exception | None) -> None:
        self._server.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._answers.clear()
        self._transport = None

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            if self._is_paused:
                self._transport.abort()
            else:
                self._transport.close()
