"""The index of the store: an SQLite database that says where everything is, always a little behind the log.

One thread owns the writing connection. It applies batches in order, many to a transaction, each transaction together
with the sequence number and segment ends it accounts for; whatever a crash takes from the index is replayed from the
log. New rows go in many at a time, before the statements: each call into SQLite gives up the interpreter and has to win
it back from the sessions. Questions asked through `ask` run in the same thread in order, so they see every batch handed
over before them.

Promises: WAL with synchronous=NORMAL never corrupts; what was applied at a checkpoint is durable (`durable_sequence`),
and only segments behind that are ever removed.

Limits: a full disk leaves batches waiting in memory, is reported through `trouble` and tried again; the engine takes
on nothing more meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import operator
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import apsw

from letterlock.errors import Unavailable

T = TypeVar("T")
SQLiteValue = None | int | float | bytes | str  # what a column holds
Statement = tuple[str, tuple[SQLiteValue, ...]]

INDEX_NAME = "index.sqlite"
BACKUP_NAME = "index.copy"
SUSPECT_NAME = "index.suspect"

_VERSION = 3
_MOST_BATCHES = 200
_CHECKPOINT_PAGES = 2000  # 8 MB of write-ahead log
_RETRY_SECONDS = 1.0
_GATHER_SECONDS = 0.2  # how long batches gather before they are written, unless somebody asks

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE segments (
    id INTEGER PRIMARY KEY, end INTEGER NOT NULL, checksum INTEGER NOT NULL, live INTEGER NOT NULL DEFAULT 0,
    last_sequence INTEGER NOT NULL DEFAULT 0);
CREATE TABLE contents (
    id INTEGER PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
    base INTEGER NOT NULL, size INTEGER NOT NULL, refs INTEGER NOT NULL);
CREATE INDEX contents_by_segment ON contents (segment);
CREATE TABLE mailboxes (
    id INTEGER PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL, uid_validity INTEGER NOT NULL,
    uid_next INTEGER NOT NULL, modseq INTEGER NOT NULL, messages INTEGER NOT NULL, unseen INTEGER NOT NULL,
    deleted INTEGER NOT NULL, octets INTEGER NOT NULL, special_use TEXT NOT NULL, keywords TEXT NOT NULL);
CREATE TABLE messages (
    mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, flags INTEGER NOT NULL, modseq INTEGER NOT NULL,
    internal_date INTEGER NOT NULL, save_date INTEGER NOT NULL, size INTEGER NOT NULL, content INTEGER NOT NULL,
    PRIMARY KEY (mailbox, uid)) WITHOUT ROWID;
CREATE TABLE vanished (
    mailbox INTEGER NOT NULL, modseq INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (mailbox, modseq, first)) WITHOUT ROWID;
CREATE TABLE vanished_floors (mailbox INTEGER PRIMARY KEY, modseq INTEGER NOT NULL);
CREATE TABLE subscriptions (account TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (account, name)) WITHOUT ROWID;
CREATE TABLE transactions (sequence INTEGER NOT NULL, id TEXT NOT NULL, placed TEXT NOT NULL);
CREATE INDEX transactions_in_order ON transactions (sequence);
CREATE TABLE derived (
    content INTEGER NOT NULL, kind TEXT NOT NULL, octets BLOB NOT NULL, PRIMARY KEY (content, kind)) WITHOUT ROWID;
CREATE TABLE queue_entries (
    id INTEGER PRIMARY KEY, queue_id TEXT NOT NULL, content INTEGER NOT NULL, size INTEGER NOT NULL,
    sender TEXT NOT NULL, envelope BLOB NOT NULL, arrived REAL NOT NULL, expires REAL NOT NULL,
    priority INTEGER NOT NULL, source TEXT NOT NULL, route TEXT NOT NULL, details TEXT NOT NULL,
    next_attempt REAL, taken INTEGER NOT NULL DEFAULT 0, lane TEXT NOT NULL DEFAULT '');
CREATE INDEX queue_by_id ON queue_entries (queue_id);
CREATE INDEX queue_due ON queue_entries (priority, next_attempt) WHERE taken = 0 AND next_attempt IS NOT NULL;
CREATE INDEX queue_taken ON queue_entries (taken) WHERE taken > 0;
CREATE INDEX queue_parked ON queue_entries (lane, priority DESC, next_attempt) WHERE taken = 2;
CREATE TABLE queue_recipients (
    entry INTEGER NOT NULL, number INTEGER NOT NULL, local_part TEXT NOT NULL, domain TEXT NOT NULL,
    notify INTEGER NOT NULL, original TEXT NOT NULL, valid_since TEXT NOT NULL DEFAULT '',
    next_attempt REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL, delay_reported INTEGER NOT NULL DEFAULT 0, last BLOB,
    PRIMARY KEY (entry, number)) WITHOUT ROWID;
CREATE INDEX queue_by_domain ON queue_recipients (domain);
CREATE TABLE queue_attempts (id INTEGER PRIMARY KEY, entry INTEGER NOT NULL, attempt BLOB NOT NULL);
CREATE INDEX attempts_by_entry ON queue_attempts (entry);
CREATE TRIGGER unreferenced AFTER UPDATE OF refs ON contents WHEN new.refs <= 0
    BEGIN DELETE FROM contents WHERE id = new.id; END;
CREATE TRIGGER forgotten AFTER DELETE ON contents BEGIN
    UPDATE segments SET live = live - old.length WHERE id = old.segment;
    DELETE FROM derived WHERE content = old.id;
    UPDATE contents SET refs = refs - 1 WHERE id = old.base;
END;
CREATE TRIGGER owed_to_nobody AFTER DELETE ON queue_recipients
    WHEN NOT EXISTS (SELECT 1 FROM queue_recipients WHERE entry = old.entry)
    BEGIN DELETE FROM queue_entries WHERE id = old.entry; END;
CREATE TRIGGER responsibility_ended AFTER DELETE ON queue_entries BEGIN
    DELETE FROM queue_attempts WHERE entry = old.id;
    UPDATE contents SET refs = refs - 1 WHERE id = old.content;
END;
CREATE TRIGGER moved AFTER UPDATE OF segment ON contents BEGIN
    UPDATE segments SET live = live - old.length WHERE id = old.segment;
    UPDATE segments SET live = live + new.length WHERE id = new.segment;
END;
"""

