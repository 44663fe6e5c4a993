"""Opening a store: what the index knows, then what the log says happened after it.

The index tells for each segment up to where it has applied it, so only the ends of the log are read: start-up is
bounded by what was not indexed, not by what is stored. A torn end is cut off; when it held anything but zeros it is
first kept aside in `torn/` (the newest few), for it was never acknowledged but somebody may want to look. The octets
replayed are written again in place and synced before anybody sees them: after a failed sync the page cache may hold
what the disk does not.

A record that cannot be applied, because the program is wrong, stopped the store when it came, and was not acknowledged. It
is set aside in `strange/` and passed over, for else no start would ever get beyond it. An index whose rows make no sense
is made again from its copy and the log.

Promises: left-overs of a crash never stop a start, nor does a full disk; the report says what was found.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import apsw

from letterlock.errors import Malformed, Unavailable
from letterlock.host.drive_work import Faulty, contain_now
from letterlock.host.files import make_directory, sync_directory
from letterlock.store import queue_rows
from letterlock.store.contents import Contents
from letterlock.store.directory import Directory, Entry
from letterlock.store.entries import unpack
from letterlock.store.index import BACKUP_NAME, INDEX_NAME, SUSPECT_NAME, Batch, connect, prepare, value, write_batches
from letterlock.store.interface import Placed, Receipt, Refused
from letterlock.store.live import LiveMailbox, Row
from letterlock.store.reclaim import nothing_lives
from letterlock.store.segments import (
    FIRST_OFFSET,
    Found,
    Segment,
    path_of,
    read_header,
    scan,
    segments_in,
)
from letterlock.store.state import REMEMBERED_TRANSACTIONS, State

_BALLAST_NAME = "ballast"
_FULL_OCTETS = 4 << 20
_KEPT_TORN_ENDS = 8
_REPLAYED_A_BATCH = 200
_MOST_SET_ASIDE = 50
_DAMAGED = (apsw.CorruptError, apsw.NotADBError, apsw.ConstraintError, apsw.MismatchError)
_ROWS = (
    "SELECT uid, flags, modseq, internal_date, save_date, size, content FROM messages WHERE mailbox = ? ORDER BY uid"
)


@dataclass(slots=True)
class Report:
    """What a start found: records replayed, octets cut off torn ends, files that are no segments, and how long."""

    replayed: int = 0
    torn_octets: int = 0
    strange: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(slots=True)
class Recovered:
    """An opened store: its state in memory, its connections, and where the log goes on."""

    state: State
    connection: apsw.Connection
    reader: apsw.Connection
    segments: list[Segment]
    next_sequence: int
    next_segment: int
    lock: int
    report: Report


def lock_folder(folder: Path) -> int:
    """Take the store for this process. Raises Unavailable where another process has it."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Unavailable(f"the store {folder} is in use by another process") from None
    return descriptor


def recover(folder: Path, segment_octets: int, ballast_octets: int) -> Recovered:
    """Open the store in `folder`, made if it does not exist. Blocks; raises Unavailable.

    A file of `ballast_octets` is kept beside the log while there is room; on a full disk it makes way for the index.
    """
    started = time.monotonic()
    report = Report()
    try:
        make_directory(folder / "log", mode=0o700)
        lock = lock_folder(folder)
        try:
            recovered = _open_as_found(folder, segment_octets, ballast_octets, lock, report)
        except BaseException:
            os.close(lock)
            raise
    except Malformed as error:  # a newer program wrote it, or a fault of ours: nothing is lost by stopping here
        raise Unavailable(f"the log of {folder} holds what this program does not know: {error}") from None
    except OSError as error:
        raise Unavailable(f"opening the store {folder} failed: {error.strerror or error}") from None
    except apsw.Error as error:
        raise Unavailable(f"opening the index of {folder} failed: {error}", full=_is_full(folder)) from None
    report.seconds = time.monotonic() - started
    return recovered


