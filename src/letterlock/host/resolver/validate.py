"""The validating resolver: every answer checked up to a trust anchor, wherever it came from.

What was learned about zones is kept; fetches of the same link of the chain at the same time become one. Put
`cache.CachingResolver` around it to keep answers too.

Standards: RFC 4033 section 5, RFC 4035 sections 4.3 and 5.
Limits: 20 s a question, whatever its proof needs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from letterlock.errors import PeerFault
from letterlock.formats.dns.message import Message
from letterlock.formats.dns.question import Answer, Question
from letterlock.formats.dns.types import ExtendedError
from letterlock.formats.dns.zone import DNSKEY, DS, RecordSet
from letterlock.host.resolver.source import Source
from letterlock.protocols.dns import client
from letterlock.trust.dnssec.chain import Memory
from letterlock.trust.dnssec.fetch import Fetch, NoResponse
from letterlock.trust.dnssec.validate import validate


class ValidatingResolver:
    """Asks a source and validates; `anchors` are DS or DNSKEY sets by zone (see anchors.py)."""

    def __init__(
        self,
        source: Source,
        anchors: Mapping[bytes, tuple[RecordSet, ...]],
        clock: Callable[[], float] = time.time,
        *,
        total_seconds: float = 20.0,
    ) -> None:
        self._source = source
        self._total_seconds = total_seconds
        self._clock = clock
        self.memory = Memory(anchors)
        self._fetching: dict[Fetch, asyncio.Task[Message | NoResponse]] = {}

    async def ask(self, question: Question) -> Answer:
        """Return the validated answer with its evidence; FAILED where that takes longer than it may."""
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._validate(question)
        except TimeoutError:
            reason = f"{question.name}. {question.type}: no verdict within {self._total_seconds:g} s"
            return client.failed(question, reason, ExtendedError.NO_REACHABLE_AUTHORITY)

    async def _validate(self, question: Question) -> Answer:
        validation = validate(question, self.memory, int(self._clock()))
        try:
            fetch = next(validation)
            while True:
                fetch = validation.send(await self._fetch(fetch))
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer
        finally:
            validation.close()

    async def _fetch(self, fetch: Fetch) -> Message | NoResponse:
        if fetch.type not in (DS, DNSKEY):
            return await self._fetch_once(fetch)
        # Many questions at once need the same links of the chain.
        task = self._fetching.get(fetch)
        if task is None:
            task = asyncio.create_task(self._fetch_once(fetch))
            self._fetching[fetch] = task
            task.add_done_callback(lambda _: self._fetching.pop(fetch, None))
        return await asyncio.shield(task)

    async def _fetch_once(self, fetch: Fetch) -> Message | NoResponse:
        try:
            return await self._source.fetch(fetch.owner, fetch.type)
        except PeerFault as fault:
            return NoResponse(fault.problem)
