"""What a domain publishes, held against what it should: one decision.

Standards: RFC 7208 section 3.2 (one SPF record), RFC 7489 section 6.6.3 (one DMARC record), RFC 8461 section 3.1.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from letterlock.formats.dns import rdata_text
from letterlock.formats.dns.question import Answer, Outcome, Question, Security
from letterlock.formats.dns.rdata import Rdata, Txt
from letterlock.hostmaster.records import Importance, WantedRecord
from letterlock.trust.ask import Decision, ask_all

_TAGS = (b"v=spf1", b"v=dkim1", b"v=dmarc1", b"v=stsv1", b"v=tlsrptv1")
_EXCLUSIVE = {"MX", "TLSA", "SMIMEA", "SRV", "CAA"}


class Standing(enum.Enum):
    """How a published record set stands to what is wanted."""

    RIGHT = "right"
    MISSING = "missing"
    WRONG = "wrong"
    UNKNOWN = "could not look up"


@dataclass(frozen=True, slots=True)
class Finding:
    """One record set: what is wanted, what is published beside or instead of it, and what to do."""

    owner: str
    type: str
    standing: Standing
    importance: Importance
    missing: tuple[Rdata, ...]
    surplus: tuple[Rdata, ...]
    security: Security
    reason: str

    def diff(self) -> tuple[str, ...]:
        """Return the changes as lines of zone text with + and -."""
        head = f"{self.owner}. IN {self.type}"
        added = tuple(f"+{head} {rdata_text.write(data)}" for data in self.missing)
        return tuple(f"-{head} {rdata_text.write(data)}" for data in self.surplus) + added


def compare(wanted: Iterable[WantedRecord]) -> Decision[tuple[Finding, ...]]:
    """Look up every wanted record set and say how it stands."""
    groups: dict[tuple[str, str, bytes], list[WantedRecord]] = {}
    for record in wanted:
        groups.setdefault((record.owner, record.type, _tag(record.data)), []).append(record)
    questions = tuple(Question(owner, kind) for owner, kind, _ in groups)
    answers = yield from ask_all(questions)
    return tuple(
        _judge(records, tag, answer) for ((_, _, tag), records), answer in zip(groups.items(), answers, strict=True)
    )


def _tag(data: Rdata) -> bytes:
    """What tells text records of different purposes at one name apart."""
    if isinstance(data, Txt):
        lowered = data.joined.lower()
        return next((tag for tag in _TAGS if lowered.startswith(tag)), b"")
    return b""


def _judge(wanted: list[WantedRecord], tag: bytes, answer: Answer) -> Finding:
    first = wanted[0]
    expected = [_whole(record.data) for record in wanted]
    published = [_whole(data) for data in answer.records if _tag(data) == tag]
    missing = tuple(record.data for record in wanted if _whole(record.data) not in published)
    surplus: tuple[Rdata, ...] = ()
    if tag or first.type in _EXCLUSIVE:
        surplus = tuple(data for data in answer.records if _tag(data) == tag and _whole(data) not in expected)
    if answer.outcome is Outcome.FAILED:
        standing, reason, missing, surplus = Standing.UNKNOWN, answer.reason, (), ()
    elif not missing and not surplus:
        standing, reason = Standing.RIGHT, "published as it should be"
        if first.type == "TLSA" and answer.security is not Security.SECURE:
            standing, reason = Standing.WRONG, "published, but the zone is not signed, so nobody may rely on it"
    elif len(missing) == len(wanted) and not surplus:
        standing, reason = Standing.MISSING, f"publish it: {first.why}"
    else:
        standing, reason = Standing.WRONG, "what is published is not what should be"
    return Finding(first.owner, first.type, standing, first.importance, missing, surplus, answer.security, reason)


def _whole(data: Rdata) -> Rdata:
    """Text is the same however it is cut into strings."""
    return Txt((data.joined,)) if isinstance(data, Txt) else data
