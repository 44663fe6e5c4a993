"""What one session has been told of its selected mailbox, and how it learns of changes.

A view holds the snapshot the client knows (`told`). Sequence numbers are slots of that snapshot plus one, so they never
move while a command runs. `updates` brings the client to the mailbox as it is now: EXPUNGE, EXISTS, FLAGS and FETCH
responses, in that order. Where messages have vanished and EXPUNGE may not be told, nothing is told and nothing moves:
the client goes on seeing the mailbox as it was.

Standards: RFC 9051 section 7.5.1 (when EXPUNGE may be told), section 5.2 (updates), RFC 7162 section 3.2 (MODSEQ, VANISHED).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, count

from letterlock.errors import Malformed
from letterlock.protocols.imap.sequence_set import LARGEST, SequenceSet, encode, ranges_of
from letterlock.store.interface import OpenMailbox
from letterlock.store.snapshot import SYSTEM_FLAGS, Snapshot, UidRanges

Slots = range | list[int]


class FlagTable(dict[int, bytes]):
    """Flag words to the flags as FETCH writes them, for one list of names; filled as words occur."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names

    def __missing__(self, word: int) -> bytes:
        written = " ".join(name for number, name in enumerate(self.names) if word >> number & 1).encode("ascii")
        self[word] = written
        return written


@dataclass(frozen=True, slots=True)
class Manner:
    """How a session is told of changes: with UIDs, with modification sequences, with VANISHED in place of EXPUNGE."""

    with_uid: bool = False
    with_modseq: bool = False
    as_vanished: bool = False


class View:
    """A selected mailbox as its session knows it. `saved` is the result of SEARCH RETURN (SAVE), as UIDs."""

    def __init__(self, name: str, opened: OpenMailbox, *, read_only: bool) -> None:
        self.name = name
        self.opened = opened
        self.read_only = read_only
        self.told = opened.snapshot()
        self.saved: UidRanges = ()
        self._flag_table = FlagTable(self.told.flag_names)
        self._names_told: tuple[str, ...] = ()

    @property
    def mailbox(self) -> int:
        """The mailbox's id in the store."""
        return self.told.mailbox

    @property
    def is_gone(self) -> bool:
        """Whether the mailbox was deleted."""
        return not self.opened.snapshot().exists

    def flag_table(self, snapshot: Snapshot) -> FlagTable:
        """Return the table that writes the flag words of `snapshot`."""
        if self._flag_table.names != snapshot.flag_names:
            self._flag_table = FlagTable(snapshot.flag_names)
        return self._flag_table

    def slots(self, numbers: SequenceSet, *, uid: bool, strict: bool = True) -> Slots:
        """Return the slots a command names. If `strict`, raises Malformed for sequence numbers that nobody has."""
        told = self.told
        if numbers.saved:
            runs = list(told.slots(self.saved))
        elif uid:
            runs = list(told.slots(tuple(numbers.resolved(told.uids[-1] if told.uids else 0))))
        else:
            count = len(told)
            ranges = numbers.resolved(count)
            if not count and all(LARGEST in pair for pair in numbers.ranges):
                return []  # QUIRK empty-range: 1:* in an empty mailbox is nothing, not an error
            if strict and not 1 <= ranges[0][0] <= ranges[-1][1] <= count:
                raise Malformed(f"a message number that is not in 1:{count}", clause="RFC 9051 section 9")
            runs = [range(low - 1, min(high, count)) for low, high in ranges if 1 <= low <= count]
        if len(runs) == 1:
            return runs[0]
        return [slot for run in runs for slot in run]

    def uid_ranges(self, slots: Slots) -> UidRanges:
        """Return ranges that hold the UIDs in `slots`, and of the UIDs told no others."""
        uids = self.told.uids
        if isinstance(slots, range):
            return ((uids[slots.start], uids[slots.stop - 1]),) if slots else ()
        return tuple((uids[low], uids[high]) for low, high in ranges_of(slots))

    def updates(self, manner: Manner, *, may_expunge: bool, own_modseq: int = 0) -> list[bytes]:
        """Return the responses that bring the client up to date, and count them as told.

        What has the modification sequence `own_modseq` was changed by this session's own STORE, and is known.
        """
        told, now = self.told, self.opened.snapshot()
        if now is told or not now.exists:
            return []
        touched = self.opened.touched_since(told.highest_modseq)
        vanished = _vanished(told, now, touched)
        if vanished and not may_expunge:
            return []
        lines = list(_expunged(told, vanished, manner))
        remaining = len(told) - len(vanished)
        if len(now) > remaining:
            lines.append(b"* %d EXISTS\r\n" % len(now))
        lines.extend(self.flag_lines(now))
        slots = now.changed_since(told.highest_modseq) if touched is None else map(now.slot, touched)
        modseqs = now.modseqs
        changed = [slot for slot in slots if 0 <= slot < remaining and modseqs[slot] != own_modseq]
        lines.extend(self.flag_rows(now, changed, manner))
        self.told = now
        return lines

    def flag_rows(self, snapshot: Snapshot, slots: Iterable[int], manner: Manner) -> Iterator[bytes]:
        """Yield FETCH responses with the flags of these slots of `snapshot`, numbered as there."""
        table = self.flag_table(snapshot)
        for slot in slots:
            row = b"* %d FETCH (FLAGS (%b)" % (slot + 1, table[snapshot.flag_word(slot)])
            if manner.with_uid:
                row += b" UID %d" % snapshot.uids[slot]
            if manner.with_modseq:
                row += b" MODSEQ (%d)" % snapshot.modseqs[slot]
            yield row + b")\r\n"

    def flag_lines(self, snapshot: Snapshot) -> list[bytes]:
        """Return FLAGS and PERMANENTFLAGS where the client does not know all names, and count them as told."""
        if snapshot.flag_names == self._names_told:
            return []
        self._names_told = snapshot.flag_names
        names = " ".join(dict.fromkeys((*SYSTEM_FLAGS, *snapshot.flag_names))).encode("ascii")
        permanent = b"()] Read-only" if self.read_only else b"(" + names + b" \\*)] Keywords may be made"
        return [b"* FLAGS (" + names + b")\r\n", b"* OK [PERMANENTFLAGS " + permanent + b"\r\n"]


