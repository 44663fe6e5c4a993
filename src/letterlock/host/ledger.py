"""The ledger: an append-only record of what was decided about mail, and on which evidence.

Roles append; reports, the message trace and `letterlock explain` read. Appending never waits for a disk: entries go to
a thread that writes all that is pending in one transaction, five times a second at most: each turn of that thread takes
the interpreter from the sessions. A crash can take the entries of the last moment and nothing else; no promise of the mail
system rests on them.

    ledger = Ledger.open(folder / "ledger.sqlite")
    ledger.append(Entry(at=now, kind="assessed", transaction="1f3", domain="rosewood.test", facts={...}))
    for entry in ledger.read(kind="assessed", since=yesterday): ...

Limits: `_MOST_PENDING` entries wait for the disk; what comes beyond them is counted in `lost`, not kept.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

import apsw
import msgspec

from letterlock.errors import Unavailable

_MOST_PENDING = 100_000
_MOST_AT_ONCE = 1000
_GATHER_SECONDS = 0.2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
  number INTEGER PRIMARY KEY,
  at REAL NOT NULL,
  kind TEXT NOT NULL,
  trace TEXT NOT NULL,
  domain TEXT NOT NULL,
  facts BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS entries_by_time ON entries (kind, at);
CREATE INDEX IF NOT EXISTS entries_by_trace ON entries (trace);
"""

_INSERT = "INSERT INTO entries (at, kind, trace, domain, facts) VALUES (?, ?, ?, ?, ?)"
_NO_VALUES = (apsw.ConstraintError, apsw.MismatchError, ValueError, TypeError, OverflowError)

Fact = str | int | float | bool | None | list["Fact"] | dict[str, "Fact"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was decided. `at` is in seconds since 1970, `transaction` the id of the message, `domain` the domain
    it is about; `facts` hold whatever JSON can. `number` orders entries; it is 0 before they are written.
    """

    at: float
    kind: str
    transaction: str = ""
    domain: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    number: int = 0


class Ledger:
    """One ledger file; safe to append to from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: SimpleQueue[Entry | threading.Event | None] = SimpleQueue()
        self._urgent = threading.Event()  # somebody waits for what is pending
        self.lost = 0
        self.problem = ""
        try:
            connection = self._connect()
            connection.execute(_SCHEMA)
        except apsw.Error as error:
            raise Unavailable(f"the ledger {path} cannot be opened: {error}") from None
        self._writer = threading.Thread(target=self._write, args=(connection,), name="ledger", daemon=True)
        self._writer.start()

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """Open or make a ledger; raises Unavailable where that cannot be."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"the ledger {path} cannot be opened: {error.strerror}") from None
        return cls(path)

    def append(self, entry: Entry) -> None:
        """Note an entry; returns at once, and never raises."""
        if self._pending.qsize() < _MOST_PENDING:
            self._pending.put(entry)
        else:
            self.lost += 1

    def flush(self) -> None:
        """Wait until all that was appended before is in the file."""
        if self._writer.is_alive():
            done = threading.Event()
            self._pending.put(done)
            self._urgent.set()
            done.wait()

    def close(self) -> None:
        """Write what is pending and close."""
        if self._writer.is_alive():
            self._pending.put(None)
            self._urgent.set()
            self._writer.join()

    def read(
        self,
        *,
        kind: str = "",
        since: float = 0,
        until: float = float("inf"),
        domain: str = "",
        transaction: str = "",
        after: int = 0,
    ) -> Iterator[Entry]:
        """Yield entries in the order they were written; `until` is exclusive, empty arguments match all.

        Raises Unavailable.
        """
        conditions = ["at >= ?", "at < ?", "number > ?"]
        values: list[str | float | int] = [since, until, after]
        for column, value in (("kind", kind), ("domain", domain), ("trace", transaction)):
            if value:
                conditions.append(f"{column} = ?")
                values.append(value)
        # The conditions are the constants above, never text from outside.
        sql = f"SELECT number, at, kind, trace, domain, facts FROM entries WHERE {' AND '.join(conditions)} ORDER BY number"  # noqa: S608
        with self._reading() as connection:
            for number, at, name, trace, about, facts in connection.execute(sql, values):
                yield Entry(at, name, trace, about, msgspec.json.decode(facts), number)

    def forget(self, before: float, kind: str = "") -> None:
        """Remove entries older than `before`."""
        with self._reading() as connection:
            connection.execute("DELETE FROM entries WHERE at < ? AND (? = '' OR kind = ?)", (before, kind, kind))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        """A connection of its own for one question; what SQLite cannot do is Unavailable."""
        try:
            with contextlib.closing(self._connect()) as connection:
                yield connection
        except apsw.Error as error:
            raise Unavailable(f"the ledger {self._path}: {error}") from None

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self._path))
        connection.set_busy_timeout(10_000)
        connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
        return connection

    def _write(self, connection: apsw.Connection) -> None:
        open_ended = True
        while open_ended:
            waiting = [self._pending.get()]
            if self._pending.qsize() < _MOST_AT_ONCE:
                self._urgent.wait(_GATHER_SECONDS)
            self._urgent.clear()
            while len(waiting) < _MOST_AT_ONCE:
                try:
                    waiting.append(self._pending.get_nowait())
                except Empty:
                    break
            open_ended = None not in waiting
            self._insert(connection, [entry for entry in waiting if isinstance(entry, Entry)])
            for waiter in waiting:
                if isinstance(waiter, threading.Event):
                    waiter.set()
        connection.close()

    def _insert(self, connection: apsw.Connection, entries: list[Entry]) -> None:
        rows = []
        for entry in entries:
            try:
                facts = msgspec.json.encode(entry.facts)
            except (TypeError, ValueError) as error:  # what JSON cannot hold; the other entries are kept
                self.lost += 1
                self.problem = str(error)
            else:
                rows.append((entry.at, entry.kind, entry.transaction, entry.domain, facts))
        try:
            with connection:
                connection.executemany(_INSERT, rows)
        except _NO_VALUES:  # one that no column holds, and it is not for the others to go with it
            for row in rows:
                self._insert_one(connection, row)
        except apsw.Error as error:  # a full or broken disk loses reports, not mail
            self.lost += len(rows)
            self.problem = str(error)

    def _insert_one(self, connection: apsw.Connection, row: tuple[float, str, str, str, bytes]) -> None:
        try:
            with connection:
                connection.execute(_INSERT, row)
        except (*_NO_VALUES, apsw.Error) as error:
            self.lost += 1
            self.problem = str(error)
