"""Connections that we open, as the same `Stream` that servers use.

Of several addresses of one host each gets a head start over the next, and the first that answers is used
(`connect_first`), so that an address family that does not work here costs a moment and not a timeout.

Standards: RFC 8305 section 5 (connection attempts).
See also: host/stream.py; mta/outbound.py decides where to connect and in which order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from letterlock.errors import PeerFault
from letterlock.host.stream import Bounds, Endpoint, Stream

HEAD_START_SECONDS = 0.25  # RFC 8305 section 8: the Connection Attempt Delay


class ConnectionFailed(PeerFault):
    """No connection came about; `problem` names the endpoint and what the system said."""


class NoneConnected(ConnectionFailed):
    """None of several endpoints answered; `failures` says why, by endpoint."""

    def __init__(self, failures: Mapping[Endpoint, str]) -> None:
        self.failures = dict(failures)
        super().__init__("; ".join(self.failures.values()))


@dataclass(frozen=True, slots=True)
class First:
    """The connection that came about first, to `endpoint`; `failures` and `slower` are the others that were tried."""

    stream: Stream
    endpoint: Endpoint
    failures: Mapping[Endpoint, str] = field(default_factory=dict)
    slower: tuple[Endpoint, ...] = ()


async def connect(
    endpoint: Endpoint,
    *,
    within_seconds: float,
    bounds: Bounds | None = None,
    local_address: str | None = None,
) -> Stream:
    """Open a TCP connection to an IP address and port. Raises ConnectionFailed."""
    loop = asyncio.get_running_loop()
    local = (local_address, 0) if local_address is not None else None
    try:
        async with asyncio.timeout(within_seconds):
            _, stream = await loop.create_connection(_maker(bounds), endpoint.host, endpoint.port, local_addr=local)
    except TimeoutError:
        raise ConnectionFailed(f"{endpoint} did not answer within {within_seconds:g} s") from None
    except OSError as error:
        raise ConnectionFailed(f"{endpoint} refused the connection: {error.strerror or error}") from error
    return stream


async def connect_first(
    endpoints: Sequence[Endpoint],
    *,
    within_seconds: float,
    local_address: str | None = None,
    head_start_seconds: float = HEAD_START_SECONDS,
) -> First:
    """Open a connection to the first of `endpoints` that answers, each tried a moment after the one before it.

    An endpoint that fails lets the next begin at once. Raises NoneConnected.
    """
    waiting = deque(endpoints)
    racing: dict[asyncio.Task[Stream], Endpoint] = {}
    failures: dict[Endpoint, str] = {}
    try:
        while waiting or racing:
            if waiting:
                endpoint = waiting.popleft()
                attempt = connect(endpoint, within_seconds=within_seconds, local_address=local_address)
                racing[asyncio.create_task(attempt)] = endpoint
            seconds = head_start_seconds if waiting else None
            done, _ = await asyncio.wait(racing, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                endpoint = racing.pop(task)
                try:
                    stream = task.result()
                except ConnectionFailed as failure:
                    failures[endpoint] = failure.problem
                else:
                    return First(stream, endpoint, failures, tuple(racing.values()))
    finally:
        for task in racing:
            task.cancel()
        for late in await asyncio.gather(*racing, return_exceptions=True):
            if isinstance(late, Stream):
                late.abort()
    raise NoneConnected(failures)


async def connect_unix(path: Path, *, within_seconds: float, bounds: Bounds | None = None) -> Stream:
    """Open a connection to a Unix socket. Raises ConnectionFailed."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(within_seconds):
            _, stream = await loop.create_unix_connection(_maker(bounds), str(path))
    except TimeoutError:
        raise ConnectionFailed(f"{path} did not answer within {within_seconds:g} s") from None
    except OSError as error:
        raise ConnectionFailed(f"{path} refused the connection: {error.strerror or error}") from error
    return stream


def _maker(bounds: Bounds | None) -> Callable[[], Stream]:
    return lambda: Stream(bounds)
