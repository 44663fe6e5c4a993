"""Structured logs: one event is one JSON line, whatever octets it carries.

    log = Log("mta").bind(session="7f3a")
    log.event("accepted", queue_id=queue_id, size_octets=len(content))

A line holds the time (UTC, milliseconds), the severity, the role, the event, and the fields given. Octets are shown as
text with everything outside printable ASCII escaped by JSON itself, so no value can begin a new line or reach a
terminal as a control sequence. Lines go to one sink for the whole process (`send_to`), by default standard error.

`follow` gives all that a task logs from then on, in whatever role, the same `trace`: a message can be followed from the
first line of its session to its last delivery. `counts` says how often each event was recorded; the metrics show it.

A line that cannot be written is counted and lost; nobody who logs ever hears of it.

Limits: a text of more than 2,000 characters is cut and says so.
See also: RELIABILITY promise 10 in docs/architecture.md.
"""

from __future__ import annotations

import datetime
import functools
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar

import msgspec

Field = str | bytes | int | float | bool | None | list[str] | tuple[str, ...]
Sink = Callable[[str], None]

_LONGEST_TEXT = 2000
_encode = msgspec.json.Encoder().encode


def _to_standard_error(line: str) -> None:
    sys.stderr.write(line + "\n")


_sink: Sink = _to_standard_error
_trace: ContextVar[str] = ContextVar("trace", default="")
_counts: Counter[tuple[str, str, str]] = Counter()


def send_to(sink: Sink) -> Sink:
    """Send the lines of this process to `sink` from now on; return the sink before it."""
    global _sink  # one process has one log
    before, _sink = _sink, sink
    return before


def follow(trace: str) -> None:
    """Mark what this task, and the tasks it starts, log from now on."""
    _trace.set(trace)


def counts() -> dict[tuple[str, str, str], int]:
    """Return how often each event was recorded in this process, by role, severity and name."""
    return dict(_counts)


class Log:
    """A role's log, with the fields that all its events share. Cheap to make and to bind; safe between threads."""

    __slots__ = ("_bound", "role")

    def __init__(self, role: str, **bound: Field) -> None:
        self.role = role
        self._bound = bound

    def bind(self, **fields: Field) -> Log:
        """Return a log that adds `fields` to every event."""
        return Log(self.role, **{**self._bound, **fields})

    def event(self, name: str, **fields: Field) -> None:
        """Record something that happened as it should."""
        self._write("event", name, fields)

    def warning(self, name: str, **fields: Field) -> None:
        """Record something that a person should know of, and that was dealt with."""
        self._write("warning", name, fields)

    def error(self, name: str, **fields: Field) -> None:
        """Record something that needs a person."""
        self._write("error", name, fields)

    def _write(self, severity: str, name: str, fields: dict[str, Field]) -> None:
        now = time.time()
        _counts[self.role, severity, name] += 1
        line: dict[str, Field] = {
            "time": f"{_second(int(now))}.{int(now % 1 * 1000):03d}Z",
            "severity": severity,
            "role": self.role,
            "event": name,
        }
        if trace := _trace.get():
            line["trace"] = trace
        line.update(self._bound)
        line.update(fields)
        try:
            _sink(_one_line(line))
        except OSError:  # a full disk: what was done is done, and must still be said to whom it was done for
            _counts["logs", "error", "line lost"] += 1


@functools.lru_cache(maxsize=4)
def _second(instant: int) -> str:
    return datetime.datetime.fromtimestamp(instant, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _one_line(line: dict[str, Field]) -> str:
    try:
        text = _encode(line).decode()
    except UnicodeEncodeError:  # a lone surrogate
        text = ""
    # Nearly every line is short and plain; in any other each value is looked at.
    if not (0 < len(text) <= _LONGEST_TEXT and text.isascii()) or bytes in map(type, line.values()):
        text = _encode({key: _plain(value) for key, value in line.items()}).decode()
    # JSON escapes control characters below U+0020 only; what else could move a terminal or end a line is escaped here.
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(character if " " <= character <= "~" else _escaped(ord(character)) for character in text)


def _plain(value: Field) -> Field:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str) and not value.isascii():
        value = value.encode("utf-8", "backslashreplace").decode()  # a lone surrogate is no character
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return f"{value[:_LONGEST_TEXT]}… ({len(value)} characters)"
    return value


def _escaped(code: int) -> str:
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
