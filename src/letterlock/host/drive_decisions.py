"""Run a decision to its verdict, its questions answered by a resolver.

Questions that a decision yields together are asked together.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

from letterlock.host.resolver.interface import Resolver, ask_all
from letterlock.trust.ask import Decision

T = TypeVar("T")


async def drive(decision: Decision[T], resolver: Resolver) -> T:
    """Run a decision on this event loop and return its verdict."""
    try:
        questions = next(decision)
        while True:
            questions = decision.send(await ask_all(resolver, questions))
    except StopIteration as stop:
        verdict: T = stop.value
        return verdict
    finally:
        decision.close()


def drive_blocking(decision: Decision[T], resolver: Resolver) -> T:
    """Run a decision on an event loop of its own and return its verdict; for callers that have no loop."""
    return asyncio.run(drive(decision, resolver))
