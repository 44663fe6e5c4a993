"""The shape of a validation: a generator that yields what it must see and is sent the responses.

It is the shape of `trust.ask`, one floor below: what it asks for is whole responses with their signatures.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from letterlock.formats.dns.message import Message

T = TypeVar("T")


class Fetch(NamedTuple):
    """A name in wire form and the number of a type."""

    owner: bytes
    type: int


@dataclass(frozen=True, slots=True)
class NoResponse:
    """No server answered; why."""

    reason: str


Validation = Generator[Fetch, Message | NoResponse, T]
