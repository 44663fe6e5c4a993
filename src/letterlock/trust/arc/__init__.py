"""ARC: what handlers on the way found before they changed a message (RFC 8617).

`await validate(resolver, octets, now)` and `validate_blocking(answer, octets, now)` give the verdict; `judge` is the
decision they run; `Validation` takes a body in pieces. `seal(octets, key, now, verdict, results)` adds a set.
"""

from __future__ import annotations

from collections.abc import Callable

from letterlock.formats.dns.question import Answer, Question
from letterlock.trust.arc.sealing import seal
from letterlock.trust.arc.sets import ChainValidation
from letterlock.trust.arc.validation import Result, SetVerdict, Validation, Verdict, judge
from letterlock.trust.ask import Asker, decide, decide_with

__all__ = [
    "ChainValidation",
    "Result",
    "SetVerdict",
    "Validation",
    "Verdict",
    "judge",
    "seal",
    "validate",
    "validate_blocking",
]


async def validate(resolver: Asker, octets: bytes, now: int) -> Verdict:
    """Return the verdict on the chain of a message as of `now`, asking `resolver` for the keys."""
    return await decide_with(resolver, judge(octets, now))


def validate_blocking(answer: Callable[[Question], Answer], octets: bytes, now: int) -> Verdict:
    """Return the verdict, with answers from a plain function."""
    return decide(judge(octets, now), answer)
