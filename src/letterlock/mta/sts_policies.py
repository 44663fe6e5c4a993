"""The MTA-STS policies of the domains we send to: found, fetched, kept, and used while they last.

A policy that was once found holds for its max_age, whatever the DNS or the web server says meanwhile: who takes the record
away does not take the protection away. A record with a new id, or a policy near its end, is fetched again; a fetch that
fails is not repeated at once and changes nothing.

Standards: RFC 8461 section 3.1 to 3.3, section 5.1 (control flow), section 10.2 (an attacker who hides the policy);
RFC 8460 section 4.3.2.2 (failures of policies).
Limits: 64 KB and 60 s a fetch, from public addresses; 10,000 policies, the least recently used forgotten first.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import apsw
import msgspec

from letterlock.errors import Malformed, PeerFault
from letterlock.formats import mta_sts
from letterlock.formats.dns.question import Outcome, Question
from letterlock.formats.dns.rdata import Txt
from letterlock.formats.mta_sts import Policy
from letterlock.host import https
from letterlock.host.clock import Clock
from letterlock.host.https import Fetch
from letterlock.host.logs import Log
from letterlock.mta.tls_results import STS_FETCH_ERROR, STS_INVALID, STS_WEB_INVALID

_MOST_POLICIES = 10_000
_PATH = "/.well-known/mta-sts.txt"
_AGAIN_SECONDS = 300.0  # RFC 8461 section 3.3: not at once after a fetch that failed


@dataclass(frozen=True, slots=True)
class Kept:
    """A policy as it was fetched, with the record's id; `expires` in seconds since 1970."""

    policy: Policy
    id: str
    expires: float


@dataclass(frozen=True, slots=True)
class _Failure:
    """A fetch that failed: when it may be tried again, in seconds that only grow, and how a report names it."""

    until: float
    result_type: str


def _result_type(fault: PeerFault | Malformed) -> str:
    """Return what RFC 8460 section 4.3.2.2 calls a fetch that failed."""
    if isinstance(fault, Malformed):
        return STS_INVALID
    is_certificate = isinstance(fault.__cause__, ssl.SSLCertVerificationError)
    return STS_WEB_INVALID if is_certificate else STS_FETCH_ERROR


class _Keeper:
    """The policies in an SQLite file, a row each: durable, for who makes us forget one takes a protection away."""

    def __init__(self, file: Path, log: Log) -> None:
        self._file = file
        self._log = log
        self._lock = threading.Lock()

    def known(self, now: float) -> dict[str, Kept]:
        """Return the policies that still hold, those that end first in front, and forget the others."""
        try:
            with contextlib.closing(self._opened()) as connection:
                connection.execute("DELETE FROM policies WHERE expires <= ?", (now,))
                rows = connection.execute("SELECT domain, kept FROM policies ORDER BY expires").fetchall()
            return {
                str(domain): msgspec.json.decode(kept, type=Kept)
                for domain, kept in rows[-_MOST_POLICIES:]
                if isinstance(kept, bytes)
            }
        except (apsw.Error, msgspec.DecodeError) as error:
            self._log.warning("MTA-STS policies not read", file=str(self._file), problem=str(error))
            with contextlib.suppress(OSError):
                self._file.replace(self._file.with_suffix(".damaged"))  # so that what is learned anew is kept
            return {}

    def keep(self, domain: str, kept: Kept) -> None:
        """Keep a policy in place of the one before. Blocks; what cannot be kept is logged."""
        row = (domain, kept.expires, msgspec.json.encode(kept))
        try:
            with self._lock, contextlib.closing(self._opened()) as connection:
                connection.execute("INSERT OR REPLACE INTO policies VALUES (?, ?, ?)", row)
        except apsw.Error as error:
            self._log.warning("MTA-STS policy not kept", file=str(self._file), problem=str(error))

    def _opened(self) -> apsw.Connection:
        connection = apsw.Connection(str(self._file))
        connection.set_busy_timeout(5_000)
        connection.execute(
            "CREATE TABLE IF NOT EXISTS policies (domain TEXT PRIMARY KEY, expires REAL NOT NULL, kept BLOB NOT NULL) STRICT"
        )
        return connection


