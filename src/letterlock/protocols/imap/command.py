"""IMAP commands as values, one class a command.

Mailbox names are text (see mailbox_name), message data are octets. `uid` tells the UID form from the plain one.

Standards: RFC 9051 section 6; RFC 3501 section 6 (LSUB, CHECK), RFC 2971 (ID), RFC 4315 (UID EXPUNGE),
RFC 5258 and RFC 5819 (LIST options), RFC 6154 (special use), RFC 7162 (CONDSTORE and QRESYNC parameters).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from letterlock.protocols.imap.fetch_item import FetchItem
from letterlock.protocols.imap.search_key import SearchKey
from letterlock.protocols.imap.sequence_set import SequenceSet


@dataclass(frozen=True, slots=True)
class Capability:
    """CAPABILITY."""


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP; and CHECK, which does no more (RFC 3501 section 6.4.1)."""


@dataclass(frozen=True, slots=True)
class Logout:
    """LOGOUT."""


@dataclass(frozen=True, slots=True)
class Identify:
    """ID: what the client says of itself, names and values decoded leniently."""

    parameters: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class StartTls:
    """STARTTLS."""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """AUTHENTICATE: the mechanism in upper case and the initial response, already out of base64, if there was one."""

    mechanism: str
    initial_response: bytes | None


@dataclass(frozen=True, slots=True)
class Login:
    """LOGIN."""

    user: str
    password: str


@dataclass(frozen=True, slots=True)
class Enable:
    """ENABLE: capability names in upper case."""

    capabilities: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Resynchronization:
    """What a client remembers of a mailbox (RFC 7162 section 3.2.5); without `known_uids` it knows all."""

    uid_validity: int
    modseq: int
    known_uids: SequenceSet | None


@dataclass(frozen=True, slots=True)
class Select:
    """SELECT, or EXAMINE when `read_only`, with the parameters of RFC 7162."""

    mailbox: str
    read_only: bool
    condstore: bool
    resynchronization: Resynchronization | None


@dataclass(frozen=True, slots=True)
class Create:
    r"""CREATE, with the special use asked for (`\Sent`), if any."""

    mailbox: str
    special_use: bytes | None


@dataclass(frozen=True, slots=True)
class Delete:
    """DELETE."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename:
    """RENAME."""

    mailbox: str
    new_name: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE, or UNSUBSCRIBE when not `subscribed`."""

    mailbox: str
    subscribed: bool


@dataclass(frozen=True, slots=True)
class List:
    """LIST with its selection and return options, and LSUB when `lsub`. `extended` where list syntax was used."""

    reference: str
    patterns: tuple[str, ...]
    selection: frozenset[bytes]
    returns: frozenset[bytes]
    status: tuple[StatusItem, ...]
    lsub: bool
    extended: bool


@dataclass(frozen=True, slots=True)
class Namespace:
    """NAMESPACE."""


@dataclass(frozen=True, slots=True)
class GetQuota:
    """GETQUOTA: of a quota root; GETQUOTAROOT when `mailbox` is set (RFC 9208 section 4.1)."""

    root: str | None
    mailbox: str | None


class StatusItem(Enum):
    """What STATUS can tell of a mailbox."""

    MESSAGES = b"MESSAGES"
    UIDNEXT = b"UIDNEXT"
    UIDVALIDITY = b"UIDVALIDITY"
    UNSEEN = b"UNSEEN"
    DELETED = b"DELETED"
    SIZE = b"SIZE"
    RECENT = b"RECENT"
    HIGHESTMODSEQ = b"HIGHESTMODSEQ"
    APPENDLIMIT = b"APPENDLIMIT"
    DELETED_STORAGE = b"DELETED-STORAGE"
    MAILBOX_ID = b"MAILBOXID"


@dataclass(frozen=True, slots=True)
class Status:
    """STATUS."""

    mailbox: str
    items: tuple[StatusItem, ...]


