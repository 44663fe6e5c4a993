"""Showing a whole message to a filter and hearing what it wants: the milter protocol without sockets.

`consult` is a generator: it yields octets to send together with whether a packet is awaited, is sent packets, and returns
a `Judgement`. The filter sees the session it would have seen live: connection, EHLO name, sender, recipients, fields, body.

    judgement = yield from consult(Subject(...))

The protocol has no standard but libmilter (version 6, include/libmilter/mfdef.h): a packet is a length of four octets, a
letter, and data.

Limits: a packet of a filter has at most 1 MiB; at most 1,000 changes are taken; a new body may be twice as long as the old,
and 1 MiB more.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Generator
from dataclasses import dataclass, field

from letterlock.errors import PeerFault
from letterlock.formats.imf.header import Header, read_header

LONGEST_PACKET = 1 << 20
_BODY_PIECE = 65_535
_MOST_CHANGES = 1000
_VERSION = 6

# What a filter may do: add fields, replace the body, add and take out recipients, change fields, quarantine.
_OUR_ACTIONS = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x20
# What a filter may ask us to leave out, by bit, and the bits by which it says that it will not answer.
_LEAVE_OUT = {"C": 0x01, "H": 0x02, "M": 0x04, "R": 0x08, "B": 0x10, "L": 0x20, "N": 0x40, "T": 0x200}
_NO_ANSWER = {"L": 0x80, "C": 0x1000, "H": 0x2000, "M": 0x4000, "R": 0x8000, "T": 0x10000, "N": 0x40000, "B": 0x80000}
_SKIP, _LEADING_SPACE = 0x400, 0x100000
_OUR_PROTOCOL = sum(_LEAVE_OUT.values()) | sum(_NO_ANSWER.values()) | _SKIP | _LEADING_SPACE


class Wish(enum.Enum):
    """What becomes of the message."""

    ACCEPT = "accept"
    REJECT = "reject"
    TEMPORARY_FAILURE = "try again later"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class Change:
    """One change to the header section. `index` counts from 0 for "insert", from 1 among fields of the name for "change".

    An empty `value` in a "change" takes the field out.
    """

    kind: str  # "add" at the end, "insert" at the place, "change"
    name: str
    value: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a filter wants. `reply` are its own words for a refusal ("550 5.7.1 Spam"), if it had any.

    `body`, if not None, takes the place of the message's; recipients are addresses without angle brackets.
    """

    wish: Wish
    reply: str = ""
    quarantine: str = ""
    changes: tuple[Change, ...] = ()
    body: bytes | None = None
    added_recipients: tuple[str, ...] = ()
    removed_recipients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """What is shown. `address` and `port` are the client's, `host_name` its confirmed name; `macros` go with the stage of
    their letter ("C", "M", ...).
    """

    client_name: str
    address: str
    port: int
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    macros: dict[str, dict[str, str]] = field(default_factory=dict)
    host_name: str = ""


@dataclass(frozen=True, slots=True)
class Packet:
    """A letter and its data."""

    letter: str
    data: bytes = b""

    @property
    def octets(self) -> bytes:
        """The packet as it goes over the wire."""
        return struct.pack("!I", len(self.data) + 1) + self.letter.encode() + self.data


class PacketReader:
    """Puts packets together from what a filter sends."""

    def __init__(self) -> None:
        self._buffer = b""

    def receive(self, octets: bytes) -> None:
        """Take what came."""
        self._buffer += octets

    def next_packet(self) -> Packet | None:
        """Return the next packet, or None until it is whole. Raises PeerFault for one without bound."""
        if len(self._buffer) < 4:
            return None
        (length,) = struct.unpack_from("!I", self._buffer)
        if not 1 <= length <= LONGEST_PACKET:
            raise PeerFault(f"the filter sent a packet of {length} octets")
        if len(self._buffer) < 4 + length:
            return None
        packet = Packet(chr(self._buffer[4]), self._buffer[5 : 4 + length])
        self._buffer = self._buffer[4 + length :]
        return packet


Consultation = Generator[tuple[bytes, bool], Packet, Judgement]