# An attempt recorded with one statement, many of them at once: one call into SQLite for all that it leads to.
_SETTLING = """
CREATE TEMP VIEW IF NOT EXISTS settlements (queue_id, number, final, attempt, next_attempt, delay_reported, kept)
    AS SELECT 0, 0, 0, 0, 0, 0, 0;
CREATE TEMP TRIGGER IF NOT EXISTS settled INSTEAD OF INSERT ON settlements BEGIN
    DELETE FROM queue_recipients WHERE new.final
        AND entry IN (SELECT id FROM queue_entries WHERE queue_id = new.queue_id) AND number = new.number;
    UPDATE queue_recipients SET next_attempt = coalesce(new.next_attempt, next_attempt), attempts = attempts + 1,
        last = new.attempt, delay_reported = max(delay_reported, new.delay_reported) WHERE NOT new.final
        AND entry IN (SELECT id FROM queue_entries WHERE queue_id = new.queue_id) AND number = new.number;
    INSERT INTO queue_attempts (entry, attempt) SELECT id, new.attempt FROM queue_entries WHERE queue_id = new.queue_id;
    UPDATE queue_entries SET taken = taken & new.kept, next_attempt = (SELECT min(next_attempt) FROM queue_recipients
        WHERE entry = queue_entries.id AND held = 0) WHERE queue_id = new.queue_id;
END;
"""

_SEGMENT_END = (
    "INSERT INTO segments (id, end, checksum, last_sequence, live) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
    " end = excluded.end, checksum = excluded.checksum, last_sequence = excluded.last_sequence,"
    " live = live + excluded.live"
)


