"""Submitted mail shown to the site's filters, before it is protected and signed.

What they suspect is not put aside, as mail from outside is: it goes back to who wrote it, who can do something about it.

See also: mta/filters.py.
"""

from __future__ import annotations

from letterlock.formats.envelope import Envelope
from letterlock.mta.arrival import Arrival
from letterlock.mta.filters import FilterChain, Opinion
from letterlock.mta.session import Session
from letterlock.protocols.smtp.reply import Reply, reply


async def ask_filters(
    filters: FilterChain, session: Session, envelope: Envelope, identifier: str, now: float, message: tuple[bytes, ...]
) -> Opinion | Reply:
    """Return what filters make of a submitted message: an opinion that lets it go on, or a refusal."""
    conversation = session.conversation
    arrival = Arrival(
        id=identifier,
        received_at=now,
        client=session.stream.peer,
        client_name=conversation.name,
        protocol=conversation.protocol,
        tls=session.stream.tls,
        user=conversation.user,
        envelope=envelope,
        content=message,
    )
    opinion = await filters.ask(arrival, b"".join(message))
    if opinion.refusal is not None:
        return opinion.refusal
    if opinion.suspicion:
        return reply(550, "5.7.1", f"A filter suspects this message and it was not sent: {opinion.suspicion}")
    return opinion