def consult(subject: Subject) -> Consultation:
    """Show a message; return what the filter wants. Raises PeerFault where it does not keep to the protocol."""
    offer = struct.pack("!III", _VERSION, _OUR_ACTIONS, _OUR_PROTOCOL)
    agreed = yield Packet("O", offer).octets, True
    if agreed.letter != "O" or len(agreed.data) < 12:
        raise PeerFault("the filter did not negotiate")
    version, actions, protocol = struct.unpack_from("!III", agreed.data)
    if version > _VERSION or actions & ~_OUR_ACTIONS:
        raise PeerFault(f"the filter demands what is not offered: version {version}, actions {actions:#x}")
    for letter, data in _stages(subject, protocol):
        if protocol & _LEAVE_OUT.get(letter, 0):
            continue
        if macros := subject.macros.get(letter):
            listed = "".join(f"{name}\0{value}\0" for name, value in macros.items())
            yield Packet("D", letter.encode() + listed.encode()).octets, False
        if protocol & _NO_ANSWER.get(letter, 0):
            yield Packet(letter, data).octets, False
            continue
        answer = yield Packet(letter, data).octets, True
        judgement = _judge(answer, letter)
        if judgement is not None:
            return judgement
        if answer.letter == "s":  # it has seen enough of the body
            protocol |= _LEAVE_OUT["B"]
    return (yield from _end(subject))


def _end(subject: Subject) -> Consultation:
    if macros := subject.macros.get("E"):
        listed = "".join(f"{name}\0{value}\0" for name, value in macros.items())
        yield Packet("D", b"E" + listed.encode()).octets, False
    answer = yield Packet("E").octets, True
    wanted = _Wanted(2 * len(subject.content) + LONGEST_PACKET)
    while wanted.count <= _MOST_CHANGES:
        judgement = _judge(answer, "E")
        if judgement is not None or answer.letter == "c":
            wish, reply = (judgement.wish, judgement.reply) if judgement else (Wish.ACCEPT, "")
            return wanted.judgement(wish, reply)
        wanted.take(answer)
        answer = yield b"", True
    raise PeerFault("the filter makes changes without end")


class _Wanted:
    """What a filter asks for at the end of a message, gathered. `longest_body` bounds the new body, in octets."""

    def __init__(self, longest_body: int) -> None:
        self.count = 0
        self._longest_body = longest_body
        self._changes: list[Change] = []
        self._quarantine = ""
        self._body: bytearray | None = None
        self._added: list[str] = []
        self._removed: list[str] = []

    def take(self, answer: Packet) -> None:
        """Take one packet. Raises PeerFault."""
        match answer.letter:
            case "b":
                self._body = bytearray() if self._body is None else self._body
                self._body += answer.data
                if len(self._body) > self._longest_body:
                    raise PeerFault("the filter sends a body without end")
                return  # in pieces: the octets are counted
            case "q":
                self._quarantine = _strings(answer.data, 1)[0]
            case "+" | "2":
                self._added.append(_strings(answer.data, 1)[0].removeprefix("<").removesuffix(">"))
            case "-":
                self._removed.append(_strings(answer.data, 1)[0].removeprefix("<").removesuffix(">"))
            case _:
                self._changes.append(_change(answer))
        self.count += 1

    def judgement(self, wish: Wish, reply: str) -> Judgement:
        """Return it all."""
        body = None if self._body is None else bytes(self._body)
        return Judgement(
            wish, reply, self._quarantine, tuple(self._changes), body, tuple(self._added), tuple(self._removed)
        )


def _stages(subject: Subject, protocol: int) -> Generator[tuple[str, bytes], None, None]:
    family = "6" if ":" in subject.address else "4" if subject.address else "U"
    named = subject.host_name or f"[{subject.address}]"
    connection = named.encode() + b"\0" + family.encode()
    if family != "U":
        connection += struct.pack("!H", subject.port) + subject.address.encode() + b"\0"
    yield "C", connection
    yield "H", subject.client_name.encode() + b"\0"
    yield "M", f"<{subject.sender}>\0".encode()
    for recipient in subject.recipients:
        yield "R", f"<{recipient}>\0".encode()
    yield "T", b""
    header = read_header(subject.content)
    for one in header:
        # A filter sees LF in folded values, as sendmail showed them.
        value = one.value.removesuffix(b"\r\n").replace(b"\r\n", b"\n")
        yield (
            "L",
            one.name.encode() + b"\0" + (value if protocol & _LEADING_SPACE else value.removeprefix(b" ")) + b"\0",
        )
    yield "N", b""
    for start in range(header.body_start, len(subject.content), _BODY_PIECE):
        yield "B", subject.content[start : start + _BODY_PIECE]


