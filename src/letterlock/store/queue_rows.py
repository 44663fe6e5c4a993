"""The queue in the index: statements that change it, and questions about it.

Each step costs the same whatever the queue's length: what is due is found through an index on (priority, next
attempt) of entries that nobody has taken. `taken` is only a mark in the index, not in the log: 0 is nobody, 1 taken, 2
parked under a lane. After a start nothing is taken or parked.

A row that cannot be read (a damaged index, or a program that is stricter than the one which wrote it) keeps nobody else's
mail: whoever takes sets it aside, `held` being 2, again only a mark in the index; it is listed with what is the matter, and
tried again when an operator lets it go.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import apsw
import msgspec

from letterlock.errors import Malformed
from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Notify, Recipient
from letterlock.store.contents import Content
from letterlock.store.entries import (
    PackedQueued,
    PackedSettlement,
    decode_envelope,
    encode_envelope,
    unpack_attempt,
    unpack_valid_since,
)
from letterlock.store.index import SETTLE, Batch, Row, SQLiteValue, value
from letterlock.store.interface import Attempt, Instant, QueuedRecipient, QueueEntry, QueueFilter
from letterlock.store.segments import Location

_THIS = "(SELECT id FROM queue_entries WHERE queue_id = ?)"
_AGAIN = (
    "UPDATE queue_entries SET taken = taken & ?, next_attempt = (SELECT min(next_attempt) FROM queue_recipients"
    " WHERE entry = queue_entries.id AND held = 0) WHERE queue_id = ?"
)
_ENTRY_COLUMNS = (
    "e.id, e.queue_id, e.content, e.size, e.envelope, e.arrived, e.expires, e.priority, e.source, e.route, e.details"
)
_ENTRY = f"SELECT {_ENTRY_COLUMNS} FROM queue_entries AS e "
_ENTRY_AND_PLACE = (
    f"SELECT c.segment, c.offset, c.length, c.base, c.size, {_ENTRY_COLUMNS} FROM queue_entries AS e"
    " LEFT JOIN contents AS c ON c.id = e.content "
)
_RECIPIENT_COLUMNS = (
    "number, local_part, domain, notify, original, valid_since, next_attempt, attempts, held, delay_reported, last"
)
_RECIPIENTS = f"SELECT {_RECIPIENT_COLUMNS} FROM queue_recipients WHERE entry = ?"
# What was due when it was parked is due, whatever the clock says now.
_DUE_RECIPIENTS = (
    f"SELECT r.entry, {_RECIPIENT_COLUMNS.replace('next_attempt', 'r.next_attempt')} FROM queue_entries AS e"
    " JOIN queue_recipients AS r ON r.entry = e.id WHERE e.id IN (SELECT value FROM json_each(?))"
    " AND r.held = 0 AND r.next_attempt <= max(?, e.next_attempt) ORDER BY r.entry, r.number"
)
_PLACE_COLUMNS = 5
_MARK_TAKEN = "UPDATE queue_entries SET taken = 1 WHERE id IN (SELECT value FROM json_each(?))"
_UNREADABLE = (Malformed, ValueError, TypeError, LookupError, msgspec.MsgspecError)


@dataclass(frozen=True, slots=True)
class Taken:
    """Entries that were taken, where their contents lie, by number, and (queue id, problem) of what was set aside."""

    entries: list[QueueEntry]
    places: dict[int, Content]
    unreadable: list[tuple[str, str]]


def add(batch: Batch, number: int, owed: PackedQueued, content: int, size: int, arrived: Instant) -> None:
    """Add an entry; the content already counts it."""
    sender = owed.envelope.sender
    batch.queue_entries.append(
        (
            number,
            owed.queue_id,
            content,
            size,
            str(Address(*sender)) if sender else "",
            encode_envelope(owed.envelope),
            arrived,
            owed.expires,
            owed.priority,
            owed.source,
            owed.route,
            json.dumps(owed.details),
            None if owed.held else owed.next_attempt,
        )
    )
    batch.queue_recipients += [
        (
            number,
            at,
            recipient.local_part,
            recipient.domain,
            recipient.notify,
            recipient.original,
            recipient.valid_since,
            owed.next_attempt,
            owed.held,
        )
        for at, recipient in enumerate(owed.recipients)
    ]


def settle(batch: Batch, queue_id: str, settlements: Sequence[PackedSettlement], *, release: bool) -> None:
    """Record an attempt for recipients that are still owed; with `release` the entry is taken no more."""
    for settlement in settlements:  # an entry that is owed to nobody goes with its history
        batch.add(
            SETTLE,
            queue_id,
            settlement.number,
            settlement.final,
            settlement.attempt,
            settlement.next_attempt,
            settlement.delay_reported,
            0 if release else 1,
        )
    if not settlements:
        again(batch, [queue_id], release=release)


def again(batch: Batch, queue_ids: Iterable[str], *, release: bool = False) -> None:
    """Find out anew when entries are due; with `release` nobody has them taken any more."""
    for queue_id in queue_ids:
        batch.add(_AGAIN, 0 if release else 1, queue_id)


def postpone(batch: Batch, queue_id: str, until: Instant) -> None:
    """Let an entry not be due before `until`; its recipients keep their own times."""
    batch.add(
        "UPDATE queue_entries SET next_attempt = max(next_attempt, ?) WHERE queue_id = ? AND next_attempt IS NOT NULL",
        until,
        queue_id,
    )


def hold(batch: Batch, chosen: Sequence[tuple[str, int]], held: bool) -> None:
    """Hold recipients, or let them go."""
    for queue_id, number in chosen:
        batch.add(f"UPDATE queue_recipients SET held = ? WHERE entry IN {_THIS} AND number = ?", held, queue_id, number)
    again(batch, {queue_id for queue_id, _ in chosen})


def retry(batch: Batch, chosen: Sequence[tuple[str, int]], when: Instant, route: str | None) -> None:
    """Make recipients due at `when`, by another route if given."""
    for queue_id, number in chosen:
        batch.add(
            f"UPDATE queue_recipients SET next_attempt = ? WHERE entry IN {_THIS} AND number = ?",
            when,
            queue_id,
            number,
        )
    queue_ids = {queue_id for queue_id, _ in chosen}
    if route is not None:
        for queue_id in queue_ids:
            batch.add("UPDATE queue_entries SET route = ? WHERE queue_id = ?", route, queue_id)
    again(batch, queue_ids)


def drop(batch: Batch, chosen: Sequence[tuple[str, int]]) -> None:
    """Forget recipients."""
    for queue_id, number in chosen:
        batch.add(f"DELETE FROM queue_recipients WHERE entry IN {_THIS} AND number = ?", queue_id, number)
    again(batch, {queue_id for queue_id, _ in chosen})


def prolong(batch: Batch, seconds: float, arrived_until: Instant) -> None:
    """Let entries that arrived until an instant expire later."""
    batch.add("UPDATE queue_entries SET expires = expires + ? WHERE arrived <= ?", seconds, arrived_until)


def owed_numbers(connection: apsw.Connection, queue_id: str) -> set[int]:
    """Return the numbers of the recipients an entry is owed to."""
    rows = connection.execute(f"SELECT number FROM queue_recipients WHERE entry IN {_THIS}", (queue_id,))
    return {int(number) for (number,) in rows}


def forget_taken(connection: apsw.Connection) -> None:
    """Mark every entry as taken by nobody."""
    connection.execute("UPDATE queue_entries SET taken = 0 WHERE taken > 0")


def take_due(connection: apsw.Connection, now: Instant, limit: int) -> Taken:
    """Take due entries with their due recipients."""
    rows: list[Row] = []
    sql = "SELECT max(priority) FROM queue_entries WHERE taken = 0 AND next_attempt IS NOT NULL"
    priority = value(connection, sql)
    while priority is not None and len(rows) < limit:
        rows += connection.execute(
            _ENTRY_AND_PLACE + "WHERE e.taken = 0 AND e.next_attempt IS NOT NULL AND e.priority = ?"
            " AND e.next_attempt <= ? ORDER BY e.next_attempt LIMIT ?",
            (priority, now, limit - len(rows)),
        ).fetchall()
        priority = value(connection, sql + " AND priority < ?", priority)
    return _take(connection, rows, now)


def park(batch: Batch, queue_id: str, lane: str) -> None:
    """Park an entry."""
    batch.add("UPDATE queue_entries SET taken = 2, lane = ? WHERE queue_id = ?", lane, queue_id)


def take_parked(connection: apsw.Connection, lane: str, now: Instant, limit: int) -> Taken:
    """Take entries parked under a lane with those recipients that were due."""
    rows = connection.execute(
        _ENTRY_AND_PLACE + "WHERE e.taken = 2 AND e.lane = ? AND e.next_attempt IS NOT NULL"
        " ORDER BY e.priority DESC, e.next_attempt LIMIT ?",
        (lane, limit),
    ).fetchall()
    return _take(connection, rows, now)


def _take(connection: apsw.Connection, rows: list[Row], now: Instant) -> Taken:
    """Mark entries as taken; each call into SQLite is for all of them."""
    taken = Taken([], {}, [])
    if not rows:
        return taken
    numbers = json.dumps([row[_PLACE_COLUMNS] for row in rows])
    connection.execute(_MARK_TAKEN, (numbers,))
    due: dict[SQLiteValue, list[Row]] = {}
    for entry, *recipient in connection.execute(_DUE_RECIPIENTS, (numbers, now)).fetchall():
        due.setdefault(entry, []).append(tuple(recipient))
    for row in rows:
        segment, offset, length, base, octets, *columns = row
        entry, problem = _read(tuple(columns), due.get(columns[0], []))
        if problem:
            _set_aside(connection, tuple(columns), entry, due.get(columns[0], []))
            taken.unreadable.append((entry.queue_id, problem))
        if not entry.recipients:
            connection.execute(_AGAIN, (0, columns[1]))
            continue
        taken.entries.append(entry)
        if segment is not None:
            place = Location(segment, offset, length)  # type: ignore[arg-type]  # columns have the types of the schema
            taken.places[entry.content] = Content(place, base, octets)  # type: ignore[arg-type]
    return taken


def _set_aside(connection: apsw.Connection, row: Row, entry: QueueEntry, due: list[Row]) -> None:
    """Hold those recipients of an entry that could not be read."""
    read = {one.number for one in entry.recipients}
    for number, *_ in due:
        if number not in read:
            connection.execute("UPDATE queue_recipients SET held = 2 WHERE entry = ? AND number = ?", (row[0], number))


def next_due(connection: apsw.Connection) -> Instant | None:
    """Return when the next entry falls due."""
    sql = "SELECT max(priority) FROM queue_entries WHERE taken = 0 AND next_attempt IS NOT NULL"
    priority = value(connection, sql)
    found: list[float] = []
    while priority is not None:
        first = value(
            connection,
            "SELECT min(next_attempt) FROM queue_entries WHERE taken = 0 AND next_attempt IS NOT NULL AND priority = ?",
            priority,
        )
        found.append(float(first))  # type: ignore[arg-type]  # there is one of this priority
        priority = value(connection, sql + " AND priority < ?", priority)
    return min(found, default=None)


def find(connection: apsw.Connection, queue_id: str) -> QueueEntry | None:
    """Return an entry with all its recipients."""
    row = connection.execute(_ENTRY + "WHERE queue_id = ?", (queue_id,)).fetchone()
    return _whole(connection, row) if row else None


def attempts(connection: apsw.Connection, queue_id: str) -> tuple[Attempt, ...]:
    """Return every attempt for an entry."""
    rows = connection.execute(f"SELECT attempt FROM queue_attempts WHERE entry IN {_THIS} ORDER BY id", (queue_id,))
    return tuple(attempt for (column,) in rows if (attempt := _attempt(column)) is not None)


def size(connection: apsw.Connection) -> tuple[int, int]:
    """Return how many entries and recipients there are."""
    entries = value(connection, "SELECT count(*) FROM queue_entries")
    recipients = value(connection, "SELECT count(*) FROM queue_recipients")
    return int(entries or 0), int(recipients or 0)


def _conditions(chosen: QueueFilter) -> tuple[str, list[SQLiteValue]]:
    """Return the condition on a recipient row r of entry e."""
    conditions, values = ["1"], list[SQLiteValue]()
    if chosen.queue_id:
        conditions.append("e.queue_id = ?")
        values.append(chosen.queue_id)
    if "@" in chosen.sender or chosen.sender == "<>":
        conditions.append("e.sender = ?")
        values.append("" if chosen.sender == "<>" else chosen.sender)
    elif chosen.sender:
        conditions.append("substr(e.sender, -length(?)) = ?")
        values += [f"@{chosen.sender}"] * 2
    if chosen.arrived_before is not None:
        conditions.append("e.arrived < ?")
        values.append(chosen.arrived_before)
    if chosen.reason:  # the attempt is packed, and its texts stand in it as they are
        conditions.append("instr(r.last, CAST(? AS BLOB)) > 0")
        values.append(chosen.reason)
    if chosen.recipient:
        address = Address.parse(chosen.recipient)
        conditions.append("r.domain = ? AND r.local_part = ?")
        values += [address.domain, address.local_part]
    if chosen.destination:
        conditions.append("r.domain = ?")
        values.append(chosen.destination)
    if chosen.held is not None:
        conditions.append("r.held > 0" if chosen.held else "r.held = 0")
    return " AND ".join(conditions), values


def choose(connection: apsw.Connection, chosen: QueueFilter) -> list[tuple[str, int]]:
    """Return (queue id, number) of the recipients a filter means."""
    condition, values = _conditions(chosen)
    rows = connection.execute(
        f"SELECT e.queue_id, r.number FROM queue_entries e JOIN queue_recipients r ON r.entry = e.id WHERE {condition}",
        values,
    )
    return [(str(queue_id), int(number)) for queue_id, number in rows]


def put_off(connection: apsw.Connection, now: Instant, longest_wait_seconds: float) -> list[tuple[str, int]]:
    """Return (queue id, number) of the recipients that a clock which was ahead put off."""
    rows = connection.execute(
        "SELECT e.queue_id, r.number FROM queue_recipients r JOIN queue_entries e ON e.id = r.entry"
        " WHERE r.next_attempt > ?1 AND ((r.attempts = 0 AND r.next_attempt <= e.arrived)"
        " OR (r.attempts > 0 AND (e.arrived > ?1 OR r.next_attempt > ?1 + ?2)))",
        (now, longest_wait_seconds),
    )
    return [(str(queue_id), int(number)) for queue_id, number in rows]


def listing(connection: apsw.Connection, chosen: QueueFilter, limit: int, after: str) -> list[QueueEntry]:
    """Return entries by queue id."""
    condition, values = _conditions(chosen)
    domain = chosen.destination or chosen.recipient.rpartition("@")[2].lower()
    # Said twice, so that the index by domain is what is gone through, not the whole queue.
    among, domains = (
        (" AND e.id IN (SELECT entry FROM queue_recipients WHERE domain = ?)", [domain]) if domain else ("", [])
    )
    rows = connection.execute(
        _ENTRY + f"WHERE e.queue_id > ?{among} AND EXISTS (SELECT 1 FROM queue_recipients r WHERE r.entry = e.id AND"
        f" {condition}) ORDER BY e.queue_id LIMIT ?",
        (after, *domains, *values, limit),
    ).fetchall()
    return [_whole(connection, row) for row in rows]


def _whole(connection: apsw.Connection, row: Row) -> QueueEntry:
    """Return an entry with all its recipients, as far as they can be read."""
    entry, problem = _read(row, connection.execute(_RECIPIENTS, (row[0],)).fetchall())
    return replace(entry, problem=problem)


def _read(row: Row, recipients: Sequence[Row]) -> tuple[QueueEntry, str]:
    """Return an entry with those recipients that can be read, and what keeps it from being whole, or ""."""
    found: list[QueuedRecipient] = []
    problem = ""
    for recipient in recipients:
        try:
            found.append(_recipient(recipient))
        except _UNREADABLE as error:
            problem = f"recipient {recipient[0]!r} of {recipient[2]!r} cannot be read: {error}"
    try:
        envelope, details = _envelope_and_details(row, found)
    except _UNREADABLE as error:
        return _entry(row, Envelope(None, ()), {}, ()), f"it cannot be read: {error}"
    return _entry(row, envelope, details, tuple(found)), problem


def _envelope_and_details(row: Row, recipients: Sequence[QueuedRecipient]) -> tuple[Envelope, dict[str, str]]:
    """Decode what an entry keeps encoded. Raises what is in `_UNREADABLE`."""
    _number, _queue_id, _content, _octets, envelope, *_, details = row
    known = json.loads(str(details))
    if not isinstance(known, dict):
        raise Malformed("its details are none")
    return decode_envelope(envelope, [recipient.recipient for recipient in recipients]), known  # type: ignore[arg-type]


def _entry(
    row: Row, envelope: Envelope, details: dict[str, str], recipients: tuple[QueuedRecipient, ...]
) -> QueueEntry:
    _number, queue_id, content, octets, _envelope, arrived, expires, priority, source, route, _details = row
    return QueueEntry(
        str(queue_id),
        envelope,
        content,  # type: ignore[arg-type]  # columns have the types of the schema
        octets,  # type: ignore[arg-type]
        arrived,  # type: ignore[arg-type]
        expires,  # type: ignore[arg-type]
        priority,  # type: ignore[arg-type]
        str(source),
        str(route),
        details,
        recipients,
    )


def _recipient(row: Row) -> QueuedRecipient:
    number, local_part, domain, notify, original, valid_since, next_attempt, tries, held, delay_reported, last = row
    return QueuedRecipient(
        number,  # type: ignore[arg-type]  # columns have the types of the schema
        Recipient(
            Address(str(local_part), str(domain)), Notify(notify), str(original), unpack_valid_since(str(valid_since))
        ),
        next_attempt,  # type: ignore[arg-type]
        tries,  # type: ignore[arg-type]
        bool(held),
        bool(delay_reported),
        _attempt(last),
    )


def _attempt(column: SQLiteValue) -> Attempt | None:
    """Return an attempt, or None where there was none or it cannot be read: nothing but history is lost with it."""
    try:
        return unpack_attempt(column) if isinstance(column, bytes) else None
    except _UNREADABLE:
        return None
