"""What is asked of the DNS, and what comes back, as values every decision understands.

An `Answer` keeps "there is none" (`NO_DATA`, `NO_NAME`) apart from "could not look up" (`FAILED`): the second is never
shown or treated as the first. `security` is the validator's word (RFC 4033 section 5).

Standards: RFC 1034, RFC 2308 (negative answers), RFC 4033 section 5, RFC 8914 (extended errors).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from letterlock.formats.dns.rdata import Rdata


class Outcome(enum.Enum):
    """How a look-up ended."""

    FOUND = "found"
    NO_DATA = "no data"  # the name exists, without records of this type (RFC 2308 section 2.2)
    NO_NAME = "no such name"  # NXDOMAIN (RFC 2308 section 2.1)
    FAILED = "could not look up"  # SERVFAIL, REFUSED, timeout, bogus: nothing is known

    @property
    def is_absent(self) -> bool:
        """Whether the DNS said that there is no such record."""
        return self in (Outcome.NO_DATA, Outcome.NO_NAME)


class Security(enum.Enum):
    """The DNSSEC state of an answer (RFC 4033 section 5)."""

    SECURE = "secure"
    INSECURE = "insecure"
    BOGUS = "bogus"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True)
class Question:
    """A name (lower-case A-labels, no final dot; empty is the root) and a type by its mnemonic ("TXT", "TLSA")."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of evidence: what was looked at, what it showed, and the clause that makes it matter."""

    subject: str
    finding: str
    clause: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a resolver answers.

    `records` are in the order of the wire; `canonical_name` is the owner at the end of the CNAME chain;
    `ttl_seconds` is the smallest of all that the answer rests on; `reason` is a sentence for people, in every case but
    a plain FOUND; `extended_error` is the RFC 8914 code, if any.
    """

    question: Question
    outcome: Outcome
    records: tuple[Rdata, ...] = ()
    security: Security = Security.INDETERMINATE
    canonical_name: str = ""
    ttl_seconds: int = 0
    reason: str = ""
    evidence: tuple[Step, ...] = ()
    extended_error: int | None = None
