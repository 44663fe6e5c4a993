"""The server's input: command lines that end in CRLF, and octets that are none.

Standards: RFC 5321 section 2.3.8 (lines end in CRLF and in nothing else).
Limits: `take_line` is told the longest line; a longer one is read over without being kept.
"""

from __future__ import annotations


class BareLineFeed(Exception):
    """A line ended in LF alone: nobody can know where this client's commands end."""


class LineTooLong(Exception):
    """A line was longer than allowed; it was read over."""


class Input:
    """What came and was not used yet. It remembers where it is, so that a group of commands is read in one pass."""

    __slots__ = ("_at", "_buffer", "_skipping")

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        self._skipping = False

    def __bool__(self) -> bool:
        """Whether anything is there."""
        return self._at < len(self._buffer)

    def receive(self, octets: bytes) -> None:
        """Take what came."""
        self._buffer = self._buffer[self._at :] + octets if self._at < len(self._buffer) else octets
        self._at = 0

    def clear(self) -> None:
        """Forget all that is there."""
        self._buffer, self._at = b"", 0

    def take_all(self) -> bytes:
        """Return and forget all that is there."""
        octets = self._buffer[self._at :] if self._at else self._buffer
        self.clear()
        return octets

    def take_line(self, longest: int) -> bytes | None:
        """Return the next line without its CRLF, or None before its end. Raises BareLineFeed, LineTooLong."""
        end = self._buffer.find(b"\n", self._at)
        if end < 0:
            if len(self._buffer) - self._at > longest:
                self.clear()
                self._skipping = True
            return None
        line, self._at = self._buffer[self._at : end], end + 1
        skipped, self._skipping = self._skipping, False
        if not line.endswith(b"\r") and not (skipped and not line):
            raise BareLineFeed
        if skipped or len(line) > longest:
            raise LineTooLong
        return line[:-1]
