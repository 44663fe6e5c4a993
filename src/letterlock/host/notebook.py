"""What is remembered of clients and accounts over restarts, and among the processes of one server: a few numbers a key.

    notebook = Notebook.open(folder / "border.sqlite", clock=clock, log=log)
    notebook.keep(allowance)             # its notes are there from now on
    task = create_task(notebook.run())   # every second what changed is written, and what others wrote is learned
    await notebook.close()

A `Book` works in memory and never waits for the disk; what changed goes to a thread that joins it with what the file says.
No promise of the mail system rests on a note: a crash takes those of the last second, a file that cannot be read is put
aside and begun anew, and one that cannot be written is said once in the log.

Limits: 100,000 notes of a book are read at the start, those that last longest; what has run out is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import apsw

from letterlock.errors import Unavailable
from letterlock.host.clock import Clock
from letterlock.host.logs import Log

MOST_NOTES = 100_000
_EXCHANGE_SECONDS = 1.0
_TIDY_SECONDS = 3600.0
_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS notes (
  book TEXT NOT NULL,
  key TEXT NOT NULL,
  first REAL NOT NULL,
  second REAL NOT NULL,
  until REAL NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY (book, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS notes_by_version ON notes (version);
"""


@dataclass(frozen=True, slots=True)
class Note:
    """Two numbers of a key, whose meaning is the book's; `until`, in seconds since 1970, is when they mean nothing more."""

    first: float
    second: float
    until: float


class Book(Protocol):
    """What keeps notes. `name` tells its notes from those of other books."""

    @property
    def name(self) -> str:
        """The book's name."""
        ...

    def take_changes(self) -> dict[str, Note]:
        """Return what changed since the last call, by key."""
        ...

    def joined(self, change: Note, known: Note | None) -> Note:
        """Return what a change makes of what the file says. Pure: it is called in a thread."""
        ...

    def learn(self, key: str, note: Note) -> None:
        """Hear what the file says of a key."""
        ...


class Notebook:
    """One file of notes; several processes may have it open at once."""

    def __init__(self, path: Path, connection: apsw.Connection, clock: Clock, log: Log) -> None:
        self._path = path
        self._connection = connection
        self._clock = clock
        self._log = log
        self._books: dict[str, Book] = {}
        self._version = 0
        self._seen = -1  # SQLite's word for "others have written"
        self._tidied = clock.now()
        self._is_broken = False
        self._lock = threading.Lock()  # a thread that was begun is not ended by whoever stops waiting for it

    @classmethod
    def open(cls, path: Path, *, clock: Clock, log: Log) -> Notebook:
        """Open or make a file. Raises Unavailable where there can be none."""
        try:
            connection = _opened(path)
        except apsw.Error as error:
            log.warning("notes not read", file=str(path), problem=str(error))
            try:
                for suffix in ("", "-wal", "-shm"):
                    with contextlib.suppress(FileNotFoundError):
                        path.with_name(path.name + suffix).replace(path.with_name(f"{path.name}.damaged{suffix}"))
                connection = _opened(path)
            except (apsw.Error, OSError) as fault:
                raise Unavailable(f"{path} cannot be opened: {fault}") from None
        with contextlib.suppress(OSError):
            path.chmod(0o600)  # whose names were tried at the door is nobody else's business
        return cls(path, connection, clock, log)

    def keep(self, *books: Book) -> None:
        """Tell books what the file says of their keys, and keep them from now on."""
        for book in books:
            self._books[book.name] = book
            rows = self._connection.execute(
                "SELECT key, first, second, until FROM notes WHERE book = ? AND until > ? ORDER BY until DESC LIMIT ?",
                (book.name, self._clock.now(), MOST_NOTES),
            )
            for key, *numbers in reversed(rows.fetchall()):  # what lasts longest is learned last, and forgotten last
                book.learn(key, Note(*numbers))
        self._version = self._latest_version()

    async def run(self) -> None:
        """Write and learn once a second, until cancelled."""
        while True:
            await asyncio.sleep(_EXCHANGE_SECONDS)
            await self.exchange()

    async def exchange(self) -> None:
        """Write what changed and learn what other processes wrote."""
        changes = {name: changed for name, book in self._books.items() if (changed := book.take_changes())}
        try:
            learned = await asyncio.to_thread(self._exchange, changes)
        except apsw.Error as error:
            if not self._is_broken:
                self._log.error("notes not written", file=str(self._path), problem=str(error))
            self._is_broken = True
            return
        self._is_broken = False
        for name, key, note in learned:
            if name in self._books:
                self._books[name].learn(key, note)

    async def close(self) -> None:
        """Write what changed, and close."""
        await self.exchange()
        self._connection.close()

    def _exchange(self, changes: Mapping[str, Mapping[str, Note]]) -> list[tuple[str, str, Note]]:
        """Join changes with the file; return what is to be learned. Blocks."""
        with self._lock:
            learned = self._news()
            now = self._clock.now()
            is_tidying = now >= self._tidied + _TIDY_SECONDS
            if changes or is_tidying:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    learned += self._write(changes, now)
                    if is_tidying:
                        self._connection.execute("DELETE FROM notes WHERE until <= ?", (now,))
                        self._tidied = now
                    self._connection.execute("COMMIT")
                except apsw.Error:
                    self._connection.execute("ROLLBACK")
                    raise
            return learned

    def _news(self) -> list[tuple[str, str, Note]]:
        seen = int(str(self._connection.pragma("data_version")))
        if seen == self._seen:
            return []
        rows: list[tuple[Any, ...]] = self._connection.execute(  # the schema is STRICT: the types are as it says
            "SELECT version, book, key, first, second, until FROM notes WHERE version > ?", (self._version,)
        ).fetchall()
        self._seen = seen
        self._version = max((row[0] for row in rows), default=self._version)
        return [(book, key, Note(*numbers)) for _, book, key, *numbers in rows]

    def _write(self, changes: Mapping[str, Mapping[str, Note]], now: float) -> list[tuple[str, str, Note]]:
        """Write changes; return what became of them."""
        connection = self._connection
        written = []
        version = self._latest_version() + 1
        for name, changed in changes.items():
            book = self._books[name]
            for key, change in changed.items():
                row = connection.execute(
                    "SELECT first, second, until FROM notes WHERE book = ? AND key = ?", (name, key)
                ).fetchone()
                note = book.joined(change, Note(*row) if row is not None and row[2] > now else None)
                connection.execute(
                    "INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?, ?, ?)",
                    (name, key, note.first, note.second, note.until, version),
                )
                written.append((name, key, note))
        return written

    def _latest_version(self) -> int:
        version: int = self._connection.execute("SELECT coalesce(max(version), 0) FROM notes").get
        return version


def _opened(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(5_000)
    try:
        connection.execute(_SCHEMA).fetchall()
        connection.execute("SELECT * FROM notes LIMIT 1").fetchall()
    except apsw.Error:
        connection.close()
        raise
    return connection
