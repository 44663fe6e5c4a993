"""The server's side of an IMAP connection: octets in, whole commands out, nothing decided but grammar and state.

    conversation = ServerConversation(limits)
    conversation.receive(octets)
    while (event := conversation.next_event()) is not None:
        match event:
            case Received(tag, command): ...        # carry out, answer with the tag
            case Refused(octets, closes): ...       # write them; hang up if `closes`
            case LiteralAwaited(octets): ...        # write them: "+ ..."

One command is handed out at a time, in order; the session asks for the next when it has answered. What it decides it
tells by the verbs below (`authenticated`, `selected`, ...), which move through TRANSITIONS. During AUTHENTICATE and
IDLE (`await_line`) the next line is handed out raw as LineReceived.

What was pipelined behind STARTTLS in plain text is dropped by `begin_tls` and never becomes an event.

Standards: RFC 9051 section 2.2 (lines, tags, literals), section 3 (states), section 6 (which command in which state);
RFC 7888 (LITERAL+: a non-synchronizing literal that is too large is read and dropped, or the connection is closed).
Limits: see Limits. A command costs memory up to `line_octets`, or `message_octets` for APPEND; the search for the
end of a line never looks at an octet twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from letterlock.errors import Malformed, OurFault
from letterlock.protocols.imap import command as c
from letterlock.protocols.imap import response
from letterlock.protocols.imap.parse import parse
from letterlock.protocols.imap.scan import Scanner

_LITERAL_AT_END = re.compile(rb"~?\{(\d{1,19})(\+?)\}\Z")
_APPEND = re.compile(rb"[^ ]+ APPEND ", re.IGNORECASE)
_TAG = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\+]{1,255}(?= |\Z)")


class State(Enum):
    """The states of RFC 9051 section 3."""

    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    LOGOUT = "logout"


class Happening(Enum):
    """What moves a connection from state to state."""

    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    DESELECTED = "deselected"
    LOGGED_OUT = "logged out"


# RFC 9051 section 3, as a table; what is not in it must not happen.
TRANSITIONS: dict[tuple[State, Happening], State] = {
    (State.NOT_AUTHENTICATED, Happening.AUTHENTICATED): State.AUTHENTICATED,
    (State.AUTHENTICATED, Happening.SELECTED): State.SELECTED,
    (State.AUTHENTICATED, Happening.DESELECTED): State.AUTHENTICATED,
    (State.SELECTED, Happening.SELECTED): State.SELECTED,
    (State.SELECTED, Happening.DESELECTED): State.AUTHENTICATED,
    (State.NOT_AUTHENTICATED, Happening.LOGGED_OUT): State.LOGOUT,
    (State.AUTHENTICATED, Happening.LOGGED_OUT): State.LOGOUT,
    (State.SELECTED, Happening.LOGGED_OUT): State.LOGOUT,
    (State.LOGOUT, Happening.LOGGED_OUT): State.LOGOUT,
}

_ANY = frozenset({State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED})
_NOT_AUTHENTICATED = frozenset({State.NOT_AUTHENTICATED})
_AUTHENTICATED = frozenset({State.AUTHENTICATED, State.SELECTED})
_SELECTED = frozenset({State.SELECTED})

# RFC 9051 section 6: command-any, command-nonauth, command-auth, command-select.
ALLOWED_IN: dict[type[c.Command], frozenset[State]] = {
    c.Capability: _ANY,
    c.Noop: _ANY,
    c.Logout: _ANY,
    c.Identify: _ANY,
    c.StartTls: _NOT_AUTHENTICATED,
    c.Authenticate: _NOT_AUTHENTICATED,
    c.Login: _NOT_AUTHENTICATED,
    c.Enable: _AUTHENTICATED,
    c.Select: _AUTHENTICATED,
    c.Create: _AUTHENTICATED,
    c.Delete: _AUTHENTICATED,
    c.Rename: _AUTHENTICATED,
    c.Subscribe: _AUTHENTICATED,
    c.List: _AUTHENTICATED,
    c.Namespace: _AUTHENTICATED,
    c.GetQuota: _AUTHENTICATED,
    c.Status: _AUTHENTICATED,
    c.Append: _AUTHENTICATED,
    c.Idle: _AUTHENTICATED,
    c.Close: _SELECTED,
    c.Unselect: _SELECTED,
    c.Expunge: _SELECTED,
    c.Search: _SELECTED,
    c.Sort: _SELECTED,
    c.Thread: _SELECTED,
    c.Fetch: _SELECTED,
    c.Store: _SELECTED,
    c.Copy: _SELECTED,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a client may send, in octets; `faults` is how many refusals end the connection."""

    line_octets: int = 65536
    unauthenticated_octets: int = 8192
    message_octets: int = 50 * 1024 * 1024
    faults: int = 20


