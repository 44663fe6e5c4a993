"""Read the tokens of one IMAP command: atoms, strings, literals, numbers, lists, dates.

A `Scanner` stands at a position in the octets of one whole command (literals in line, as they were received) and moves
forward only, so reading is linear. Every method either returns a value and moves, or raises Malformed with the rule.

Standards: RFC 9051 section 9 (formal syntax), RFC 3501 section 9, RFC 7888 section 3 (non-synchronizing literals).
Limits: nothing is copied but the value returned; the conversation bounds the length of the whole command.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import NoReturn, TypeVar

from letterlock.errors import Malformed

T = TypeVar("T")

GRAMMAR = "RFC 9051 section 9"
_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
_ASTRING_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\]+")
_LIST_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){\"\\]+")
_TAG = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\+]+")
_QUOTED = re.compile(rb'"([^"\\\r\n\x00]*(?:\\["\\][^"\\\r\n\x00]*)*)"')
_LITERAL = re.compile(rb"(~?)\{(\d{1,19})(\+?)\}\r\n")
_NUMBER = re.compile(rb"\d{1,19}")
_SEQUENCE_SET = re.compile(rb"[0-9:,*]+|\$")
_FLAG = re.compile(rb"\\?[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
_DATE = re.compile(rb'"?(\d{1,2})-([A-Za-z]{3})-(\d{4})"?')
_DATE_TIME = re.compile(rb'"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"')

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBER = {name.upper().encode(): number for number, name in enumerate(MONTHS, 1)}


class Scanner:
    """A position in the octets of one command. All methods raise Malformed where something else stands."""

    __slots__ = ("octets", "position")

    def __init__(self, octets: bytes, position: int = 0) -> None:
        self.octets = octets
        self.position = position

    def fail(self, expected: str, clause: str = GRAMMAR) -> NoReturn:
        """Raise Malformed: `expected` does not stand here."""
        raise Malformed(f"expected {expected}", offset=self.position, clause=clause)

    def _match(self, pattern: re.Pattern[bytes], expected: str) -> re.Match[bytes]:
        match = pattern.match(self.octets, self.position)
        if match is None:
            self.fail(expected)
        self.position = match.end()
        return match

    def peek(self) -> bytes:
        """Return the next octet, or nothing at the end."""
        return self.octets[self.position : self.position + 1]

    def at_end(self) -> bool:
        """Whether everything was read."""
        return self.position >= len(self.octets)

    def end(self) -> None:
        """Demand that nothing follows."""
        if not self.at_end():
            self.fail("the end of the command")

    def take(self, octet: bytes) -> bool:
        """Step over `octet` if it stands here, and say whether it did."""
        if self.octets.startswith(octet, self.position):
            self.position += len(octet)
            return True
        return False

    def expect(self, octet: bytes, name: str) -> None:
        """Step over `octet`, which must stand here."""
        if not self.take(octet):
            self.fail(name)

    def space(self) -> None:
        """Step over exactly one space."""
        self.expect(b" ", "a space")

    def tag(self) -> bytes:
        """Return a command tag."""
        return self._match(_TAG, "a tag")[0]

    def atom(self) -> bytes:
        """Return an atom as it stands."""
        return self._match(_ATOM, "an atom")[0]

    def keyword(self) -> bytes:
        """Return an atom in upper case: a command, an item, an option."""
        return self.atom().upper()

    def number(self) -> int:
        """Return a number below 2^63."""
        value = int(self._match(_NUMBER, "a number")[0])
        if value >= 1 << 63:
            self.fail("a number below 2^63")
        return value

    def string(self) -> bytes:
        """Return a quoted string or a literal."""
        if self.peek() == b'"':
            content = self._match(_QUOTED, "a quoted string that ends")[1]
            if b"\\" in content:
                content = re.sub(rb"\\(.)", rb"\1", content)
            return content
        content, binary = self.literal()
        if binary:
            self.fail("a literal, not a literal8")
        return content

    def literal(self) -> tuple[bytes, bool]:
        """Return the octets of a literal, and whether it was a literal8 (which may hold NULs)."""
        match = self._match(_LITERAL, "a string or literal")
        start, length, binary = match.end(), int(match[2]), bool(match[1])
        if start + length > len(self.octets):
            self.fail("a literal as long as it says")
        content = self.octets[start : start + length]
        if not binary and b"\0" in content:
            self.fail("a literal without NULs; they may stand in a literal8 (~{n})", "RFC 9051 section 4.3")
        self.position = start + length
        return content, binary

    def at_literal(self) -> bool:
        """Whether a literal or literal8 stands here."""
        return self.peek() in {b"{", b"~"}

    def astring(self) -> bytes:
        """Return an atom (which may hold `]`), a quoted string or a literal."""
        match = _ASTRING_ATOM.match(self.octets, self.position)
        if match is None:
            return self.string()
        self.position = match.end()
        return match[0]

    def list_mailbox(self) -> bytes:
        """Return a mailbox name that may hold the wildcards `*` and `%`."""
        match = _LIST_ATOM.match(self.octets, self.position)
        if match is None:
            return self.string()
        self.position = match.end()
        return match[0]

    def nstring(self) -> bytes | None:
        """Return a string, or None for NIL."""
        if self.octets[self.position : self.position + 3].upper() == b"NIL":
            self.position += 3
            return None
        return self.string()

    def sequence_set(self) -> bytes:
        """Return the octets of a sequence set or `$`; sequence_set.parse checks them."""
        return self._match(_SEQUENCE_SET, "a sequence set")[0]

    def flag(self) -> bytes:
        r"""Return a flag: `\Seen`, `$Forwarded`, a keyword."""
        return self._match(_FLAG, "a flag")[0]

    def listed(self, item: Callable[[], T], *, limit: int, empty: bool = False) -> list[T]:
        """Return the items of a parenthesised list, each read by `item`; `empty` allows none."""
        self.expect(b"(", "a list in parentheses")
        items: list[T] = []
        if self.take(b")"):
            return items if empty else self.fail("a list that is not empty")
        while True:
            items.append(item())
            if self.take(b")"):
                return items
            if len(items) >= limit:
                self.fail(f"at most {limit} items in a list")
            self.space()

    def date(self) -> date:
        """Return a date, quoted or not: 1-Feb-1994."""
        start = self.position
        day, month, year = self._match(_DATE, "a date such as 1-Feb-1994").groups()
        if (self.octets[start] == 0x22) != (self.octets[self.position - 1] == 0x22):
            self.fail("a date with both its quotes")
        try:
            return date(int(year), _MONTH_NUMBER[month.upper()], int(day))
        except (KeyError, ValueError):
            self.position = start
            self.fail("a date that exists")

    def date_time(self) -> datetime:
        """Return a date with time and zone: " 1-Feb-1994 21:52:25 -0800" in quotes."""
        start = self.position
        match = self._match(_DATE_TIME, 'a date-time such as "17-Jul-1996 02:44:25 -0700"')
        day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
        try:
            offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
            zone = timezone(-offset if sign == b"-" else offset)
            seconds = min(int(second), 59)  # a leap second has no place in datetime
            return datetime(int(year), _MONTH_NUMBER[month.upper()], int(day), int(hour), int(minute), seconds, 0, zone)
        except (KeyError, ValueError):
            self.position = start
            self.fail("a date-time that exists")
