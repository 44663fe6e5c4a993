"""Routes, each looked up once for all messages that want it at about the same time.

A route is kept for a few seconds, on top of what the resolver keeps: a crowd of messages for one domain costs one
decision, and a change in the DNS is seen that much later.

Limits: 1,000 routes.
See also: mta/route.py (the decision).
"""

from __future__ import annotations

import asyncio

from letterlock.host.drive_decisions import drive
from letterlock.host.entropy import Entropy
from letterlock.host.resolver.interface import Resolver
from letterlock.mta.route import Route, RoutingSettings, find_route

_MOST_ROUTES = 1000


class Routes:
    """Finds routes, and keeps each for `seconds`."""

    def __init__(self, settings: RoutingSettings, resolver: Resolver, entropy: Entropy, *, seconds: float) -> None:
        self.settings = settings
        self._resolver = resolver
        self._entropy = entropy
        self._seconds = seconds
        self._kept: dict[tuple[str, str], tuple[Route, float]] = {}
        self._finding: dict[tuple[str, str], asyncio.Task[Route]] = {}

    async def find(self, domain: str, override: str = "") -> Route:
        """Return the route for a domain, as `find_route` does."""
        key = domain, override
        kept = self._kept.get(key)
        now = asyncio.get_running_loop().time()
        if kept is not None and kept[1] > now:
            return kept[0]
        finding = self._finding.get(key)
        if finding is None:
            decision = find_route(domain, self.settings, self._entropy, override=override)
            finding = self._finding[key] = asyncio.create_task(drive(decision, self._resolver))
            finding.add_done_callback(lambda _: self._finding.pop(key, None))
        route = await asyncio.shield(finding)
        if self._seconds > 0:
            if len(self._kept) >= _MOST_ROUTES:
                self._kept.clear()
            self._kept[key] = route, now + self._seconds
        return route

    def forget(self) -> None:
        """Look everything up anew from now on."""
        self._kept.clear()
