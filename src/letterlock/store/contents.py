"""Where each content lies, and its octets.

A content is one run of octets in a segment, or a prefix whose `base` is another content that follows it: the copies of
one message for several recipients share its body. A content lives while something refers to it (messages, queue
entries, contents built on it); the index counts.

Reading does not wait where the octets are in the page cache (RWF_NOWAIT); else it goes to a small pool of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import msgspec

from letterlock.errors import Unavailable
from letterlock.store.index import Batch
from letterlock.store.interface import Refusal, Refused
from letterlock.store.segments import Location, path_of

_LOCATE = "SELECT segment, offset, length, base, size FROM contents WHERE id = ?"
_REFER = "UPDATE contents SET refs = refs + ? WHERE id = ?"
_MOVE = "UPDATE contents SET segment = ?, offset = ? WHERE id = ?"
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
_MOST_OPEN_FILES = 128


class Content(msgspec.Struct, frozen=True, gc=False):
    """Its own octets' place, what follows them (`base`, 0 for nothing), and the size of all together."""

    location: Location
    base: int
    size: int


class Contents:
    """The contents of one store. `reader` is a connection that may be used on the event loop."""

    def __init__(self, folder: Path, reader: apsw.Connection) -> None:
        self._folder = folder
        self._reader = reader
        self._recent: dict[int, Content] = {}  # not in the index yet
        self._expected: dict[int, Content] = {}  # of what is to be read soon, once, as the index has it
        self._expecting: dict[str, int] = {}  # by the queue id of who is to read it
        self.moves = 0  # how often places changed, or what was queued was dropped
        self._files: dict[int, int] = {}
        self._retired: list[int] = []
        self.pool = ThreadPoolExecutor(4, thread_name_prefix="store read")

    def add(self, batch: Batch, number: int, location: Location, refs: int, base: int = 0, base_size: int = 0) -> int:
        """Record a new content; return its size."""
        size = location.length + base_size
        self._remember(batch, number, Content(location, base, size))
        batch.contents.append((number, location.segment, location.offset, location.length, base, size, refs))
        batch.live[location.segment] = batch.live.get(location.segment, 0) + location.length
        return size

    def refer(self, batch: Batch, number: int, count: int) -> None:
        """Record that `count` more things refer to a content, fewer if negative."""
        batch.add(_REFER, count, number)

    def move(self, batch: Batch, number: int, location: Location) -> None:
        """Record a content's new place, if it still lives."""
        content = self.find(number)
        if content:
            self.forget_expected()
            self._remember(batch, number, Content(location, content.base, content.size))
            batch.add(_MOVE, location.segment, location.offset, number)

    def _remember(self, batch: Batch, number: int, content: Content) -> None:
        self._recent[number] = content
        batch.places.append((number, content))

    def forget(self, places: Iterable[tuple[int, object]]) -> None:
        """Take note that the index has these places now."""
        recent = self._recent
        for number, content in places:
            if recent.get(number) is content:
                del recent[number]

    def expect(self, queue_id: str, number: int, content: Content) -> None:
        """Keep the place of what is to be read for a queue entry, so that nobody need ask for it on the event loop."""
        self._expected[number] = content
        self._expecting[queue_id] = number

    def expect_no_more(self, queue_id: str) -> None:
        """Take note that nothing is to be read for a queue entry."""
        number = self._expecting.pop(queue_id, None)
        if number is not None:
            self._expected.pop(number, None)

    def forget_expected(self) -> None:
        """Take note that what the index said of places may be so no more."""
        self.moves += 1
        self._expected.clear()
        self._expecting.clear()

    def find(self, number: int) -> Content | None:
        """Return where a content is, or None if it is gone. Raises Unavailable."""
        content = self._recent.get(number) or self._expected.pop(number, None)
        if content is None:
            try:
                row = self._reader.execute(_LOCATE, (number,)).fetchone()
            except apsw.Error as error:
                raise Unavailable(f"reading the index failed: {error}") from None
            if row is None:
                return None
            segment, offset, length, base, size = row
            content = Content(Location(segment, offset, length), base, size)
        return content

    def pieces(self, number: int, offset: int, length: int | None) -> list[Location]:
        """Return the runs that hold the wanted octets. Raises Refused(EXPUNGEISSUED)."""
        pieces: list[Location] = []
        while number and (length is None or length > 0):
            content = self.find(number)
            if content is None:
                raise Refused(Refusal.EXPUNGEISSUED)
            place = content.location
            if offset < place.length:
                wanted = place.length - offset if length is None else min(length, place.length - offset)
                pieces.append(Location(place.segment, place.offset + offset, wanted))
                if length is not None:
                    length -= wanted
                offset = 0
            else:
                offset -= place.length
            number = content.base
        return pieces

    def read_now(self, number: int, offset: int, length: int | None) -> bytes | None:
        """Return octets if they are in memory, else None. Raises Refused."""
        parts: list[bytes] = []
        for piece in self.pieces(number, offset, length):
            part = self._read_cached(piece)
            if part is None:
                return None
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_cached(self, piece: Location) -> bytes | None:
        buffer = bytearray(piece.length)
        try:
            count = os.preadv(self._file(piece.segment), [buffer], piece.offset, _NOWAIT) if _NOWAIT else -1
        except OSError:  # not in memory, or this file system cannot tell
            return None
        return bytes(buffer) if count == piece.length else None

    def reading(self, number: int, offset: int, length: int | None) -> Callable[[], bytes]:
        """Return what reads the octets in a thread. Raises Refused."""
        pieces = [(self._file(piece.segment), piece) for piece in self.pieces(number, offset, length)]
        return lambda: b"".join(_read(descriptor, piece) for descriptor, piece in pieces)

    def _file(self, segment: int) -> int:
        descriptor = self._files.get(segment)
        if descriptor is None:
            if len(self._files) >= _MOST_OPEN_FILES:
                self.retire(next(iter(self._files)))
            try:
                descriptor = os.open(path_of(self._folder, segment), os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise Unavailable(f"opening segment {segment:010x} failed: {error.strerror}") from None
            self._files[segment] = descriptor
        return descriptor

    def retire(self, segment: int) -> None:
        """Stop reading from a segment; reads under way end in peace, its file is closed at the second next call."""
        descriptor = self._files.pop(segment, None)
        if descriptor is not None:
            self._retired.append(descriptor)
        while len(self._retired) > _MOST_OPEN_FILES:
            os.close(self._retired.pop(0))

    def close(self) -> None:
        """Close the files."""
        self.pool.shutdown()
        for descriptor in (*self._files.values(), *self._retired):
            os.close(descriptor)
        self._files.clear()
        self._retired.clear()


def _read(descriptor: int, piece: Location) -> bytes:
    parts: list[bytes] = []
    offset, length = piece.offset, piece.length
    try:
        while length:
            part = os.pread(descriptor, length, offset)
            if not part:
                raise Unavailable(f"segment {piece.segment:010x} ends before its content")
            parts.append(part)
            offset += len(part)
            length -= len(part)
    except OSError as error:
        raise Unavailable(f"reading segment {piece.segment:010x} failed: {error.strerror}") from None
    return b"".join(parts)
