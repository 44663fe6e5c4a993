"""Delimiter lines: where the parts of nested multiparts begin and end, found in one sweep.

A `Delimiters` knows the boundaries that are open, the outermost first, and finds the next line that is a delimiter of
any of them. While few are open it looks for each one's text, which runs at memory speed; an inner search never passes
the line at which an outer one already ends it, so no octet is searched more than `_NARROW` times. With more open it
goes from line to line that begins with two hyphens and looks each up.

Standards: RFC 2046 section 5.1.1 (a delimiter is the whole line: two hyphens, the boundary, perhaps two hyphens,
perhaps white space), section 5.1.2 (an outer delimiter ends every part inside it).
Limits: linear in the octets for any input.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from letterlock.formats.defect import Defect, Kind

_NARROW = 4  # how many boundaries are looked for one by one
_REST = re.compile(rb"(--)?[ \t]*+(?:\r?\n|\Z)")
_LINE = re.compile(rb"[^\r\n]*+")
_LOOKALIKES = 20  # how many are named in one message


class Delimiter(NamedTuple):
    """A delimiter line: which boundary (0 is the outermost), where the content before it ends, the line's own span."""

    level: int
    content_end: int
    start: int
    after: int
    closes: bool


class _Open:
    """A boundary that is open, the next delimiter line of it if known, and whether it is known that none comes."""

    __slots__ = ("exhausted", "known", "needle")

    def __init__(self, boundary: bytes) -> None:
        self.needle = b"\n--" + boundary
        self.known: Delimiter | None = None
        self.exhausted = False


class Delimiters:
    """The open boundaries of one message in `octets`."""

    def __init__(self, octets: bytes, defects: list[Defect]) -> None:
        self._octets = octets
        self._defects = defects
        self._lookalikes = 0
        self._open: list[_Open] = []
        self._levels: dict[bytes, int] = {}
        self._lengths: dict[int, int] = {}  # how many open boundaries have this length

    def __bool__(self) -> bool:
        return bool(self._open)

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, boundary: bytes) -> bool:
        return boundary in self._levels

    def push(self, boundary: bytes) -> None:
        """Open a boundary inside those that are open. It must not be open already."""
        self._levels[boundary] = len(self._open)
        self._lengths[len(boundary)] = self._lengths.get(len(boundary), 0) + 1
        self._open.append(_Open(boundary))

    def close(self, level: int) -> None:
        """Forget the boundary of this level and all inside it."""
        for opened in self._open[level:]:
            boundary = opened.needle[3:]
            del self._levels[boundary]
            self._lengths[len(boundary)] -= 1
            if not self._lengths[len(boundary)]:
                del self._lengths[len(boundary)]
        del self._open[level:]

    def next(self, position: int) -> Delimiter | None:
        """Return the first delimiter line that begins at or after `position`, the start of a line that is not the
        first; None if there is no more.
        """
        if len(self._open) > _NARROW:
            return self._next_by_line(position)
        stop = len(self._octets)
        nearest: Delimiter | None = None
        for level, opened in enumerate(self._open):
            known = opened.known
            if known is None or known.start < position:
                if opened.exhausted:
                    continue
                known = opened.known = self._find(opened.needle, level, position, stop)
                # Before `stop` there is none, and at `stop` an outer delimiter closes this boundary.
                opened.exhausted = known is None
            if known is not None and known.start < stop:
                nearest, stop = known, known.start
        return nearest

    def _find(self, needle: bytes, level: int, position: int, stop: int) -> Delimiter | None:
        octets = self._octets
        at = octets.find(needle, position - 1, stop)
        while at >= 0:
            rest = _REST.match(octets, at + len(needle))
            if rest:
                return _delimiter(octets, level, at, position, rest)
            self._lookalike(at + 1)
            at = octets.find(needle, at + len(needle), stop)
        return None

    def _next_by_line(self, position: int) -> Delimiter | None:
        octets, levels = self._octets, self._levels
        at = octets.find(b"\n--", position - 1)
        while at >= 0:
            line = _LINE.match(octets, at + 3)
            assert line is not None  # the pattern takes anything
            text = line[0]
            # The outermost of all boundaries that this line is a delimiter of
            best: tuple[int, re.Match[bytes]] | None = None
            for length in self._lengths:
                level = levels.get(text[:length])
                if level is None:
                    continue
                rest = _REST.match(octets, at + 3 + length)
                if rest is None:
                    self._lookalike(at + 1)
                elif best is None or level < best[0]:
                    best = level, rest
            if best is not None:
                return _delimiter(octets, best[0], at, position, best[1])
            at = octets.find(b"\n--", line.end())
        return None

    def _lookalike(self, offset: int) -> None:
        self._lookalikes += 1
        if self._lookalikes <= _LOOKALIKES:
            self._defects.append(Defect(Kind.BOUNDARY_LOOKALIKE, offset))


def _delimiter(octets: bytes, level: int, newline: int, position: int, rest: re.Match[bytes]) -> Delimiter:
    # RFC 2046 section 5.1.1: the line end before a delimiter belongs to the delimiter.
    content_end = newline - 1 if newline and octets[newline - 1] == 13 else newline
    return Delimiter(level, max(content_end, position), newline + 1, rest.end(), rest[1] is not None)
