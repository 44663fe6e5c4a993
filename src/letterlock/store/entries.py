"""What the log says happened: one structure a kind of change, packed as the description of a log record.

An entry holds everything its effect depends on, the instant included, so that applying the log to the same state gives
the same UIDs, modification sequences and content ids again. Octets stand beside the description in the record, in the
order the entry counts them.

Contents made by the record with sequence number s are numbered s * 4096 + n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from letterlock.errors import Malformed
from letterlock.formats.address import Address
from letterlock.formats.envelope import Body, DeliverBy, Envelope, Late, Recipient, Return, ValidSince
from letterlock.formats.outcome import Outcome, Result
from letterlock.store.interface import (
    Attempt,
    Delivery,
    Queued,
    Refusal,
    Refused,
    Settlement,
    Transaction,
)

CONTENTS_A_RECORD = 4096


class Entry(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A change of the store."""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """A part of an entry."""


class PackedDelivery(Part, frozen=True):
    """A Delivery; `prefix` is the index of its prefix, -1 for none."""

    account: str
    mailbox: str
    prefix: int
    flags: tuple[str, ...]
    recipient: str


class PackedRecipient(Part, frozen=True):
    """A Recipient; `valid_since` as `pack_valid_since` writes it."""

    local_part: str
    domain: str
    notify: int
    original: str
    valid_since: str = ""


class PackedEnvelope(Part, frozen=True):
    """An Envelope without its recipients; `sender` None is the null sender; `deliver_by` is (instant, mode, trace)."""

    sender: tuple[str, str] | None
    body: str
    smtputf8: bool
    require_tls: bool
    return_content: str | None
    envelope_id: str
    deliver_by: tuple[float, str, bool] | None = None
    solicitation: tuple[str, ...] = ()


class PackedQueued(Part, frozen=True):
    """A Queued; `prefix` as in PackedDelivery."""

    queue_id: str
    envelope: PackedEnvelope
    recipients: tuple[PackedRecipient, ...]
    next_attempt: float
    expires: float
    priority: int
    held: bool
    source: str
    route: str
    prefix: int
    details: dict[str, str]


class Accepted(Entry, frozen=True, tag=1):
    """A transaction. Its octets are the distinct prefixes (of the lengths given), then the body.

    With `joined` there is one prefix and everybody uses it, so prefix and body are one content. `content` is the body
    where the store has it already.
    """

    id: str
    arrived: float
    prefixes: tuple[int, ...]
    joined: bool
    body: int
    content: int | None
    deliveries: tuple[PackedDelivery, ...]
    queued: tuple[PackedQueued, ...]


class Appended(Entry, frozen=True, tag=2):
    """Messages appended: (length, flags, internal date) each."""

    mailbox: int
    instant: float
    messages: tuple[tuple[int, tuple[str, ...], float], ...]


class FlagsChanged(Entry, frozen=True, tag=3):
    """STORE; `change` is a FlagChange value."""

    mailbox: int
    uids: tuple[tuple[int, int], ...]
    change: str
    flags: tuple[str, ...]
    unchanged_since: int | None


class MessagesCopied(Entry, frozen=True, tag=4):
    """COPY, or MOVE with `move`."""

    mailbox: int
    uids: tuple[tuple[int, int], ...]
    target: int
    instant: float
    move: bool


class Expunged(Entry, frozen=True, tag=5):
    """EXPUNGE."""

    mailbox: int
    uids: tuple[tuple[int, int], ...] | None
    only_deleted: bool


class AccountPrepared(Entry, frozen=True, tag=6):
    """Mailboxes (name, special use) of an account made where they were missing."""

    account: str
    mailboxes: tuple[tuple[str, str], ...]
    instant: float


class AccountRemoved(Entry, frozen=True, tag=7):
    """An account's mailboxes removed."""

    account: str


class MailboxCreated(Entry, frozen=True, tag=8):
    """CREATE."""

    account: str
    name: str
    special_use: str
    instant: float


