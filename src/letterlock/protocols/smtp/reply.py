"""Replies: a code, an enhanced status code, and text that says what to do.

`Reply` is what a server says; `ReplyReader` is how a client hears it, whatever a hostile server sends.

Standards: RFC 5321 section 4.2 (replies), RFC 2034 and RFC 3463 (enhanced status codes).
Limits: a reply heard has at most 128 lines of 2,048 octets; a longer one is a PeerFault.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field

from letterlock.errors import OurFault, PeerFault

_LONGEST_LINE = 2048
_LONGEST_TEXT = _LONGEST_LINE // 4  # characters of one line we say
_MOST_LINES = 128
_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?: |$)")
_UNSAID = dict.fromkeys((*range(32), 127))  # control characters never go out in a reply


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply. `status` is the enhanced status code or empty; `lines` its text, without CR or LF."""

    code: int
    status: str
    lines: tuple[str, ...]
    _octets: bytes = field(default=b"", init=False, repr=False, compare=False)  # made when they are first said

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599 or not self.lines:
            raise OurFault(f"{self.code} is no reply")

    @property
    def octets(self) -> bytes:
        """The reply as it goes over the wire, each line repeating code and status (RFC 2034 section 4)."""
        if not self._octets:
            object.__setattr__(self, "_octets", _octets(self))
        return self._octets

    @property
    def is_positive(self) -> bool:
        """Whether what was asked for was done, or may go on (2xx, 3xx)."""
        return self.code < 400

    @property
    def is_transient(self) -> bool:
        """Whether the same may succeed later (4xx)."""
        return 400 <= self.code < 500

    def __str__(self) -> str:
        """Return the reply as people quote it, one line: `550 5.1.1 No such user`."""
        text = " / ".join(self.lines)
        return f"{self.code} {self.status} {text}" if self.status else f"{self.code} {text}"


def _octets(said: Reply) -> bytes:
    prefix = f"{said.status} " if said.status else ""
    if len(said.lines) == 1 and (line := said.lines[0]).isascii() and line.isprintable() and len(line) < _LONGEST_TEXT:
        return f"{said.code} {prefix}{line}\r\n".encode()
    texts = [prefix + line.translate(_UNSAID)[:_LONGEST_TEXT] for line in said.lines]
    marked = [f"{said.code}-{text}\r\n" for text in texts[:-1]] + [f"{said.code} {texts[-1]}\r\n"]
    return "".join(marked).encode("utf-8", "replace")


def reply(code: int, status: str, *lines: str) -> Reply:
    """Return a reply of these lines."""
    return Reply(code, status, lines)


class ReplyReader:
    """Puts replies together from what a server sends."""

    def __init__(self) -> None:
        self._buffer = b""
        self._searched = 0
        self._code = 0
        self._status = ""
        self._lines: list[str] = []

    def receive(self, octets: bytes) -> None:
        """Take what came."""
        self._buffer += octets

    @property
    def has_input(self) -> bool:
        """Whether octets wait that are not part of a reply returned."""
        return bool(self._buffer or self._lines)

    def next_reply(self) -> Reply | None:
        """Return the next whole reply, or None until there is one. Raises PeerFault for what is none."""
        while (end := self._buffer.find(b"\n", self._searched)) >= 0:
            line = self._buffer[:end].removesuffix(b"\r")
            self._buffer, self._searched = self._buffer[end + 1 :], 0
            if (whole := self._take(line)) is not None:
                return whole
        self._searched = len(self._buffer)
        if self._searched > _LONGEST_LINE:
            raise PeerFault("the server sent a line without end in place of a reply")
        return None

    def _take(self, line: bytes) -> Reply | None:
        code, is_last, status, text = _read_line(line)
        if not self._lines:
            if is_last:
                return _one_line(code, status, text)
            self._code, self._status = code, ""
        elif code != self._code:
            raise PeerFault(f"the server mixed {self._code} and {code} in one reply")
        self._status = status or self._status
        self._lines.append(text)
        if not is_last:
            if len(self._lines) >= _MOST_LINES:
                raise PeerFault("the server sent a reply without end")
            return None
        whole = Reply(self._code, self._status, tuple(self._lines))
        self._lines = []
        return whole


@functools.lru_cache(maxsize=256)  # a server says the same few lines again and again
def _read_line(line: bytes) -> tuple[int, bool, str, str]:
    """Return code, whether the reply ends here, enhanced status code or "", and text. Raises PeerFault."""
    match = _LINE.fullmatch(line)
    if match is None or len(line) > _LONGEST_LINE:
        raise PeerFault(f"the server sent {line[:80]!r} in place of a reply")
    code, text = int(match[1]), (match[3] or b"").decode("utf-8", "backslashreplace").translate(_UNSAID)
    enhanced = _ENHANCED.match(text)
    if enhanced is None or enhanced[1][0] != str(code)[0]:
        return code, match[2] != b"-", "", text
    return code, match[2] != b"-", enhanced[1], text[enhanced.end() :]


@functools.lru_cache(maxsize=256)
def _one_line(code: int, status: str, text: str) -> Reply:
    return Reply(code, status, (text,))
