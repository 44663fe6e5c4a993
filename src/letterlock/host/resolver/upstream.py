"""Several servers that can each answer: ask one, and another when it fails.

A server that failed is asked last for half a minute.

Limits: every server at most twice, 2 s a query, 8 s altogether.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from letterlock.errors import PeerFault
from letterlock.formats.dns import types
from letterlock.formats.dns.message import Message
from letterlock.formats.dns.types import Rcode
from letterlock.host.resolver.exchange import Exchange, Server

_REST_SECONDS = 30.0


class Upstream:
    """A list of equal servers."""

    def __init__(
        self,
        servers: tuple[Server, ...],
        exchange: Exchange,
        *,
        query_seconds: float = 2.0,
        total_seconds: float = 8.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.servers = servers
        self._exchange = exchange
        self._query_seconds = query_seconds
        self._total_seconds = total_seconds
        self._clock = clock
        self._failed_at: dict[Server, float] = {}

    async def ask(self, query: Message) -> Message:
        """Return the first response that is an answer or a denial; raises PeerFault with every server's failing.

        Where all servers answer that they cannot, the last such response is returned.
        """
        started = self._clock()
        problems: list[str] = []
        refusal: Message | None = None
        for server in self._in_order() * 2:
            left = self._total_seconds - (self._clock() - started)
            if left <= 0:
                break
            try:
                response = await self._exchange.ask(server, query, min(self._query_seconds, left))
            except PeerFault as fault:
                problems.append(fault.problem)
                self._failed_at[server] = self._clock()
                continue
            if response.rcode in (Rcode.NOERROR, Rcode.NXDOMAIN):
                self._failed_at.pop(server, None)
                return response
            problems.append(f"{server} answered {types.rcode_text(response.rcode)}")
            if refusal is not None and len(self.servers) == 1:
                return refusal
            refusal = response
        if refusal is not None:
            return refusal
        raise PeerFault("; ".join(dict.fromkeys(problems)) or "no server is configured")

    def _in_order(self) -> tuple[Server, ...]:
        if not self._failed_at:
            return self.servers
        now = self._clock()
        return tuple(sorted(self.servers, key=lambda server: now - self._failed_at.get(server, -1e9) < _REST_SECONDS))
