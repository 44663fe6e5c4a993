"""Lists of addresses in the DNS: those that warn of a client (DNSBL) and those that vouch for it (DNSWL).

    listings = yield from look_up("192.0.2.1", lists)      a decision (trust/ask.py); one Listing a list that said yes
    condition = yield from check_list(lists[0])             is the list alive, and does it know the addresses it must know

Promises: a list that cannot be asked, answers outside 127.0.0.0/8, or answers with a code that says "you may not ask"
(127.255.255.0/24; 127.0.0.255 of lists that vouch) has said nothing: it neither warns nor vouches.

Standards: RFC 5782 section 2.1 (questions and codes), section 2.4 (IPv6), section 5 (test entries).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from letterlock.formats.dns.question import Answer, Outcome, Question, Security
from letterlock.formats.dns.rdata import A, Txt
from letterlock.trust.ask import Decision, ask_all

_CODES = ipaddress.IPv4Network("127.0.0.0/8")
_ERROR_CODES = ipaddress.IPv4Network("127.255.255.0/24")
_NO_MORE_QUESTIONS = ipaddress.ip_address("127.0.0.255")
_ENTRIES = ("127.0.0.2", "::ffff:7f00:2", "127.0.0.1", "::ffff:7f00:1")
_LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Code:
    """What the answers in a network ("127.0.0.2/31") mean, and the points they are worth."""

    network: ipaddress.IPv4Network
    meaning: str
    points: float


@dataclass(frozen=True, slots=True)
class ListSettings:
    """One list. `points` are what a listing is worth, below 0 where the list vouches; with `codes`, only those answers count."""

    zone: str
    points: float = 10
    codes: tuple[Code, ...] = ()

    @property
    def vouches(self) -> bool:
        """Whether the list names those who are good."""
        return self.points < 0


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list said of an address: the code, its meaning, the list's own words (TXT), and whether they were signed."""

    zone: str
    code: str
    points: float
    meaning: str = ""
    text: str = ""
    is_secure: bool = False

    @property
    def vouches(self) -> bool:
        """Whether the address is named as good."""
        return self.points < 0

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        said = ": ".join(part for part in (self.meaning, self.text) if part)
        return f"listed by {self.zone} ({self.code}{', ' + said if said else ''})"


def look_up(address: str, lists: Sequence[ListSettings]) -> Decision[tuple[tuple[Listing, ...], tuple[str, ...]]]:
    """Return the listings of an address, and a sentence for each list that could not say."""
    answers = yield from ask_all(tuple(Question(listed_name(address, one.zone), "A") for one in lists))
    found: list[tuple[ListSettings, Code, str, Answer]] = []
    problems = []
    for one, answer in zip(lists, answers, strict=True):
        codes, problem = _read(one, answer)
        if problem:
            problems.append(f"{one.zone}: {problem}")
        found += [(one, meaning, code, answer) for code, meaning in codes]
    texts = yield from ask_all(
        tuple(dict.fromkeys(Question(listed_name(address, one.zone), "TXT") for one, *_ in found))
    )
    words = {answer.question.name: _text(answer) for answer in texts}
    listings = tuple(
        Listing(
            one.zone,
            code,
            meaning.points,
            meaning.meaning,
            words[listed_name(address, one.zone)],
            answer.security is Security.SECURE,
        )
        for one, meaning, code, answer in found
    )
    return listings, tuple(problems)


def check_list(one: ListSettings) -> Decision[str]:
    """Return "" for a list that lives, else a sentence that says why it must not be believed."""
    # RFC 5782 section 5: 127.0.0.2 is on every list, 127.0.0.1 on none; one that is gone may answer yes to everything. A
    # list of IPv6 addresses alone has them as ::FFFF:7F00:2 and ::FFFF:7F00:1.
    questions = tuple(Question(listed_name(address, one.zone), "A") for address in _ENTRIES)
    answers = yield from ask_all(questions)
    for answer in answers:
        _, problem = _read(ListSettings(one.zone, one.points), answer)
        if problem:
            return problem
    listed, listed_6, *unlisted = (answer.outcome is Outcome.FOUND for answer in answers)
    if any(unlisted):
        return "127.0.0.1 is on it, as it may be on none (RFC 5782): it says yes to everything"
    if not listed and not listed_6:
        return "127.0.0.2 is not on it, as it must be on every list (RFC 5782): it is dead or has moved"
    return ""


def listed_name(address: str, zone: str) -> str:
    """Return the name to ask for: the address backwards, by octets or nibbles, before the zone."""
    return f"{ipaddress.ip_address(address).reverse_pointer.rpartition('.')[0].rpartition('.')[0]}.{zone}"


def _read(one: ListSettings, answer: Answer) -> tuple[list[tuple[str, Code]], str]:
    """Return the codes that count, each with its meaning, and why the list said nothing, if it did."""
    if answer.outcome is Outcome.FAILED:
        return [], f"could not be asked ({answer.reason})"
    codes = []
    for record in answer.records:
        if not isinstance(record, A):
            continue
        code = ipaddress.IPv4Address(record.address)
        if code in _ERROR_CODES or (one.vouches and code == _NO_MORE_QUESTIONS):
            return [], f"does not answer us ({code}: the resolver is a public one, or asks too much)"
        if code not in _CODES:
            # RFC 5782 section 2.1: the zone is not what it was, a parked domain for example
            return [], f"answers {code}, which is no code of a list"
        codes.append(code)
    return [(str(code), meaning) for code in codes if (meaning := _meaning(one, code)) is not None], ""


def _meaning(one: ListSettings, code: ipaddress.IPv4Address) -> Code | None:
    if not one.codes:
        return Code(_CODES, "", one.points)
    return next((meaning for meaning in one.codes if code in meaning.network), None)


def _text(answer: Answer) -> str:
    for record in answer.records:
        if isinstance(record, Txt):
            return record.joined.decode("utf-8", "replace")[:_LONGEST_TEXT]
    return ""
