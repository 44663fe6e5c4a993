"""Reaching a server from its settings: names to addresses, and the first address that answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

from letterlock.host.connect import ConnectionFailed
from letterlock.host.stream import Endpoint
from letterlock.mua.server_proof import Way
from letterlock.mua.settings import MailServer

T = TypeVar("T")


async def first_reached(server: MailServer, way: Way, open_at: Callable[[Endpoint], Awaitable[T]]) -> T:
    """Return what `open_at` makes of the first address of `server` that answers. Raises ConnectionFailed."""
    failure: ConnectionFailed | None = None
    for endpoint in await _endpoints(server, way):
        try:
            return await open_at(endpoint)
        except ConnectionFailed as failed:
            failure = failed
    raise failure or ConnectionFailed(f"{server.host} has no address")


async def _endpoints(server: MailServer, way: Way) -> list[Endpoint]:
    """Return where the server may be reached: as our resolver says, else as the system does. Raises ConnectionFailed."""
    if way.addresses:
        return [Endpoint(address, server.port) for address in way.addresses]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectionFailed(f"{server.host} has no address: {error.strerror or error}") from error
    return list(dict.fromkeys(Endpoint(str(address[0]), server.port) for *_, address in found))
