"""The client's side of an IMAP connection: commands as octets, responses as values.

    conversation = ClientConversation()
    tag, octets = conversation.command(b"SELECT", mailbox_argument("Sent"))    # write the octets
    conversation.receive(octets)
    while (event := conversation.next_event()) is not None:
        match event:
            case Continued(text, octets): ...  # write the octets, the rest of a command with a literal
            case Untagged(name, number, values): ...
            case Condition(tag, condition, code, text): ...  # tag is b"*" for an untagged one

Values are octets for atoms and strings, None for NIL, and lists. What a server sends is bounded like anything else that
comes from outside; what breaks the grammar raises PeerFault.

Standards: RFC 9051 section 7 (responses) and section 9; RFC 7888 (LITERAL+, LITERAL-).
Limits: LINE_OCTETS a line, LITERAL_OCTETS a literal, NESTING_LIMIT parentheses inside each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from letterlock.errors import OurFault, PeerFault
from letterlock.protocols.imap import response
from letterlock.protocols.imap.mailbox_name import to_wire

LINE_OCTETS = 1 << 20
LITERAL_OCTETS = 256 * 1024 * 1024
NESTING_LIMIT = 100

_LITERAL_AT_END = re.compile(rb"~?\{(\d{1,12})\+?\}\Z")
_TOKEN = re.compile(
    rb'([^ ()"{\r\n\[\]]+(?:\[[^\]]*\](?:<\d+>)?)?)'  # an atom, perhaps an item with a section
    rb'|"((?:[^"\\\r\n]|\\.)*)"'
    rb"|~?\{(\d{1,12})\+?\}\r\n"
    rb"|([()])"
)
_CONDITION = re.compile(rb"(OK|NO|BAD|BYE|PREAUTH)(?: |\Z)(?:\[([^\]]*)\](?: |\Z))?(.*)", re.IGNORECASE | re.DOTALL)
_NUMBERED = re.compile(rb"(\d{1,19}) +([A-Za-z]+) ?")

Value = bytes | None | list["Value"]


@dataclass(frozen=True, slots=True)
class Literal:
    """An argument that is sent as a literal."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Continued:
    """The server asks for more; `octets` are what is due of a command, nothing where the caller must know (SASL)."""

    text: bytes
    octets: bytes


@dataclass(frozen=True, slots=True)
class Untagged:
    """Data: `* 12 FETCH (...)` is Untagged(b"FETCH", 12, [[...]]), `* LIST ...` is Untagged(b"LIST", None, [...])."""

    name: bytes
    number: int | None
    values: list[Value]


@dataclass(frozen=True, slots=True)
class Condition:
    """OK, NO, BAD, BYE or PREAUTH with a response code (its words, the first in upper case) and text."""

    tag: bytes
    condition: bytes
    code: tuple[bytes, ...]
    text: str


Event = Continued | Untagged | Condition


