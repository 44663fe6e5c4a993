"""What a front process and the process with the store say to each other over a Unix socket.

A request is a header, a description and octets; an answer a header and a description:

    request   1 kind | 4 length of description | 8 length of octets | 8 number | 4 messages on their way behind this
    answer    4 length of description | 8 number

The description of COMMIT is the log's own entry (store/entries.py), so that a transaction is packed once, in front, and
what is written to the log is what came. Both ends are one installation of one version: there is no other on the socket.
"""

from __future__ import annotations

import enum
import struct

import msgspec

from letterlock.errors import Unavailable
from letterlock.store.interface import Mailbox, Receipt, Refusal, Refused, Usage

REQUEST = struct.Struct("<BIQQI")
ANSWER = struct.Struct("<IQ")


class Kind(enum.IntEnum):
    """What is asked for."""

    COMMIT = 1
    USAGE = 2  # account
    MAILBOX = 3  # account, name


class Given(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The receipt of a transaction."""

    receipt: Receipt


class UsageTold(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """What an account holds."""

    usage: Usage


class MailboxTold(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A mailbox, or that there is none."""

    mailbox: Mailbox | None


class Declined(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The store refused."""

    refusal: str
    what: str


class Unable(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The store cannot now."""

    problem: str
    full: bool


Answer = Given | UsageTold | MailboxTold | Declined | Unable

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def pack_answer(number: int, result: object) -> bytes:
    """Return the answer that says what became of a request: a result, or an exception of the store."""
    match result:
        case Receipt():
            answer: Answer = Given(result)
        case Usage():
            answer = UsageTold(result)
        case Mailbox() | None:
            answer = MailboxTold(result)
        case Refused():
            answer = Declined(result.refusal.name, result.what)
        case Unavailable():
            answer = Unable(result.problem, result.full)
        case _:
            answer = Unable(f"a fault of the program: {result!r}", False)
    description = _encoder.encode(answer)
    return ANSWER.pack(len(description), number) + description


def unpack_answer(description: bytes) -> Receipt | Usage | Mailbox | None:
    """Return what was answered. Raises Refused, Unavailable."""
    match _decoder.decode(description):
        case Given(receipt):
            return receipt
        case UsageTold(usage):
            return usage
        case MailboxTold(mailbox):
            return mailbox
        case Declined(refusal, what):
            raise Refused(Refusal[refusal], what)
        case Unable(problem, full):
            raise Unavailable(problem, full=full)