@dataclass(frozen=True, slots=True)
class Received:
    """A whole command that is allowed in this state."""

    tag: bytes
    command: c.Command


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that was not understood or not allowed; `octets` answer it, and the connection ends if `closes`."""

    octets: bytes
    closes: bool = False


@dataclass(frozen=True, slots=True)
class LiteralAwaited:
    """The client waits to be asked for its literal; `octets` ask."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class LineReceived:
    """The line that `await_line` asked for, without its CRLF."""

    line: bytes


Event = Received | Refused | LiteralAwaited | LineReceived


class ServerConversation:
    """What one client said so far. `utf8` is set once the client enabled IMAP4rev2."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.state = State.NOT_AUTHENTICATED
        self.utf8 = False
        self._limits = limits or Limits()
        self._buffer = bytearray()
        self._searched = 0  # no line feed stands before this
        self._part = 0  # where the line in progress began: 0, or behind the last literal
        self._literal_end = 0  # the literal in progress ends here
        self._skip = 0  # octets still to drop: the rest of a literal that was too large
        self._skipping_line = False
        self._line_awaited = False
        self._faults = 0

    # What the session says.

    def receive(self, octets: bytes) -> None:
        """Take octets that came."""
        if self._skip:
            dropped = min(self._skip, len(octets))
            self._skip -= dropped
            octets = octets[dropped:]
        self._buffer += octets

    def await_line(self) -> None:
        """Hand out the next line raw: a SASL response, or the DONE of IDLE."""
        self._line_awaited = True

    def begin_tls(self) -> None:
        """Forget what came in plain text behind STARTTLS (RFC 9051 section 6.2.1)."""
        self._buffer.clear()
        self._searched = self._part = self._literal_end = self._skip = 0
        self._skipping_line = False

    def authenticated(self) -> None:
        """The client showed who it is."""
        self._move(Happening.AUTHENTICATED)

    def selected(self) -> None:
        """A mailbox is open."""
        self._move(Happening.SELECTED)

    def deselected(self) -> None:
        """No mailbox is open."""
        self._move(Happening.DESELECTED)

    def logged_out(self) -> None:
        """Nothing more is read."""
        self._move(Happening.LOGGED_OUT)
        self._buffer.clear()

    def _move(self, happening: Happening) -> None:
        try:
            self.state = TRANSITIONS[self.state, happening]
        except KeyError:
            raise OurFault(f"{happening.value} cannot happen while {self.state.value}") from None

    # What the session hears.

    @property
    def is_between_commands(self) -> bool:
        """Whether nothing of a next command has come yet."""
        return not self._buffer

    def next_event(self) -> Event | None:
        """Return what the octets so far amount to, or None while that is nothing whole."""
        while self.state is not State.LOGOUT:
            if self._skip or len(self._buffer) < self._literal_end:
                return None
            end = self._buffer.find(b"\n", max(self._searched, self._literal_end))
            if end < 0:
                self._searched = len(self._buffer)
                return self._overlong()
            if self._skipping_line:
                self._skip_line(end)
                continue
            if end - self._part > self._line_limit():
                return self._refuse_line(end)
            event = self._line_ended(end)
            if event is not None:
                return event
        return None

    def _line_limit(self) -> int:
        if self.state is State.NOT_AUTHENTICATED:
            return self._limits.unauthenticated_octets
        return self._limits.line_octets

    def _overlong(self) -> Event | None:
        length = len(self._buffer) - self._part
        if self._skipping_line:
            if length > 1 << 20:
                return self._farewell("this line does not end")
            return None
        if length <= self._line_limit():
            return None
        tag = self._tag()
        self._skipping_line = True
        self._line_awaited = False
        return self._refused(tag, f"a line of more than {self._line_limit()} octets (RFC 9051 section 4)")

    def _skip_line(self, end: int) -> None:
        # What was refused may go on with literals that come unasked; those belong to it, too.
        match = _LITERAL_AT_END.search(self._buffer, max(0, end - 24), max(0, end - 1))
        length = int(match[1]) if match is not None and match[2] else 0
        self._skipping_line = match is not None and bool(match[2])
        self._forget(end + 1)
        self._drop(length)

    def _drop(self, length: int) -> None:
        dropped = min(length, len(self._buffer))
        del self._buffer[:dropped]
        self._skip = length - dropped

    def _refuse_line(self, end: int) -> Event:
        tag = self._tag()
        limit = self._line_limit()
        self._forget(end + 1)
        self._line_awaited = False
        return self._refused(tag, f"a line of more than {limit} octets (RFC 9051 section 4)")

    def _line_ended(self, end: int) -> Event | None:
        buffer = self._buffer
        if end == self._part or buffer[end - 1] != 0x0D:
            tag = self._tag()
            self._forget(end + 1)
            self._line_awaited = False
            return self._refused(tag, "the line does not end in CRLF (RFC 9051 section 2.2)")
        if self._line_awaited:
            line = bytes(buffer[: end - 1])
            self._forget(end + 1)
            self._line_awaited = False
            return LineReceived(line)
        if buffer[end - 2] == 0x7D:  # }
            match = _LITERAL_AT_END.search(buffer, max(self._part, end - 24), end - 1)
            if match is not None:
                return self._literal_announced(int(match[1]), bool(match[2]), end)
        with memoryview(buffer) as view:
            octets = bytes(view[: end - 1])
        self._forget(end + 1)
        return self._whole(octets)

    def _literal_announced(self, length: int, unsynchronized: bool, end: int) -> Event | None:
        whole = end + 1 + length
        is_message = self.state is not State.NOT_AUTHENTICATED and _APPEND.match(self._buffer) is not None
        limit = self._limits.message_octets + self._line_limit() if is_message else self._line_limit()
        if whole > limit:
            return self._literal_refused(length, unsynchronized, is_message, end)
        self._part = self._searched = self._literal_end = whole
        return None if unsynchronized else LiteralAwaited(response.continuation(b"Ready for literal data"))

    def _literal_refused(self, length: int, unsynchronized: bool, is_message: bool, end: int) -> Event:
        tag = self._tag()
        self._forget(end + 1)
        problem = f"a literal of {length} octets is too large"
        if not unsynchronized:
            return self._refused(tag, problem, too_big=is_message)
        # RFC 7888 section 4: what comes unasked must be read, or the connection closed.
        if length > 2 * self._limits.message_octets or self.state is State.NOT_AUTHENTICATED:
            return self._farewell(problem)
        self._drop(length)
        self._skipping_line = True
        return self._refused(tag, problem, too_big=is_message)

    def _whole(self, octets: bytes) -> Event:
        scanner = Scanner(octets)
        tag = b"*"
        try:
            tag = scanner.tag()
            scanner.space()
            command = parse(octets, scanner.position, utf8=self.utf8)
        except Malformed as fault:
            return self._refused(tag, str(fault))
        if self.state not in ALLOWED_IN[type(command)]:
            name = octets[scanner.position :].split(b" ", 1)[0].decode("ascii", "replace").upper()
            return self._refused(tag, f"{name} is not allowed while {self.state.value} (RFC 9051 section 3)")
        self._faults = 0
        return Received(tag, command)

    def _tag(self) -> bytes:
        match = _TAG.match(self._buffer, 0, 256)
        return bytes(match[0]) if match else b"*"

    def _forget(self, end: int) -> None:
        del self._buffer[:end]
        self._searched = self._part = self._literal_end = 0

    def _refused(self, tag: bytes, problem: str, *, too_big: bool = False) -> Refused:
        self._faults += 1
        if self._faults > self._limits.faults:
            return self._farewell("too many commands that are wrong")
        if too_big:
            return Refused(response.status(tag, b"NO", problem, b"TOOBIG"))  # RFC 4469 section 4.2
        return Refused(response.status(tag, b"BAD", problem))

    def _farewell(self, problem: str) -> Refused:
        self.logged_out()
        return Refused(response.status(b"*", b"BYE", problem), closes=True)
