"""The server's side of a POP3 connection: octets in, whole commands out; and the forms of its answers.

Used as protocols/imap/server.py is. States and what is allowed in them stand in ALLOWED_IN; a session that has updated
the maildrop or closes calls `ended`. What was pipelined behind STLS in plain text is dropped by `begin_tls`.

Standards: RFC 1939 section 3 to 7, RFC 2449 (CAPA, response codes, line lengths), RFC 2595 section 4 (STLS),
RFC 5034 (AUTH), RFC 6856 (UTF8).
Limits: LINE_OCTETS a command line (RFC 2449 section 4 asks for 255), SASL_OCTETS a line of AUTH, FAULTS refusals.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from letterlock.errors import OurFault

LINE_OCTETS = 1024
SASL_OCTETS = 12288
FAULTS = 20


class State(Enum):
    """The states of RFC 1939 section 3; ENDED stands behind UPDATE."""

    AUTHORIZATION = "not authenticated"
    TRANSACTION = "in a transaction"
    ENDED = "ended"


class Verb(Enum):
    """The commands that are understood."""

    AUTH = b"AUTH"
    CAPA = b"CAPA"
    DELE = b"DELE"
    LIST = b"LIST"
    NOOP = b"NOOP"
    PASS = b"PASS"
    QUIT = b"QUIT"
    RETR = b"RETR"
    RSET = b"RSET"
    STAT = b"STAT"
    STLS = b"STLS"
    TOP = b"TOP"
    UIDL = b"UIDL"
    USER = b"USER"
    UTF8 = b"UTF8"


_AUTHORIZATION = frozenset({State.AUTHORIZATION})
_TRANSACTION = frozenset({State.TRANSACTION})
_BOTH = _AUTHORIZATION | _TRANSACTION

ALLOWED_IN: dict[Verb, frozenset[State]] = {
    Verb.AUTH: _AUTHORIZATION,
    Verb.CAPA: _BOTH,
    Verb.DELE: _TRANSACTION,
    Verb.LIST: _TRANSACTION,
    Verb.NOOP: _TRANSACTION,
    Verb.PASS: _AUTHORIZATION,
    Verb.QUIT: _BOTH,
    Verb.RETR: _TRANSACTION,
    Verb.RSET: _TRANSACTION,
    Verb.STAT: _TRANSACTION,
    Verb.STLS: _AUTHORIZATION,
    Verb.TOP: _TRANSACTION,
    Verb.UIDL: _TRANSACTION,
    Verb.USER: _AUTHORIZATION,
    Verb.UTF8: _AUTHORIZATION,
}

# How many numbers follow the verb: at least, at most.
_NUMBERS: dict[Verb, tuple[int, int]] = {
    Verb.DELE: (1, 1),
    Verb.LIST: (0, 1),
    Verb.RETR: (1, 1),
    Verb.TOP: (2, 2),
    Verb.UIDL: (0, 1),
}
_WITH_TEXT = frozenset({Verb.AUTH, Verb.PASS, Verb.USER})


@dataclass(frozen=True, slots=True)
class Received:
    """A command that is allowed: its numbers (DELE, LIST, RETR, TOP, UIDL), or its text (AUTH, PASS, USER)."""

    verb: Verb
    numbers: tuple[int, ...] = ()
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that was not understood or not allowed; `octets` answer it, and the connection ends if `closes`."""

    octets: bytes
    closes: bool = False


@dataclass(frozen=True, slots=True)
class LineReceived:
    """The line that `await_line` asked for: a response of AUTH."""

    line: bytes


Event = Received | Refused | LineReceived


