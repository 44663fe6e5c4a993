"""Zones from wherever they come, served and kept signed.

Every quarter of an hour, and at once when `look` is called, their sources and keys are looked at again: what changed is
signed, served and told to the secondaries. A source that is wrong changes nothing: the former version is served on.

See also: domain_zone.py (the zone of a domain made from its settings).
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from letterlock.errors import Malformed, SettingsFault, Unavailable
from letterlock.formats.dns.zone import Zone
from letterlock.host.drive_work import contain, contain_now
from letterlock.host.resolver.exchange import Exchange, Server
from letterlock.hostmaster.key_folder import KeyFolder
from letterlock.hostmaster.name_server import NameServer
from letterlock.hostmaster.publish import notify
from letterlock.hostmaster.zone_keeper import ZoneKeeper
from letterlock.protocols.dns.server import Access
from letterlock.protocols.dns.tsig import TsigKey
from letterlock.trust.dnssec.sign import Denial
from letterlock.trust.primitives import zone_keys

_LOOK_SECONDS = 900.0


class ZoneSource(Protocol):
    """Where a zone comes from; `origin` is without a final dot."""

    @property
    def origin(self) -> str:
        """The zone's name."""
        ...

    def read(self) -> Zone:
        """Return the zone as it is now, unsigned; raises Malformed, OSError."""
        ...


@dataclass(frozen=True, slots=True)
class ZoneFile:
    """A zone's origin, without a final dot, and the file of its text."""

    origin: str
    path: Path

    def read(self) -> Zone:
        """Read the zone; raises Malformed, OSError."""
        try:
            return Zone.parse(self.path.read_text(encoding="utf-8"), self.origin)
        except Malformed as error:
            raise Malformed(f"{self.path}: {error.problem}", clause=error.clause) from None
        except UnicodeDecodeError as error:
            raise Malformed(f"{self.path}: not UTF-8", offset=error.start) from None


class ZoneHost:
    """Serves zones. Raises Malformed and OSError where a source or key is wrong at the start."""

    def __init__(
        self,
        sources: Iterable[ZoneSource],
        *,
        key_folder: Path | None = None,
        denial: Denial | None = None,
        secondaries: tuple[Server, ...] = (),
        transfer_key: TsigKey | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sources = tuple(sources)
        self._folder = key_folder
        self._denial = denial
        self._secondaries = secondaries
        self._clock = clock
        self._content: dict[str, Zone] = {}
        self._keepers: dict[str, ZoneKeeper] = {}
        access = Access({transfer_key.name: transfer_key}) if transfer_key is not None else Access()
        self.server = NameServer((), access, clock)
        for source in self._sources:
            self._look_at(source)

    def _look_at(self, source: ZoneSource) -> Zone | None:
        """Read a source and its keys; serve and return what is new."""
        content = source.read()
        is_new = self._content.get(source.origin) != content
        self._content[source.origin] = content
        if self._folder is None:
            if is_new:
                self.server.put(content)
            return content if is_new else None
        now = int(self._clock())
        store = KeyFolder(self._folder, source.origin)
        keys = store.load_or_generate(zone_keys.ECDSAP256SHA256)
        keeper = self._keepers.get(source.origin)
        if keeper is None:
            keeper = self._keepers[source.origin] = ZoneKeeper(
                content, keys, self._denial, last_serial=store.last_serial()
            )
        elif is_new:
            keeper.change(content)
        keeper.keys = keys
        signed = keeper.refresh(now)
        if keeper.keys != keys:
            store.save(keeper.keys)
        if signed is not None:
            store.save_serial(signed.serial)
            self.server.put(signed)
        return signed

    async def look(self, say: Callable[[str], object]) -> None:
        """Look at all sources and keys; serve what is new, and tell the secondaries of it."""
        exchange = Exchange()
        for source in self._sources:
            try:
                changed = contain_now(partial(self._look_at, source), Malformed, SettingsFault, OSError)
            except (Malformed, SettingsFault, OSError, Unavailable) as error:
                problem = error.problem if isinstance(error, Malformed) else str(error)
                say(f"{source.origin}: not read again: {problem}")
                continue
            if changed is not None:
                say(f"{source.origin}: serial {changed.serial} is served")
                for problem in (await notify(changed, self._secondaries, exchange)).values():
                    say(f"{source.origin}: a secondary was not told: {problem}")
        await exchange.aclose()

    async def listen(self, address: str, port: int) -> int:
        """Serve at an address from now on; return the port, chosen by the system for 0. Raises OSError."""
        return await self.server.listen(address, port)

    async def serve(self, stream: socket.socket, datagrams: socket.socket) -> None:
        """Serve at sockets that were bound before (name_server.bind_pair), which are ours from now on."""
        await self.server.serve(stream, datagrams)

    async def keep(self, say: Callable[[str], object]) -> None:
        """Tell the secondaries what is served, and look again and again, for ever; run it as a task.

        Whatever goes wrong is said and ends nothing: a zone that is signed no more ends one day.
        """
        work: Callable[[], Awaitable[None]] = self._tell_all
        while True:
            try:
                await contain(work())
            except Unavailable as trouble:
                say(f"zones not looked at: {trouble.problem}")
            work = partial(self.look, say)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _tell_all(self) -> None:
        exchange = Exchange()
        for zone in self.server.catalog.zones.values():
            await notify(zone, self._secondaries, exchange)
        await exchange.aclose()

    async def aclose(self) -> None:
        """Stop serving."""
        await self.server.aclose()
