"""The verdict of SPF and the trace that explains it.

Standards: RFC 7208 section 2.6 (results), RFC 8601 section 2.7.2 (their names), RFC 7208 section 4.6.4 (limits).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from letterlock.trust.spf.macro import IpAddress


class Result(enum.Enum):
    """What check_host() returns, by its name in Authentication-Results."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - a result, no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class Identity(enum.Enum):
    """Which name was judged (RFC 7208 section 2.3 and section 2.4)."""

    HELO = "helo"
    MAIL_FROM = "mailfrom"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much work one check may cause (RFC 7208 section 4.6.4)."""

    lookups: int = 10
    void_lookups: int = 2
    address_lookups: int = 10


@dataclass(frozen=True, slots=True)
class TermTrace:
    """One term as it was evaluated: in whose record, how deep in includes, and what came of it."""

    depth: int
    domain: str
    term: str
    finding: str
    lookups: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one identity.

    `domain` is the name that was judged; `explanation` is the text its owner publishes for a fail, expanded, or empty;
    `reason` is our sentence; `blamed` is the chain of includes and redirects, outermost first, at whose end the
    deciding record stands.
    """

    result: Result
    identity: Identity
    domain: str
    address: IpAddress
    reason: str
    explanation: str = ""
    lookups: int = 0
    void_lookups: int = 0
    mechanism: str = ""
    blamed: tuple[str, ...] = ()
    trace: tuple[TermTrace, ...] = ()
