"""What a server's conversation reports, in the past tense. Those that wait for an answer say so.

Standards: RFC 5321 section 3 (the procedures these are steps of).
"""

from __future__ import annotations

import msgspec

from letterlock.formats.envelope import Envelope, Recipient
from letterlock.protocols.smtp.command import Sender
from letterlock.protocols.smtp.xclient import Introduction


class Greeted(msgspec.Struct, frozen=True):
    """EHLO, HELO or LHLO came, with this name; it was answered."""

    name: str


class ClientIntroduced(msgspec.Struct, frozen=True):
    """A proxy said with XCLIENT who the client is: answer with `introduced` or `refuse`."""

    introduction: Introduction


class SenderGiven(msgspec.Struct, frozen=True):
    """MAIL came: answer with `accept` or `refuse`."""

    sender: Sender


class RecipientGiven(msgspec.Struct, frozen=True):
    """RCPT came: answer with `accept` or `refuse`."""

    recipient: Recipient


class ContentBegun(msgspec.Struct, frozen=True):
    """The client was told to go on with the content, or sent its first chunk; nothing is to be answered."""

    envelope: Envelope


class ContentReceived(msgspec.Struct, frozen=True):
    """A piece of the content, dots taken out."""

    octets: bytes


class ContentEnded(msgspec.Struct, frozen=True):
    """The content is whole: answer with `accept` or `refuse` (LMTP: `answer_each`), 250 meaning on disk."""

    envelope: Envelope
    size: int


class TransactionDropped(msgspec.Struct, frozen=True):
    """What was begun is void: reset, or its content broke a rule. `reason` is empty for RSET, EHLO and QUIT."""

    reason: str


class TlsRequested(msgspec.Struct, frozen=True):
    """STARTTLS came: begin TLS with `announcement` said before it, then call `tls_begun`; or `refuse`."""

    announcement: bytes


class AuthenticationBegun(msgspec.Struct, frozen=True):
    """AUTH came: answer with `challenge`, `authenticated` or `refuse`. `initial` None: no initial response."""

    mechanism: str
    initial: bytes | None


class AuthenticationContinued(msgspec.Struct, frozen=True):
    """The answer to a challenge came, decoded: answer as to AuthenticationBegun."""

    response: bytes


class AuthenticationCancelled(msgspec.Struct, frozen=True):
    """The client gave up, or sent what is no answer; it was told."""


class Ended(msgspec.Struct, frozen=True):
    """The conversation is over: send what is to be sent and close. `reason` is empty after QUIT."""

    reason: str


Event = (
    Greeted
    | ClientIntroduced
    | SenderGiven
    | RecipientGiven
    | ContentBegun
    | ContentReceived
    | ContentEnded
    | TransactionDropped
    | TlsRequested
    | AuthenticationBegun
    | AuthenticationContinued
    | AuthenticationCancelled
    | Ended
)
