"""What a server's conversation reports, in the past tense. Those that wait for an answer say so.

Standards: RFC 5321 section 3 (the procedures these are steps of).
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.formats.envelope import Envelope, Recipient
from letterlock.protocols.smtp.command import Sender


@dataclass(frozen=True, slots=True)
class Greeted:
    """EHLO, HELO or LHLO came, with this name; it was answered."""

    name: str


@dataclass(frozen=True, slots=True)
class SenderGiven:
    """MAIL came: answer with `accept` or `refuse`."""

    sender: Sender


@dataclass(frozen=True, slots=True)
class RecipientGiven:
    """RCPT came: answer with `accept` or `refuse`."""

    recipient: Recipient


@dataclass(frozen=True, slots=True)
class ContentBegun:
    """The client was told to go on with the content, or sent its first chunk; nothing is to be answered."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class ContentReceived:
    """A piece of the content, dots taken out."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class ContentEnded:
    """The content is whole: answer with `accept` or `refuse` (LMTP: `answer_each`), 250 meaning on disk."""

    envelope: Envelope
    size: int


@dataclass(frozen=True, slots=True)
class TransactionDropped:
    """What was begun is void: reset, or its content broke a rule. `reason` is empty for RSET, EHLO and QUIT."""

    reason: str


@dataclass(frozen=True, slots=True)
class TlsRequested:
    """STARTTLS came: begin TLS with `announcement` said before it, then call `tls_begun`; or `refuse`."""

    announcement: bytes


@dataclass(frozen=True, slots=True)
class AuthenticationBegun:
    """AUTH came: answer with `challenge`, `authenticated` or `refuse`. `initial` None: no initial response."""

    mechanism: str
    initial: bytes | None


@dataclass(frozen=True, slots=True)
class AuthenticationContinued:
    """The answer to a challenge came, decoded: answer as to AuthenticationBegun."""

    response: bytes


@dataclass(frozen=True, slots=True)
class AuthenticationCancelled:
    """The client gave up, or sent what is no answer; it was told."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The conversation is over: send what is to be sent and close. `reason` is empty after QUIT."""

    reason: str


Event = (
    Greeted
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
