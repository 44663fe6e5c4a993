"""The queue in the index: statements that change it, and questions about it.

Each step costs the same whatever the queue's length: what is due is found through an index on (priority, next
attempt) of entries that nobody has taken. `taken` is only a mark in the index, not in the log: 0 is nobody, 1 taken, 2
parked under a lane. After a start nothing is taken or parked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import apsw

from letterlock.formats.address import Address
from letterlock.formats.envelope import Notify, Recipient
from letterlock.store.entries import (
    PackedQueued,
    PackedSettlement,
    decode_envelope,
    encode_envelope,
    unpack_attempt,
    unpack_valid_since,
)
from letterlock.store.index import Batch, SQLiteValue, value
from letterlock.store.interface import Attempt, Instant, QueuedRecipient, QueueEntry, QueueFilter

_THIS = "(SELECT id FROM queue_entries WHERE queue_id = ?)"
_ADD_ENTRY = (
    "INSERT INTO queue_entries (id, queue_id, content, size, sender, envelope, arrived, expires, priority, source,"
    " route, details, next_attempt) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ADD_RECIPIENT = (
    "INSERT INTO queue_recipients (entry, number, local_part, domain, notify, original, valid_since, next_attempt, held)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_DEFER = (
    "UPDATE queue_recipients SET next_attempt = coalesce(?, next_attempt), attempts = attempts + 1, last = ?,"
    f" delay_reported = max(delay_reported, ?) WHERE entry IN {_THIS} AND number = ?"
)
_AGAIN = (
    "UPDATE queue_entries SET taken = taken & ?, next_attempt = (SELECT min(next_attempt) FROM queue_recipients"
    " WHERE entry = queue_entries.id AND held = 0) WHERE queue_id = ?"
)
_ENTRY = (
    "SELECT id, queue_id, content, size, envelope, arrived, expires, priority, source, route, details"
    " FROM queue_entries "
)
_RECIPIENTS = (
    "SELECT number, local_part, domain, notify, original, valid_since, next_attempt, attempts, held, delay_reported, last"
    " FROM queue_recipients WHERE entry = ? "
)


def add(batch: Batch, number: int, owed: PackedQueued, content: int, size: int, arrived: Instant) -> None:
    """Add an entry; the content already counts it."""
    sender = owed.envelope.sender
    batch.add(
        _ADD_ENTRY,
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
    for at, recipient in enumerate(owed.recipients):
        batch.add(
            _ADD_RECIPIENT,
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


def settle(batch: Batch, queue_id: str, settlements: Sequence[PackedSettlement], *, release: bool) -> None:
    """Record an attempt for recipients that are still owed; with `release` the entry is taken no more."""
    for settlement in settlements:
        if settlement.final:
            batch.add(
                f"DELETE FROM queue_recipients WHERE entry IN {_THIS} AND number = ?", queue_id, settlement.number
            )
        else:
            batch.add(
                _DEFER,
                settlement.next_attempt,
                settlement.attempt,
                settlement.delay_reported,
                queue_id,
                settlement.number,
            )
    for settlement in settlements:  # an entry that is owed to nobody is gone by now, and its history with it
        batch.add(
            "INSERT INTO queue_attempts (entry, attempt) SELECT id, ? FROM queue_entries WHERE queue_id = ?",
            settlement.attempt,
            queue_id,
        )
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


def take_due(connection: apsw.Connection, now: Instant, limit: int) -> list[QueueEntry]:
    """Return due entries with their due recipients, and mark them taken."""
    entries: list[QueueEntry] = []
    sql = "SELECT max(priority) FROM queue_entries WHERE taken = 0 AND next_attempt IS NOT NULL"
    priority = value(connection, sql)
    while priority is not None and len(entries) < limit:
        rows = connection.execute(
            _ENTRY + "WHERE taken = 0 AND next_attempt IS NOT NULL AND priority = ? AND next_attempt <= ?"
            " ORDER BY next_attempt LIMIT ?",
            (priority, now, limit - len(entries)),
        ).fetchall()
        entries += [_entry(connection, row, due=now) for row in rows]
        connection.executemany("UPDATE queue_entries SET taken = 1 WHERE id = ?", [(row[0],) for row in rows])
        priority = value(connection, sql + " AND priority < ?", priority)
    return entries


def park(batch: Batch, queue_id: str, lane: str) -> None:
    """Park an entry."""
    batch.add("UPDATE queue_entries SET taken = 2, lane = ? WHERE queue_id = ?", lane, queue_id)


def take_parked(connection: apsw.Connection, lane: str, now: Instant, limit: int) -> list[QueueEntry]:
    """Return due entries parked under a lane with their due recipients, and mark them taken."""
    rows = connection.execute(
        _ENTRY + "WHERE taken = 2 AND lane = ? AND next_attempt <= ? ORDER BY priority DESC, next_attempt LIMIT ?",
        (lane, now, limit),
    ).fetchall()
    connection.executemany("UPDATE queue_entries SET taken = 1 WHERE id = ?", [(row[0],) for row in rows])
    return [_entry(connection, row, due=now) for row in rows]


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
    return _entry(connection, row) if row else None


def attempts(connection: apsw.Connection, queue_id: str) -> tuple[Attempt, ...]:
    """Return every attempt for an entry."""
    rows = connection.execute(f"SELECT attempt FROM queue_attempts WHERE entry IN {_THIS} ORDER BY id", (queue_id,))
    return tuple(unpack_attempt(attempt) for (attempt,) in rows)


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
        conditions.append("r.held = ?")
        values.append(int(chosen.held))
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
        _ENTRY
        + f"AS e WHERE e.queue_id > ?{among} AND EXISTS (SELECT 1 FROM queue_recipients r WHERE r.entry = e.id AND"
        f" {condition}) ORDER BY e.queue_id LIMIT ?",
        (after, *domains, *values, limit),
    ).fetchall()
    return [_entry(connection, row) for row in rows]


def _entry(connection: apsw.Connection, row: tuple[SQLiteValue, ...], due: Instant | None = None) -> QueueEntry:
    number, queue_id, content, octets, envelope, arrived, expires, priority, source, route, details = row
    condition, values = ("", ()) if due is None else ("AND held = 0 AND next_attempt <= ?", (due,))
    recipients = tuple(map(_recipient, connection.execute(_RECIPIENTS + condition, (number, *values))))
    return QueueEntry(
        str(queue_id),
        decode_envelope(envelope, [recipient.recipient for recipient in recipients]),  # type: ignore[arg-type]
        content,  # type: ignore[arg-type]  # columns have the types of the schema
        octets,  # type: ignore[arg-type]
        arrived,  # type: ignore[arg-type]
        expires,  # type: ignore[arg-type]
        priority,  # type: ignore[arg-type]
        str(source),
        str(route),
        json.loads(str(details)),
        recipients,
    )


def _recipient(row: tuple[SQLiteValue, ...]) -> QueuedRecipient:
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
        unpack_attempt(last) if last is not None else None,  # type: ignore[arg-type]
    )
