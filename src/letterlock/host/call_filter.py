"""The border around code of the site's own: whatever it does, the mail system only ever sees an answer or a PeerFault."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable
from typing import TypeVar

from letterlock.errors import PeerFault

Given = TypeVar("Given")


async def call_filter(function: Callable[[Given], object], given: Given, *, within_seconds: float) -> object:
    """Call a function, in a thread unless it is a coroutine function, and return what it answers, whatever that is.

    Raises PeerFault where it raises or takes too long. A thread that takes too long is left to itself.
    """
    try:
        async with asyncio.timeout(within_seconds):
            is_ready = inspect.iscoroutinefunction(function)
            answer = function(given) if is_ready else await asyncio.to_thread(function, given)
            return await answer if inspect.isawaitable(answer) else answer
    except TimeoutError:
        raise PeerFault(f"no answer within {within_seconds:g} seconds") from None
    except Exception:  # the border: a fault in the site's code is not the mail's
        raise PeerFault(f"it raised: {traceback.format_exc(limit=-3)}") from None
