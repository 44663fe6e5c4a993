"""Addresses that nothing is sent to: those an operator listed, and those whose hosts said too often that they are not there.

An address whose mailbox does not exist is tried by a program for ever, and its host thinks the worse of us each time. After
`bounces` final answers of that kind without a success between them an address is suppressed for a while, for all senders.
What an operator lists holds until it is taken from the list or its time is over, for all senders or for one address or
domain of them. An entry can mean a whole domain.

Standards: RFC 3463 section 3.2 (X.1.1, X.1.6, X.1.10: no such mailbox), section 3.3 (X.2.1: disabled).
Limits: 100,000 entries, the oldest that bounces made are forgotten first; kept in an SQLite file over restarts, if given.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import apsw

from letterlock.formats.address import Address
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import Clock
from letterlock.host.logs import Log

_MOST_ENTRIES = 100_000
_GONE = frozenset({"5.1.1", "5.1.6", "5.1.10", "5.2.1"})
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS suppressed (recipient TEXT NOT NULL, sender TEXT NOT NULL, reason TEXT NOT NULL,"
    " since REAL NOT NULL, until REAL NOT NULL, bounces INTEGER NOT NULL, PRIMARY KEY (recipient, sender))"
    " STRICT, WITHOUT ROWID"
)


@dataclass(frozen=True, slots=True)
class SuppressionSettings:
    """After how many final answers an address is suppressed (0: never), and for how many seconds."""

    bounces: int = 3
    seconds: float = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Suppressed:
    """One entry: `recipient` and `sender` are addresses or domains, `sender` "" is everybody.

    `until` 0 is for ever; `bounces` counts the answers seen, 0 where an operator listed it.
    """

    recipient: str
    sender: str
    reason: str
    since: float
    until: float = 0.0
    bounces: int = 0


Key = tuple[str, str]


class Suppressions:
    """The list. Reading never waits; changes are on disk when the awaited call returns."""

    def __init__(
        self, clock: Clock, log: Log, *, file: Path | None = None, settings: SuppressionSettings | None = None
    ) -> None:
        self.settings = settings or SuppressionSettings()
        self._clock = clock
        self._log = log
        self._file = file
        self._lock = threading.Lock()
        self._entries: dict[Key, Suppressed] = self._read() if file is not None else {}

    def find(self, sender: Address | None, recipient: Address) -> Suppressed | None:
        """Return the entry that keeps mail of a sender from a recipient, if one does."""
        if not self._entries:
            return None
        now = self._clock.now()
        senders = ("",) if sender is None else ("", str(sender).lower(), sender.domain)
        for target in (str(recipient).lower(), recipient.domain):
            for who in senders:
                entry = self._entries.get((target, who))
                if entry is not None and self._holds(entry, now):
                    return entry
        return None

    def refusal(self, sender: Address | None, recipient: Address) -> Outcome | None:
        """Return what is to be said to who wants to send to a recipient that is suppressed, or None."""
        entry = self.find(sender, recipient)
        return None if entry is None else outcome_of(entry, recipient)

    def entries(self) -> tuple[Suppressed, ...]:
        """Return what holds now, by recipient."""
        now = self._clock.now()
        return tuple(entry for _, entry in sorted(self._entries.items()) if self._holds(entry, now))

    async def add(self, recipient: str, *, sender: str = "", reason: str = "", seconds: float = 0.0) -> Suppressed:
        """List an address or domain; `seconds` 0 is for ever. Raises Malformed for what is neither."""
        now = self._clock.now()
        entry = Suppressed(_name(recipient), _name(sender) if sender else "", reason or "listed by the operator", now,
                           now + seconds if seconds else 0.0)  # fmt: skip
        await self._keep(entry)
        return entry

    async def remove(self, recipient: str, *, sender: str = "") -> bool:
        """Take an entry from the list; tell whether it was there."""
        key = _name(recipient), _name(sender) if sender else ""
        known = self._entries.pop(key, None)
        if known is not None:
            await asyncio.to_thread(self._write, None, [key])
        return known is not None

    async def learn(self, outcomes: Iterable[Outcome]) -> None:
        """Count what other hosts said of their mailboxes."""
        if not self.settings.bounces:
            return
        now = self._clock.now()
        for outcome in outcomes:
            if outcome.result is Result.RELAYED and not self._entries:
                continue
            key = str(outcome.recipient).lower(), ""
            known = self._entries.get(key)
            if known is not None and not known.bounces:
                continue  # the operator's word
            if outcome.result is Result.FAILED and outcome.host and outcome.status in _GONE:
                before = known.bounces if known is not None and known.until > now else 0
                entry = Suppressed(key[0], "", outcome.reply[:500], now, now + self.settings.seconds, before + 1)
                await self._keep(entry)
                if entry.bounces == self.settings.bounces:
                    self._log.event("suppressed", recipient=key[0], reason=entry.reason)
            elif outcome.result is Result.RELAYED and known is not None:
                await self.remove(key[0])

    def _holds(self, entry: Suppressed, now: float) -> bool:
        if entry.until and entry.until <= now:
            return False
        return not entry.bounces or (0 < self.settings.bounces <= entry.bounces)

    async def _keep(self, entry: Suppressed) -> None:
        gone = self._make_way() if len(self._entries) >= _MOST_ENTRIES else []
        self._entries[entry.recipient, entry.sender] = entry
        await asyncio.to_thread(self._write, entry, gone)

    def _make_way(self) -> list[Key]:
        counted = sorted((entry.since, key) for key, entry in self._entries.items() if entry.bounces)
        gone = [key for _, key in counted[: _MOST_ENTRIES // 10]]
        for key in gone:
            del self._entries[key]
        return gone

    # the file

    def _read(self) -> dict[Key, Suppressed]:
        now = self._clock.now()
        try:
            with contextlib.closing(self._opened()) as connection:
                connection.execute("DELETE FROM suppressed WHERE until > 0 AND until <= ?", (now,))
                rows = connection.execute("SELECT recipient, sender, reason, since, until, bounces FROM suppressed")
                found = [Suppressed(*row) for row in rows]
            return {(entry.recipient, entry.sender): entry for entry in found}
        except apsw.Error as error:
            self._log.error("suppression list not read", file=str(self._file), problem=str(error))
            return {}

    def _write(self, entry: Suppressed | None, gone: Iterable[Key]) -> None:
        """Keep one entry and forget others. Blocks; what cannot be kept is logged."""
        if self._file is None:
            return
        try:
            with self._lock, contextlib.closing(self._opened()) as connection, connection:
                connection.executemany("DELETE FROM suppressed WHERE recipient = ? AND sender = ?", gone)
                if entry is not None:
                    values = (entry.recipient, entry.sender, entry.reason, entry.since, entry.until, entry.bounces)
                    connection.execute("INSERT OR REPLACE INTO suppressed VALUES (?, ?, ?, ?, ?, ?)", values)
        except apsw.Error as error:
            self._log.error("suppression list not kept", file=str(self._file), problem=str(error))

    def _opened(self) -> apsw.Connection:
        connection = apsw.Connection(str(self._file))
        connection.set_busy_timeout(5_000)
        connection.execute(_SCHEMA)
        return connection


def outcome_of(entry: Suppressed, recipient: Address) -> Outcome:
    """Return what a sender is told of a recipient that is suppressed."""
    whom = "the sender's domain" if entry.sender and "@" not in entry.sender else "the sender"
    scope = f" from {whom}" if entry.sender else ""
    reply = f"Nothing is sent to {entry.recipient}{scope} from here (suppression list): {entry.reason}"
    return Outcome(recipient, Result.FAILED, "5.7.1", reply)


def _name(text: str) -> str:
    if "@" in text:
        return str(Address.parse(text)).lower()
    return Address.parse(f"x@{text}").domain
