"""Sets of message sequence numbers or UIDs as clients write them, and as servers answer with them.

`*` stands for the largest number in use, whatever it is when the command runs; `$` for the result a SEARCH saved.

Standards: RFC 9051 section 9 (sequence-set, uid-set), RFC 5182 section 2.1 (`$`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from letterlock.errors import Malformed

LARGEST = 0
"""Stands for `*` in a range; no message has the number 0."""

_CLAUSE = "RFC 9051 section 9"


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """Ranges (first, last) in the order written, LARGEST for `*`; `saved` where it was `$`."""

    ranges: tuple[tuple[int, int], ...]
    saved: bool = False

    def resolved(self, largest: int) -> list[tuple[int, int]]:
        """Return ascending ranges that do not touch, with `*` put as `largest`."""
        pairs = []
        for first, last in self.ranges:
            low, high = first or largest, last or largest
            pairs.append((low, high) if low <= high else (high, low))
        return merged(pairs)


def parse(octets: bytes, offset: int = 0) -> SequenceSet:
    """Return the set written as `octets`; `offset` only places the error. Raises Malformed."""
    if octets == b"$":
        return SequenceSet((), saved=True)
    ranges = []
    for item in octets.split(b","):
        first, colon, last = item.partition(b":")
        low = _number(first, offset)
        ranges.append((low, _number(last, offset) if colon else low))
    return SequenceSet(tuple(ranges))


def _number(octets: bytes, offset: int) -> int:
    if octets == b"*":
        return LARGEST
    if not octets.isdigit() or len(octets) > 10 or not 0 < int(octets) < 1 << 32:
        raise Malformed(
            "a sequence set holds something else than numbers from 1 to 2^32-1", offset=offset, clause=_CLAUSE
        )
    return int(octets)


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return `ranges` ascending, with those that overlap or touch made one."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if result and low <= result[-1][1] + 1:
            if high > result[-1][1]:
                result[-1] = (result[-1][0], high)
        else:
            result.append((low, high))
    return result


def intersection(left: Iterable[tuple[int, int]], right: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what two lists of ascending ranges have in common."""
    lefts, rights = list(left), list(right)
    common = []
    i = j = 0
    while i < len(lefts) and j < len(rights):
        low, high = max(lefts[i][0], rights[j][0]), min(lefts[i][1], rights[j][1])
        if low <= high:
            common.append((low, high))
        if lefts[i][1] < rights[j][1]:
            i += 1
        else:
            j += 1
    return common


def ranges_of(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return the ranges that make up `numbers`, which ascend."""
    result: list[tuple[int, int]] = []
    first = previous = -1
    for number in numbers:
        if number != previous + 1 or previous < 0:
            if previous >= 0:
                result.append((first, previous))
            first = number
        previous = number
    if previous >= 0:
        result.append((first, previous))
    return result


def encode(ranges: Iterable[tuple[int, int]]) -> bytes:
    """Return ranges as `1:3,7`."""
    return b",".join(b"%d" % low if low == high else b"%d:%d" % (low, high) for low, high in ranges)


def numbers_in(ranges: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Yield every number of the ranges."""
    for low, high in ranges:
        yield from range(low, high + 1)
