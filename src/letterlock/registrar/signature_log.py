"""The log of signatures: those of mail sent and received, without the mail, kept and searchable once it is switched on.

An entry holds the detached signatures of one message with their certificates, and what they proved when they were logged.
The same signature of the same message is kept once, however often it is logged.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

from letterlock.errors import Unavailable
from letterlock.trust.pkix.smime_profile import comparable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS logged_signatures (
  id INTEGER PRIMARY KEY, at REAL NOT NULL, sent INTEGER NOT NULL, address TEXT NOT NULL, message_id TEXT NOT NULL,
  verdict TEXT NOT NULL, cms BLOB NOT NULL, hash BLOB NOT NULL, UNIQUE (hash, message_id, sent));
CREATE INDEX IF NOT EXISTS logged_by_address ON logged_signatures (address, at);
CREATE INDEX IF NOT EXISTS logged_by_message ON logged_signatures (message_id);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class LoggedSignature:
    """One entry: a detached signature of a message sent or received, and what it proved then."""

    when: datetime.datetime
    sent: bool
    address: str
    message_id: str
    verdict: str
    cms: bytes


class SignatureLog:
    """The log in a database that is open already."""

    def __init__(self, database: apsw.Connection) -> None:
        self._database = database
        database.execute(_SCHEMA)

    @classmethod
    def open(cls, path: Path) -> SignatureLog:
        """Open a log in a file of its own, which is made. Raises Unavailable."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            database = apsw.Connection(str(path))
            database.set_busy_timeout(10_000)
            database.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
            return cls(database)
        except (apsw.Error, OSError) as error:
            raise Unavailable(f"the signature log {path} cannot be opened: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _change(self) -> Iterator[None]:
        try:
            with self._database:
                yield
        except apsw.Error as error:
            raise Unavailable(f"the signature log cannot be written: {error}") from None

    @property
    def is_on(self) -> bool:
        """Whether it is switched on."""
        return bool(self._database.execute("SELECT value = 'on' FROM settings WHERE name = 'signature log'").get)

    def switch(self, on: bool) -> None:
        """Switch the log on or off; what it holds stays."""
        with self._change():
            self._database.execute(
                "INSERT OR REPLACE INTO settings VALUES ('signature log', ?)", ("on" if on else "off",)
            )

    def add(self, entry: LoggedSignature) -> None:
        """Keep a signature, if the log is on."""
        if not self.is_on:
            return
        with self._change():
            self._database.execute(
                "INSERT OR IGNORE INTO logged_signatures (at, sent, address, message_id, verdict, cms, hash)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    entry.when.timestamp(),
                    int(entry.sent),
                    comparable(entry.address).casefold(),
                    entry.message_id,
                    entry.verdict,
                    entry.cms,
                    hashlib.sha256(entry.cms).digest(),
                ),
            )

    def search(self, *, address: str = "", message_id: str = "", limit: int = 100) -> list[LoggedSignature]:
        """Return entries by author address, message id or both, the newest first."""
        rows = self._database.execute(
            "SELECT at, sent, address, message_id, verdict, cms FROM logged_signatures"
            " WHERE (?1 = '' OR address = ?1) AND (?2 = '' OR message_id = ?2) ORDER BY at DESC LIMIT ?3",
            (comparable(address).casefold(), message_id, limit),
        )
        return [
            LoggedSignature(datetime.datetime.fromtimestamp(row[0], datetime.UTC), bool(row[1]), *row[2:])
            for row in rows
        ]
