"""Where raw responses come from: a forwarder that recurses for us, or our own walk from the root (iterate.py).

Validation needs the records with their signatures, so a source returns whole messages.

Standards: RFC 4035 section 4.9 and RFC 6840 section 5.9 (DO and CD towards the forwarder).
"""

from __future__ import annotations

from typing import Protocol

from letterlock.formats.dns import message as messages
from letterlock.formats.dns.message import Message
from letterlock.host.resolver.upstream import Upstream
from letterlock.protocols.dns import client


class Source(Protocol):
    """Fetches responses with DNSSEC records."""

    async def fetch(self, owner: bytes, number: int) -> Message:
        """Return the response for a name in wire form and a type; raises PeerFault when there is none."""
        ...


class ForwardSource:
    """Responses by way of forwarders, whose own checking is switched off so that evidence arrives."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def fetch(self, owner: bytes, number: int) -> Message:
        """Return the forwarder's response; raises PeerFault."""
        return await self._upstream.ask(client.query(0, owner, number, flags=messages.RD | messages.CD))