# Tables that get a row or more with each message: rows are only ever added under keys that were never used before.
_COLUMNS = {
    "contents": ("id", "segment", "offset", "length", "base", "size", "refs"),
    "messages": ("mailbox", "uid", "flags", "modseq", "internal_date", "save_date", "size", "content"),
    "transactions": ("sequence", "id", "placed"),
    "queue_entries": (
        "id", "queue_id", "content", "size", "sender", "envelope", "arrived", "expires", "priority", "source", "route",
        "details", "next_attempt",
    ),
    "queue_recipients": (
        "entry", "number", "local_part", "domain", "notify", "original", "valid_since", "next_attempt", "held",
    ),
    "settlements": ("queue_id", "number", "final", "attempt", "next_attempt", "delay_reported", "kept"),
}  # fmt: skip
_NEW_ROWS = ("contents", "messages", "transactions", "queue_entries", "queue_recipients")
_ROWS_AT_ONCE = (64, 8, 1)
_MAILBOX = (
    "INSERT INTO mailboxes (id, account, name, uid_validity, uid_next, modseq, messages, unseen, deleted, octets,"
    " special_use, keywords) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
    " name = excluded.name, uid_next = excluded.uid_next, modseq = excluded.modseq, messages = excluded.messages,"
    " unseen = excluded.unseen, deleted = excluded.deleted, octets = excluded.octets, keywords = excluded.keywords"
)

Row = tuple[SQLiteValue, ...]


@dataclass(slots=True)
class Batch:
    """Changes to apply together: new rows of the tables named first, then statements in order.

    `mailboxes` are rows to have in the end, None where a mailbox is gone. `ends` maps a segment to (end, checksum, last
    sequence); `live` adds octets. `places` are for whoever made the batch, to be forgotten once it is in the index.
    """

    sequence: int = 0
    contents: list[Row] = field(default_factory=list)
    messages: list[Row] = field(default_factory=list)
    transactions: list[Row] = field(default_factory=list)
    queue_entries: list[Row] = field(default_factory=list)
    queue_recipients: list[Row] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    mailboxes: dict[int, Row | None] = field(default_factory=dict)
    ends: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    live: dict[int, int] = field(default_factory=dict)
    places: list[tuple[int, object]] = field(default_factory=list)

    def add(self, sql: str, *values: SQLiteValue) -> None:
        """Add a statement."""
        self.statements.append((sql, values))


def connect(path: Path, *, read_only: bool = False) -> apsw.Connection:
    """Open the index database. Raises Unavailable to read it, and apsw's own errors otherwise."""
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    try:
        connection = apsw.Connection(str(path), flags=flags)
        connection.set_busy_timeout(10_000)
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute("PRAGMA recursive_triggers = ON")
            connection.execute("PRAGMA cache_size = -6000")
            # What a statement of many rows may have to undo: never a file elsewhere, which could be missing or full.
            connection.execute("PRAGMA temp_store = MEMORY")
    except apsw.Error as error:
        if not read_only or isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
            raise
        raise Unavailable(f"opening the index {path} failed: {error}", full=isinstance(error, apsw.FullError)) from None
    return connection


def value(connection: apsw.Connection, sql: str, *values: SQLiteValue) -> SQLiteValue:
    """Return the first column of the first row, or None."""
    row = connection.execute(sql, values).fetchone()
    return row[0] if row else None


def write_batches(connection: apsw.Connection, batches: Sequence[Batch]) -> None:
    """Apply batches in order; the caller holds the SQLite transaction."""
    execute = connection.execute
    ends = {segment: end for batch in batches for segment, end in batch.ends.items()}
    for segment, (end, checksum, sequence) in ends.items():
        live = sum(batch.live.get(segment, 0) for batch in batches)
        execute(_SEGMENT_END, (segment, end, checksum, sequence, live))
    for table in _NEW_ROWS:
        _insert(connection, table, [row for batch in batches for row in getattr(batch, table)])
    # After the segments, whose liveness triggers adjust.
    statements = [statement for batch in batches for statement in batch.statements]
    for sql, some in itertools.groupby(statements, operator.itemgetter(0)):
        rows = [values for _, values in some]
        if sql == SETTLE:
            _insert(connection, "settlements", rows)
        else:
            for values in rows:
                execute(sql, values)
    mailboxes = {number: row for batch in batches for number, row in batch.mailboxes.items()}
    for number, row in mailboxes.items():
        if row is None:
            execute("DELETE FROM mailboxes WHERE id = ?", (number,))
        else:
            execute(_MAILBOX, row)
    execute("UPDATE meta SET value = ? WHERE key = 'sequence'", (batches[-1].sequence,))


