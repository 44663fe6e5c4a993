"""One mailbox as it was at one instant: columns of equal length, one slot a message, in UID order.

A snapshot never changes; the store makes a new one when the mailbox has changed and shares it among all sessions.
The message with sequence number n stands in slot n - 1. Columns are arrays and flags are planes of octets, so that
searching and formatting ten thousand messages are a few calls, not ten thousand: see `selector` and `where`.

Flags are numbered: 0 to 4 are the system flags, the rest the mailbox's keywords in order of first use. Flag n is bit
n % 8 of each message's octet in plane n // 8.

Standards: RFC 9051 section 2.3.2 (flags), RFC 7162 (modification sequences), RFC 8474 (object ids), RFC 8514 (save date).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress

UidRanges = tuple[tuple[int, int], ...]  # sorted, apart from each other, both ends included

SEEN, ANSWERED, FLAGGED, DELETED, DRAFT = "\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"
SYSTEM_FLAGS = (SEEN, ANSWERED, FLAGGED, DELETED, DRAFT)
MOST_FLAGS = 62  # a mailbox's flags are one positive 64-bit integer a message in the index


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a mailbox at `highest_modseq`.

    `internal_dates` and `save_dates` are whole seconds since 1970 UTC; `sizes` count octets; `contents` are content
    ids for `Store.read`, equal for copies of one message (its EMAILID). `exists` is false once it was deleted.
    """

    mailbox: int
    uid_validity: int
    uid_next: int
    highest_modseq: int
    flag_names: tuple[str, ...]
    uids: array[int]
    planes: tuple[bytes, ...]
    modseqs: array[int]
    internal_dates: array[int]
    save_dates: array[int]
    sizes: array[int]
    contents: array[int]
    exists: bool = True

    def __len__(self) -> int:
        """How many messages there are."""
        return len(self.uids)

    def slot(self, uid: int) -> int:
        """Return the slot of `uid`, or -1."""
        slot = bisect_left(self.uids, uid)
        return slot if slot < len(self.uids) and self.uids[slot] == uid else -1

    def slots(self, ranges: UidRanges) -> Iterator[range]:
        """Yield the runs of slots that hold the UIDs in `ranges`."""
        return slots_of(self.uids, ranges)

    def flags(self, slot: int) -> tuple[str, ...]:
        """Return the names of the flags set on the message in `slot`."""
        word = self.flag_word(slot)
        return tuple(name for number, name in enumerate(self.flag_names) if word >> number & 1)

    def flag_word(self, slot: int) -> int:
        """Return the flags of one message as an integer, bit n for flag_names[n]."""
        word = 0
        for number, plane in enumerate(self.planes):
            word |= plane[slot] << 8 * number
        return word

    def number(self, flag: str) -> int:
        """Return the number of `flag` (case does not matter), or -1 where no message ever had it."""
        folded = flag.lower()
        for number, name in enumerate(self.flag_names):
            if name.lower() == folded:
                return number
        return -1

    def selector(self, flag: str) -> bytes:
        """Return one octet a slot, 1 where `flag` is set and 0 where not: C speed to feed itertools.compress."""
        number = self.number(flag)
        if number < 0:
            return bytes(len(self.uids))
        bit = 1 << number % 8
        return self.planes[number // 8].translate(bytes(int(octet & bit != 0) for octet in range(256)))

    def where(self, flag: str, *, set: bool = True) -> list[int]:
        """Return the UIDs of the messages whose `flag` is (or is not) set."""
        chosen = self.selector(flag)
        return list(compress(self.uids, chosen if set else chosen.translate(_INVERT)))

    def changed_since(self, modseq: int) -> list[int]:
        """Return the slots whose modification sequence is above `modseq`."""
        return [slot for slot, value in enumerate(self.modseqs) if value > modseq]


_INVERT = bytes((1, *(0 for _ in range(255))))


def slots_of(uids: array[int], ranges: UidRanges) -> Iterator[range]:
    """Yield the runs of slots of a column of UIDs that hold the UIDs in `ranges`."""
    for first, last in ranges:
        start, stop = bisect_left(uids, first), bisect_right(uids, last)
        if start < stop:
            yield range(start, stop)


def to_ranges(uids: Sequence[int]) -> UidRanges:
    """Return ascending UIDs as ranges."""
    ranges: list[tuple[int, int]] = []
    first = last = -1
    for uid in uids:
        if uid == last + 1 and last >= 0:
            last = uid
            continue
        if last >= 0:
            ranges.append((first, last))
        first = last = uid
    if last >= 0:
        ranges.append((first, last))
    return tuple(ranges)


def join_ranges(ranges: Sequence[tuple[int, int]]) -> UidRanges:
    """Return ascending ranges with neighbours joined."""
    joined: list[tuple[int, int]] = []
    for first, last in ranges:
        if joined and joined[-1][1] + 1 == first:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return tuple(joined)


def from_ranges(ranges: UidRanges) -> Iterator[int]:
    """Yield each UID of `ranges`."""
    for first, last in ranges:
        yield from range(first, last + 1)
