"""Listeners: sockets that are bound first (as root, if need be) and served later, with limits and a graceful stop.

    sockets = [bind("127.0.0.1", 0)]
    listener = Listener(session, log=log, limits=ConnectionLimits(per_network=20))
    await listener.start(sockets)
    ... listener.endpoints ...
    await listener.stop(grace_seconds=30)

A connection past a limit gets `refusal` (a whole reply such as b"421 4.7.0 ...") and is closed; it never reaches a
session. Where connections begin with TLS, we accept them ourselves: event loops read before a protocol can keep them from
it, and a handshake read as plain text never ends. Stopping closes the sockets, lets idle sessions take leave at once and
busy ones finish, and cancels what is still there after the grace.

Limits: connections in all and per network (an IPv4 /24, an IPv6 /64 by default), and with an `Admission` new ones a minute.
See also: host/stream.py, host/drive_sessions.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import socket
import stat
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path

from letterlock.errors import OurFault, PeerFault
from letterlock.host.allowance import Allowance
from letterlock.host.drive_sessions import Session, drive
from letterlock.host.logs import Log
from letterlock.host.networks import Network, is_within
from letterlock.host.proxy_protocol import Proxied, peek
from letterlock.host.stream import Bounds, Endpoint, Stream, handshake_problem
from letterlock.host.tls import ServerTls

BACKLOG = 1024
_HEADER_SECONDS = 5.0
_HEADER_PAUSE_SECONDS = 0.02

_ACCEPTED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections may stand at a time, in all and from one network; the prefixes say what a network is."""

    total: int = 4000
    per_network: int = 200
    ipv4_prefix: int = 24
    ipv6_prefix: int = 64

    def network(self, host: str) -> str:
        """Return the network that `host` counts for; Unix sockets are one network."""
        return _network(host, self.ipv4_prefix, self.ipv6_prefix)


@functools.lru_cache(maxsize=8192)  # the same few clients are asked for again and again, on the way of every message
def _network(host: str, ipv4_prefix: int, ipv6_prefix: int) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.version == 4 and ipv4_prefix == 32:
        return str(address)
    prefix = ipv4_prefix if address.version == 4 else ipv6_prefix
    return str(ipaddress.ip_network((address, prefix), strict=False))


class Admission:
    """How many connections a network may begin in a while; several listeners may share one. `exempt` networks may always."""

    def __init__(self, rate: Allowance, *, exempt: frozenset[Network] = frozenset()) -> None:
        self._rate = rate
        self._exempt = exempt

    def admits(self, host: str, network: str) -> bool:
        """Count a connection, and tell whether it may be."""
        return not network or is_within(host, self._exempt) or self._rate.take(network) <= 0


