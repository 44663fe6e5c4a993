"""Where the gateway's cryptography is done: in threads, and only so much at once that memory stays bounded.

A message of 50 MB takes a few times that while it is opened or signed; whoever comes when all places are taken waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_PLACES = 3


class Workshop:
    """One for all parts of a gateway."""

    def __init__(self, places: int = _PLACES) -> None:
        self._places = asyncio.Semaphore(places)

    async def run(self, task: Callable[[], T]) -> T:
        """Run what takes long in a thread, when there is a place."""
        async with self._places:
            return await asyncio.to_thread(task)
