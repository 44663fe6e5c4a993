"""The domain's own zones, served by ourselves where the settings wish it: signed, kept, told to the secondaries."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import partial

from letterlock.admd.domain_facts import facts_of
from letterlock.admd.settings import Settings
from letterlock.errors import Malformed, SettingsFault
from letterlock.host.clock import Clock
from letterlock.host.logs import Log
from letterlock.host.resolver.exchange import Server
from letterlock.hostmaster.domain_zone import DomainZone
from letterlock.hostmaster.zone_host import ZoneHost
from letterlock.protocols.dns.tsig import TsigKey

_Sockets = list[tuple[socket.socket, socket.socket]]


async def serve_own_zones(
    settings: Settings, sockets: _Sockets, stack: contextlib.AsyncExitStack, clock: Clock
) -> ZoneHost | None:
    """Serve the zones of all local domains at sockets that were bound; `stack` ends it. None where there are none.

    Raises SettingsFault.
    """
    publish = settings.publish
    if not sockets:
        return None
    more = settings.path(publish.more) if publish.more else None
    zones = [
        DomainZone(
            domain,
            partial(facts_of, settings, domain, tuple(publish.addresses)),
            tuple(publish.name_servers),
            more if domain == settings.domain else None,
        )
        for domain in settings.local_domains
    ]
    try:
        key = settings.path(publish.transfer_key).read_text(encoding="ascii").strip() if publish.transfer_key else None
        host = ZoneHost(
            zones,
            key_folder=settings.path(publish.keys),
            secondaries=tuple(Server.parse(text) for text in publish.secondaries),
            transfer_key=TsigKey.parse(key) if key else None,
            clock=clock.now,
        )
    except (Malformed, OSError, ValueError) as error:
        raise SettingsFault((f"publish: {error}",)) from None
    for pair in sockets:
        await host.serve(*pair)
    stack.push_async_callback(host.aclose)
    log = Log("hostmaster")
    keeping = asyncio.create_task(host.keep(partial(_say, log)))
    stack.push_async_callback(_end, keeping)
    return host


async def look_again(host: ZoneHost | None) -> None:
    """Have the zones made anew, if they are served here."""
    if host is not None:
        await host.look(partial(_say, Log("hostmaster")))


def _say(log: Log, sentence: str) -> None:
    log.event("zone", about=sentence)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
