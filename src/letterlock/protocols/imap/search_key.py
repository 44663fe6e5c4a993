"""The criteria of SEARCH: parsed into a small tree of values, which access/ evaluates.

Standards: RFC 9051 section 6.4.4, RFC 3501 section 6.4.4 (NEW, OLD, RECENT), RFC 4731 (RETURN), RFC 5182 (SAVE),
RFC 7162 section 3.1.5 (MODSEQ), RFC 8474 section 5 (EMAILID, THREADID), RFC 8514 (SAVED...).
Limits: KEYS_LIMIT keys in one command, nested NESTING_LIMIT deep.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from letterlock.errors import Malformed
from letterlock.protocols.imap import sequence_set
from letterlock.protocols.imap.scan import Scanner
from letterlock.protocols.imap.sequence_set import SequenceSet

KEYS_LIMIT = 1000
NESTING_LIMIT = 30


class Relation(Enum):
    """How a message's value must stand to the one asked for."""

    BEFORE = "<"
    ON = "="
    SINCE = ">="
    LARGER = ">"


@dataclass(frozen=True, slots=True)
class Everything:
    """ALL."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A set of sequence numbers, or of UIDs when `uid`."""

    numbers: SequenceSet
    uid: bool


@dataclass(frozen=True, slots=True)
class Flagged:
    r"""SEEN, UNSEEN, KEYWORD, UNKEYWORD and their kin: `flag` (as written, `\Seen`) is set, or not."""

    flag: bytes
    present: bool


@dataclass(frozen=True, slots=True)
class HeaderContains:
    """HEADER and FROM, TO, CC, BCC, SUBJECT: a field of that lower-case name holds the text, decoded."""

    field: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Contains:
    """BODY (without the header) and TEXT (with it)."""

    text: str
    header: bool


@dataclass(frozen=True, slots=True)
class Arrived:
    """BEFORE, ON, SINCE: the internal date, without its time."""

    relation: Relation
    date: datetime.date


@dataclass(frozen=True, slots=True)
class Saved:
    """SAVEDBEFORE, SAVEDON, SAVEDSINCE: the date of storing in this mailbox, without its time (RFC 8514)."""

    relation: Relation
    date: datetime.date


@dataclass(frozen=True, slots=True)
class EmailId:
    """EMAILID (RFC 8474 section 5.1)."""

    id: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """SENTBEFORE, SENTON, SENTSINCE: the Date field, without its time."""

    relation: Relation
    date: datetime.date


@dataclass(frozen=True, slots=True)
class Sized:
    """LARGER and SMALLER."""

    relation: Relation
    octets: int


@dataclass(frozen=True, slots=True)
class ChangedSince:
    """MODSEQ: the modification sequence is at least this."""

    modseq: int


@dataclass(frozen=True, slots=True)
class Not:
    """NOT."""

    key: SearchKey


@dataclass(frozen=True, slots=True)
class Or:
    """OR."""

    left: SearchKey
    right: SearchKey


@dataclass(frozen=True, slots=True)
class And:
    """Several keys side by side."""

    keys: tuple[SearchKey, ...]


SearchKey = (
    Everything
    | Numbered
    | Flagged
    | HeaderContains
    | Contains
    | Arrived
    | Saved
    | EmailId
    | Sent
    | Sized
    | ChangedSince
    | Not
    | Or
    | And
)

_FLAGS: dict[bytes, tuple[bytes, bool]] = {
    b"ANSWERED": (b"\\Answered", True),
    b"DELETED": (b"\\Deleted", True),
    b"DRAFT": (b"\\Draft", True),
    b"FLAGGED": (b"\\Flagged", True),
    b"SEEN": (b"\\Seen", True),
    b"RECENT": (b"\\Recent", True),
    b"OLD": (b"\\Recent", False),
    b"UNANSWERED": (b"\\Answered", False),
    b"UNDELETED": (b"\\Deleted", False),
    b"UNDRAFT": (b"\\Draft", False),
    b"UNFLAGGED": (b"\\Flagged", False),
    b"UNSEEN": (b"\\Seen", False),
}
_FIELDS = {b"BCC": b"bcc", b"CC": b"cc", b"FROM": b"from", b"SUBJECT": b"subject", b"TO": b"to"}
_RELATIONS = {b"BEFORE": Relation.BEFORE, b"ON": Relation.ON, b"SINCE": Relation.SINCE}


def mentions_modseq(key: SearchKey) -> bool:
    """Whether MODSEQ stands anywhere in a key."""
    match key:
        case ChangedSince():
            return True
        case Not(inner):
            return mentions_modseq(inner)
        case Or(left, right):
            return mentions_modseq(left) or mentions_modseq(right)
        case And(keys):
            return any(map(mentions_modseq, keys))
        case _:
            return False