class MailboxDeleted(Entry, frozen=True, tag=9):
    """DELETE."""

    account: str
    name: str


class MailboxRenamed(Entry, frozen=True, tag=10):
    """RENAME."""

    account: str
    name: str
    new_name: str
    instant: float


class Subscribed(Entry, frozen=True, tag=11):
    """SUBSCRIBE or UNSUBSCRIBE."""

    account: str
    name: str
    wanted: bool


class PackedSettlement(Part, frozen=True):
    """A Settlement; `attempt` as pack_attempt made it."""

    number: int
    final: bool
    attempt: bytes
    next_attempt: float | None
    delay_reported: bool


class Settled(Entry, frozen=True, tag=12):
    """An attempt for a queue entry, and what it led to; the octets are those of `transactions`, in order."""

    queue_id: str
    instant: float
    settlements: tuple[PackedSettlement, ...]
    transactions: tuple[Accepted, ...]


class QueueHeld(Entry, frozen=True, tag=13):
    """Recipients (queue id, number) held, or let go."""

    chosen: tuple[tuple[str, int], ...]
    held: bool


class QueueRetried(Entry, frozen=True, tag=14):
    """Recipients (queue id, number) made due at `when`."""

    chosen: tuple[tuple[str, int], ...]
    when: float
    route: str | None


class QueueDropped(Entry, frozen=True, tag=15):
    """Recipients (queue id, number) forgotten."""

    chosen: tuple[tuple[str, int], ...]


class ContentsMoved(Entry, frozen=True, tag=16):
    """Contents (id, length) written again so that their old segments can go; the octets are theirs, in order."""

    contents: tuple[tuple[int, int], ...]


class QueueProlonged(Entry, frozen=True, tag=17):
    """Queue entries that arrived until an instant expire so many seconds later."""

    seconds: float
    arrived_until: float


