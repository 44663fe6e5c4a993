"""DKIM: who vouches for a message, and whether it is unchanged (RFC 6376, 8301, 8463).

`await verify(resolver, octets, now)` and `verify_blocking(answer, octets, now)` give the verdict; `judge` is the
decision they run; `Verification` takes a body in pieces. `sign(octets, keys, now)` returns the fields to prepend.
"""

from __future__ import annotations

from collections.abc import Callable

from letterlock.formats.dns.question import Answer, Question
from letterlock.trust.ask import Asker, decide, decide_with
from letterlock.trust.dkim.canonicalize import BodyHashes, Canonicalization
from letterlock.trust.dkim.fields import Fields
from letterlock.trust.dkim.signing import Manner, SigningKey, sign
from letterlock.trust.dkim.verdict import Check, Result, SignatureVerdict, Verdict
from letterlock.trust.dkim.verification import DEFAULT_RULES, Rules, Verification, judge

__all__ = [
    "BodyHashes",
    "Canonicalization",
    "Check",
    "Fields",
    "Manner",
    "Result",
    "Rules",
    "SignatureVerdict",
    "SigningKey",
    "Verdict",
    "Verification",
    "judge",
    "sign",
    "verify",
    "verify_blocking",
]


async def verify(resolver: Asker, octets: bytes, now: int, rules: Rules = DEFAULT_RULES) -> Verdict:
    """Return the verdict on every signature of a message as of `now`, asking `resolver` for the keys."""
    return await decide_with(resolver, judge(octets, now, rules))


def verify_blocking(
    answer: Callable[[Question], Answer], octets: bytes, now: int, rules: Rules = DEFAULT_RULES
) -> Verdict:
    """Return the verdict, with answers from a plain function."""
    return decide(judge(octets, now, rules), answer)
