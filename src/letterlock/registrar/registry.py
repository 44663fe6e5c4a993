"""What a certification authority remembers: requests, certificates, revocations and the numbers of its lists.

One SQLite file, every change durable when the call returns. A `source` names the message that a request or an answer came
in: what comes again from the same source changes nothing and is answered the same, so that a crash between a change here and
the sending of its letters loses nothing.

Standards: RFC 5280 section 5.2.3 (list numbers only grow).
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from letterlock.errors import OurFault, Unavailable
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import Reason, Revoked

_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
  id INTEGER PRIMARY KEY, octets BLOB NOT NULL, addresses TEXT NOT NULL, state TEXT NOT NULL, received REAL NOT NULL,
  answer_to TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS challenges (
  token TEXT PRIMARY KEY, request INTEGER NOT NULL REFERENCES requests, address TEXT NOT NULL, until REAL NOT NULL,
  answered REAL);
CREATE TABLE IF NOT EXISTS certificates (
  serial TEXT PRIMARY KEY, octets BLOB NOT NULL, address TEXT NOT NULL, request INTEGER, issued REAL NOT NULL,
  revoked REAL, reason INTEGER);
CREATE INDEX IF NOT EXISTS by_address ON certificates (address);
CREATE TABLE IF NOT EXISTS sources (
  source TEXT PRIMARY KEY, request INTEGER NOT NULL REFERENCES requests ON DELETE CASCADE);
CREATE TABLE IF NOT EXISTS answers (token TEXT PRIMARY KEY, source TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS letters (request INTEGER PRIMARY KEY REFERENCES requests ON DELETE CASCADE);
CREATE TABLE IF NOT EXISTS lists (
  number INTEGER PRIMARY KEY, octets BLOB NOT NULL, made REAL NOT NULL, complete INTEGER NOT NULL);
"""


