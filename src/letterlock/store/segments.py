"""The append-only log on disk: segment files of checksummed records.

A segment is a header and records, one after the other; each record is a fixed header, a description (what happened,
store/entries.py) and octets (message content, byte for byte as it came):

    segment header   8 magic | 8 segment number | 4 checksum
    record header    4 checksum | 4 length of description | 8 length of octets | 8 sequence number

A record's checksum covers its header, description and octets and starts from the checksum of the record before it, so
that what an earlier, longer write left behind can never be taken for a record of the present chain.

A segment that grows is filled with zeros some way ahead: a sync that has no new length of the file to write down takes a
third of the time (ext4). What lies behind the last record of a segment in use, zeros or what a crash tore, is no record;
`close` cuts it off.

Promises: a record is complete and in its chain, or `scan` stops before it; a new segment's directory entry is durable
before a record in it is.

Limits: a description has at most 64 MB, a record's octets fit the file.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from zlib_ng.zlib_ng import crc32  # a tenth of the time zlib takes, over every octet that is stored

from letterlock.errors import Malformed
from letterlock.host.files import sync_directory

_MAGIC = b"LLSEG\x00\x00\x01"
_FILE_HEADER = struct.Struct("<8sQI")
_HEADER = struct.Struct("<IIQQ")
_UNSUMMED = struct.Struct("<IQQ")
_MOST_BUFFERS = 1000  # IOV_MAX is 1024
_LONGEST_DESCRIPTION = 64 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MOST_AHEAD = 1 << 20
_ZEROS = bytes(_MOST_AHEAD)
_AND_SYNC = getattr(os, "RWF_DSYNC", 0)  # Linux

FIRST_OFFSET = _FILE_HEADER.size


class Location(msgspec.Struct, frozen=True, gc=False):
    """Where octets lie: `length` octets from `offset` in a segment."""

    segment: int
    offset: int
    length: int


class Record(msgspec.Struct, frozen=True):
    """A record to write: its place in the one order, its description, its octets as chunks."""

    sequence: int
    description: bytes
    octets: Sequence[bytes] = ()


class Written(msgspec.Struct, frozen=True):
    """A record written: where its octets lie, and the checksum that ends with it."""

    octets: Location
    checksum: int


@dataclass(frozen=True, slots=True)
class Laid:
    """Records laid out for the end of a segment: buffers to write at `start`, and how the segment ends then."""

    buffers: list[bytes]
    written: list[Written]
    start: int
    end: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Found:
    """A record read back: `octets` says where its octets lie, `end` and `checksum` where the chain goes on."""

    sequence: int
    description: bytes
    octets: Location
    end: int
    checksum: int


def path_of(folder: Path, segment: int) -> Path:
    """Return the path of a segment file."""
    return folder / f"{segment:010x}.log"


def segments_in(folder: Path) -> list[int]:
    """Return the numbers of the segment files in `folder`, ascending; other files are none of ours."""
    return sorted(int(path.stem, 16) for path in folder.glob("*.log") if len(path.stem) == 10)


class Segment:
    """A segment open for appending. One thread at a time may use it.

    `offset` is the end of what is durable and `checksum` its last link. `append` writes, syncs and only then moves
    both; after an OSError the caller calls `cut_back` or gives the segment up. `lay_out` only computes: whoever has other
    threads may do that in the one and write in another.
    """

    def __init__(self, number: int, descriptor: int, offset: int, checksum: int) -> None:
        self.number = number
        self.offset = offset
        self.checksum = checksum
        self._descriptor = descriptor
        self._taken_on = offset
        self._filled = offset  # how far there is something on disk to write over

    @classmethod
    def create(cls, folder: Path, number: int) -> Segment:
        """Make a new segment file, durable with its name. Raises OSError."""
        path = path_of(folder, number)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            checksum = crc32(_MAGIC + number.to_bytes(8, "little"))
            _write_all(descriptor, [_FILE_HEADER.pack(_MAGIC, number, checksum)], 0)
            os.fsync(descriptor)
            sync_directory(folder)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        return cls(number, descriptor, FIRST_OFFSET, checksum)

    @classmethod
    def resume(cls, folder: Path, number: int, offset: int, checksum: int) -> Segment:
        """Open a segment that recovery found to end at `offset`."""
        descriptor = os.open(path_of(folder, number), os.O_RDWR | os.O_CLOEXEC)
        return cls(number, descriptor, offset, checksum)

    def lay_out(self, records: Sequence[Record]) -> Laid:
        """Return `records` as they would stand behind what is there."""
        buffers: list[bytes] = []
        written: list[Written] = []
        offset, checksum = self.offset, self.checksum
        for record in records:
            length = sum(map(len, record.octets))
            header = _UNSUMMED.pack(len(record.description), length, record.sequence)
            checksum = crc32(record.description, crc32(header, checksum))
            for chunk in record.octets:
                checksum = crc32(chunk, checksum)
            buffers += (checksum.to_bytes(4, "little") + header + record.description, *record.octets)
            start = offset + _HEADER.size + len(record.description)
            written.append(Written(Location(self.number, start, length), checksum))
            offset = start + length
        return Laid(buffers, written, self.offset, offset, checksum)

    def write(self, laid: Laid) -> None:
        """Write what was laid out behind what is there now, and sync once. Raises OSError."""
        if laid.end > self._filled or not self._write_synced(laid):
            _write_all(self._descriptor, laid.buffers, laid.start)
            if laid.end > self._filled:
                self._fill_ahead(laid.end)
            os.fdatasync(self._descriptor)
        self.offset, self.checksum = laid.end, laid.checksum

    def append(self, records: Sequence[Record]) -> list[Written]:
        """Write `records`, sync once, and return where they are. Raises OSError."""
        laid = self.lay_out(records)
        self.write(laid)
        return laid.written

    def cut_back(self) -> None:
        """Remove what a failed `append` left behind, durably. Raises OSError: then nobody knows what the file holds."""
        os.ftruncate(self._descriptor, self.offset)
        self._filled = self.offset
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file, without what was filled ahead."""
        try:
            os.ftruncate(self._descriptor, self.offset)
        finally:
            os.close(self._descriptor)

    def _write_synced(self, laid: Laid) -> bool:
        """Write and sync in one call, where the system can and writes all of it; tell whether that was so."""
        # Each call is a wait for the interpreter, which the sessions would rather keep.
        if not _AND_SYNC or len(laid.buffers) > _MOST_BUFFERS:
            return False
        try:
            return os.pwritev(self._descriptor, laid.buffers, laid.start, _AND_SYNC) == laid.end - laid.start
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            return False

    def _fill_ahead(self, end: int) -> None:
        """Fill as much again as was written here, so that who gets little mail writes little."""
        ahead = min(end - self._taken_on, _MOST_AHEAD)
        self._filled = end
        try:
            _write_all(self._descriptor, [memoryview(_ZEROS)[:ahead]], end)
            self._filled += ahead
        except OSError as error:
            if error.errno not in _FULL:  # on a full disk the records matter, and they are there
                raise