def _open_as_found(folder: Path, segment_octets: int, ballast_octets: int, lock: int, report: Report) -> Recovered:
    """Open a store, past what is in the way."""
    passed_over: set[int] = set()
    try:
        recovered = _open_past(folder, segment_octets, lock, report, passed_over)
    except _DAMAGED as error:
        report.strange.append(f"the index is damaged and was made again from the log: {error}")
        (folder / SUSPECT_NAME).touch()
        recovered = _open_past(folder, segment_octets, lock, report, passed_over)
    except apsw.Error:
        if not _drop_ballast(folder, report):
            raise
        recovered = _open_past(folder, segment_octets, lock, report, passed_over)
    else:
        # Accounts, ledger and what else is opened after us need a little room to begin, too.
        if not _drop_ballast(folder, report):
            _take_ballast(folder, ballast_octets)
    return recovered


def _open_past(folder: Path, segment_octets: int, lock: int, report: Report, passed_over: set[int]) -> Recovered:
    """Open a store, past records that cannot be applied; each time anew, for the state may be half changed."""
    is_careful = False
    while True:
        try:
            return _open(folder, segment_octets, lock, report, passed_over, is_careful)
        except _NotApplied as problem:
            if not problem.is_certain:
                is_careful = True
                continue
            if len(passed_over) >= _MOST_SET_ASIDE:
                raise Unavailable(f"{len(passed_over)} records cannot be applied, the last one: {problem}") from None
            passed_over.add(problem.record.sequence)
            _set_aside(folder, problem.record)
            report.strange.append(f"record {problem.record.sequence} was set aside: {problem}")


def _set_aside(folder: Path, record: Found) -> None:
    """Keep a record that was passed over for who wants to look; the log may be removed one day."""
    place = record.octets
    with suppress(OSError):
        aside = folder / "strange"
        aside.mkdir(exist_ok=True, mode=0o700)
        with path_of(folder / "log", place.segment).open("rb") as log:
            log.seek(place.offset)
            (aside / str(record.sequence)).write_bytes(record.description + log.read(place.length))


class _NotApplied(Exception):
    """A record that cannot be applied; where that is not certain it was one of those before it, and care will tell."""

    def __init__(self, record: Found, problem: str, *, is_certain: bool = True) -> None:
        super().__init__(problem)
        self.record = record
        self.is_certain = is_certain


def _drop_ballast(folder: Path, report: Report) -> bool:
    """On a full disk, give back the room that was set aside; tell whether there was any."""
    if not ((folder / _BALLAST_NAME).exists() and _is_full(folder)):
        return False
    report.strange.append("the disk is full: the ballast was dropped to start all the same")
    (folder / _BALLAST_NAME).unlink()
    return True


def _is_full(folder: Path) -> bool:
    disk = os.statvfs(folder)  # SQLite names a full disk in several ways
    return disk.f_bavail * disk.f_frsize < _FULL_OCTETS


