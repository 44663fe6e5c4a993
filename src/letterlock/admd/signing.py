"""The domain's DKIM keys: made by `init`, one RSA and one Ed25519; they sign what is submitted and seal what is forwarded.

A key stands in the folder of `dkim.folder` as SELECTOR.pem; all active keys there sign (RFC 8463 section 3 asks for both
algorithms side by side), and one seals, RSA if there is one, because few verify the other in ARC. host/key_ring.py has the
life of a key.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from functools import partial
from pathlib import Path

from letterlock.admd.settings import Settings
from letterlock.errors import Malformed, SettingsFault, Unavailable
from letterlock.host import signing_keys
from letterlock.host.clock import Clock
from letterlock.host.key_ring import KeyRing, Schedule
from letterlock.host.logs import Log
from letterlock.mta.arrival import Evidence
from letterlock.trust import arc
from letterlock.trust.dkim.signing import SigningKey, sign

_LARGE_OCTETS = 256 * 1024  # hashing this much takes longer than other sessions should wait


def first_keys(settings: Settings, now: datetime.datetime) -> dict[Path, bytes]:
    """Return new keys in PEM by the files they belong into; their selectors carry the month, so that the next ones differ."""
    folder = settings.path(settings.dkim.folder)
    selectors = {kind: f"{kind[0]}{now:%Y%m}" for kind in ("rsa", "ed25519")}
    return {
        folder / f"{selector}.pem": signing_keys.written(signing_keys.generate(settings.domain, selector, kind))
        for kind, selector in selectors.items()
    }


def load_ring(settings: Settings) -> KeyRing:
    """Return the keys with their states. Raises SettingsFault for a file that is no key."""
    folder = settings.path(settings.dkim.folder)
    try:
        return KeyRing.load(folder)
    except (Malformed, OSError) as error:
        raise SettingsFault((f"{folder}: not a folder of DKIM keys ({error}); replace or remove the file",)) from error


def load_keys(settings: Settings, domain: str) -> tuple[SigningKey, ...]:
    """Return the keys that sign for `domain`. Raises SettingsFault for a file that is no key."""
    return load_ring(settings).signing(domain)


class Signer:
    """Signs what the domain's people submit, and seals what is forwarded for them.

    Keys whose time has come are moved on once a day, and whatever changes in their folder is taken up with the next
    message. A folder that cannot be read leaves the keys of before in force.
    """

    def __init__(self, settings: Settings, clock: Clock, log: Log | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._log = log or Log("msa")
        self._folder = settings.path(settings.dkim.folder)
        self._seen = (0, 0)
        self._keys: dict[str, tuple[SigningKey, ...]] = {}
        self._take_up(load_ring(settings))

    def _take_up(self, ring: KeyRing) -> None:
        ring = ring.advance(int(self._clock.now()), Schedule())
        self._keys = {domain: ring.signing(domain) for domain in self._settings.local_domains}
        self._seen = self._state()

    def _state(self) -> tuple[int, int]:
        """What changes when the keys may have: the day, and the folder."""
        changed = self._folder.stat().st_mtime_ns if self._folder.is_dir() else 0
        return int(self._clock.now()) // 86_400, changed

    def _follow(self) -> None:
        if self._state() != self._seen:
            try:
                self._take_up(load_ring(self._settings))
            except (SettingsFault, Unavailable) as fault:
                self._seen = self._state()
                self._log.warning("DKIM keys not taken up", problem=str(fault))

    async def __call__(self, author_domain: str, content: tuple[bytes, ...]) -> bytes:
        """Return the DKIM-Signature fields for a message of one of our domains, nothing for others'."""
        self._follow()
        keys = self._keys.get(author_domain, ())
        if not keys:
            return b""
        octets, now = b"".join(content), int(self._clock.now())
        # A message that cannot be signed soundly goes out as it is, and others judge it by SPF alone.
        return await _made(partial(sign, octets, keys, now), len(octets))

    async def seal(self, evidence: Evidence, content: tuple[bytes, ...]) -> bytes:
        """Return the ARC set for a message that goes on as `content`, nothing where none can be added."""
        self._follow()
        keys = self._keys.get(self._settings.domain, ())
        if not keys or evidence.chain.result is arc.Result.TEMPERROR:
            # Of a chain that could not be judged nothing can be said; it reaches the next host as it is.
            return b""
        key = next((one for one in keys if one.key_type == "rsa"), keys[0])
        octets, now = b"".join(content), int(self._clock.now())
        return await _made(partial(arc.seal, octets, key, now, evidence.chain, evidence.results), len(octets))


async def _made(make: Callable[[], bytes], size: int) -> bytes:
    """Make fields, in a thread where that takes long; nothing for a message that is not fit for them."""
    try:
        return make() if size < _LARGE_OCTETS else await asyncio.to_thread(make)
    except Malformed:
        return b""
