"""The message store as the roles see it: plain values, and one awaitable interface for every engine.

Promises of every engine (tests/contracts/store.py is their judge):

- An awaited change is durable when it returns, and visible to everybody from then on, in one order for all.
- A transaction is one: its octets, its deliveries and its queue entries become durable together or not at all.
- Exactly once: a transaction id committed twice stores once; a queued recipient leaves the queue in the same
  change that delivers it.
- UIDs only grow and are durable before anybody sees them; each change of a mailbox gets the next modification sequence.
- Unavailable is raised where a disk is full or broken. Nothing of the change is kept then, and nothing bounces.

Instants are seconds since 1970 UTC as float. Mailbox names are text with "/" between levels; INBOX is always spelt so.

Standards: RFC 9051 section 2.3 (messages), RFC 7162 (modification sequences), RFC 8474 (object ids), RFC 6154
(special use), RFC 3461 (what a queue entry remembers).
See also: store/snapshot.py (one mailbox at one instant), store/accounts.py, docs/design/store.md.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from letterlock.errors import LetterlockError
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.outcome import Outcome
from letterlock.store.snapshot import Snapshot, UidRanges

Instant = float


class Refusal(enum.Enum):
    """Why a change was refused, named as the IMAP response codes (RFC 9051 section 7.1)."""

    NONEXISTENT = "there is none of that name"
    ALREADYEXISTS = "one of that name exists"
    CANNOT = "the name or the change is not allowed"
    LIMIT = "a limit of the store is reached"
    OVERQUOTA = "the account's quota is used up"
    EXPUNGEISSUED = "the message is gone"


class Refused(LetterlockError):
    """The store will not make this change; asking again would not help."""

    def __init__(self, refusal: Refusal, what: str = "") -> None:
        self.refusal = refusal
        self.what = what
        super().__init__(f"{refusal.value}: {what}" if what else refusal.value)


class Delivery(msgspec.Struct, frozen=True):
    """One copy for one local mailbox. `prefix` (Return-Path, Delivered-To) stands before the transaction's octets.

    A mailbox that does not exist is made; `recipient` is the address it is for, and only recorded.
    """

    account: str
    mailbox: str = "INBOX"
    prefix: bytes = b""
    flags: tuple[str, ...] = ()
    recipient: str = ""


@dataclass(frozen=True, slots=True)
class Queued:
    """Recipients a transfer is owed to: `envelope.recipients` are only these. `prefix` as in Delivery.

    `priority` is MT-PRIORITY (RFC 6710), higher first. `source` says where it came from for the operator ("submission
    anna@rosewood.test", "mx.harbor.test [192.0.2.1]"); `route` overrides routing ("" is by MX). `details` is room for
    what the transfer needs to remember (DELIVERBY, HOLDFOR, trace id, a seal), as short text.
    """

    queue_id: str
    envelope: Envelope
    next_attempt: Instant
    expires: Instant
    priority: int = 0
    held: bool = False
    source: str = ""
    route: str = ""
    prefix: bytes = b""
    details: Mapping[str, str] = field(default_factory=dict)


class Transaction(msgspec.Struct, frozen=True):
    """A message taken on: `octets` are chunks, our trace fields first, kept byte for byte; `arrived` is now.

    `content` in place of `octets` refers to octets the store already holds (a queued message delivered later).
    """

    id: str
    arrived: Instant
    octets: tuple[bytes, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    queued: tuple[Queued, ...] = ()
    content: int | None = None


class Placed(msgspec.Struct, frozen=True, gc=False):
    """Where a message lies: what APPENDUID, COPYUID and the logs tell."""

    mailbox: int
    uid_validity: int
    uid: int


class Receipt(msgspec.Struct, frozen=True):
    """What a transaction became: one Placed a delivery, in order. `repeated` where the id was known already."""

    sequence: int
    placed: tuple[Placed, ...] = ()
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message for `append`: octets as chunks; `internal_date` None is now."""

    octets: tuple[bytes, ...]
    flags: tuple[str, ...] = ()
    internal_date: Instant | None = None


@dataclass(frozen=True, slots=True)
class Mailbox:
    """What LIST and STATUS tell of one mailbox. `octets` is the sum of sizes; `special_use` as "\\\\Sent" or empty."""

    id: int
    account: str
    name: str
    uid_validity: int
    uid_next: int
    highest_modseq: int
    messages: int
    unseen: int
    deleted: int
    octets: int
    special_use: str = ""
    subscribed: bool = False


class FlagChange(enum.Enum):
    """How STORE changes flags."""

    ADD = "add"
    REMOVE = "remove"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class FlagsStored:
    """`changed` have new flags and modseq; `conflicting` were newer than UNCHANGEDSINCE and were left alone."""

    changed: UidRanges
    conflicting: UidRanges = ()
    modseq: int = 0


@dataclass(frozen=True, slots=True)
class Copied:
    """Which UIDs became which: the two lists are of equal length, in order."""

    uid_validity: int
    source: tuple[int, ...]
    target: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account's mailboxes hold together (quota)."""

    messages: int
    octets: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try for one recipient, as it is remembered; `outcome` names recipient, status, reply, host, security."""

    instant: Instant
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class QueuedRecipient:
    """A recipient still owed. `number` is its key within the entry; `last` the newest attempt."""

    number: int
    recipient: Recipient
    next_attempt: Instant
    attempts: int = 0
    held: bool = False
    delay_reported: bool = False
    last: Attempt | None = None


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A message with the recipients it is still owed to. `content` and `size` are for `Store.read`.

    `envelope` is the envelope as queued, except that its recipients are those of `recipients`, in the same order. An entry
    that is listed may have a `problem`: not all of it can be read, and what cannot is held.
    """

    queue_id: str
    envelope: Envelope
    content: int
    size: int
    arrived: Instant
    expires: Instant
    priority: int
    source: str
    route: str
    details: Mapping[str, str]
    recipients: tuple[QueuedRecipient, ...]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one attempt did for one queued recipient: a final outcome ends it, DEFERRED needs `next_attempt`."""

    number: int
    outcome: Outcome
    next_attempt: Instant | None = None
    delay_reported: bool = False


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which entries: every given condition must hold. `destination` is a recipient's domain.

    `sender` is an address, a domain, or "<>"; `arrived_before` an instant; `reason` text that the last answer (or its
    status code or host) contains.
    """

    queue_id: str = ""
    sender: str = ""
    recipient: str = ""
    destination: str = ""
    held: bool | None = None
    arrived_before: Instant | None = None
    reason: str = ""


class OpenMailbox(Protocol):
    """A mailbox kept in memory while somebody looks at it. Close it when done."""

    def snapshot(self) -> Snapshot:
        """Return the mailbox as it is now: cheap, and the same object while nothing changes."""
        ...

    async def changed(self, since: Snapshot) -> Snapshot:
        """Wait until the mailbox differs from `since` (or is deleted) and return it. Cancel to stop waiting."""
        ...

    def touched_since(self, modseq: int) -> list[int] | None:
        """Return the UIDs that arrived, vanished or changed after `modseq`, or None where it is too long ago."""
        ...

    def close(self) -> None:
        """Say that nobody looks through this handle any more."""
        ...


class Mailboxes(Protocol):
    """The mailboxes of accounts, and the messages in them."""

    async def prepare_account(self, account: str, mailboxes: Mapping[str, str]) -> None:
        """Make INBOX and the given mailboxes (name: special use or "") where they do not exist, all subscribed."""
        ...

    async def remove_account(self, account: str) -> None:
        """Remove every mailbox and subscription of `account`."""
        ...

    async def mailboxes(self, account: str) -> tuple[Mailbox, ...]:
        """Return the mailboxes of `account`, by name."""
        ...

    async def mailbox(self, account: str, name: str) -> Mailbox | None:
        """Return one mailbox with its counts, or None."""
        ...

    async def create(self, account: str, name: str, special_use: str = "") -> Mailbox:
        """Make a mailbox, and those above it that do not exist. Raises Refused."""
        ...

    async def delete(self, account: str, name: str) -> None:
        """Delete a mailbox and its messages; those below it stay. INBOX cannot be deleted. Raises Refused."""
        ...

    async def rename(self, account: str, name: str, new_name: str) -> None:
        """Rename a mailbox and all below it; for INBOX move its messages to a new mailbox (RFC 9051 section 6.3.6)."""
        ...

    async def subscribe(self, account: str, name: str, wanted: bool) -> None:
        """Add or remove a name in the list of subscriptions; the mailbox need not exist."""
        ...

    async def subscriptions(self, account: str) -> tuple[str, ...]:
        """Return the subscribed names."""
        ...

    async def usage(self, account: str) -> Usage:
        """Return what the account holds."""
        ...

    async def open(self, mailbox: int) -> OpenMailbox:
        """Load a mailbox for looking at. Raises Refused(NONEXISTENT)."""
        ...

    async def append(self, mailbox: int, messages: Sequence[NewMessage]) -> tuple[Placed, ...]:
        """Store messages, all or none; at most 4096 at once. Raises Refused(LIMIT)."""
        ...

    async def store_flags(
        self,
        mailbox: int,
        uids: UidRanges,
        change: FlagChange,
        flags: Sequence[str],
        *,
        unchanged_since: int | None = None,
    ) -> FlagsStored:
        """Change the flags of those messages of `uids` that exist. Raises Refused(LIMIT) for too many keywords."""
        ...

    async def copy(self, mailbox: int, uids: UidRanges, target: int) -> Copied:
        """Copy messages with flags and internal date; the octets are shared."""
        ...

    async def move(self, mailbox: int, uids: UidRanges, target: int) -> Copied:
        """Copy and expunge in one change (RFC 6851)."""
        ...

    async def expunge(self, mailbox: int, uids: UidRanges | None = None, *, only_deleted: bool = True) -> UidRanges:
        """Remove messages for good: all with \\Deleted, of `uids` if given; any of `uids` without `only_deleted`."""
        ...

    async def vanished(self, mailbox: int, since_modseq: int) -> UidRanges:
        """Return the UIDs expunged after `since_modseq` (RFC 7162 section 3.2.10)."""
        ...


class Contents(Protocol):
    """The octets of messages, and what was derived from them."""

    async def read(self, content: int, offset: int = 0, length: int | None = None) -> bytes:
        """Return octets of a content, to its end without `length`. Raises Refused(EXPUNGEISSUED) when it is gone."""
        ...

    def read_now(self, content: int, offset: int = 0, length: int | None = None) -> bytes | None:
        """Return what `read` would, if that needs no waiting (the octets are in memory); else None."""
        ...

    async def derived(self, kind: str, contents: Sequence[int]) -> list[bytes | None]:
        """Return what `keep_derived` kept of this kind for each content, or None. A cache: entries may vanish."""
        ...

    def keep_derived(self, kind: str, derived: Mapping[int, bytes]) -> None:
        """Keep octets computed from contents (an ENVELOPE, a BODYSTRUCTURE) for later; not durable at once."""
        ...


class Queue(Protocol):
    """Responsibility for undelivered mail. What is taken and not settled before a crash is due again after it."""

    async def take_due(self, now: Instant, limit: int) -> tuple[QueueEntry, ...]:
        """Return entries whose next attempt is due, highest priority and longest due first, and mark them taken.

        An entry holds those of its recipients that are due and not held. Each must be settled, together or in parts,
        or the rest released.
        """
        ...

    async def next_due(self) -> Instant | None:
        """Return when the next recipient that is not taken or held falls due, or None."""
        ...

    async def queue_changed(self) -> None:
        """Wait until something was queued, retried or released from hold since the last `take_due`."""
        ...

    async def settle(
        self, queue_id: str, now: Instant, settlements: Sequence[Settlement], transactions: Sequence[Transaction] = ()
    ) -> None:
        """Record an attempt. `transactions` (a DSN, a local delivery) become durable in the same change.

        A settlement of a recipient that is not owed any more is without effect, and so are `transactions` where
        nothing was owed to any recipient in `settlements`. An entry owed to nobody is gone.
        """
        ...

    async def release(self, queue_id: str, until: Instant | None = None) -> None:
        """Give back what was taken of an entry and not settled, as it was; with `until` it is not due before.

        `until` is not durable: after a crash the entry is due as it was before.
        """
        ...

    async def park(self, queue_id: str, lane: str) -> None:
        """Give back a taken entry so that only `take_parked` with the same lane finds it, or `take_due` after a start.

        A change by an operator (hold, retry, drop) ends the parking.
        """
        ...

    async def take_parked(self, lane: str, now: Instant, limit: int) -> tuple[QueueEntry, ...]:
        """Do as `take_due`, for entries parked under `lane`: what was due then is due."""
        ...

    async def queue_entry(self, queue_id: str) -> QueueEntry | None:
        """Return an entry with all its recipients, or None."""
        ...

    async def attempts(self, queue_id: str) -> tuple[Attempt, ...]:
        """Return every attempt for an entry, oldest first."""
        ...

    async def queue(self, chosen: QueueFilter, *, limit: int = 100, after: str = "") -> tuple[QueueEntry, ...]:
        """Return entries by queue id, those after `after`."""
        ...

    async def queue_size(self) -> tuple[int, int]:
        """Return how many entries and recipients are queued."""
        ...

    async def hold(self, chosen: QueueFilter, held: bool) -> int:
        """Hold entries back, or let them go; return how many recipients changed."""
        ...

    async def retry(self, chosen: QueueFilter, when: Instant, *, route: str | None = None) -> int:
        """Make entries due at `when`, with another route if given; return how many recipients."""
        ...

    async def bring_forward(self, now: Instant, longest_wait_seconds: float) -> int:
        """Make due `now` what a clock that was ahead put off; return how many recipients.

        These are the ones that came, by that clock, later than now, and those that wait longer than anything is let
        wait between two attempts. What was to wait when it came (a release its sender asked for) goes on waiting.
        """
        ...

    async def prolong(self, seconds: float, arrived_until: Instant) -> None:
        """Let entries that arrived until an instant expire so many seconds later."""
        ...

    async def drop(self, chosen: QueueFilter) -> int:
        """Forget entries without a report; return how many recipients."""
        ...


class Intake(Protocol):
    """As much of a Store as taking mail on needs; store/remote.py offers it to other processes."""

    def announce(self, change: int) -> None:
        """Say that so many more messages are on their way to `commit`, or fewer: a sync may wait a moment for company."""
        ...

    async def commit(self, transaction: Transaction) -> Receipt:
        """Take responsibility for a message. When this returns, it is on disk and 250 may be said."""
        ...

    async def usage(self, account: str) -> Usage:
        """Return what the account holds."""
        ...

    async def mailbox(self, account: str, name: str) -> Mailbox | None:
        """Return one mailbox with its counts, or None."""
        ...


class Store(Mailboxes, Contents, Queue, Protocol):
    """Everything above behind one handle, with transactions."""

    def announce(self, change: int) -> None:
        """Say that so many more messages are on their way to `commit`, or fewer: a sync may wait a moment for company."""
        ...

    async def commit(self, transaction: Transaction) -> Receipt:
        """Take responsibility for a message. When this returns, it is on disk and 250 may be said."""
        ...

    async def close(self) -> None:
        """Finish what was begun and close the files."""
        ...