def bind(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """Return a socket bound to an IP address; port 0 lets the system choose. Raises OSError.

    With `reuse_port` several processes may bind the same address and the system shares connections among them.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def bind_unix(path: Path, *, mode: int = 0o660) -> socket.socket:
    """Return a Unix socket bound to `path`, in place of one a stopped process left. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.bind(str(path))
        path.chmod(mode)
    except OSError:
        bound.close()
        raise
    return bound


class Listener:
    """Serves one session function on bound sockets; with `tls`, every connection begins with a handshake.

    Connections from `proxies` (networks of load balancers) begin with a PROXY header that names the client.
    """

    def __init__(
        self,
        session: Session,
        *,
        log: Log,
        tls: ServerTls | None = None,
        limits: ConnectionLimits | None = None,
        bounds: Bounds | None = None,
        refusal: bytes = b"",
        proxies: Sequence[Network] = (),
        admission: Admission | None = None,
    ) -> None:
        self._session = session
        self._log = log
        self._tls = tls
        self._limits = limits or ConnectionLimits()
        self._bounds = bounds or Bounds()
        self._refusal = refusal
        self._servers: list[asyncio.Server] = []
        self._accepting: list[socket.socket] = []
        self._proxies = tuple(proxies)
        self._admission = admission
        self._sessions: dict[asyncio.Task[None], _Guest] = {}
        self._networks: Counter[str] = Counter()
        self._stopping = False
        self.endpoints: tuple[Endpoint, ...] = ()

    def adopt(self, limits: ConnectionLimits) -> None:
        """Let in by other limits from now on, with networks of the same size; who is in stays."""
        self._limits = limits

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Begin to accept on `sockets`, which belong to the listener from now on."""
        if self.endpoints:
            raise OurFault("a listener starts once")
        loop = asyncio.get_running_loop()
        endpoints = []
        for bound in sockets:
            name = bound.getsockname()
            if self._tls is not None or self._proxies:
                bound.listen(BACKLOG)
                loop.add_reader(bound, self._accept_all, bound)
                self._accepting.append(bound)
                endpoints.append(Endpoint(name[0], name[1]))
                continue
            if bound.family == socket.AF_UNIX:
                server: asyncio.Server = await loop.create_unix_server(self._accept, sock=bound, backlog=BACKLOG)
                endpoints.append(Endpoint(str(name), 0))
            else:
                server = await loop.create_server(self._accept, sock=bound, backlog=BACKLOG)
                endpoints.append(Endpoint(name[0], name[1]))
            self._servers.append(server)
        self.endpoints = tuple(endpoints)

    @property
    def connections(self) -> int:
        """How many connections stand."""
        return len(self._sessions)

    async def stop(self, *, grace_seconds: float = 30) -> None:
        """Accept no more, let sessions finish what they have begun, and return when all are gone."""
        self._stopping = True
        for server in self._servers:
            server.close()
        for bound in self._accepting:
            asyncio.get_running_loop().remove_reader(bound)
            bound.close()
        self._accepting.clear()
        for task, guest in self._sessions.items():
            if guest.stream is None:
                task.cancel()
            else:
                guest.stream.stop()
        if self._sessions:
            await asyncio.wait(self._sessions, timeout=grace_seconds)
        rest = dict(self._sessions)
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest)
            for guest in rest.values():
                if guest.stream is not None:
                    guest.stream.abort()

    def _accept(self) -> Stream:
        return _Accepted(self)

    def _begin(self, stream: Stream) -> None:
        if not self._may_enter(stream.peer):
            self._turn_away(stream)
            return
        network = self._limits.network(stream.peer.host)
        self._enter(drive(self._session, stream, log=self._log), _Guest(network, stream))

    def _turn_away(self, stream: Stream) -> None:
        if self._refusal and stream.tls is None:
            stream.write(self._refusal)
        stream.hang_up()

    def _accept_all(self, bound: socket.socket) -> None:
        """Accept what waits on a socket whose connections do not begin with our session."""
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, address = bound.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._rest_from_accepting(bound, error)
                return
            connection.setblocking(False)
            peer = Endpoint(address[0], address[1])
            if self._is_proxy(peer):
                self._enter(self._introduce(connection, peer), _Guest(""))
            elif self._may_enter(peer):
                self._enter(self._receive(connection, peer), _Guest(self._limits.network(peer.host)))
            else:
                connection.close()

    def _rest_from_accepting(self, bound: socket.socket, error: OSError) -> None:
        # No more descriptors, say: the connection still waits, and would wake us again at once.
        self._log.warning("accepting failed", problem=str(error))
        loop = asyncio.get_running_loop()
        loop.remove_reader(bound)
        loop.call_later(1, lambda: bound in self._accepting and loop.add_reader(bound, self._accept_all, bound))

    async def _introduce(self, connection: socket.socket, proxy: Endpoint) -> None:
        """Learn from a load balancer who the client is, and go on as if that one had connected."""
        try:
            header = await self._header(connection)
        except PeerFault as fault:
            connection.close()
            self._log.warning("proxy misunderstood", peer=str(proxy), problem=fault.problem)
            return
        except BaseException:
            connection.close()
            raise
        peer = Endpoint(header.host, header.port) if header.host else proxy
        if not self._may_enter(peer):
            connection.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._count(task, self._limits.network(peer.host))
        await self._receive(connection, peer)

    async def _header(self, connection: socket.socket) -> Proxied:
        try:
            async with asyncio.timeout(_HEADER_SECONDS):
                # Peeked-at octets keep the socket readable, so there is no event to wait for; balancers send it in one
                # piece, and the first look finds it.
                while (header := peek(connection)) is None:  # noqa: ASYNC110
                    await asyncio.sleep(_HEADER_PAUSE_SECONDS)
        except TimeoutError:
            raise PeerFault("no whole PROXY header came in time") from None
        return header

    async def _receive(self, connection: socket.socket, peer: Endpoint) -> None:
        """Do the TLS handshake, if there is one, and run the session."""
        # What uvloop returns is not our protocol, so we keep it ourselves.
        stream = Stream(self._bounds)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: stream,
                connection,
                ssl=self._tls.context if self._tls is not None else None,
                ssl_handshake_timeout=self._bounds.handshake_seconds if self._tls is not None else None,
            )
        except OSError as error:  # ssl.SSLError, TimeoutError and ConnectionError are OSErrors
            connection.close()
            self._log.event("connection ended", peer=str(peer), problem=handshake_problem(error))
            return
        stream.peer = peer
        task = asyncio.current_task()
        assert task is not None
        self._sessions[task].stream = stream
        await drive(self._session, stream, log=self._log)

    def _is_proxy(self, peer: Endpoint) -> bool:
        return bool(self._proxies) and any(ipaddress.ip_address(peer.host) in network for network in self._proxies)

    def _may_enter(self, peer: Endpoint) -> bool:
        network = self._limits.network(peer.host)
        within = (
            not self._stopping
            and len(self._sessions) < self._limits.total
            and self._networks[network] < self._limits.per_network
            and (self._admission is None or self._admission.admits(peer.host, network))
        )
        if not within:
            self._log.warning("connection refused", peer=str(peer), connections=len(self._sessions))
        return within

    def _enter(self, work: Coroutine[None, None, None], guest: _Guest) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._sessions[task] = guest
        self._count(task, guest.network)
        task.add_done_callback(self._end)

    def _count(self, task: asyncio.Task[None], network: str) -> None:
        self._sessions[task].network = network
        if network:
            self._networks[network] += 1

    def _end(self, task: asyncio.Task[None]) -> None:
        network = self._sessions.pop(task).network
        if network:
            self._networks[network] -= 1
            if not self._networks[network]:
                del self._networks[network]


@dataclass(slots=True)
class _Guest:
    """Whom a connection counts for, "" for nobody yet, and its stream, None while a handshake is under way."""

    network: str
    stream: Stream | None = None


class _Accepted(Stream):
    """A stream that tells its listener when the connection is there."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener._bounds)
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._listener._begin(self)
