"""Answer what decisions about certificates ask of the web (trust/pkix/retrieval.py), with a memory and in bounded time.

    async with Retriever(RetrieveSettings(), resolver, clock=clock, log=log) as retriever:
        trust = await retriever.search(gather(unwrapped, trust, Asking()))

Whoever asks waits `patience_seconds` for all answers together; what did not come by then goes on being fetched, so that the
next one finds it. What came is used again as long as it says it may be (at most a day). What could not be had is not asked
for again for five minutes, and who did not answer at all is left in peace for one. An old answer is given when no new one
comes: decisions look at dates themselves.

Issuers' certificates lie where whoever wrote a certificate says; a server does not wait for them (`waits_for_issuers`), and
they keep nothing else from being fetched.

Limits: 8 fetches at once, 2 of issuers, 30 seconds each, and 64 with those that wait for a place; 64 MiB and 1,024 answers are
kept in memory, and in the file, if there is one.
See also: host/http.py (which addresses may be asked).
"""

from __future__ import annotations

import asyncio
import datetime
import ssl
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import apsw

from letterlock.errors import Malformed, PeerFault, Unavailable
from letterlock.host import http
from letterlock.host.clock import Clock
from letterlock.host.connect import ConnectionFailed
from letterlock.host.http import Web
from letterlock.host.logs import Log
from letterlock.host.resolver.interface import Resolver
from letterlock.host.stream import DeadlinePassed
from letterlock.host.tls import authenticated_client
from letterlock.trust.pkix.retrieval import Kind, Retrieval, Retrieved, Search, useful_until

T = TypeVar("T")
MOST_KEPT = 1024
MOST_KEPT_OCTETS = 64 << 20
_AT_ONCE = 8
_ISSUERS_AT_ONCE = 2
_MOST_WAITING = 64
_FETCH_SECONDS = 30.0
_AGAIN_SECONDS = 300.0
_SILENT_SECONDS = 60.0
_OCSP_REQUEST = "application/ocsp-request"