def _judge(answer: Packet, letter: str) -> Judgement | None:
    """Return the judgement that ends the consultation, or None to go on."""
    match answer.letter:
        case "a":
            return Judgement(Wish.ACCEPT)
        case "r":
            # At RCPT it is one recipient that is not wanted; we show all or nothing, so the message is not.
            return Judgement(Wish.REJECT)
        case "t":
            return Judgement(Wish.TEMPORARY_FAILURE)
        case "d":
            return Judgement(Wish.DISCARD)
        case "y":
            reply = _strings(answer.data, 1)[0]
            return Judgement(Wish.TEMPORARY_FAILURE if reply.startswith("4") else Wish.REJECT, reply)
        case "c" | "s":
            return None
        case "h" | "i" | "m" | "q" | "b" | "+" | "2" | "-" if letter == "E":
            return None
    raise PeerFault(f"the filter answered {answer.letter!r} to {letter!r}")


def _change(answer: Packet) -> Change:
    if answer.letter == "h":
        name, value = _strings(answer.data, 2)
        return Change("add", name, value)
    if len(answer.data) < 4:
        raise PeerFault("the filter's change is cut short")
    (index,) = struct.unpack_from("!I", answer.data)
    name, value = _strings(answer.data[4:], 2)
    return Change("insert" if answer.letter == "i" else "change", name, value, index)


def _strings(data: bytes, count: int) -> list[str]:
    parts = data.decode("utf-8", "replace").split("\0")
    if len(parts) < count:
        raise PeerFault("the filter's packet is cut short")
    return parts[:count]


def apply_changes(content: bytes, changes: tuple[Change, ...], body: bytes | None = None) -> bytes:
    """Return a message with a filter's changes to its header section and its `body`, if any; every other octet as it was.

    Raises PeerFault for a name that is none.
    """
    header = read_header(content)
    fields: list[bytes | None] = [one.raw for one in header]
    names: list[str] = [one.name.lower() for one in header]
    for change in changes:
        written = _written(change)
        if change.kind == "change":
            _replace(fields, names, change, written)
        else:
            place = min(change.index, len(fields)) if change.kind == "insert" else len(fields)
            fields.insert(place, written)
            names.insert(place, change.name.lower())
    kept = b"".join(one for one in fields if one is not None)
    end = _end_of_fields(header)
    if body is not None:
        return content[: header.start] + kept + b"\r\n" + _with_line_ends(body)
    return content[: header.start] + kept + content[end:]


def _with_line_ends(body: bytes) -> bytes:
    """Return a body in which every line ends in CRLF: nothing else may be stored or sent (RFC 5321 section 2.3.8)."""
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\0", b"")
    return (lines if not lines or lines.endswith(b"\n") else lines + b"\n").replace(b"\n", b"\r\n")


def _end_of_fields(header: Header) -> int:
    return header.spans[-1][3] if len(header) else header.start


def _replace(fields: list[bytes | None], names: list[str], change: Change, written: bytes) -> None:
    matching = [place for place, name in enumerate(names) if name == change.name.lower() and fields[place] is not None]
    place = change.index - 1
    if 0 <= place < len(matching):
        fields[matching[place]] = written if change.value else None
    elif change.value:
        fields.append(written)
        names.append(change.name.lower())


def _written(change: Change) -> bytes:
    name = change.name.encode("ascii", "replace")
    if not name or any(octet <= 32 or octet >= 127 or octet == 58 for octet in name):
        raise PeerFault(f"the filter names a field {change.name!r}")
    value = change.value.encode().replace(b"\0", b"").replace(b"\r\n", b"\n").replace(b"\r", b"\n").strip(b"\n")
    # A line that does not begin with white space would begin another field.
    lines = [
        line if number == 0 or line[:1] in (b" ", b"\t") else b"\t" + line
        for number, line in enumerate(value.split(b"\n"))
    ]
    folded = b"\r\n".join(line for line in lines if line.strip())
    return name + b":" + (folded if folded[:1] in (b" ", b"\t") else b" " + folded) + b"\r\n"