def _write_all(descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> None:
    for start in range(0, len(buffers), _MOST_BUFFERS):
        some = buffers[start : start + _MOST_BUFFERS]
        wanted = sum(map(len, some))
        written = os.pwritev(descriptor, some, offset)
        offset += written
        if written < wanted:  # a short write: the disk is about to be full, or a signal came
            rest = memoryview(b"".join(some))[written:]
            while rest:
                written = os.pwrite(descriptor, rest, offset)
                offset += written
                rest = rest[written:]


def read_header(descriptor: int, number: int) -> int:
    """Return the checksum the first record's chain starts from. Raises Malformed for a file that is no segment."""
    header = os.pread(descriptor, _FILE_HEADER.size, 0)
    expected = crc32(_MAGIC + number.to_bytes(8, "little"))
    if header != _FILE_HEADER.pack(_MAGIC, number, expected):
        raise Malformed(f"segment {number:010x} does not begin with its header")
    return expected


def scan(descriptor: int, number: int, offset: int, checksum: int) -> Iterator[Found]:
    """Yield the records from `offset` on, whose chain so far ends in `checksum`, until one is torn or the file ends."""
    size = os.fstat(descriptor).st_size
    while offset + _HEADER.size <= size:
        expected, description_length, length, sequence = _HEADER.unpack(os.pread(descriptor, _HEADER.size, offset))
        start = offset + _HEADER.size
        end = start + description_length + length
        if not 0 < description_length <= _LONGEST_DESCRIPTION or end > size:
            return
        description = os.pread(descriptor, description_length, start)
        actual = crc32(description, crc32(_UNSUMMED.pack(description_length, length, sequence), checksum))
        for at in range(start + description_length, end, 1 << 20):
            actual = crc32(os.pread(descriptor, min(1 << 20, end - at), at), actual)
        if actual != expected:
            return
        yield Found(sequence, description, Location(number, start + description_length, length), end, actual)
        offset, checksum = end, actual