class ClientConversation:
    """What one server said so far. Set `capabilities` when they are known; literals then need not wait."""

    def __init__(self) -> None:
        self.capabilities: frozenset[bytes] = frozenset()
        self._buffer = bytearray()
        self._part = 0
        self._searched = 0
        self._number = 0
        self._due: list[bytes] = []

    def command(self, name: bytes, *arguments: bytes | Literal) -> tuple[bytes, bytes]:
        """Return the tag of a command and the octets to write now; each argument stands behind a space."""
        if self._due:
            raise OurFault("a command is not yet sent whole")
        self._number += 1
        tag = b"c%d" % self._number
        pieces = [tag + b" " + name]
        for argument in arguments:
            if not isinstance(argument, Literal):
                pieces[-1] += b" " + argument
                continue
            length = len(argument.octets)
            if b"LITERAL+" in self.capabilities or (length <= 4096 and b"LITERAL-" in self.capabilities):
                pieces[-1] += b" {%d+}\r\n%b" % (length, argument.octets)
            else:
                pieces[-1] += b" {%d}\r\n" % length
                pieces.append(argument.octets)
        pieces[-1] += b"\r\n"
        self._due = pieces[1:]
        return tag, pieces[0]

    def receive(self, octets: bytes) -> None:
        """Take octets that came."""
        self._buffer += octets

    def begin_tls(self) -> None:
        """Forget what came in plain text behind the answer to STARTTLS."""
        self._buffer.clear()
        self._part = self._searched = 0

    def next_event(self) -> Event | None:
        """Return what the octets so far amount to, or None while that is nothing whole. Raises PeerFault."""
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end < 0:
                self._searched = max(self._searched, len(self._buffer))
                if len(self._buffer) - self._part > LINE_OCTETS:
                    raise PeerFault("the server sends a line without end")
                return None
            if end - self._part > LINE_OCTETS or end == 0 or self._buffer[end - 1] != 0x0D:
                raise PeerFault("the server sends a line that is too long or does not end in CRLF")
            if (whole := self._literal_end(end)) is None:
                line = bytes(self._buffer[: end - 1])
                del self._buffer[: end + 1]
                self._part = self._searched = 0
                return self._event(line)
            if len(self._buffer) < whole:
                return None
            self._part = self._searched = whole

    def _literal_end(self, end: int) -> int | None:
        # Human text may end in braces; only data holds literals.
        if self._part == 0 and not self._buffer.startswith(b"* "):
            return None
        if self._part == 0 and _CONDITION.match(self._buffer, 2, min(end, 64)):
            return None
        match = _LITERAL_AT_END.search(self._buffer, max(self._part, end - 24), end - 1)
        if match is None:
            return None
        length = int(match[1])
        if length > LITERAL_OCTETS:
            raise PeerFault(f"the server sends a literal of {length} octets")
        return end + 1 + length

    def _event(self, line: bytes) -> Event:
        if line.startswith(b"+"):
            return Continued(line[1:].lstrip(b" "), self._due.pop(0) if self._due else b"")
        tag, _, rest = line.partition(b" ")
        condition = _CONDITION.fullmatch(rest)
        if condition is not None:
            if tag != b"*":
                self._due = []
            code = condition[2] or b""
            name, _, arguments = code.partition(b" ")
            words = (name.upper(), *((arguments,) if arguments else ())) if name else ()
            return Condition(tag, condition[1].upper(), words, condition[3].decode("utf-8", "replace"))
        if tag != b"*":
            raise PeerFault("the server sends a line that is no response")
        numbered = _NUMBERED.match(rest)
        if numbered is not None:
            return Untagged(numbered[2].upper(), int(numbered[1]), read_values(rest, numbered.end()))
        name, _, _ = rest.partition(b" ")
        return Untagged(name.upper(), None, read_values(rest, len(name) + 1))


def read_values(octets: bytes, position: int = 0) -> list[Value]:
    """Return the values from `position` to the end. Raises PeerFault."""
    stack: list[list[Value]] = [[]]
    while position < len(octets):
        if octets[position] == 0x20:
            position += 1
            continue
        match = _TOKEN.match(octets, position)
        if match is None:
            raise PeerFault("the server sends something that is no value")
        atom, quoted, length, parenthesis = match.groups()
        position = match.end()
        if atom is not None:
            stack[-1].append(None if atom.upper() == b"NIL" else atom)
        elif quoted is not None:
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", quoted) if b"\\" in quoted else quoted)
        elif length is not None:
            stack[-1].append(octets[position : position + int(length)])
            position += int(length)
        elif parenthesis == b"(":
            if len(stack) > NESTING_LIMIT:
                raise PeerFault("the server nests parentheses too deep")
            inner: list[Value] = []
            stack[-1].append(inner)
            stack.append(inner)
        else:
            stack.pop()
            if not stack:
                raise PeerFault("the server closes a parenthesis it did not open")
    if len(stack) != 1:
        raise PeerFault("the server leaves a parenthesis open")
    return stack[0]


def fetched(values: list[Value]) -> dict[bytes, Value]:
    """Return the items of a FETCH response by their names in upper case. Raises PeerFault."""
    if len(values) != 1 or not isinstance(values[0], list) or len(values[0]) % 2:
        raise PeerFault("the server sends a FETCH response that is no list of pairs")
    pairs = values[0]
    items: dict[bytes, Value] = {}
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        if not isinstance(name, bytes):
            raise PeerFault("the server sends a FETCH item without a name")
        items[name.upper()] = value
    return items


def mailbox_argument(name: str, *, utf8: bool = False) -> bytes:
    """Return a mailbox name as an argument."""
    return response.mailbox(to_wire(name, utf8=utf8))


def string_argument(text: str) -> bytes | Literal:
    """Return text as an argument: quoted, or a literal where it is not ASCII."""
    octets = text.encode("utf-8")
    return response.quoted(octets) if text.isascii() and text.isprintable() else Literal(octets)


def list_argument(items: Iterable[bytes]) -> bytes:
    """Return items as a parenthesised list."""
    return response.parenthesised(items)
