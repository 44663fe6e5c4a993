"""The domain's DKIM keys: made by `init`, one RSA and one Ed25519, and used for every message submitted here.

A key stands in the folder of `dkim.folder` as SELECTOR.pem; all active keys there sign (RFC 8463 section 3 asks for both
algorithms side by side). host/key_ring.py has the life of a key.
"""

from __future__ import annotations

import asyncio
import datetime

from letterlock.admd.settings import Settings
from letterlock.errors import Malformed, SettingsFault, Unavailable
from letterlock.host import signing_keys
from letterlock.host.clock import Clock
from letterlock.host.key_ring import KeyRing, Schedule
from letterlock.host.logs import Log
from letterlock.trust.dkim.signing import SigningKey, sign

_LARGE_OCTETS = 256 * 1024  # hashing this much takes longer than other sessions should wait


def make_keys(settings: Settings, now: datetime.datetime) -> None:
    """Make the first keys; their selectors carry the month, so that the next ones differ. Raises OSError."""
    folder = settings.path(settings.dkim.folder)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for kind in ("rsa", "ed25519"):
        selector = f"{kind[0]}{now:%Y%m}"
        signing_keys.write_key(folder / f"{selector}.pem", signing_keys.generate(settings.domain, selector, kind))


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
    """Signs what the domain's people submit.

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
        octets = b"".join(content)
        now = int(self._clock.now())
        try:
            if len(octets) < _LARGE_OCTETS:
                return sign(octets, keys, now)
            return await asyncio.to_thread(sign, octets, keys, now)
        except Malformed:
            # Such a message cannot be signed soundly; it goes out as it is, and others judge it by SPF alone.
            return b""