def keeps_all(told: Snapshot, now: Snapshot) -> bool:
    """Whether every message told is still there, in its place."""
    return now.uids is told.uids or now.uids[: len(told)] == told.uids


def _vanished(told: Snapshot, now: Snapshot, touched: list[int] | None) -> list[int]:
    """Return the slots told of messages that are gone; `touched` are all UIDs that could be, where that is known."""
    if touched is not None:
        return [slot for uid in touched if now.slot(uid) < 0 and (slot := told.slot(uid)) >= 0]
    if keeps_all(told, now):
        return []
    present = set(now.uids)
    return [slot for slot, uid in enumerate(told.uids) if uid not in present]


def _expunged(told: Snapshot, vanished: list[int], manner: Manner) -> Iterator[bytes]:
    if manner.as_vanished:
        if vanished:
            yield b"* VANISHED " + encode(ranges_of(told.uids[slot] for slot in vanished)) + b"\r\n"
        return
    # From the highest down, so that no number told moves those still to be told.
    for slot in reversed(vanished):
        yield b"* %d EXPUNGE\r\n" % (slot + 1)


def pick(column: Sequence[int], slots: Slots) -> Sequence[int]:
    """Return the values of a column in these slots."""
    return column[slots.start : slots.stop] if isinstance(slots, range) else [column[slot] for slot in slots]


def flag_words(snapshot: Snapshot, slots: Slots) -> Iterable[int]:
    """Return the flag words of these slots."""
    words: Iterable[int] = pick(snapshot.planes[0], slots) if snapshot.planes else (0 for _ in slots)
    for number, plane in enumerate(snapshot.planes[1:], 1):
        words = [word | octet << 8 * number for word, octet in zip(words, pick(plane, slots), strict=True)]
    return words


def slots_in(selector: bytes) -> list[int]:
    """Return the slots whose octet is not 0."""
    return list(compress(count(), selector))
