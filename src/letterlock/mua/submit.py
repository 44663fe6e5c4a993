"""Handing a message over for submission.

Standards: RFC 6409 (submission), RFC 8314 section 3.3 (TLS), RFC 4954 (AUTH).
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.errors import Malformed, PeerFault
from letterlock.formats.address import Address
from letterlock.host.entropy import Entropy
from letterlock.host.smtp_client import ClientPatience, SmtpClient
from letterlock.mua.compose import Composed
from letterlock.mua.connection import first_reached
from letterlock.mua.server_proof import Demand, Proving, Way, find_way
from letterlock.mua.settings import MailServer, UserAgentSettings
from letterlock.protocols.sasl.mechanism import client_exchange

_NAME = "localhost"  # what the server is told at EHLO; it knows the user by name


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of one recipient: the server's reply, in words."""

    recipient: Address
    accepted: bool
    reply: str


async def submit(
    composed: Composed, settings: UserAgentSettings, entropy: Entropy, proving: Proving | None = None
) -> tuple[Submitted, ...]:
    """Hand a message over; return what the server said for each recipient.

    With `proving` the server's TLSA records count (server_proof.py).

    Raises Malformed without a server, ConnectionFailed, TlsFailed, and PeerFault where the server does not go along.
    """
    if settings.submission is None:
        raise Malformed("no submission server is set")
    server = settings.submission
    way = await find_way(server, settings, proving)
    client = await way.first_proven(lambda demand: _connect(server, way, demand, settings.timeout_seconds))
    try:
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


async def _connect(server: MailServer, way: Way, demand: Demand, seconds: float) -> SmtpClient:
    """Begin a conversation, up to the EHLO under TLS that shows what is demanded."""
    tls = (demand.context, demand.server_name) if server.implicit_tls else None
    patience = ClientPatience(connect_seconds=seconds, command_seconds=seconds)
    client = await first_reached(
        server, way, lambda endpoint: SmtpClient.open(endpoint, name=_NAME, patience=patience, tls=tls)
    )
    try:
        if server.implicit_tls:
            demand.check(client.tls)
        await client.greet()
        await client.hello()
        if not server.implicit_tls:
            demand.check(await client.start_tls(demand.context, server_name=demand.server_name))
            await client.hello()
    except BaseException:
        client.stream.abort()
        raise
    return client
