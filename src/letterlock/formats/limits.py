"""How much a reader of messages bears: each limit with its default; beyond one stands a defect, never a failure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of reading one message.

    `nesting` counts multipart and message levels, `parts` all entities of the tree, `header_octets` and `fields` one
    header section, `addresses` the mailboxes of one field, `parameters` one structured field, `decoded_octets` what
    decoding one part or joining fragments may yield, `fragments` the pieces of one message/partial.
    """

    nesting: int = 100
    parts: int = 10_000
    header_octets: int = 1_048_576
    fields: int = 10_000
    addresses: int = 100_000
    parameters: int = 500
    decoded_octets: int = 268_435_456
    fragments: int = 1_000


DEFAULT = Limits()
