"""What each of our processes does to itself: descriptors, memory."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource

from letterlock.host.memory import give_back_now

_TIDY_SECONDS = 20.0
_NEW_OBJECTS = 5000  # between looks for cycles, of which mail makes hardly any; the interpreter looks after each 700


def raise_descriptor_limit() -> None:
    """Let this process open as many files as it may."""
    # A connection takes a descriptor, and the soft limit of a login shell is far below what we may have.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def tidy() -> None:
    """Keep what was made at the start out of later collections, and give memory back now and then."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
    while True:
        await asyncio.sleep(_TIDY_SECONDS)
        await asyncio.to_thread(give_back_now)
