"""Examine a whole store: every record against its checksum, the index against the log and against itself.

It only reads, and may run beside the server: what is looked at is one state of the index and the log up to there.

Limits: faults of one kind are listed up to 20, and counted beyond.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import apsw

from letterlock.errors import Malformed, Unavailable
from letterlock.store.index import INDEX_NAME, connect, value
from letterlock.store.segments import FIRST_OFFSET, path_of, read_header, scan

_MOST_LISTED = 20

# (what is wrong with each row found, the question)
_QUESTIONS = (
    (
        "content {} lies outside the log",
        "SELECT c.id FROM contents c LEFT JOIN segments s ON s.id = c.segment"
        " WHERE s.id IS NULL OR c.offset + c.length > s.end",
    ),
    (
        "content {} counts {} references where there are {}",
        "SELECT c.id, c.refs, coalesce(u.n, 0) FROM contents c LEFT JOIN (SELECT content, count(*) AS n FROM"
        " (SELECT content FROM messages UNION ALL SELECT content FROM queue_entries UNION ALL"
        " SELECT base FROM contents WHERE base) GROUP BY content) u ON u.content = c.id"
        " WHERE c.refs <> coalesce(u.n, 0)",
    ),
    (
        "message {1} of mailbox {0} has no content",
        "SELECT m.mailbox, m.uid FROM messages m LEFT JOIN contents c ON c.id = m.content WHERE c.id IS NULL",
    ),
    (
        "queue entry {} has no content",
        "SELECT e.queue_id FROM queue_entries e LEFT JOIN contents c ON c.id = e.content WHERE c.id IS NULL",
    ),
    (
        "the counters of mailbox {} ({}) are not those of its messages",
        "SELECT b.id, b.name FROM mailboxes b LEFT JOIN (SELECT mailbox, count(*) AS n, sum(size) AS octets,"
        " sum(flags & 1 = 0) AS unseen, max(uid) AS uid, max(modseq) AS modseq FROM messages GROUP BY mailbox) m"
        " ON m.mailbox = b.id WHERE b.messages <> coalesce(m.n, 0) OR b.octets <> coalesce(m.octets, 0)"
        " OR b.unseen <> coalesce(m.unseen, 0) OR b.uid_next <= coalesce(m.uid, 0) OR b.modseq < coalesce(m.modseq, 0)",
    ),
    (
        "messages of mailbox {}, which is not there",
        "SELECT DISTINCT m.mailbox FROM messages m LEFT JOIN mailboxes b ON b.id = m.mailbox WHERE b.id IS NULL",
    ),
)


@dataclass(frozen=True, slots=True)
class Examined:
    """What was looked at, and every fault as a sentence."""

    segments: int
    records: int
    octets: int
    messages: int
    faults: tuple[str, ...]


def check_store(folder: Path) -> Examined:
    """Examine the store in `folder`. Blocks for as long as reading all of it takes. Raises Unavailable."""
    if not (folder / INDEX_NAME).exists():
        raise Unavailable(f"there is no store in {folder}")
    try:
        connection = connect(folder / INDEX_NAME, read_only=True)
        connection.execute("BEGIN")  # one state of the index for all questions
        examined = _check(folder / "log", connection)
        connection.close()
    except apsw.Error as error:
        return Examined(0, 0, 0, 0, (f"the index is damaged: {error}",))
    return examined


def _check(log: Path, connection: apsw.Connection) -> Examined:
    faults: list[str] = []
    ends = connection.execute("SELECT id, end, checksum FROM segments ORDER BY id").fetchall()
    records = octets = 0
    for row in ends:
        number, end, checksum = map(int, row)  # type: ignore[arg-type]  # integer columns
        found, fault = _check_segment(log, number, end, checksum)
        records += found
        octets += end
        if fault:
            faults.append(fault)
    for sentence, question in _QUESTIONS:
        rows = connection.execute(question).fetchall()
        faults += [sentence.format(*one) for one in rows[:_MOST_LISTED]]
        if len(rows) > _MOST_LISTED:
            faults.append(f"... and {len(rows) - _MOST_LISTED} more of this kind")
    faults += [str(word) for (word,) in connection.execute("PRAGMA integrity_check") if word != "ok"]
    messages = int(value(connection, "SELECT count(*) FROM messages") or 0)
    return Examined(len(ends), records, octets, messages, tuple(faults))


def _check_segment(log: Path, number: int, end: int, checksum: int) -> tuple[int, str]:
    """Return how many records of a segment are whole, and what is wrong with it."""
    try:
        descriptor = os.open(path_of(log, number), os.O_RDONLY)
    except OSError as error:
        return 0, f"segment {number:010x} cannot be opened: {error.strerror}"
    records, reached, chain = 0, FIRST_OFFSET, 0
    try:
        chain = read_header(descriptor, number)
        for record in scan(descriptor, number, FIRST_OFFSET, chain):
            if record.end > end:
                break
            records, reached, chain = records + 1, record.end, record.checksum
    except (Malformed, OSError) as error:
        return records, f"segment {number:010x} cannot be read: {error}"
    finally:
        os.close(descriptor)
    if reached != end or chain != checksum:
        return records, f"segment {number:010x} is damaged at octet {reached} of {end}"
    return records, ""