class SearchKeyReader:
    """Reads the keys of one SEARCH; counts them, and decodes their strings from `charset`."""

    def __init__(self, scanner: Scanner, charset: str = "utf-8") -> None:
        self._scanner = scanner
        self._charset = charset
        self._keys = 0

    def program(self) -> SearchKey:
        """Return all keys up to the end of the command as one."""
        keys = [self._key(0)]
        while not self._scanner.at_end():
            self._scanner.space()
            keys.append(self._key(0))
        return keys[0] if len(keys) == 1 else And(tuple(keys))

    def _key(self, depth: int) -> SearchKey:
        scanner = self._scanner
        self._keys += 1
        if self._keys > KEYS_LIMIT or depth > NESTING_LIMIT:
            raise Malformed("search criteria too long or nested too deep", offset=scanner.position)
        ahead = scanner.peek()
        if ahead == b"(":
            keys = scanner.listed(lambda: self._key(depth + 1), limit=KEYS_LIMIT)
            return keys[0] if len(keys) == 1 else And(tuple(keys))
        if ahead.isdigit() or ahead in {b"*", b"$"}:
            return Numbered(self._set(), uid=False)
        return self._named(depth)

    def _named(self, depth: int) -> SearchKey:
        scanner = self._scanner
        start = scanner.position
        name = scanner.keyword()
        if name in _FLAGS:
            return Flagged(*_FLAGS[name])
        if name in {b"ALL", b"SAVEDATESUPPORTED"}:
            return Everything()
        if name == b"NEW":
            return And((Flagged(b"\\Recent", present=True), Flagged(b"\\Seen", present=False)))
        if name not in _WITH_ARGUMENT and name not in {b"NOT", b"OR"}:
            scanner.position = start
            scanner.fail("a search key", "RFC 9051 section 6.4.4")
        scanner.space()
        if name == b"NOT":
            return Not(self._key(depth + 1))
        if name == b"OR":
            left = self._key(depth + 1)
            scanner.space()
            return Or(left, self._key(depth + 1))
        return _WITH_ARGUMENT[name](self, name)

    def _set(self) -> SequenceSet:
        start = self._scanner.position
        return sequence_set.parse(self._scanner.sequence_set(), start)

    def _text(self) -> str:
        start = self._scanner.position
        try:
            return self._scanner.astring().decode(self._charset)
        except UnicodeDecodeError:
            raise Malformed(f"a string that is not {self._charset}", offset=start) from None

    def _uid(self, _name: bytes) -> SearchKey:
        return Numbered(self._set(), uid=True)

    def _keyword(self, name: bytes) -> SearchKey:
        return Flagged(self._scanner.flag(), present=name == b"KEYWORD")

    def _header(self, _name: bytes) -> SearchKey:
        field = self._scanner.astring().lower()
        self._scanner.space()
        return HeaderContains(field, self._text())

    def _field(self, name: bytes) -> SearchKey:
        return HeaderContains(_FIELDS[name], self._text())

    def _contains(self, name: bytes) -> SearchKey:
        return Contains(self._text(), header=name == b"TEXT")

    def _arrived(self, name: bytes) -> SearchKey:
        return Arrived(_RELATIONS[name], self._scanner.date())

    def _saved(self, name: bytes) -> SearchKey:
        return Saved(_RELATIONS[name.removeprefix(b"SAVED")], self._scanner.date())

    def _object_id(self, name: bytes) -> SearchKey:
        found = EmailId(self._scanner.astring())
        return found if name == b"EMAILID" else Not(Everything())  # there are no threads here

    def _sent(self, name: bytes) -> SearchKey:
        return Sent(_RELATIONS[name.removeprefix(b"SENT")], self._scanner.date())

    def _sized(self, name: bytes) -> SearchKey:
        return Sized(Relation.LARGER if name == b"LARGER" else Relation.BEFORE, self._scanner.number())

    def _modseq(self, _name: bytes) -> SearchKey:
        # RFC 7162 section 3.1.5: an entry name and type may stand before the value; all flags share one MODSEQ here.
        if self._scanner.peek() == b'"':
            self._scanner.string()
            self._scanner.space()
            self._scanner.keyword()
            self._scanner.space()
        return ChangedSince(self._scanner.number())


_WITH_ARGUMENT: dict[bytes, Callable[[SearchKeyReader, bytes], SearchKey]] = {
    b"UID": SearchKeyReader._uid,
    b"KEYWORD": SearchKeyReader._keyword,
    b"UNKEYWORD": SearchKeyReader._keyword,
    b"HEADER": SearchKeyReader._header,
    **dict.fromkeys(_FIELDS, SearchKeyReader._field),
    b"BODY": SearchKeyReader._contains,
    b"TEXT": SearchKeyReader._contains,
    **dict.fromkeys(_RELATIONS, SearchKeyReader._arrived),
    **{b"SENT" + name: SearchKeyReader._sent for name in _RELATIONS},
    **{b"SAVED" + name: SearchKeyReader._saved for name in _RELATIONS},
    b"EMAILID": SearchKeyReader._object_id,
    b"THREADID": SearchKeyReader._object_id,
    b"LARGER": SearchKeyReader._sized,
    b"SMALLER": SearchKeyReader._sized,
    b"MODSEQ": SearchKeyReader._modseq,
}