def _take_ballast(folder: Path, octets: int) -> None:
    """Set room aside that a start on a full disk can drop, if there is plenty."""
    disk = os.statvfs(folder)
    if not octets or disk.f_bavail * disk.f_frsize < 8 * octets:
        return
    with suppress(OSError):  # it is only a precaution
        descriptor = os.open(folder / _BALLAST_NAME, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size < octets:  # a crash may have left it empty
                os.posix_fallocate(descriptor, 0, octets)
        finally:
            os.close(descriptor)


def _open(
    folder: Path, segment_octets: int, lock: int, report: Report, passed_over: set[int], is_careful: bool
) -> Recovered:
    log = folder / "log"
    lost = not (folder / INDEX_NAME).exists() and (folder / BACKUP_NAME).exists()
    if lost or (folder / SUSPECT_NAME).exists():
        _restore_index(folder)
    connection = connect(folder / INDEX_NAME)
    prepare(connection)
    sync_directory(folder)
    reader = connect(folder / INDEX_NAME, read_only=True)
    try:
        state = _state(connection, Contents(log, reader))
    except (TypeError, ValueError, LookupError) as error:
        raise apsw.CorruptError(f"a row makes no sense: {error!r}") from error
    found, ends = _read_ends(folder, connection, report)
    wanted = [one for one in found if one.sequence not in passed_over]
    _replay(connection, state, wanted, ends, 1 if is_careful else _REPLAYED_A_BATCH)
    _forget_removed(connection, segments_in(log))
    report.replayed = len(found)
    numbers = segments_in(log)
    open_ends = [number for number in numbers if number in ends and ends[number][0] < segment_octets]
    segments = [Segment.resume(log, number, *ends[number]) for number in open_ends[-8:]]
    known = value(connection, "SELECT value FROM meta WHERE key = 'sequence'")
    last_segment = value(connection, "SELECT max(id) FROM segments")
    return Recovered(
        state,
        connection,
        reader,
        segments,
        int(known or 0) + 1,
        max([*numbers, int(last_segment or 0)]) + 1,
        lock,
        report,
    )


def _forget_removed(connection: apsw.Connection, present: list[int]) -> None:
    """Forget segments that were removed after the copy of the index was made from which it was made again."""
    with connection:
        for (number,) in connection.execute("SELECT id FROM segments").fetchall():
            if isinstance(number, int) and number not in present and nothing_lives(connection, number):
                connection.execute("DELETE FROM segments WHERE id = ?", (number,))


def _restore_index(folder: Path) -> None:
    """Put a damaged index aside; its last copy takes its place, or nothing, and the log is replayed from there."""
    for name in (INDEX_NAME, INDEX_NAME + "-wal", INDEX_NAME + "-shm"):
        with suppress(FileNotFoundError):
            (folder / name).rename(folder / (name + ".damaged"))
    if (folder / BACKUP_NAME).exists():
        shutil.copyfile(folder / BACKUP_NAME, folder / INDEX_NAME)
    (folder / SUSPECT_NAME).unlink(missing_ok=True)


def _state(connection: apsw.Connection, contents: Contents) -> State:
    directory = Directory()
    directory.load(connection)
    state = State(directory, contents)
    with connection:
        queue_rows.forget_taken(connection)
    rows = connection.execute(
        "SELECT sequence, id, placed FROM (SELECT rowid AS n, * FROM transactions ORDER BY rowid DESC LIMIT ?) ORDER BY n",
        (REMEMBERED_TRANSACTIONS,),
    )
    for sequence, transaction, placed in rows:
        places = tuple(Placed(*place) for place in json.loads(str(placed)))
        state.recent[str(transaction)] = Receipt(int(sequence), places)
    return state


def _read_ends(
    folder: Path, connection: apsw.Connection, report: Report
) -> tuple[list[Found], dict[int, tuple[int, int]]]:
    """Read what the index has not applied, cut torn ends, and make the rest durable; return records and ends."""
    known = {
        int(segment): (int(end), int(checksum))
        for segment, end, checksum in connection.execute("SELECT id, end, checksum FROM segments")
    }
    found: list[Found] = []
    ends: dict[int, tuple[int, int]] = {}
    log = folder / "log"
    numbers = segments_in(log)
    for (number,) in connection.execute("SELECT id FROM segments WHERE live > 0"):
        if number not in numbers:
            report.strange.append(f"segment {number:010x} is missing: what it held cannot be read")
    for number in numbers:
        path = path_of(log, number)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            start, checksum = known.get(number) or (FIRST_OFFSET, read_header(descriptor, number))
            size = os.fstat(descriptor).st_size
            if size < start:  # nobody appends to it any more; what is left of it can be read
                report.strange.append(f"segment {number:010x} has {size} octets where {start} were written")
                continue
            end = start
            for record in scan(descriptor, number, start, checksum):
                found.append(record)
                end, checksum = record.end, record.checksum
            report.torn_octets += _cut(folder, descriptor, number, end)
            _write_again(descriptor, start, end)
            ends[number] = (end, checksum)
        except Malformed as error:  # a crash while the segment was made: nothing in it was ever acknowledged
            report.strange.append(str(error))
            with suppress(OSError):
                path.rename(path.with_suffix(".strange"))
        finally:
            os.close(descriptor)
    sync_directory(log)
    found.sort(key=lambda record: record.sequence)
    return found, ends


def _cut(folder: Path, descriptor: int, number: int, end: int) -> int:
    """Cut a segment off at `end`, keeping what is torn; return how many octets that were."""
    left = os.fstat(descriptor).st_size - end
    if left <= 0:
        return 0
    rest = os.pread(descriptor, min(left, 64 << 20), end).rstrip(b"\0")
    if rest:
        with suppress(OSError):  # it was never acknowledged: where there is no room, it goes
            aside = folder / "torn"
            aside.mkdir(exist_ok=True, mode=0o700)
            (aside / f"{number:010x}-{end}").write_bytes(rest)
            for old in sorted(aside.iterdir(), key=lambda path: path.stat().st_mtime)[:-_KEPT_TORN_ENDS]:
                old.unlink()
    os.ftruncate(descriptor, end)
    return len(rest)


def _write_again(descriptor: int, start: int, end: int) -> None:
    for offset in range(start, end, 1 << 20):
        os.pwrite(descriptor, os.pread(descriptor, min(1 << 20, end - offset), offset), offset)
    os.fsync(descriptor)


def _replay(
    connection: apsw.Connection, state: State, found: list[Found], ends: dict[int, tuple[int, int]], together: int
) -> None:
    """Apply records to the state and, so many together, to the index."""
    latest: Found | None = None

    def flush() -> None:
        state.directory.save(state.batch)
        try:
            with connection:
                write_batches(connection, [state.batch])
        except (TypeError, ValueError, OverflowError) as error:  # a value that no column holds
            if latest is None:
                raise
            raise _NotApplied(latest, repr(error), is_certain=together == 1) from error
        state.contents.forget(state.batch.places)
        state.batch = Batch(state.batch.sequence)

    def load(entry: Entry) -> LiveMailbox:
        flush()
        live = state.live[entry.id] = read_mailbox(entry, read_rows(connection, entry.id))
        return live

    def owed(queue_id: str) -> set[int]:
        flush()
        return queue_rows.owed_numbers(connection, queue_id)

    state.load, state.owed = load, owed
    applied_sequence = state.batch.sequence = int(
        value(connection, "SELECT value FROM meta WHERE key = 'sequence'") or 0
    )
    for count, record in enumerate(found, 1):
        if record.sequence <= applied_sequence:  # entries are applied in order, so this one was, or failed
            continue
        entry = unpack(record.description)
        try:
            contain_now(partial(state.apply, record.sequence, entry, record.octets), Refused, apsw.Error, _NotApplied)
        except Refused:  # it was refused the first time too
            pass
        except Faulty as fault:
            raise _NotApplied(record, fault.problem) from fault
        latest = record
        state.batch.sequence = record.sequence
        state.batch.ends[record.octets.segment] = (record.end, record.checksum, record.sequence)
        if count % together == 0:
            flush()
    for number, (end, checksum) in ends.items():
        if number not in state.batch.ends:
            last = value(connection, "SELECT last_sequence FROM segments WHERE id = ?", number)
            state.batch.ends[number] = (end, checksum, int(last or 0))
    flush()
    state.load = state.owed = None
    state.live.clear()


def read_rows(connection: apsw.Connection, mailbox: int) -> list[Row]:
    """Return the rows of a mailbox in UID order."""
    return connection.execute(_ROWS, (mailbox,)).fetchall()  # type: ignore[return-value]  # integer columns, as declared


def read_mailbox(entry: Entry, rows: list[Row]) -> LiveMailbox:
    """Return a mailbox in memory."""
    live = LiveMailbox(entry.id, entry.uid_validity, entry.uid_next, entry.modseq, entry.flag_names)
    live.load(rows)
    return live