def _insert(connection: apsw.Connection, table: str, rows: list[Row]) -> None:
    start = 0
    for size in _ROWS_AT_ONCE:
        while len(rows) - start >= size:
            values = [value for row in rows[start : start + size] for value in row]
            connection.execute(_INSERTS[table, size], values)
            start += size


def _insertion(table: str, size: int) -> str:
    columns = _COLUMNS[table]
    row = f"({', '.join('?' * len(columns))})"
    # All of it constants of this module.
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * size)}"  # noqa: S608


SETTLE = _insertion("settlements", 1)
_INSERTS = {(table, size): _insertion(table, size) for table in _COLUMNS for size in _ROWS_AT_ONCE}


def prepare(connection: apsw.Connection) -> None:
    """Make the tables in a new database, and add what one of an older version lacks."""
    with connection:
        if not value(connection, "SELECT 1 FROM sqlite_schema WHERE name = 'meta'"):
            for _ in connection.execute(SCHEMA):
                pass
            connection.execute("INSERT INTO meta VALUES ('version', ?), ('sequence', 0)", (_VERSION,))
            connection.execute("INSERT INTO meta VALUES ('next_mailbox', 1), ('last_uid_validity', 0)")
        elif value(connection, "SELECT value FROM meta WHERE key = 'version'") == 2:
            connection.execute("ALTER TABLE queue_recipients ADD COLUMN valid_since TEXT NOT NULL DEFAULT ''")
            connection.execute("UPDATE meta SET value = 3 WHERE key = 'version'")
    version = value(connection, "SELECT value FROM meta WHERE key = 'version'")
    if version != _VERSION:
        raise Unavailable(f"the index has version {version!r}; this program knows version {_VERSION}")
    for _ in connection.execute(_SETTLING):
        pass


class _Question(Generic[T]):
    """Something to ask the index in its turn."""

    def __init__(self, question: Callable[[apsw.Connection], T], answer: Future[T]) -> None:
        self._question = question
        self._answer = answer

    def put(self, connection: apsw.Connection, trouble: Unavailable | None) -> None:
        """Ask it, in the index thread; `trouble` is the answer where the index is behind."""
        if not self._answer.set_running_or_notify_cancel():
            return
        try:
            if trouble:
                raise Unavailable(trouble.problem, full=trouble.full)
            with connection:
                result = self._question(connection)
        except apsw.Error as error:
            self._answer.set_exception(Unavailable(f"reading the index failed: {error}"))
        except BaseException as error:  # it belongs to whoever asked
            self._answer.set_exception(error)
        else:
            self._answer.set_result(result)


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    done: Future[int]


Job = Batch | _Question[Any] | _Checkpoint  # Any: each question has its own answer's type


