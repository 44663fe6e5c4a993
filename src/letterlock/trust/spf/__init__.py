"""SPF: which addresses may send mail for a domain (RFC 7208).

`await check(resolver, address, helo, mail_from)` and `check_blocking(answer, ...)` give the verdict; `judge` is the
decision they run. `lint` and `build` serve those who publish a record.
"""

from __future__ import annotations

from collections.abc import Callable

from letterlock.formats.dns.question import Answer, Question
from letterlock.trust.ask import Asker, decide, decide_with
from letterlock.trust.spf.evaluate import check_host, judge
from letterlock.trust.spf.macro import IpAddress
from letterlock.trust.spf.verdict import Identity, Limits, Result, TermTrace, Verdict

__all__ = [
    "Identity",
    "Limits",
    "Result",
    "TermTrace",
    "Verdict",
    "check",
    "check_blocking",
    "check_host",
    "judge",
]


async def check(resolver: Asker, address: IpAddress | str, helo: str, mail_from: str = "") -> Verdict:
    """Return the verdict on MAIL FROM, or on HELO where the reverse path is null, asking `resolver`."""
    return await decide_with(resolver, judge(address, helo, mail_from))


def check_blocking(
    answer: Callable[[Question], Answer], address: IpAddress | str, helo: str, mail_from: str = ""
) -> Verdict:
    """Return the verdict, with answers from a plain function."""
    return decide(judge(address, helo, mail_from), answer)