class ServerConversation:
    """What one client said so far."""

    def __init__(self) -> None:
        self.state = State.AUTHORIZATION
        self._buffer = bytearray()
        self._searched = 0
        self._line_awaited = False
        self._faults = 0

    def receive(self, octets: bytes) -> None:
        """Take octets that came."""
        self._buffer += octets

    def await_line(self) -> None:
        """Hand out the next line raw."""
        self._line_awaited = True

    def begin_tls(self) -> None:
        """Forget what came in plain text behind STLS (RFC 2595 section 4)."""
        self._buffer.clear()
        self._searched = 0

    def authenticated(self) -> None:
        """The maildrop is open."""
        if self.state is not State.AUTHORIZATION:
            raise OurFault("a POP3 client authenticates once")
        self.state = State.TRANSACTION

    def ended(self) -> None:
        """Nothing more is read."""
        self.state = State.ENDED
        self._buffer.clear()

    def next_event(self) -> Event | None:
        """Return what the octets so far amount to, or None while that is nothing whole."""
        if self.state is State.ENDED:
            return None
        limit = SASL_OCTETS if self._line_awaited else LINE_OCTETS
        end = self._buffer.find(b"\n", self._searched)
        if end > limit or (end < 0 and len(self._buffer) > limit):
            self.ended()
            return Refused(negative(f"a line of more than {limit} octets; closing"), closes=True)
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        awaited, self._line_awaited = self._line_awaited, False
        if not line.endswith(b"\r"):
            return self._refused("the line does not end in CRLF (RFC 1939 section 3)")
        return LineReceived(line[:-1]) if awaited else self._command(line[:-1])

    def _command(self, line: bytes) -> Event:
        word, _, rest = line.partition(b" ")
        try:
            verb = Verb(word.upper())
        except ValueError:
            return self._refused("unknown command (RFC 1939 section 5)")
        if self.state not in ALLOWED_IN[verb]:
            return self._refused(f"{verb.name} is not allowed while {self.state.value} (RFC 1939 section 3)")
        if verb in _WITH_TEXT:
            event = Received(verb, text=rest)
        else:
            words = rest.split()
            least, most = _NUMBERS.get(verb, (0, 0))
            if not least <= len(words) <= most or not all(word.isdigit() and len(word) < 10 for word in words):
                return self._refused(f"wrong arguments for {verb.name} (RFC 1939 section 5)")
            event = Received(verb, numbers=tuple(int(word) for word in words))
        self._faults = 0
        return event

    def _refused(self, problem: str) -> Refused:
        self._faults += 1
        if self._faults > FAULTS:
            self.ended()
            return Refused(negative("too many commands that are wrong; closing"), closes=True)
        return Refused(negative(problem))


def positive(text: str = "") -> bytes:
    """Return `+OK text`."""
    return b"+OK " + text.encode("ascii", "replace") + b"\r\n" if text else b"+OK\r\n"


def negative(text: str, code: str = "") -> bytes:
    """Return `-ERR [CODE] text` (RFC 2449 section 8)."""
    bracketed = f"[{code}] " if code else ""
    return f"-ERR {bracketed}{text}\r\n".encode("ascii", "replace")


def challenge(octets: bytes) -> bytes:
    """Return a challenge of AUTH (RFC 5034 section 4)."""
    return b"+ " + binascii.b2a_base64(octets, newline=False) + b"\r\n"


def listing(lines: Iterable[bytes]) -> bytes:
    """Return lines and the end of a multi-line response; none of them begins with a dot."""
    return b"".join(line + b"\r\n" for line in lines) + b".\r\n"


def multiline(octets: bytes) -> bytes:
    """Return a message as the body of a multi-line response: dots stuffed, a last CRLF, and the final dot."""
    stuffed = octets.replace(b"\r\n.", b"\r\n..") if b"\r\n." in octets else octets
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed + (b".\r\n" if stuffed.endswith(b"\r\n") or not stuffed else b"\r\n.\r\n")


def top(octets: bytes, lines: int) -> bytes:
    """Return the header section, its empty line, and the first `lines` lines of the body (RFC 1939 section 7)."""
    at = octets.find(b"\r\n\r\n")
    at = len(octets) if at < 0 else at + 4
    for _ in range(lines):
        end = octets.find(b"\n", at)
        if end < 0:
            return octets
        at = end + 1
    return octets[:at]
