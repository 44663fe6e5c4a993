"""The border around a piece of background work: a fault of the program ends that piece, and nothing else.

    try:
        await contain(self._deliver(entry))
    except Unavailable as trouble:  # `Faulty` where the program is wrong: deferred like any trouble of ours
        ...

See also: host/drive_sessions.py, the same around a connection.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import TypeVar

from letterlock.errors import Unavailable

T = TypeVar("T")

_LONGEST_TRACE = 1900  # of its end, where it happened; a log line keeps no more


class Faulty(Unavailable):
    """The program is wrong somewhere; `trace` says where."""

    def __init__(self, fault: BaseException) -> None:
        super().__init__(f"a fault of the program: {fault!r}")
        self.trace = "".join(traceback.format_exception(fault))[-_LONGEST_TRACE:]


async def contain(work: Awaitable[T], *expected: type[Exception]) -> T:
    """Do the work and return what it gives.

    Raises Unavailable and what is `expected` as they come, and Faulty for anything else: also where something that
    was waited for was cancelled though nobody cancelled us.
    """
    ordinary: tuple[type[Exception], ...] = (Unavailable, *expected)
    try:
        return await work
    except ordinary:
        raise
    except asyncio.CancelledError as fault:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Faulty(fault) from fault
    except Exception as fault:  # the border: one message's fault is not the queue's
        raise Faulty(fault) from fault


def contain_now(work: Callable[[], T], *expected: type[Exception]) -> T:
    """Do the same for work that waits for nothing."""
    ordinary: tuple[type[Exception], ...] = (Unavailable, *expected)
    try:
        return work()
    except ordinary:
        raise
    except Exception as fault:  # the border: one record's fault is not the log's
        raise Faulty(fault) from fault
