"""A DNS message as a value: header, question, three sections of records, and what EDNS adds.

Reading is lean: names become lower-case wire octets, record data its canonical octets (`rdata_wire.read` makes values
of them where one looks). Everything outside the form raises Malformed; work is linear in the message.

Standards: RFC 1035 section 4, RFC 6891 (EDNS), RFC 4034 section 6.2 (canonical form).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import msgspec

from letterlock.errors import Malformed
from letterlock.formats.dns import name as names
from letterlock.formats.dns import rdata_wire, types
from letterlock.formats.dns.types import Opcode

QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
_DO = 0x8000
_OPT = types.NUMBERS["OPT"]
_HEADER = struct.Struct(">HHHHHH")
_FIXED = struct.Struct(">HHIH")


class Record(msgspec.Struct, frozen=True, gc=False):
    """One resource record: `owner` and `rdata` in canonical wire form, type and class as numbers."""

    owner: bytes
    type: int
    rdclass: int
    ttl: int
    rdata: bytes


@dataclass(frozen=True, slots=True)
class Edns:
    """The pseudo-record OPT (RFC 6891 section 6.1); `options` are pairs of code and octets."""

    payload_size: int = 1232
    dnssec_ok: bool = False
    version: int = 0
    options: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """A message; `flags` are the header's second word without opcode and response code.

    `question` holds (owner, type, class); exactly one in every ordinary message. `last_record_at` is where the last
    record began in the octets that were read (TSIG covers what stands before it).
    """

    id: int
    flags: int = 0
    opcode: int = Opcode.QUERY
    rcode: int = 0
    question: tuple[tuple[bytes, int, int], ...] = ()
    answer: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    edns: Edns | None = None
    last_record_at: int = field(default=0, compare=False)

    @property
    def is_response(self) -> bool:
        """Whether this is an answer."""
        return bool(self.flags & QR)

    @property
    def is_truncated(self) -> bool:
        """Whether the answer did not fit."""
        return bool(self.flags & TC)

    @property
    def is_authoritative(self) -> bool:
        """Whether the server speaks for the zone."""
        return bool(self.flags & AA)

    @property
    def is_authentic(self) -> bool:
        """Whether the resolver says that it validated the answer (RFC 4035 section 3.2.3)."""
        return bool(self.flags & AD)

    @property
    def extended_error(self) -> int | None:
        """The first extended error of the message (RFC 8914 section 2), if any."""
        for code, octets in self.edns.options if self.edns else ():
            if code == 15 and len(octets) >= 2:
                return int.from_bytes(octets[:2], "big")
        return None


def query(id: int, owner: bytes, type_number: int, *, flags: int = RD, edns: Edns | None = None) -> Message:
    """Return a query for one name and type."""
    return Message(id, flags, question=((owner, type_number, types.IN),), edns=edns)


def response(to: Message, rcode: int = 0, flags: int = 0) -> Message:
    """Return an empty response to a query, with its id, opcode, question and RD bit."""
    kept = to.flags & (RD | CD)
    return Message(to.id, QR | kept | flags, to.opcode, rcode, to.question)


def read(octets: bytes) -> Message:
    """Read a message; raises Malformed."""
    if len(octets) < 12:
        raise Malformed("a message of less than 12 octets", clause="RFC 1035 section 4.1.1")
    id, word, questions, answers, authorities, additionals = _HEADER.unpack_from(octets)
    known: dict[int, bytes] = {}
    position = 12
    question = []
    for _ in range(questions):
        owner, position = names.read(octets, position, known)
        if position + 4 > len(octets):
            raise Malformed("a question that ends early", offset=position, clause="RFC 1035 section 4.1.2")
        number, rdclass = struct.unpack_from(">HH", octets, position)
        position += 4
        question.append((owner, number, rdclass))
    answer, position, _ = _read_records(octets, position, answers, known)
    authority, position, _ = _read_records(octets, position, authorities, known)
    additional, position, last = _read_records(octets, position, additionals, known)
    if position != len(octets):
        raise Malformed("octets behind the message", offset=position, clause="RFC 1035 section 4.1")
    edns, extra, additional = _take_edns(additional)
    return Message(
        id,
        word & 0x87F0,
        (word >> 11) & 15,
        (word & 15) | extra,
        tuple(question),
        tuple(answer),
        tuple(authority),
        tuple(additional),
        edns,
        last,
    )


def _read_records(octets: bytes, position: int, count: int, known: dict[int, bytes]) -> tuple[list[Record], int, int]:
    records = []
    last = position
    size = len(octets)
    for _ in range(count):
        last = position
        owner, position = names.read(octets, position, known)
        start = position + 10
        if start > size:
            raise Malformed("a record that ends early", offset=position, clause="RFC 1035 section 4.1.3")
        number, rdclass, ttl, length = _FIXED.unpack_from(octets, position)
        position = start + length
        if position > size:
            raise Malformed("record data that runs over the end", offset=start, clause="RFC 1035 section 4.1.3")
        if ttl > 0x7FFFFFFF and number != _OPT:
            ttl = 0  # RFC 2181 section 8
        rdata = rdata_wire.expand(octets, start, position, number, known) if length else b""
        records.append(Record(owner, number, rdclass, ttl, rdata))
    return records, position, last


def _take_edns(additional: list[Record]) -> tuple[Edns | None, int, list[Record]]:
    found = [record for record in additional if record.type == _OPT]
    if not found:
        return None, 0, additional
    if len(found) > 1 or found[0].owner != names.ROOT:
        raise Malformed("more than one OPT record, or one not at the root", clause="RFC 6891 section 6.1.1")
    record = found[0]
    options = []
    at = 0
    while at < len(record.rdata):
        if at + 4 > len(record.rdata):
            raise Malformed("an EDNS option that ends early", clause="RFC 6891 section 6.1.2")
        code, length = struct.unpack_from(">HH", record.rdata, at)
        value = record.rdata[at + 4 : at + 4 + length]
        if len(value) != length:
            raise Malformed("an EDNS option that runs over the end", clause="RFC 6891 section 6.1.2")
        options.append((code, value))
        at += 4 + length
    edns = Edns(record.rdclass, bool(record.ttl & _DO), (record.ttl >> 16) & 0xFF, tuple(options))
    return edns, (record.ttl >> 24) << 4, [other for other in additional if other.type != _OPT]


def write(message: Message, limit: int = 65535) -> bytes:
    """Return the octets of a message, owner names compressed.

    A message longer than `limit` loses whole record sets from its end: from the additional section silently, from
    the others with the TC bit set (RFC 2181 section 9).
    """
    writer = _Writer()
    for owner, number, rdclass in message.question:
        writer.write_name(owner)
        writer.octets += struct.pack(">HH", number, rdclass)
    opt = _edns_octets(message)
    room = limit - len(opt)
    counts = [0, 0, 0]
    truncated = False
    for index, section in enumerate((message.answer, message.authority, message.additional)):
        counts[index], fitted = writer.write_section(section, room)
        if not fitted:
            truncated = index < 2
            break
    writer.octets += opt
    word = message.flags | (message.opcode << 11) | (message.rcode & 15) | (TC if truncated else 0)
    edns_count = 1 if opt else 0
    _HEADER.pack_into(
        writer.octets, 0, message.id, word, len(message.question), counts[0], counts[1], counts[2] + edns_count
    )
    return bytes(writer.octets)


def _edns_octets(message: Message) -> bytes:
    edns = message.edns
    if edns is None:
        return b""
    options = b"".join(struct.pack(">HH", code, len(value)) + value for code, value in edns.options)
    ttl = (message.rcode >> 4 << 24) | (edns.version << 16) | (_DO if edns.dnssec_ok else 0)
    return names.ROOT + _FIXED.pack(_OPT, edns.payload_size, ttl, len(options)) + options


class _Writer:
    """The octets written so far, and where each name stands in them."""

    def __init__(self) -> None:
        self.octets = bytearray(12)
        self.places: dict[bytes, int] = {}

    def write_name(self, name: bytes) -> None:
        """Write a name, pointing to an earlier place for as much of it as possible (RFC 1035 section 4.1.4)."""
        position = 0
        while length := name[position]:
            rest = name[position:] if position else name
            place = self.places.get(rest)
            if place is not None:
                self.octets += (0xC000 | place).to_bytes(2, "big")
                return
            if len(self.octets) < 0x4000:
                self.places[rest] = len(self.octets)
            self.octets += name[position : position + length + 1]
            position += length + 1
        self.octets += names.ROOT

    def write_section(self, records: tuple[Record, ...], room: int) -> tuple[int, bool]:
        """Write records while there is room; return how many, and whether all fitted. Sets stay whole."""
        written = 0
        set_start, set_written = len(self.octets), 0
        previous: tuple[bytes, int] | None = None
        for record in records:
            if (record.owner, record.type) != previous:
                previous = (record.owner, record.type)
                set_start, set_written = len(self.octets), written
            self.write_name(record.owner)
            self.octets += _FIXED.pack(record.type, record.rdclass, record.ttl, len(record.rdata)) + record.rdata
            written += 1
            if len(self.octets) > room:
                del self.octets[set_start:]
                return set_written, False
        return written, True
