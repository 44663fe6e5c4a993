"""Handing a message over for submission.

Standards: RFC 6409 (submission), RFC 8314 section 3.3 (TLS), RFC 4954 (AUTH).
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.errors import Malformed, PeerFault
from letterlock.formats.address import Address
from letterlock.host.connect import ConnectionFailed
from letterlock.host.entropy import Entropy
from letterlock.host.smtp_client import ClientPatience, SmtpClient
from letterlock.host.stream import Endpoint
from letterlock.host.tls import authenticated_client
from letterlock.mua.compose import Composed
from letterlock.mua.connection import addresses
from letterlock.mua.settings import MailServer, UserAgentSettings
from letterlock.protocols.sasl.mechanism import client_exchange

_NAME = "localhost"  # what the server is told at EHLO; it knows the user by name


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of one recipient: the server's reply, in words."""

    recipient: Address
    accepted: bool
    reply: str


async def submit(composed: Composed, settings: UserAgentSettings, entropy: Entropy) -> tuple[Submitted, ...]:
    """Hand a message over; return what the server said for each recipient.

    Raises Malformed without a server, ConnectionFailed, TlsFailed, and PeerFault where the server does not go along.
    """
    if settings.submission is None:
        raise Malformed("no submission server is set")
    client = await _open(settings.submission, settings)
    try:
        await client.greet()
        await client.hello()
        if not settings.submission.implicit_tls:
            await client.start_tls(authenticated_client(settings.roots), server_name=settings.submission.name)
            await client.hello()
        tls = client.tls
        exchange = client_exchange(
            client.offer.mechanisms,
            user=settings.user,
            password=settings.password,
            nonce=entropy.octets(18),
            bindings={} if tls is None else tls.bindings,
            protected=tls is not None,
        )
        await client.authenticate(exchange)
        replies = await client.transfer(composed.envelope, composed.content)
    except PeerFault:
        client.stream.abort()
        raise
    await client.quit()
    recipients = composed.envelope.recipients
    return tuple(
        Submitted(recipient.forward_path, reply.code < 300, str(reply))
        for recipient, reply in zip(recipients, replies, strict=True)
    )


async def _open(server: MailServer, settings: UserAgentSettings) -> SmtpClient:
    tls = (authenticated_client(settings.roots), server.name) if server.implicit_tls else None
    patience = ClientPatience(connect_seconds=settings.timeout_seconds, command_seconds=settings.timeout_seconds)
    failure: ConnectionFailed | None = None
    endpoints: list[Endpoint] = await addresses(server)
    for endpoint in endpoints:
        try:
            return await SmtpClient.open(endpoint, name=_NAME, patience=patience, tls=tls)
        except ConnectionFailed as failed:
            failure = failed
    raise failure or ConnectionFailed(f"{server.host} has no address")
