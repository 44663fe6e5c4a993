"""Canonicalization of header fields and bodies, and hashes of a body that arrives in pieces.

A body is canonicalized once for each of the two ways in use, however many signatures there are, and in memory that does
not grow with it.

Standards: RFC 6376 section 3.4.1 to section 3.4.5 (simple, relaxed, body length), RFC 8301 section 3.1 (digests).
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

_DIGESTS = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}
_BLANK_LINES = b"\r\n" * 2048


class Canonicalization(enum.Enum):
    """The two algorithms of RFC 6376 section 3.4."""

    SIMPLE = "simple"
    RELAXED = "relaxed"


def header_fields(fields: Sequence[bytes], how: Canonicalization) -> bytes:
    """Canonicalize fields given without their final CRLF, and join them by CRLF; the result ends without one."""
    if how is Canonicalization.SIMPLE:
        return b"\r\n".join(fields)
    # RFC 6376 section 3.4.2; runs of white space are collapsed in all of them at once
    parts = []
    for field in fields:
        name, _, value = field.partition(b":")
        parts.append(name.rstrip(b" \t").lower() + b":" + value.replace(b"\r\n", b"").strip(b" \t"))
    return _collapsed(b"\r\n".join(parts))


def _collapsed(octets: bytes) -> bytes:
    """Make each run of spaces and tabs one space; linear, because each pass at least halves every run."""
    if b"\t" in octets:
        octets = octets.replace(b"\t", b" ")
    while b"  " in octets:
        octets = octets.replace(b"  ", b" ")
    return octets


@dataclass(frozen=True, slots=True)
class BodyHashKind:
    """What is hashed and how; `length` is the l= of the signature, None for the whole body."""

    canonicalization: Canonicalization
    digest: str
    length: int | None = None


class _Hash:
    __slots__ = ("_hash", "_left")

    def __init__(self, kind: BodyHashKind) -> None:
        self._hash = _DIGESTS[kind.digest]()
        self._left = kind.length

    def update(self, octets: bytes) -> None:
        if self._left is not None:
            octets = octets[: self._left]
            self._left -= len(octets)
        self._hash.update(octets)

    def digest(self) -> bytes:
        return self._hash.digest()


class _Body:
    """One canonicalization of a body in pieces.

    `_tail` is the end of the last piece that cannot be judged yet (at most a space and a CR); `_lines` counts the empty
    lines that are left out if nothing follows them.
    """

    __slots__ = ("_is_relaxed", "_lines", "_tail", "hashes", "octets_seen")

    def __init__(self, how: Canonicalization) -> None:
        self._is_relaxed = how is Canonicalization.RELAXED
        self._tail = b""
        self._lines = 0
        self.octets_seen = 0
        self.hashes: dict[BodyHashKind, _Hash] = {}

    def feed(self, octets: bytes) -> None:
        octets = self._tail + octets if self._tail else octets
        if self._is_relaxed:
            octets = _collapsed(octets)
            if b" \r\n" in octets:
                octets = octets.replace(b" \r\n", b"\r\n")
            undecided = 2 if octets.endswith(b" \r") else 1 if octets.endswith((b" ", b"\r")) else 0
        else:
            undecided = 1 if octets.endswith(b"\r") else 0
        if undecided:
            octets, self._tail = octets[:-undecided], octets[-undecided:]
        else:
            self._tail = b""
        self._take(octets)

    def _take(self, octets: bytes) -> None:
        if octets.endswith(b"\r\n"):
            octets, lines = _without_final_lines(octets)
        else:
            lines = 0
        if octets:
            self._put_lines()
            self._put(octets)
        self._lines += lines

    def _put_lines(self) -> None:
        while self._lines:
            now = min(self._lines, 2048)
            self._put(_BLANK_LINES[: 2 * now])
            self._lines -= now

    def _put(self, octets: bytes) -> None:
        self.octets_seen += len(octets)
        for hashed in self.hashes.values():
            hashed.update(octets)

    def finish(self) -> None:
        tail, self._tail = self._tail, b""
        self._take(tail.rstrip(b" ") if self._is_relaxed else tail)
        # RFC 6376 section 3.4.3: a simple body ends in one CRLF, even an empty one; an empty relaxed body stays empty
        if self.octets_seen or not self._is_relaxed:
            self._put(b"\r\n")
        self._lines = 0


def _without_final_lines(octets: bytes) -> tuple[bytes, int]:
    """Take off every CRLF at the end; return what is left and how many there were."""
    kept = octets.rstrip(b"\r\n")
    end = octets[len(kept) :]
    lines = len(end) // 2
    if end != b"\r\n" * lines:  # a bare CR or LF stands among them: only the CRLFs behind it go
        lines = 0
        while end.endswith(b"\r\n", 0, len(end) - 2 * lines):
            lines += 1
        kept = octets[: len(octets) - 2 * lines]
    return kept, lines


class BodyHashes:
    """All hashes wanted of one body. Add the kinds first, feed the body, then read the digests."""

    __slots__ = ("_bodies", "_is_finished")

    def __init__(self) -> None:
        self._bodies: dict[Canonicalization, _Body] = {}
        self._is_finished = False

    def add(self, kind: BodyHashKind) -> None:
        """Ask for a hash; asking twice costs nothing."""
        body = self._bodies.setdefault(kind.canonicalization, _Body(kind.canonicalization))
        body.hashes.setdefault(kind, _Hash(kind))

    def feed(self, octets: bytes) -> None:
        """Take the next piece of the body, of any size."""
        for body in self._bodies.values():
            body.feed(octets)

    def _finish(self) -> None:
        if not self._is_finished:
            self._is_finished = True
            for body in self._bodies.values():
                body.finish()

    def digest(self, kind: BodyHashKind) -> bytes:
        """Return a hash that was asked for; the body is complete from now on."""
        self._finish()
        return self._bodies[kind.canonicalization].hashes[kind].digest()

    def length(self, how: Canonicalization) -> int:
        """Return how many octets the canonical body has; the body is complete from now on."""
        self._finish()
        return self._bodies[how].octets_seen