AnyEntry = (
    Accepted
    | Appended
    | FlagsChanged
    | MessagesCopied
    | Expunged
    | AccountPrepared
    | AccountRemoved
    | MailboxCreated
    | MailboxDeleted
    | MailboxRenamed
    | Subscribed
    | Settled
    | QueueHeld
    | QueueRetried
    | QueueDropped
    | ContentsMoved
    | QueueProlonged
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[AnyEntry] = msgspec.msgpack.Decoder(AnyEntry)
_envelope_decoder = msgspec.msgpack.Decoder(PackedEnvelope)


class PackedAttempt(Part, frozen=True):
    """An Attempt."""

    instant: float
    recipient: tuple[str, str]
    result: str
    status: str
    reply: str
    host: str
    address: str
    security: str
    supports_dsn: bool


_attempt_decoder = msgspec.msgpack.Decoder(PackedAttempt)


def pack(entry: AnyEntry) -> bytes:
    """Return the description of an entry."""
    return _encoder.encode(entry)


def unpack(description: bytes) -> AnyEntry:
    """Return the entry of a description. Raises Malformed."""
    try:
        return _decoder.decode(description)
    except msgspec.DecodeError as error:
        raise Malformed(f"a log record of no known kind: {error}") from None


def demand_numbers(count: int) -> None:
    """Raise Refused(LIMIT) if one record cannot number so many contents and queue entries."""
    if count > CONTENTS_A_RECORD:
        raise Refused(Refusal.LIMIT, f"more than {CONTENTS_A_RECORD} contents and queue entries in one change")


def pack_transaction(transaction: Transaction) -> tuple[Accepted, tuple[bytes, ...]]:
    """Return the entry for a transaction and its octets in the entry's order."""
    prefixes: dict[bytes, int] = {}
    users: tuple[Delivery | Queued, ...] = (*transaction.deliveries, *transaction.queued)
    for user in users:
        if user.prefix:
            prefixes.setdefault(user.prefix, len(prefixes))
    demand_numbers(len(prefixes) + 1 + len(transaction.queued))
    joined = len(prefixes) == 1 and transaction.content is None and all(user.prefix for user in users)
    entry = Accepted(
        transaction.id,
        transaction.arrived,
        tuple(map(len, prefixes)),
        joined,
        sum(map(len, transaction.octets)),
        transaction.content,
        tuple(
            PackedDelivery(d.account, d.mailbox, prefixes.get(d.prefix, -1), d.flags, d.recipient)
            for d in transaction.deliveries
        ),
        tuple(_pack_queued(queued, prefixes.get(queued.prefix, -1)) for queued in transaction.queued),
    )
    return entry, (*prefixes, *transaction.octets)


def _pack_queued(queued: Queued, prefix: int) -> PackedQueued:
    return PackedQueued(
        queued.queue_id,
        _pack_envelope(queued.envelope),
        tuple(
            PackedRecipient(
                r.forward_path.local_part,
                r.forward_path.domain,
                r.notify.value,
                r.original,
                pack_valid_since(r.valid_since),
            )
            for r in queued.envelope.recipients
        ),
        queued.next_attempt,
        queued.expires,
        queued.priority,
        queued.held,
        queued.source,
        queued.route,
        prefix,
        dict(queued.details),
    )


def _pack_envelope(envelope: Envelope) -> PackedEnvelope:
    sender, by = envelope.reverse_path, envelope.deliver_by
    return PackedEnvelope(
        (sender.local_part, sender.domain) if sender else None,
        envelope.body.value,
        envelope.smtputf8,
        envelope.require_tls,
        envelope.return_content.value if envelope.return_content else None,
        envelope.envelope_id,
        (by.instant, by.late.value, by.trace) if by else None,
        envelope.solicitation,
    )


def encode_envelope(packed: PackedEnvelope) -> bytes:
    """Return a packed envelope as octets for the index."""
    return _encoder.encode(packed)


def decode_envelope(octets: bytes, recipients: Sequence[Recipient]) -> Envelope:
    """Return the envelope `encode_envelope` packed, for these recipients."""
    packed = _envelope_decoder.decode(octets)
    by = packed.deliver_by
    return Envelope(
        Address(*packed.sender) if packed.sender else None,
        tuple(recipients),
        Body(packed.body),
        packed.smtputf8,
        packed.require_tls,
        Return(packed.return_content) if packed.return_content else None,
        packed.envelope_id,
        DeliverBy(by[0], Late(by[1]), by[2]) if by else None,
        packed.solicitation,
    )


def pack_valid_since(demand: ValidSince | None) -> str:
    """Return RRVS as a short text, empty for none."""
    return "" if demand is None else f"{demand.instant}{'C' if demand.is_optional else 'R'}"


def unpack_valid_since(text: str) -> ValidSince | None:
    """Return what `pack_valid_since` wrote."""
    return ValidSince(int(text[:-1]), text[-1] == "C") if text else None


def pack_settlement(settlement: Settlement, instant: float) -> PackedSettlement:
    """Return a settlement for the log; replies longer than 2000 characters are cut."""
    outcome = settlement.outcome
    if len(outcome.reply) > 2000:
        outcome = replace(outcome, reply=outcome.reply[:2000] + " ...")
    return PackedSettlement(
        settlement.number,
        outcome.result.final,
        _encoder.encode(
            PackedAttempt(
                instant,
                (outcome.recipient.local_part, outcome.recipient.domain),
                outcome.result.value,
                outcome.status,
                outcome.reply,
                outcome.host,
                outcome.address,
                outcome.security,
                outcome.supports_dsn,
            )
        ),
        settlement.next_attempt,
        settlement.delay_reported,
    )


def unpack_attempt(octets: bytes) -> Attempt:
    """Return the attempt a packed settlement holds."""
    packed = _attempt_decoder.decode(octets)
    return Attempt(
        packed.instant,
        Outcome(
            Address(*packed.recipient),
            Result(packed.result),
            packed.status,
            packed.reply,
            packed.host,
            packed.address,
            packed.security,
            packed.supports_dsn,
        ),
    )
