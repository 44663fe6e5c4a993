"""Giving room back: segments of the log that hold little or nothing that lives.

A sealed segment in which less than half lives has its living contents written again behind the log (an entry like any
other); one that holds nothing is removed, once the index that knows of its records is durable and a copy of the index
lies beside it. From that copy and the segments that are left the index can be made again, should it be lost.

Promises: readers under way end in peace; the event loop does not wait; one round moves at most `most_octets`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import apsw

from letterlock.errors import Unavailable
from letterlock.host.files import sync_directory
from letterlock.store.index import BACKUP_NAME, INDEX_NAME, connect, value
from letterlock.store.segments import path_of

_CONTENTS_AN_ENTRY = 200
_OCTETS_AN_ENTRY = 4 << 20


@dataclass(frozen=True, slots=True)
class Sealed:
    """A segment nobody writes to any more, as the index knows it."""

    number: int
    end: int
    live: int
    last_sequence: int


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What a round did."""

    segments_removed: int = 0
    octets_freed: int = 0
    octets_moved: int = 0


def sealed_segments(connection: apsw.Connection, active: set[int]) -> list[Sealed]:
    """Return the segments that are not `active`, the deadest first."""
    rows = connection.execute("SELECT id, end, live, last_sequence FROM segments ORDER BY live * 1.0 / end, id")
    return [Sealed(*row) for row in rows if row[0] not in active]


def living(connection: apsw.Connection, segment: int) -> list[tuple[int, int]]:
    """Return (content, length) of what lives in a segment, as much as one entry may hold."""
    rows = connection.execute(
        "SELECT id, length FROM contents WHERE segment = ? ORDER BY offset LIMIT ?", (segment, _CONTENTS_AN_ENTRY)
    )
    found: list[tuple[int, int]] = []
    octets = 0
    for content, length in rows:
        octets += length
        if found and octets > _OCTETS_AN_ENTRY:
            break
        found.append((content, length))
    return found


def nothing_lives(connection: apsw.Connection, segment: int) -> bool:
    """Tell whether no content is in a segment."""
    return value(connection, "SELECT 1 FROM contents WHERE segment = ? LIMIT 1", segment) is None


def copy_index(folder: Path) -> int:
    """Put a durable copy of the index beside it; return the sequence number it has applied.

    Blocks. Raises Unavailable, for want of room for instance, and leaves nothing half made behind.
    """
    target = folder / BACKUP_NAME
    temporary = target.with_suffix(".new")
    try:
        return _copy_index(folder, temporary, target)
    except (OSError, apsw.Error) as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise Unavailable(f"copying the index failed: {error}", full=isinstance(error, apsw.FullError)) from None


def _copy_index(folder: Path, temporary: Path, target: Path) -> int:
    temporary.unlink(missing_ok=True)
    source = connect(folder / INDEX_NAME, read_only=True)
    try:
        source.execute("VACUUM INTO ?", (str(temporary),))
    finally:
        source.close()
    copy = connect(temporary, read_only=True)
    try:
        sequence = value(copy, "SELECT value FROM meta WHERE key = 'sequence'")
    finally:
        copy.close()
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(target)
    sync_directory(folder)
    return int(sequence or 0)


def remove_segment(log: Path, sealed: Sealed) -> bool:
    """Remove a segment's file durably, if all of it is in the index; return whether it was removed.

    Blocks. Raises Unavailable.
    """
    path = path_of(log, sealed.number)
    try:
        if path.stat().st_size != sealed.end:
            return False  # its last records are not applied yet
        path.unlink()
        sync_directory(log)  # before the index forgets it: a segment that came back would be replayed
    except FileNotFoundError:
        return True
    except OSError as error:
        raise Unavailable(f"removing segment {sealed.number:010x} failed: {error.strerror}") from None
    return True
