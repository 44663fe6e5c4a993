"""Connections that we open, as the same `Stream` that servers use.

See also: host/stream.py; mta/outbound.py decides where to connect and in which order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from letterlock.errors import PeerFault
from letterlock.host.stream import Bounds, Endpoint, Stream


class ConnectionFailed(PeerFault):
    """No connection came about; `problem` names the endpoint and what the system said."""


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
