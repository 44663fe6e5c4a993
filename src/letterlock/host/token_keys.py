"""The public keys of an identity provider, from a file or an https URL, kept for a while.

What is at hand is used for an hour; then, or where a token names a key that is not known, it is looked for anew, at most
once a minute. While the provider does not answer, the keys of before stay good for a day.

Limits: 256 KB of keys; 10 seconds to fetch them.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from letterlock.errors import Malformed, PeerFault, Unavailable
from letterlock.host.clock import Clock
from letterlock.host.https import Fetch, get
from letterlock.host.logs import Log
from letterlock.trust.oauth import TokenKeys, read_keys

LONGEST_KEYS = 256 * 1024
_FRESH_SECONDS = 3600.0
_LAST_SECONDS = 86_400.0
_PAUSE_SECONDS = 60.0
_URL = re.compile(r"https://([A-Za-z0-9][A-Za-z0-9.-]{0,252})(?::([0-9]{1,5}))?(/[!-~]*)?")


def split_url(url: str) -> tuple[str, int, str] | None:
    """Return host, port and path of an https URL, or None for what is none."""
    match = _URL.fullmatch(url)
    return (match[1].lower(), int(match[2] or 443), match[3] or "/") if match else None


class TokenKeySource:
    """Where keys come from: `place` is a file, or the host and path that `fetch` asks."""

    def __init__(self, place: Path | tuple[str, str], *, clock: Clock, log: Log, fetch: Fetch | None = None) -> None:
        self._place = place
        self._clock = clock
        self._log = log
        self._fetch = fetch
        self._keys: TokenKeys | None = None
        self._fetched = self._tried = float("-inf")
        self._lock = asyncio.Lock()

    async def keys(self) -> TokenKeys:
        """Return the keys. Raises Unavailable where there are none."""
        if self._keys is None or self._clock.elapsed() - self._fetched > _FRESH_SECONDS:
            return await self.renewed()
        return self._keys

    async def renewed(self) -> TokenKeys:
        """Return the keys after a new look, unless the last was a moment ago. Raises Unavailable."""
        async with self._lock:
            now = self._clock.elapsed()
            if now - self._tried >= _PAUSE_SECONDS:
                self._tried = now
                try:
                    self._keys = read_keys(await self._look())
                    self._fetched = now
                except (PeerFault, OSError, Malformed) as problem:
                    self._log.warning("token keys not renewed", place=str(self._place), problem=str(problem))
            if self._keys is None or now - self._fetched > _LAST_SECONDS:
                raise Unavailable("the identity provider's keys are not at hand")
            return self._keys

    async def _look(self) -> bytes:
        if isinstance(self._place, Path):
            return await asyncio.to_thread(self._place.read_bytes)
        assert self._fetch is not None
        return (await get(*self._place, self._fetch, accept="application/json"))[1]
