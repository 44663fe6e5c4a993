"""The checks on one message while it comes: its header section is gathered, its body hashed piece by piece.

    examination = Examination(client, receiver="mx.rosewood.test")
    await examination.take_all(pieces)       # as often as pieces come
    header, checks = examination.finish()    # and `checks.judge(now)` is all that is left

The verdict is that on the whole message, however it came in pieces. Held are the header section with the piece in which it
ends, and the state of the hashes; a large piece is hashed in steps between which other sessions have their turn.

Standards: RFC 6376 section 3.4 (bodies), RFC 5322 section 2.1 (the empty line).
Limits: a header section is gathered up to `Limits.header_octets`, where every reader ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable

from letterlock.formats.imf.header import Header, read_header
from letterlock.formats.limits import DEFAULT
from letterlock.trust.authenticate import Authentication, Client

_STEP = 1 << 18
_EMPTY_LINE = b"\r\n\r\n"
_MOST_GATHERED = DEFAULT.header_octets + 2  # with the line end that a reader looks for at the limit


class Examination:
    """The checks on one message. `receiver` is our name in explanations of SPF."""

    __slots__ = ("_checks", "_client", "_gathered", "_header", "_receiver", "_unbroken")

    def __init__(self, client: Client | None, *, receiver: str = "unknown") -> None:
        self._client = client
        self._receiver = receiver
        self._gathered = bytearray()
        self._header: Header | None = None
        self._checks: Authentication | None = None
        self._unbroken = 0  # octets taken since other sessions had their turn

    def take(self, octets: bytes) -> Awaitable[None] | None:
        """Take the next piece of the message, of any size; what is returned must be waited for before the next."""
        if self._unbroken + len(octets) < _STEP:
            self._feed(octets)
            self._unbroken += len(octets)
            return None
        return self._take_in_steps(octets)

    async def take_all(self, pieces: Iterable[bytes]) -> None:
        """Take pieces of the message one after another."""
        for piece in pieces:
            if (taking := self.take(piece)) is not None:
                await taking

    async def _take_in_steps(self, octets: bytes) -> None:
        for start in range(0, len(octets), _STEP):
            step = octets[start : start + _STEP]  # of a piece that is not larger, the piece itself
            self._feed(step)
            self._unbroken += len(step)
            if self._unbroken >= _STEP:
                self._unbroken = 0
                await asyncio.sleep(0)

    def finish(self) -> tuple[Header, Authentication]:
        """Return the header section and the checks, ready to judge; nothing more is taken."""
        if self._header is None or self._checks is None:
            return self._begin()
        return self._header, self._checks

    def _feed(self, octets: bytes) -> None:
        if self._checks is not None:
            self._checks.feed(octets)
            return
        gathered = self._gathered
        searched = max(len(gathered) - len(_EMPTY_LINE) + 1, 0)
        gathered += octets
        if gathered.find(_EMPTY_LINE, searched) >= 0 or gathered.startswith(b"\r\n") or len(gathered) >= _MOST_GATHERED:
            self._begin()

    def _begin(self) -> tuple[Header, Authentication]:
        """Read the header section, make the checks it asks for, and feed what came of the body."""
        octets = bytes(self._gathered)
        self._gathered = bytearray()
        header = self._header = read_header(octets)
        checks = self._checks = Authentication(header, self._client, receiver=self._receiver)
        checks.feed(octets[header.body_start :])
        return header, checks