@dataclass(frozen=True, slots=True)
class RetrieveSettings:
    """How long somebody waits (and whether for issuers), whether networks of our own may be asked, the file that remembers.

    `roots` (PEM) certify https servers in place of the system's authorities. Without `asks` nobody is asked: what was kept of
    earlier answers is all there is.
    """

    patience_seconds: float = 5
    waits_for_issuers: bool = True
    allow_private: bool = False
    file: Path | None = None
    roots: Path | None = None
    asks: bool = True


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer, and until when (seconds since 1970) it is given without asking."""

    answer: Retrieved
    until: float

    @property
    def size(self) -> int:
        return len(self.answer.octets or b"") + len(self.answer.problem)


class Retriever:
    """Fetches, remembers, and drives searches. An asynchronous context manager; opening may raise Unavailable."""

    def __init__(self, settings: RetrieveSettings, resolver: Resolver, *, clock: Clock, log: Log | None = None) -> None:
        self._settings = settings
        self._resolver = resolver
        self._clock = clock
        self._log = log
        self._memory = _Memory()
        self._file = _File(settings.file) if settings.file is not None else None
        self._silent: dict[str, tuple[float, str]] = {}
        self._running: dict[Retrieval, asyncio.Task[Retrieved]] = {}
        self._context: ssl.SSLContext | None = None
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._places_for_issuers = asyncio.Semaphore(_ISSUERS_AT_ONCE)

    async def __aenter__(self) -> Retriever:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up what is being fetched, and close the file."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if self._file is not None:
            self._file.close()

    async def search(self, search: Search[T]) -> T:
        """Drive a search to its end. Its steps, which read and check what came, run in a thread."""
        until = asyncio.get_running_loop().time() + self._settings.patience_seconds
        answers: tuple[Retrieved, ...] | None = None
        while True:
            found = await asyncio.to_thread(_step, search, answers)
            if isinstance(found, _Done):
                return found.value
            answers = tuple(await asyncio.gather(*(self._answer(wanted, until) for wanted in found)))

    async def _answer(self, wanted: Retrieval, until: float) -> Retrieved:
        kept = self._memory.get(wanted)
        if kept is None and self._file is not None and wanted.is_kept:
            kept = await asyncio.to_thread(self._file.get, wanted)
            if kept is not None:
                self._memory.put(wanted, kept)
        if kept is not None and self._clock.now() < kept.until:
            return kept.answer
        if not self._settings.asks:
            return kept.answer if kept is not None else Retrieved(None, "nobody was asked")
        task = self._running.get(wanted)
        if task is None:
            if len(self._running) >= _MOST_WAITING:
                return Retrieved(None, "too much else is being fetched")
            task = self._running[wanted] = asyncio.create_task(self._renew(wanted, kept))
            task.add_done_callback(lambda _: self._running.pop(wanted, None))
        if wanted.kind is Kind.ISSUERS and not self._settings.waits_for_issuers:
            return kept.answer if kept is not None else Retrieved(None, "it is being fetched")
        try:
            async with asyncio.timeout_at(until):
                return await asyncio.shield(task)
        except TimeoutError:
            if kept is not None and kept.answer.octets is not None:
                return kept.answer
            return Retrieved(None, f"no answer within {self._settings.patience_seconds:g} s")

    async def _renew(self, wanted: Retrieval, before: _Kept | None) -> Retrieved:
        """Fetch something, and keep it, or keep for a while that it cannot be had."""
        places = self._places_for_issuers if wanted.kind is Kind.ISSUERS else self._places
        authority = urlsplit(wanted.uri).netloc
        until, problem = self._silent.get(authority, (0.0, ""))
        if self._clock.now() < until:
            return Retrieved(None, problem)
        try:
            async with places, asyncio.timeout(_FETCH_SECONDS):
                octets = await self._fetch(wanted)
                now = datetime.datetime.fromtimestamp(self._clock.now(), datetime.UTC)
                term = await asyncio.to_thread(useful_until, wanted, octets, now)
        except (TimeoutError, ConnectionFailed, DeadlinePassed) as silence:
            problem = str(silence) or f"no answer within {_FETCH_SECONDS:g} s"
            if len(self._silent) >= MOST_KEPT:
                self._silent.clear()
            self._silent[authority] = (self._clock.now() + _SILENT_SECONDS, problem)
        except (PeerFault, Malformed) as fault:
            problem = fault.problem
        else:
            # what has run out already is not asked for again at every message either
            kept = _Kept(Retrieved(octets), max(term.timestamp(), self._clock.now() + _AGAIN_SECONDS))
            if wanted.is_kept:
                self._memory.put(wanted, kept)
                await self._write(wanted, kept)
            return kept.answer
        if self._log is not None:
            self._log.warning("not retrieved", kind=wanted.kind.name.lower(), uri=wanted.uri[:300], problem=problem)
        answer = Retrieved(None, problem)
        if before is not None and before.answer.octets is not None:
            answer = before.answer
        if wanted.is_kept:
            self._memory.put(wanted, _Kept(answer, self._clock.now() + _AGAIN_SECONDS))
        return answer

    async def _write(self, wanted: Retrieval, kept: _Kept) -> None:
        if self._file is None:
            return
        try:
            await asyncio.to_thread(self._file.put, wanted, kept)
        except Unavailable as trouble:
            if self._log is not None:
                self._log.error("not kept", problem=trouble.problem)

    def _tls_context(self) -> ssl.SSLContext:
        """Return what https servers must satisfy; made once, for that takes a while."""
        if self._context is None:
            self._context = authenticated_client(self._settings.roots)
        return self._context

    async def _fetch(self, wanted: Retrieval) -> bytes:
        private = self._settings.allow_private
        how = Web(self._resolver, wanted.kind.value, _FETCH_SECONDS, private, self._tls_context)
        if wanted.request:
            return await http.post(wanted.uri, wanted.request, _OCSP_REQUEST, how)
        return await http.get(wanted.uri, how)


@dataclass(frozen=True, slots=True)
class _Done(Generic[T]):
    value: T


def _step(search: Search[T], answers: tuple[Retrieved, ...] | None) -> tuple[Retrieval, ...] | _Done[T]:
    try:
        return next(search) if answers is None else search.send(answers)
    except StopIteration as stop:  # must not leave a thread
        return _Done(stop.value)


class _Memory:
    """Answers by what was wanted; those not used for longest go first."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Retrieval, _Kept] = OrderedDict()
        self._octets = 0

    def get(self, wanted: Retrieval) -> _Kept | None:
        found = self._answers.get(wanted)
        if found is not None:
            self._answers.move_to_end(wanted)
        return found

    def put(self, wanted: Retrieval, kept: _Kept) -> None:
        before = self._answers.pop(wanted, None)
        self._octets += kept.size - (before.size if before is not None else 0)
        self._answers[wanted] = kept
        while len(self._answers) > MOST_KEPT or self._octets > MOST_KEPT_OCTETS:
            self._octets -= self._answers.popitem(last=False)[1].size


_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS answers (
  kind TEXT NOT NULL, uri TEXT NOT NULL, request BLOB NOT NULL, octets BLOB NOT NULL, until REAL NOT NULL,
  PRIMARY KEY (kind, uri, request)) STRICT;
"""
_TOO_MANY = """
DELETE FROM answers WHERE rowid IN (SELECT rowid FROM (SELECT rowid, row_number() OVER newest AS place,
  sum(length(octets)) OVER newest AS octets FROM answers WINDOW newest AS (ORDER BY until DESC, rowid))
  WHERE place > ? OR octets > ?)
"""


class _File:
    """The answers in one SQLite file, used in threads. Nothing is lost with it but time."""

    def __init__(self, file: Path) -> None:
        self._turn = threading.Lock()
        try:
            self._database = apsw.Connection(str(file))
            self._database.set_busy_timeout(2_000)
            self._database.execute(_SCHEMA).fetchall()
        except apsw.Error as error:
            raise Unavailable(f"{file} cannot be opened: {error}") from None

    def get(self, wanted: Retrieval) -> _Kept | None:
        try:
            with self._turn:
                row = self._database.execute(
                    "SELECT octets, until FROM answers WHERE kind = ? AND uri = ? AND request = ?",
                    (wanted.kind.name, wanted.uri, wanted.request),
                ).fetchone()
        except apsw.Error:
            return None
        return None if row is None else _Kept(Retrieved(bytes(row[0])), float(row[1]))

    def put(self, wanted: Retrieval, kept: _Kept) -> None:
        values = (wanted.kind.name, wanted.uri, wanted.request, kept.answer.octets, kept.until)
        try:
            with self._turn, self._database:
                self._database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", values)
                self._database.execute(_TOO_MANY, (MOST_KEPT, MOST_KEPT_OCTETS))
        except apsw.Error as error:
            raise Unavailable(f"what was retrieved cannot be written: {error}") from None

    def close(self) -> None:
        self._database.close()
