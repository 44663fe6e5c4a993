"""Read and write BER whose content does not fit into memory.

A `Source` pulls chunks of octets from any iterable and hands out headers, small elements whole, and the content of a
string piece by piece; it holds no more than one chunk and one small element. `segments` writes a constructed OCTET
STRING of indefinite length.

Raises only Malformed.

Standards: X.690 section 8.1.3.6 (indefinite), RFC 5652 section 5.2 (constructed content).
Limits: a small element of 1 MiB (all certificates and CRLs of a message together 16 MiB), 64 levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.asn1 import reader, tags
from letterlock.formats.asn1.writer import length_octets

MAX_ELEMENT_OCTETS = 16 << 20
END_OF_CONTENTS = b"\x00\x00"
SEGMENT_OCTETS = 1 << 18
_HEADER_OCTETS = 16  # more than any header of a segment has
_CLAUSE = "X.690 section 8.1"


@dataclass(frozen=True, slots=True)
class Header:
    """Tag, form and length of an element; `length` None is indefinite, `octets` are the header itself."""

    tag: int
    constructed: bool
    length: int | None
    octets: bytes


class Source:
    """Octets that arrive in chunks, read as nested elements."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        self._position = 0
        self._before = 0  # octets that were in buffers now gone
        self._open: list[int | None] = []  # where each open element ends; None for an indefinite length
        self._limits: list[float] = [math.inf]  # where what is inside must end, by the lengths of all around it

    @property
    def offset(self) -> int:
        """How many octets were read."""
        return self._before + self._position

    def _fill(self, count: int) -> bool:
        """Have `count` octets at hand; False if the input ends before."""
        have = len(self._buffer) - self._position
        if have >= count:
            return True
        parts = [self._buffer[self._position :]] if have else []
        while have < count:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            parts.append(chunk)
            have += len(chunk)
        self._before += self._position
        self._position = 0
        self._buffer = parts[0] if len(parts) == 1 else b"".join(parts)
        return have >= count

    def rest(self) -> Iterator[bytes]:
        """Return what stands behind the outermost element, in pieces."""
        while self._fill(1):
            piece = self._buffer[self._position :]
            self._position = len(self._buffer)
            yield piece

    def _fault(self, problem: str) -> Malformed:
        return Malformed(problem, offset=self.offset, clause=_CLAUSE)

    def peek_tag(self) -> int:
        """Return the next element's tag (those of one octet) without taking it."""
        if not self._fill(1):
            raise self._fault("the input ends where an element belongs")
        return self._buffer[self._position] & 0xDF

    def more(self) -> bool:
        """Tell whether the open element holds another one."""
        if not self._open:
            return self._fill(1)
        end = self._open[-1]
        if end is not None:
            return self.offset < end
        if not self._fill(2):
            raise self._fault("the input ends before the end of an indefinite length")
        return self._buffer[self._position : self._position + 2] != END_OF_CONTENTS

    def header(self) -> Header:
        """Take the next element's header."""
        self._fill(_HEADER_OCTETS)
        start = self._position
        tag, content, length = reader.read_header(self._buffer, start, len(self._buffer))
        if self.offset + content - start + max(length, 0) > self._limits[-1]:
            raise self._fault(f"a length of {length} reaches past the end")
        self._position = content
        constructed = bool(self._buffer[start] & 0x20)
        if length < 0 and not constructed:
            raise self._fault("a primitive element of indefinite length")
        return Header(tag, constructed, length if length >= 0 else None, self._buffer[start:content])

    def enter(self, tag: int) -> Header:
        """Take the header of a constructed element and read on inside it."""
        header = self.header()
        if header.tag != tag or not header.constructed:
            raise self._fault(f"{tags.name(header.tag)} where {tags.name(tag)} belongs")
        self._push(header)
        return header

    def _push(self, header: Header) -> None:
        if len(self._open) >= reader.MAX_DEPTH:
            raise self._fault(f"more than {reader.MAX_DEPTH} levels of elements")
        end = None if header.length is None else self.offset + header.length
        self._open.append(end)
        self._limits.append(self._limits[-1] if end is None else end)

    def leave(self) -> None:
        """Read on behind the open element; Malformed if something is left in it."""
        if self.more():
            raise self._fault("an element too many")
        if self._open.pop() is None:
            self._position += 2
        if self.offset > self._limits.pop():
            raise self._fault("the end of an indefinite length behind the end of what is around it")

    def element(self, limit: int = MAX_ELEMENT_OCTETS) -> reader.Element:
        """Take the next element whole; Malformed if it has more than `limit` octets."""
        return reader.parse(b"".join(self._whole(self.header(), limit)))

    def _whole(self, header: Header, limit: int) -> Iterator[bytes | memoryview]:
        yield header.octets
        if header.length is not None:
            if header.length > limit:
                raise self._fault(f"an element of more than {limit} octets")
            yield from self._take(header.length)
            return
        self._push(header)
        size = 0
        while self.more():
            for part in self._whole(self.header(), limit - size):
                size += len(part)
                if size > limit:
                    raise self._fault(f"an element of more than {limit} octets")
                yield part
        self.leave()
        yield END_OF_CONTENTS

    def _take(self, count: int) -> Iterator[bytes | memoryview]:
        while count:
            if not self._fill(1):
                raise self._fault("the input ends within an element")
            piece = memoryview(self._buffer)[self._position : self._position + count]
            self._position += len(piece)
            count -= len(piece)
            yield piece

    def string(self, tag: int) -> Iterator[bytes | memoryview]:
        """Take a string of type `tag` (or implicitly tagged so), yielding its octets as they come."""
        header = self.header()
        if header.tag != tag:
            raise self._fault(f"{tags.name(header.tag)} where {tags.name(tag)} belongs")
        yield from self._string(header, tags.OCTET_STRING if tag >= 0x80 else tag)

    def _string(self, header: Header, inner: int, depth: int = 0) -> Iterator[bytes | memoryview]:
        if not header.constructed:
            assert header.length is not None  # header() refuses the rest
            yield from self._take(header.length)
            return
        if depth >= reader.MAX_STRING_DEPTH:
            raise self._fault(f"more than {reader.MAX_STRING_DEPTH} levels of constructed strings")
        self._push(header)
        while self.more():
            if (run := self._run(inner)) is not None:
                yield run
                continue
            segment = self.header()
            if segment.tag != inner:
                raise self._fault("a segment of another type in a constructed string")
            if not segment.constructed and segment.length is not None:
                yield from self._take(segment.length)
            else:
                yield from self._string(segment, inner, depth + 1)
        self.leave()

    def _run(self, inner: int) -> bytes | None:
        """Take the primitive segments that are whole in the buffer, joined, for there may be millions of small ones.

        None if there is none.
        """
        buffer, at, last = self._buffer, self._position, len(self._buffer) - _HEADER_OCTETS
        limit = int(min(len(buffer), self._limits[-1] - self._before))
        parts = []
        while at < limit and at <= last and buffer[at] == inner:
            length, content = buffer[at + 1], at + 2
            if length >= 0x80:
                _tag, content, length = reader.read_header(buffer, at, limit)
            if length < 0 or content + length > limit:
                break
            at = content + length
            parts.append(buffer[content:at])
        self._position = at
        return b"".join(parts) if parts else None


def segments(chunks: Iterable[bytes], identifier: int = 0x24) -> Iterator[bytes]:
    """Write `chunks` as a constructed OCTET STRING of indefinite length under this identifier octet."""
    yield bytes((identifier, 0x80))
    for chunk in chunks:
        for start in range(0, len(chunk), SEGMENT_OCTETS):
            piece = chunk[start : start + SEGMENT_OCTETS]
            yield b"\x04" + length_octets(len(piece))
            yield piece
    yield END_OF_CONTENTS
