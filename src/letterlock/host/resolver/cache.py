"""A resolver that remembers what another one answered.

Answers and absence are kept as long as their TTL allows, failures for a few seconds; equal questions asked at the same
time become one; when the look-up fails, an answer whose time has run out is still served for a day, marked as stale.
Bogus answers are never replaced by stale ones: somebody may be lying right now.

Standards: RFC 2308 sections 5 and 7 (absence, failures), RFC 8767 (stale), RFC 5452 section 5 (equal questions).
Limits: `size` answers, the oldest leave first; TTLs are cut to a day.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from letterlock.formats.dns.question import Answer, Outcome, Question, Security
from letterlock.formats.dns.types import ExtendedError
from letterlock.host.resolver.interface import Resolver

_MAX_TTL = 86400
_STALE_SECONDS = 86400.0
_STALE_TTL = 30  # RFC 8767 section 4
_FAILURE_SECONDS = 5.0


class CachingResolver:
    """Remembers the answers of `inner`."""

    def __init__(self, inner: Resolver, size: int = 20_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._inner = inner
        self._size = size
        self._clock = clock
        self._kept: dict[Question, tuple[float, float, Answer]] = {}
        self._stale_until: dict[Question, float] = {}
        self._asking: dict[Question, asyncio.Task[Answer]] = {}

    def recall(self, question: Question) -> Answer | None:
        """Return the answer from memory, where there is a fresh one."""
        kept = self._kept.get(question)
        if kept is None:
            return None
        learned, expires, answer = kept
        now = self._clock()
        if now < expires:
            if elapsed := int(now - learned):
                answer = replace(answer, ttl_seconds=max(answer.ttl_seconds - elapsed, 0))
                self._kept[question] = learned + elapsed, expires, answer
            return answer
        if now < self._stale_until.get(question, 0.0):
            return _stale(answer, now - expires, "the servers failed a moment ago")
        return None

    async def ask(self, question: Question) -> Answer:
        """Return the answer, from memory where there is a fresh one."""
        if (known := self.recall(question)) is not None:
            return known
        task = self._asking.get(question)
        if task is None:
            task = asyncio.create_task(self._look_up(question))
            self._asking[question] = task
            task.add_done_callback(lambda _: self._asking.pop(question, None))
        # One who gives up must not take the answer from the others.
        return await asyncio.shield(task)

    async def _look_up(self, question: Question) -> Answer:
        answer = await self._inner.ask(question)
        now = self._clock()
        if answer.outcome is not Outcome.FAILED:
            self._keep(question, answer, now, min(answer.ttl_seconds, _MAX_TTL))
            return answer
        kept = self._kept.get(question)
        if kept is not None and answer.security is not Security.BOGUS:
            _, expires, old = kept
            if old.outcome is not Outcome.FAILED and now < expires + _STALE_SECONDS:
                # RFC 8767 section 5: the servers are left in peace for a while.
                self._stale_until[question] = now + _STALE_TTL
                return _stale(old, now - expires, answer.reason)
        self._keep(question, answer, now, _FAILURE_SECONDS)
        return answer

    def _keep(self, question: Question, answer: Answer, now: float, seconds: float) -> None:
        self._kept.pop(question, None)
        self._stale_until.pop(question, None)
        self._kept[question] = now, now + seconds, answer
        while len(self._kept) > self._size:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            self._stale_until.pop(oldest, None)

    def forget(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._stale_until.clear()


def _stale(answer: Answer, age: float, problem: str) -> Answer:
    reason = f"{problem}; the answer that ran out {age:.0f} s ago still serves"
    return replace(answer, ttl_seconds=_STALE_TTL, reason=reason, extended_error=ExtendedError.STALE_ANSWER)