class State(enum.Enum):
    """Where a request stands."""

    WAITING = "waiting"
    CONFIRMED = "confirmed"  # the mail challenge was answered from every address
    APPROVED = "approved"
    ISSUED = "issued"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request as it came, with its addresses and where the answer goes."""

    id: int
    octets: bytes
    addresses: tuple[str, ...]
    state: State
    received: datetime.datetime
    answer_to: str
    reason: str


@dataclass(frozen=True, slots=True)
class CertificateRecord:
    """A certificate that was issued, and its revocation if it was revoked."""

    certificate: Certificate
    address: str
    request: int | None
    revoked: Revoked | None


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


class Registry:
    """The authority's memory in one file; ":memory:" for tests."""

    def __init__(self, path: Path | str) -> None:
        try:
            self._database = apsw.Connection(str(path))
            self._database.set_busy_timeout(10_000)
            self._database.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")
            self._database.execute(_SCHEMA)
        except apsw.Error as error:
            raise Unavailable(f"the registry {path} cannot be opened: {error}") from None

    @property
    def version(self) -> int:
        """A number that changes with every change, ours or somebody else's."""
        others = self._number("PRAGMA data_version")
        return others * 1_000_000 + self._database.total_changes()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _change(self) -> Iterator[apsw.Connection]:
        try:
            with self._database:
                yield self._database
        except apsw.FullError as error:
            raise Unavailable(f"no room for the registry: {error}", full=True) from None
        except apsw.ConstraintError as error:
            raise OurFault(f"the registry refuses this: {error}") from None
        except apsw.Error as error:
            raise Unavailable(f"the registry cannot be written: {error}") from None

    # What SQLite gives back has the types of the columns, which mypy cannot know.
    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[Any]:
        """Return what a question finds. Raises Unavailable."""
        try:
            return self._database.execute(query, values).fetchall()
        except apsw.Error as error:
            raise Unavailable(f"the registry cannot be read: {error}") from None

    def _number(self, query: str, values: tuple[object, ...] = ()) -> int:
        """Return the one number a question finds. Raises Unavailable."""
        return int(self._rows(query, values)[0][0])

    def add_request(
        self,
        octets: bytes,
        addresses: tuple[str, ...],
        received: datetime.datetime,
        answer_to: str,
        source: str = "",
    ) -> RequestRecord:
        """Remember a request; one that came by mail has a source."""
        with self._change() as database:
            known = database.execute("SELECT request FROM sources WHERE source = ?", (source,)).get if source else None
            if known is not None:
                return self.request(int(known))
            database.execute(
                "INSERT INTO requests (octets, addresses, state, received, answer_to) VALUES (?, ?, ?, ?, ?)",
                (octets, "\n".join(addresses), State.WAITING.value, received.timestamp(), answer_to),
            )
            number = database.last_insert_rowid()
            if source:
                database.execute("INSERT INTO sources VALUES (?, ?)", (source, number))
        return self.request(number)

    def forget_waiting(self, before: datetime.datetime) -> None:
        """Forget requests that came by mail before a time and were never confirmed."""
        with self._change() as database:
            database.execute(
                "DELETE FROM challenges WHERE request IN (SELECT r.id FROM requests r JOIN sources s ON s.request = r.id"
                " WHERE r.state = ?1 AND r.received < ?2)",
                (State.WAITING.value, before.timestamp()),
            )
            database.execute(
                "DELETE FROM requests WHERE state = ?1 AND received < ?2 AND id IN (SELECT request FROM sources)",
                (State.WAITING.value, before.timestamp()),
            )

    def waiting(self) -> int:
        """Return how many requests wait."""
        query = "SELECT count(*) FROM requests WHERE state = ?"
        return self._number(query, (State.WAITING.value,))

    def challenged(self, address: str, when: datetime.datetime) -> int:
        """Return how many challenges an address has not answered yet."""
        query = "SELECT count(*) FROM challenges WHERE address = ? AND until >= ? AND answered IS NULL"
        return self._number(query, (address, when.timestamp()))

    def owed_letters(self) -> list[RequestRecord]:
        """Return the requests by mail that were decided and whose senders were not told yet."""
        return self._requests(
            "WHERE state IN ('approved', 'issued', 'refused') AND id IN (SELECT request FROM sources)"
            " AND id NOT IN (SELECT request FROM letters)",
            (),
        )

    def note_letter(self, number: int) -> None:
        """Remember that the sender of a request was told."""
        with self._change() as database:
            database.execute("INSERT OR IGNORE INTO letters VALUES (?)", (number,))

    def request(self, number: int) -> RequestRecord:
        """Return a request; OurFault if there is none of this number."""
        for found in self._requests("WHERE id = ?", (number,)):
            return found
        raise OurFault(f"there is no request {number}")

    def requests(self, state: State | None = None) -> list[RequestRecord]:
        """Return the requests in a state, or all."""
        return self._requests("", ()) if state is None else self._requests("WHERE state = ?", (state.value,))

    def _requests(self, where: str, values: tuple[object, ...]) -> list[RequestRecord]:
        rows = self._rows(
            f"SELECT id, octets, addresses, state, received, answer_to, reason FROM requests {where} ORDER BY id",  # noqa: S608 - the callers' constants
            values,
        )
        return [
            RequestRecord(number, octets, tuple(addresses.split("\n")), State(state), _moment(at), answer_to, reason)
            for number, octets, addresses, state, at, answer_to, reason in rows
        ]

    def set_state(self, number: int, state: State, reason: str = "") -> None:
        """Move a request on."""
        with self._change() as database:
            database.execute("UPDATE requests SET state = ?, reason = ? WHERE id = ?", (state.value, reason, number))

    def add_challenge(self, token: str, number: int, address: str, until: datetime.datetime) -> None:
        """Remember what is sent to an address to be sent back; what was sent there before for this request is void."""
        with self._change() as database:
            database.execute(
                "DELETE FROM challenges WHERE request = ? AND address = ? AND answered IS NULL", (number, address)
            )
            database.execute(
                "INSERT INTO challenges (token, request, address, until) VALUES (?, ?, ?, ?)",
                (token, number, address, until.timestamp()),
            )

    def answer_challenge(self, token: str, address: str, when: datetime.datetime, source: str = "") -> int | None:
        """Note an answer; return the number of the request if it is now confirmed from all its addresses."""
        with self._change() as database:
            number = database.execute(
                "UPDATE challenges SET answered = ?1 WHERE token = ?2 AND address = ?3 AND until >= ?1"
                " AND answered IS NULL RETURNING request",
                (when.timestamp(), token, address),
            ).get
            if number is None and source:
                number = database.execute(
                    "SELECT c.request FROM challenges c JOIN answers a ON a.token = c.token WHERE c.token = ? AND a.source = ?",
                    (token, source),
                ).get
            if number is None:
                return None
            if source:
                database.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (token, source))
            if database.execute(
                "SELECT count(*) FROM challenges WHERE request = ? AND answered IS NULL", (number,)
            ).get:
                return None
            database.execute(
                "UPDATE requests SET state = ? WHERE id = ? AND state = ?",
                (State.CONFIRMED.value, number, State.WAITING.value),
            )
        return int(number)

    def add_certificate(self, certificate: Certificate, request: int | None, when: datetime.datetime) -> None:
        """Remember a certificate and mark its request as issued, in one."""
        with self._change() as database:
            database.execute(
                "INSERT INTO certificates (serial, octets, address, request, issued) VALUES (?, ?, ?, ?, ?)",
                (
                    f"{certificate.serial:x}",
                    certificate.octets,
                    "\n".join(certificate.addresses),
                    request,
                    when.timestamp(),
                ),
            )
            if request is not None:
                database.execute("UPDATE requests SET state = ? WHERE id = ?", (State.ISSUED.value, request))

    def certificate(self, serial: int) -> CertificateRecord | None:
        """Return a certificate by its number."""
        return next(iter(self._certificates("WHERE serial = ?", (f"{serial:x}",))), None)

    def certificates(self, address: str | None = None) -> list[CertificateRecord]:
        """Return all certificates, or those for an address, the oldest first."""
        found = self._certificates("", ())
        return found if address is None else [each for each in found if address in each.certificate.addresses]

    def _certificates(self, where: str, values: tuple[object, ...]) -> list[CertificateRecord]:
        rows = self._rows(
            f"SELECT octets, address, request, revoked, reason FROM certificates {where} ORDER BY issued, rowid",  # noqa: S608 - the callers' constants
            values,
        )
        records = []
        for octets, address, request, revoked, reason in rows:
            certificate = Certificate.parse(octets)
            entry = None if revoked is None else Revoked(certificate.serial, _moment(revoked), Reason(reason))
            records.append(CertificateRecord(certificate, address.split("\n")[0], request, entry))
        return records

    def certificate_of(self, request: int) -> Certificate | None:
        """Return the newest certificate that a request brought."""
        found = self._certificates("WHERE request = ?", (request,))
        return found[-1].certificate if found else None

    def revoke(self, serial: int, when: datetime.datetime, reason: Reason) -> None:
        """Revoke a certificate; OurFault if there is none of this number, or it was revoked before."""
        with self._change() as database:
            rows = database.execute(
                "UPDATE certificates SET revoked = ?, reason = ? WHERE serial = ? AND revoked IS NULL RETURNING serial",
                (when.timestamp(), reason.value, f"{serial:x}"),
            ).fetchall()
        if not rows:
            raise OurFault(f"no certificate {serial:x} that is not revoked already")

    def next_list_number(self) -> int:
        """Return the number of the next revocation list."""
        return self._number("SELECT coalesce(max(number), 0) + 1 FROM lists")

    def add_list(self, number: int, octets: bytes, made: datetime.datetime, *, complete: bool) -> None:
        """Remember a revocation list under its number."""
        with self._change() as database:
            database.execute(
                "INSERT INTO lists (number, octets, made, complete) VALUES (?, ?, ?, ?)",
                (number, octets, made.timestamp(), int(complete)),
            )

    def last_complete_list(self) -> tuple[int, bytes] | None:
        """Return number and octets of the last complete list."""
        rows = self._rows("SELECT number, octets FROM lists WHERE complete ORDER BY number DESC LIMIT 1")
        return (int(rows[0][0]), bytes(rows[0][1])) if rows else None
