"""A message at the border: what is known of it when its last octet has come, and what is made of it before 250.

`Assess` is the place of authentication and policy (mta/assess.py): it sees the `Arrival` and answers with the fields to
put before the message, and whether to take it at all. `Recipients` is the place of the delivery agent: it says what
becomes of one recipient.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from letterlock.formats.address import Address
from letterlock.formats.authentication_results import AuthenticationResults, MethodResult
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.outcome import Outcome
from letterlock.host.stream import Endpoint
from letterlock.host.tls import TlsState
from letterlock.mta.border.client import Standing
from letterlock.mta.examination import Examination
from letterlock.protocols.smtp.reply import Reply
from letterlock.store.interface import Delivery
from letterlock.trust.arc import Verdict as ChainVerdict

UNSEEN = Standing()


class Arrival(msgspec.Struct, frozen=True):
    """A whole message before it is taken. `content` are its octets as they came, in pieces.

    `received_at` is in seconds since 1970; `client_name` is what it said with EHLO; `user` who it proved to be, or empty.
    `examination` has been fed all of `content`, if anybody examined the message while it came. `standing` is what is
    known of the client (mta/border), `found` what was found of the recipient.
    """

    id: str
    received_at: float
    client: Endpoint
    client_name: str
    protocol: str
    tls: TlsState | None
    user: str
    envelope: Envelope
    content: tuple[bytes, ...]
    examination: Examination | None = None
    standing: Standing = UNSEEN
    found: tuple[MethodResult, ...] = ()

    @property
    def size(self) -> int:
        """How many octets the content has."""
        return sum(map(len, self.content))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found of a message as it came, for the seal of one that goes on elsewhere (RFC 8617 section 5.1)."""

    chain: ChainVerdict
    results: AuthenticationResults


@dataclass(frozen=True, slots=True)
class Assessment:
    """What was found: whole header `fields` to put before the message, or a `refusal` (a 4xx or 5xx reply).

    `mailbox`, if any, takes the place of INBOX for local recipients ("Junk"). `remarks` go into the log line. `content`
    stands in place of the octets that came where forged trace fields had to go (RFC 8601 section 5). `evidence` is there
    where the message was authenticated. `added` and `removed` are recipients by the wish of a filter.
    """

    fields: bytes = b""
    refusal: Reply | None = None
    mailbox: str = ""
    remarks: tuple[tuple[str, str], ...] = ()
    content: tuple[bytes, ...] | None = None
    evidence: Evidence | None = None
    added: tuple[Address, ...] = ()
    removed: tuple[Address, ...] = ()


class Destination(Protocol):
    """What becomes of one recipient: copies for mailboxes here, and recipients it goes on to elsewhere."""

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """The copies."""
        ...

    @property
    def relays(self) -> tuple[Recipient, ...]:
        """The recipients elsewhere."""
        ...

    @property
    def recipient(self) -> Recipient | None:
        """The recipient as it was given, where there are copies."""
        ...


class Recipients(Protocol):
    """The delivery agent (mda/deliver.py) as a server asks it."""

    def is_ours(self, domain: str) -> bool:
        """Tell whether mail for a domain is delivered here."""
        ...

    def accept(self, reverse_path: Address | None, recipient: Recipient) -> Becomes:
        """Return what becomes of a recipient of ours, or an outcome that says why nothing."""
        ...


# At once, or where somebody must be asked, the promise of it.
Becomes = Destination | Outcome | Awaitable[Destination | Outcome]


async def becomes(recipients: Recipients, reverse_path: Address | None, recipient: Recipient) -> Destination | Outcome:
    """Return what becomes of a recipient, waiting for it where it must be."""
    found = recipients.accept(reverse_path, recipient)
    return await found if isinstance(found, Awaitable) else found


@dataclass(frozen=True, slots=True)
class ToQueue:
    """A recipient of ours that the queue delivers, because more is to be done than to keep a copy."""

    recipient: Recipient

    @property
    def relays(self) -> tuple[Recipient, ...]:
        """The recipient."""
        return (self.recipient,)

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """No copies yet."""
        return ()


# Where a queue entry of ours keeps the seal for whatever its aliases will lead to (`Queued.details`).
SEAL = "seal"

Assess = Callable[[Arrival], Awaitable[Assessment]]
# Judges a sender before DATA: the client's address, its EHLO name, the reverse path, the time; a refusal or None.
JudgeSender = Callable[[str, str, Address | None, float], Awaitable[Reply | None]]
# Begins to examine a message whose content comes: the client's address, its EHLO name, the reverse path.
Examine = Callable[[str, str, Address | None], Examination]
# Seals a message as it goes on, given in pieces: returns the fields to put before it, or nothing.
Seal = Callable[[Evidence, tuple[bytes, ...]], Awaitable[bytes]]

# Looks at a whole message that is going to be taken and says what becomes of its recipients here, or refuses it. Last is
# whether it is taken for junk.
Gate = Callable[[tuple[bytes, ...], Sequence[Destination], bool], Awaitable[Sequence[Destination] | Reply]]


_NOTHING_FOUND = Assessment()


async def take_as_it_is(_arrival: Arrival) -> Assessment:
    """Assess nothing."""
    return _NOTHING_FOUND
