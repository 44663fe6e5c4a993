"""Reaching a server from its settings: names to addresses, a connection, TLS that proves the server's name."""

from __future__ import annotations

import asyncio
import socket

from letterlock.host.connect import ConnectionFailed, connect
from letterlock.host.stream import Endpoint, Stream
from letterlock.host.tls import authenticated_client
from letterlock.mua.settings import MailServer, UserAgentSettings


async def reach(server: MailServer, settings: UserAgentSettings) -> Stream:
    """Return a connection to the first address of `server` that answers, under TLS if it begins so.

    Raises ConnectionFailed, TlsFailed.
    """
    failure: ConnectionFailed | None = None
    for endpoint in await addresses(server):
        try:
            stream = await connect(endpoint, within_seconds=settings.timeout_seconds)
        except ConnectionFailed as failed:
            failure = failed
            continue
        if server.implicit_tls:
            await begin_tls(stream, server, settings)
        return stream
    raise failure or ConnectionFailed(f"{server.host} has no address")


async def begin_tls(stream: Stream, server: MailServer, settings: UserAgentSettings) -> None:
    """Begin TLS as a client that demands a certificate for the server's name. Raises TlsFailed."""
    stream.expect_within(settings.timeout_seconds)
    context = authenticated_client(settings.roots)
    await stream.start_tls(context, server_side=False, server_name=server.name)


async def addresses(server: MailServer) -> list[Endpoint]:
    """Return where a server may be reached, in the system's order. Raises ConnectionFailed."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectionFailed(f"{server.host} has no address: {error.strerror or error}") from error
    return list(dict.fromkeys(Endpoint(str(address[0]), server.port) for *_, address in found))