class Indexer:
    """The thread that keeps the index; it tells the event loop which batches are `written`, or that it `failed`."""

    def __init__(
        self,
        connection: apsw.Connection,
        written: Callable[[Sequence[Batch]], None],
        failed: Callable[[Unavailable], None],
    ) -> None:
        self.trouble: Unavailable | None = None
        self.durable_sequence = 0
        self.waiting = 0  # batches handed over and not yet applied
        self._connection = connection
        self._path = Path(connection.filename)
        self._tell_written = written
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._unwritten: list[Batch] = []
        self._urgent = threading.Event()  # somebody waits for what stands in the queue
        self._thread = threading.Thread(target=self._run, name="store index", daemon=True)
        self._thread.start()

    def write(self, batch: Batch) -> None:
        """Hand over a batch; never waits."""
        self.waiting += 1
        self._jobs.put(batch)

    async def ask(self, question: Callable[[apsw.Connection], T]) -> T:
        """Run `question` in the index thread behind everything handed over before, and return its answer."""
        answer: Future[T] = Future()
        self._jobs.put(_Question(question, answer))
        self._urgent.set()
        return await asyncio.wrap_future(answer)

    async def make_durable(self) -> int:
        """Checkpoint behind everything handed over; return the sequence number up to which the index is durable."""
        await self.ask(lambda _: None)
        checkpoint: Future[int] = Future()
        self._jobs.put(_Checkpoint(checkpoint))
        self._urgent.set()
        return await asyncio.wrap_future(checkpoint)

    async def close(self) -> None:
        """Apply what waits, checkpoint, and end the thread."""
        self._jobs.put(None)
        self._urgent.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        pages = 0

        def note_pages(_connection: apsw.Connection, _name: str, count: int) -> int:
            nonlocal pages
            pages = count
            return apsw.SQLITE_OK

        self._connection.set_wal_hook(note_pages)
        ending = False
        while not ending:
            ending = self._turn()
            if pages >= _CHECKPOINT_PAGES or ending:
                self._checkpoint()
                pages = 0
        self._connection.close()

    def _turn(self) -> bool:
        """Take all that waits, write the batches in one transaction, answer questions; tell whether to end."""
        job = self._next_job()
        if isinstance(job, Batch) and self._jobs.qsize() < _MOST_BATCHES:
            # The log is the truth and the index may lag: fewer, larger transactions leave the processor to the sessions.
            self._urgent.wait(_GATHER_SECONDS)
        self._urgent.clear()
        questions: list[_Question[Any]] = []
        ending = False
        for left in reversed(range(_MOST_BATCHES)):
            match job:
                case None:
                    ending = True
                    break
                case _Checkpoint():
                    self._write_unwritten()
                    self._checkpoint()
                    if job.done.set_running_or_notify_cancel():  # who asked may have gone
                        job.done.set_result(self.durable_sequence)
                case Batch():
                    self._unwritten.append(job)
                case _:
                    questions.append(job)
                    break  # what comes behind the question must not be seen by it
            if not left:
                break  # before a job is taken from the queue that nobody would do
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
        self._write_unwritten()
        for question in questions:
            question.put(self._connection, self.trouble)
        return ending

    def _next_job(self) -> Job | None:
        while self.trouble:  # nothing may come in, so come back by ourselves
            try:
                return self._jobs.get(timeout=_RETRY_SECONDS)
            except Empty:
                self._write_unwritten()
        return self._jobs.get()

    def _write_unwritten(self) -> None:
        if not self._unwritten:
            return
        try:
            try:
                self._write()
            except apsw.FullError:  # the write-ahead log gives its room back, and perhaps that is enough
                self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
                self._write()
        except (apsw.FullError, apsw.BusyError) as error:
            self.trouble = Unavailable(f"the index cannot grow: {error}", full=True)
            return
        except Exception as error:  # the border: a thread that ended would keep everybody waiting who asks
            if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
                with suppress(OSError):  # then that start sees it by itself
                    (self._path.parent / SUSPECT_NAME).touch()  # the next start makes the index anew
            self.trouble = Unavailable(f"writing the index failed: {error}")
            self._tell(partial(self._failed, self.trouble))
            return
        self.trouble = None
        written, self._unwritten = self._unwritten, []
        self._tell(partial(self._written, written))

    def _write(self) -> None:
        with self._connection:
            write_batches(self._connection, self._unwritten)

    def _written(self, batches: Sequence[Batch]) -> None:
        self.waiting -= len(batches)
        self._tell_written(batches)

    def _checkpoint(self, mode: int = apsw.SQLITE_CHECKPOINT_PASSIVE) -> None:
        """Bring the write-ahead log into the database; what was applied so far is durable then."""
        try:
            sequence = value(self._connection, "SELECT value FROM meta WHERE key = 'sequence'")
            log_pages, moved = self._connection.wal_checkpoint(mode=mode)
        except apsw.Error:
            return  # tried again after the next pages; the log still has everything
        if log_pages == moved and isinstance(sequence, int):
            self.durable_sequence = sequence

    def _tell(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop is closed: nobody is left to tell
            return
