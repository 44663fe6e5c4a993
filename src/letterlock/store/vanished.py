"""Which UIDs were expunged since when: what QRESYNC asks, remembered within bounds.

Each expunge leaves its runs of UIDs with its modification sequence. Of each mailbox the newest runs are kept; who asks
about a time before them is told of every UID that is not there, which RFC 7162 section 3.2.10 allows.

Limits: 10,000 runs a mailbox.
"""

from __future__ import annotations

import apsw

from letterlock.store.index import value
from letterlock.store.snapshot import UidRanges, join_ranges

MOST_RUNS = 10_000


def vanished(connection: apsw.Connection, mailbox: int, since_modseq: int, uid_next: int) -> UidRanges:
    """Return the UIDs of a mailbox expunged after `since_modseq`; perhaps older ones too. Runs in the index thread."""
    floor = value(connection, "SELECT modseq FROM vanished_floors WHERE mailbox = ?", mailbox)
    if isinstance(floor, int) and since_modseq < floor:
        return _missing(connection, mailbox, uid_next)
    rows = connection.execute(
        "SELECT first, last FROM vanished WHERE mailbox = ? AND modseq > ? ORDER BY first", (mailbox, since_modseq)
    )
    return join_ranges([(int(first), int(last)) for first, last in rows])


def _missing(connection: apsw.Connection, mailbox: int, uid_next: int) -> UidRanges:
    """Return every UID below `uid_next` that is not there."""
    gaps: list[tuple[int, int]] = []
    expected = 1
    for (uid,) in connection.execute("SELECT uid FROM messages WHERE mailbox = ? ORDER BY uid", (mailbox,)):
        if uid > expected:
            gaps.append((expected, int(uid) - 1))
        expected = int(uid) + 1
    if uid_next > expected:
        gaps.append((expected, uid_next - 1))
    return tuple(gaps)


def forget_oldest(connection: apsw.Connection, most_runs: int = MOST_RUNS) -> None:
    """Keep the newest runs of each mailbox only. Runs in the index thread."""
    crowded = connection.execute("SELECT mailbox FROM vanished GROUP BY mailbox HAVING count(*) > ?", (most_runs,))
    for (mailbox,) in crowded.fetchall():
        floor = value(
            connection,
            "SELECT modseq FROM vanished WHERE mailbox = ? ORDER BY modseq DESC LIMIT 1 OFFSET ?",
            mailbox,
            most_runs,
        )
        connection.execute("DELETE FROM vanished WHERE mailbox = ? AND modseq <= ?", (mailbox, floor))
        connection.execute("INSERT OR REPLACE INTO vanished_floors VALUES (?, ?)", (mailbox, floor))
