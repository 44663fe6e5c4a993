"""A message at the border: what is known of it when its last octet has come, and what is made of it before 250.

`Assess` is the place of authentication and policy (mta/assess.py): it sees the `Arrival` and answers with the fields to
put before the message, and whether to take it at all. `Resolve` is the place of the delivery agent: it says what becomes
of one recipient.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.host.stream import Endpoint
from letterlock.host.tls import TlsState
from letterlock.protocols.smtp.reply import Reply
from letterlock.store.interface import Delivery


@dataclass(frozen=True, slots=True)
class Arrival:
    """A whole message before it is taken. `content` are its octets as they came, in pieces.

    `received_at` is in seconds since 1970; `client_name` is what it said with EHLO; `user` who it proved to be, or empty.
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

    @property
    def size(self) -> int:
        """How many octets the content has."""
        return sum(map(len, self.content))


@dataclass(frozen=True, slots=True)
class Assessment:
    """What was found: whole header `fields` to put before the message, or a `refusal` (a 4xx or 5xx reply).

    `mailbox`, if any, takes the place of INBOX for local recipients ("Junk"). `remarks` go into the log line. `content`
    stands in place of the octets that came where forged trace fields had to go (RFC 8601 section 5).
    """

    fields: bytes = b""
    refusal: Reply | None = None
    mailbox: str = ""
    remarks: tuple[tuple[str, str], ...] = ()
    content: tuple[bytes, ...] | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """What becomes of one recipient: copies for mailboxes here, and recipients it goes on to elsewhere."""

    deliveries: tuple[Delivery, ...] = ()
    relays: tuple[Recipient, ...] = ()


Assess = Callable[[Arrival], Awaitable[Assessment]]
# Judges a sender before DATA: the client's address, its EHLO name, the reverse path, the time; a refusal or None.
JudgeSender = Callable[[str, str, Address | None, float], Awaitable[Reply | None]]
Resolve = Callable[[Address | None, Recipient], Awaitable[Destination | Reply]]


async def take_as_it_is(_arrival: Arrival) -> Assessment:
    """Assess nothing."""
    return Assessment()


async def take_any_sender(_address: str, _client_name: str, _reverse_path: Address | None, _now: float) -> Reply | None:
    """Judge no sender."""
    return None
