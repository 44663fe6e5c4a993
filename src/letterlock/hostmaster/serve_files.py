"""Zones of files, served and kept signed until a signal ends it.

Every quarter of an hour, and at SIGHUP at once, files and keys are looked at again: what changed is read, signed, served
and told to the secondaries. A file that is wrong changes nothing: the former version is served on.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from letterlock.errors import Malformed
from letterlock.formats.dns import name as names
from letterlock.formats.dns.zone import Zone
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


@dataclass(frozen=True, slots=True)
class ZoneFile:
    """A zone's origin, without a final dot, and the file of its text."""

    origin: str
    path: Path

    def read(self) -> Zone:
        """Read the zone; raises Malformed, OSError."""
        try:
            return Zone.parse(self.path.read_text(encoding="utf-8"), self.origin)
        except (Malformed, UnicodeDecodeError) as error:
            raise Malformed(f"{self.path}: {error}") from None


class ZoneFileServer:
    """Serves files. Raises Malformed and OSError where a file or key is wrong at the start."""

    def __init__(
        self,
        files: Iterable[ZoneFile],
        *,
        key_folder: Path | None = None,
        denial: Denial | None = None,
        secondaries: tuple[Server, ...] = (),
        transfer_key: TsigKey | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files = tuple(files)
        self._folder = key_folder
        self._denial = denial
        self._secondaries = secondaries
        self._clock = clock
        self._content: dict[str, Zone] = {}
        self._keepers: dict[str, ZoneKeeper] = {}
        access = Access({transfer_key.name: transfer_key}) if transfer_key is not None else Access()
        self.server = NameServer((), access, clock)
        for file in self._files:
            self._look_at(file)

    def _look_at(self, file: ZoneFile) -> Zone | None:
        """Read a file and its keys; serve and return what is new."""
        content = file.read()
        is_new = self._content.get(file.origin) != content
        self._content[file.origin] = content
        if self._folder is None:
            if is_new:
                self.server.put(content)
            return content if is_new else None
        now = int(self._clock())
        store = KeyFolder(self._folder, file.origin)
        keys = store.load_or_generate(zone_keys.ECDSAP256SHA256)
        keeper = self._keepers.get(file.origin)
        if keeper is None:
            keeper = self._keepers[file.origin] = ZoneKeeper(
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
        """Look at all files and keys; serve what is new, and tell the secondaries of it."""
        exchange = Exchange()
        for file in self._files:
            try:
                changed = self._look_at(file)
            except (Malformed, OSError) as error:
                say(f"{file.origin}: not read again: {error}")
                continue
            if changed is not None:
                say(f"{file.origin}: serial {changed.serial} is served")
                for problem in (await notify(changed, self._secondaries, exchange)).values():
                    say(f"{file.origin}: a secondary was not told: {problem}")
        await exchange.aclose()

    async def run(self, address: str, port: int, say: Callable[[str], object]) -> None:
        """Serve until SIGINT or SIGTERM. Raises OSError where the address cannot be had."""
        chosen = await self.server.listen(address, port)
        loop = asyncio.get_running_loop()
        stop, again = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, again.set)
        say(f"serving {len(self._files)} zone(s) at {address}:{chosen}")
        exchange = Exchange()
        for file in self._files:
            await notify(self.server.catalog.zones[names.to_wire(file.origin)], self._secondaries, exchange)
        await exchange.aclose()
        looking = asyncio.create_task(self._look_again(again, say))
        await stop.wait()
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await self.server.aclose()

    async def _look_again(self, again: asyncio.Event, say: Callable[[str], object]) -> None:
        while True:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await again.wait()
            except TimeoutError:
                pass
            again.clear()
            await self.look(say)
