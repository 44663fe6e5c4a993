"""DMARC: does the domain in From vouch for a message, and what does its owner ask for (RFC 9989).

`await check(resolver, author, spf, dkim)` and `check_blocking(answer, ...)` give the verdict; `judge` is the decision
they run; `author_domains` reads From.
"""

from __future__ import annotations

from collections.abc import Callable

from letterlock.formats.dns.question import Answer, Question
from letterlock.trust.ask import Asker, decide, decide_with
from letterlock.trust.dmarc.evaluation import MOST_AUTHORS, author_domains, judge
from letterlock.trust.dmarc.record import Mode, Policy, Record
from letterlock.trust.dmarc.verdict import Identifier, Override, OverrideType, Result, Verdict

__all__ = [
    "MOST_AUTHORS",
    "Identifier",
    "Mode",
    "Override",
    "OverrideType",
    "Policy",
    "Record",
    "Result",
    "Verdict",
    "author_domains",
    "check",
    "check_blocking",
    "judge",
]


async def check(
    resolver: Asker, author: str, spf: Identifier | None = None, dkim: tuple[Identifier, ...] = ()
) -> Verdict:
    """Return the verdict for one author domain, asking `resolver`."""
    return await decide_with(resolver, judge((author,), spf, dkim))


def check_blocking(
    answer: Callable[[Question], Answer], author: str, spf: Identifier | None = None, dkim: tuple[Identifier, ...] = ()
) -> Verdict:
    """Return the verdict, with answers from a plain function."""
    return decide(judge((author,), spf, dkim), answer)