class StsPolicies:
    """The policies known; kept in `file` (SQLite) over restarts, if given."""

    def __init__(self, fetch: Fetch, *, clock: Clock, log: Log, file: Path | None = None) -> None:
        self._fetch = fetch
        self._clock = clock
        self._log = log
        self._keeper = _Keeper(file, log) if file is not None else None
        self._kept: OrderedDict[str, Kept] = OrderedDict(self._keeper.known(clock.now()) if self._keeper else ())
        self._failed: dict[str, _Failure] = {}
        self._fetching: dict[str, asyncio.Future[Kept | None]] = {}

    async def policy(self, domain: str) -> Policy | None:
        """Return the policy that holds for mail to `domain` now, or None for none."""
        now = self._clock.now()
        kept = self._kept.get(domain)
        if kept is not None and kept.expires <= now:
            del self._kept[domain]
            kept = None
        answer = await self._fetch.resolver.ask(Question(f"_mta-sts.{domain}", "TXT"))
        if answer.outcome is Outcome.FOUND:
            texts = [record.joined for record in answer.records if isinstance(record, Txt)]
            identifier = mta_sts.read_record(texts)
            if identifier is not None and (kept is None or kept.id != identifier or self._is_ageing(kept, now)):
                kept = await self._renewed(domain, identifier) or kept
        if kept is None:
            return None
        if domain in self._kept:
            self._kept.move_to_end(domain)
        return kept.policy

    def trouble(self, domain: str) -> str:
        """Return the TLSRPT result type of a policy that is announced and could not be had, "" for none."""
        failure = self._failed.get(domain)
        return failure.result_type if failure is not None and self._clock.elapsed() < failure.until else ""

    def _is_ageing(self, kept: Kept, now: float) -> bool:
        # RFC 8461 section 10.2: who blocks the fetch must keep blocking for half of max_age, not for a moment.
        return kept.expires - now < kept.policy.max_age_seconds / 2

    async def _renewed(self, domain: str, identifier: str) -> Kept | None:
        failure = self._failed.get(domain)
        if failure is not None and self._clock.elapsed() < failure.until:
            return None
        fetching = self._fetching.get(domain)
        if fetching is None:
            fetching = asyncio.ensure_future(self._get(domain, identifier))
            self._fetching[domain] = fetching
            fetching.add_done_callback(lambda _: self._fetching.pop(domain, None))
        return await asyncio.shield(fetching)

    async def _get(self, domain: str, identifier: str) -> Kept | None:
        host = f"mta-sts.{domain}"
        try:
            media_type, body = await https.get(host, _PATH, self._fetch)
            if media_type.partition(";")[0].strip().lower() != "text/plain":
                raise Malformed(
                    f"the policy comes as {media_type[:60]!r}, not text/plain", clause="RFC 8461 section 3.2"
                )
            policy = mta_sts.read_policy(body)
        except (PeerFault, Malformed) as fault:
            problem = fault.problem
            self._log.warning("MTA-STS policy not fetched", domain=domain, problem=problem)
            if len(self._failed) >= _MOST_POLICIES:
                self._failed.clear()
            self._failed[domain] = _Failure(self._clock.elapsed() + _AGAIN_SECONDS, _result_type(fault))
            return None
        self._failed.pop(domain, None)
        kept = Kept(policy, identifier, self._clock.now() + policy.max_age_seconds)
        self._kept[domain] = kept
        if len(self._kept) > _MOST_POLICIES:
            self._kept.popitem(last=False)
        self._log.event("MTA-STS policy fetched", domain=domain, mode=policy.mode.value)
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.keep, domain, kept)
        return kept
