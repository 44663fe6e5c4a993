"""Making what is published what should be: updates to an existing name server, and news to secondaries.

Standards: RFC 2136 (updates), RFC 1996 section 3 (NOTIFY), RFC 8945 (both signed).
Limits: a NOTIFY is sent three times at most.
"""

from __future__ import annotations

from collections.abc import Iterable

from letterlock.errors import PeerFault
from letterlock.formats.dns import types
from letterlock.formats.dns.types import Rcode
from letterlock.formats.dns.zone import Zone
from letterlock.host.resolver.exchange import Exchange, Server
from letterlock.hostmaster.check import Finding, Standing
from letterlock.protocols.dns.transfer import notification
from letterlock.protocols.dns.tsig import TsigKey
from letterlock.protocols.dns.update import update

_SECONDS = 10.0
_NOTIFY_ATTEMPTS = 3


async def publish(
    origin: str,
    findings: Iterable[Finding],
    server: Server,
    key: TsigKey,
    exchange: Exchange,
    now: int,
    *,
    ttl: int = 3600,
) -> int:
    """Ask a zone's primary server to make the changes that findings name; return how many records changed.

    What could not be looked up is left alone. Raises PeerFault when the server refuses or does not answer.
    """
    changing = [found for found in findings if found.standing in (Standing.MISSING, Standing.WRONG)]
    removed = [(found.owner, data) for found in changing for data in found.surplus]
    added = [(found.owner, data, ttl) for found in changing for data in found.missing]
    if not removed and not added:
        return 0
    response = await exchange.ask_signed(server, update(origin, removed, added), key, now, _SECONDS)
    if response.rcode != Rcode.NOERROR:
        raise PeerFault(f"{server} refused the update of {origin}: {types.rcode_text(response.rcode)}")
    return len(removed) + len(added)


async def notify(zone: Zone, secondaries: Iterable[Server], exchange: Exchange) -> dict[Server, str]:
    """Tell secondaries of a new version; return what went wrong, by server."""
    problems = {}
    for server in secondaries:
        for _ in range(_NOTIFY_ATTEMPTS):
            try:
                response = await exchange.ask(server, notification(zone), 2.0)
            except PeerFault as fault:
                problems[server] = fault.problem
                continue
            if response.rcode == Rcode.NOERROR:
                problems.pop(server, None)
            else:
                problems[server] = f"{server} answered {types.rcode_text(response.rcode)}"
            break
    return problems