@dataclass(frozen=True, slots=True)
class Append:
    """APPEND: flags as written, the internal date if given, and the message."""

    mailbox: str
    flags: tuple[bytes, ...]
    internal_date: datetime | None
    message: bytes


@dataclass(frozen=True, slots=True)
class Idle:
    """IDLE; an IdleEnded event follows."""


@dataclass(frozen=True, slots=True)
class Close:
    r"""CLOSE: removes messages marked \Deleted without telling, and deselects."""


@dataclass(frozen=True, slots=True)
class Unselect:
    """UNSELECT: deselects and removes nothing."""


@dataclass(frozen=True, slots=True)
class Expunge:
    """EXPUNGE, or UID EXPUNGE with its set."""

    uids: SequenceSet | None


class Result(Enum):
    """RETURN options of SEARCH."""

    MIN = b"MIN"
    MAX = b"MAX"
    ALL = b"ALL"
    COUNT = b"COUNT"
    SAVE = b"SAVE"


@dataclass(frozen=True, slots=True)
class Search:
    """SEARCH: `results` is None without RETURN; `charset` in upper case."""

    key: SearchKey
    results: frozenset[Result] | None
    charset: bytes
    uid: bool


class SortKey(Enum):
    """What messages are sorted by (RFC 5256 section 3, RFC 5957 section 3)."""

    ARRIVAL = b"ARRIVAL"
    CC = b"CC"
    DATE = b"DATE"
    FROM = b"FROM"
    SIZE = b"SIZE"
    SUBJECT = b"SUBJECT"
    TO = b"TO"
    DISPLAY_FROM = b"DISPLAYFROM"
    DISPLAY_TO = b"DISPLAYTO"


@dataclass(frozen=True, slots=True)
class SortCriterion:
    """A sort key, perhaps from the end."""

    key: SortKey
    reverse: bool


@dataclass(frozen=True, slots=True)
class Sort:
    """SORT: a search whose result is put in order; `charset` in upper case."""

    criteria: tuple[SortCriterion, ...]
    key: SearchKey
    charset: bytes
    uid: bool


class ThreadAlgorithm(Enum):
    """How messages are put into threads (RFC 5256 section 3)."""

    ORDERED_SUBJECT = b"ORDEREDSUBJECT"
    REFERENCES = b"REFERENCES"


@dataclass(frozen=True, slots=True)
class Thread:
    """THREAD: a search whose result is put into threads; `charset` in upper case."""

    algorithm: ThreadAlgorithm
    key: SearchKey
    charset: bytes
    uid: bool


@dataclass(frozen=True, slots=True)
class Fetch:
    """FETCH; `changed_since` is the CHANGEDSINCE modifier, `vanished` the one beside it (RFC 7162 section 3.2.6)."""

    numbers: SequenceSet
    items: tuple[FetchItem, ...]
    uid: bool
    changed_since: int | None
    vanished: bool


class FlagChange(Enum):
    """What STORE does to the flags."""

    REPLACE = b""
    ADD = b"+"
    REMOVE = b"-"


@dataclass(frozen=True, slots=True)
class Store:
    """STORE; `unchanged_since` is the UNCHANGEDSINCE modifier."""

    numbers: SequenceSet
    change: FlagChange
    flags: tuple[bytes, ...]
    silent: bool
    uid: bool
    unchanged_since: int | None


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY, or MOVE when `move`."""

    numbers: SequenceSet
    mailbox: str
    move: bool
    uid: bool


Command = (
    Capability
    | Noop
    | Logout
    | Identify
    | StartTls
    | Authenticate
    | Login
    | Enable
    | Select
    | Create
    | Delete
    | Rename
    | Subscribe
    | List
    | Namespace
    | GetQuota
    | Status
    | Append
    | Idle
    | Close
    | Unselect
    | Expunge
    | Search
    | Sort
    | Thread
    | Fetch
    | Store
    | Copy
)
