"""What is known of a client before it has said anything of substance: its name, its EHLO name, the lists; and what it is worth.

    facts = yield from examine(address, lists)                 everything that hangs on the address alone
    standing = yield from judge(facts, "mx.rosewood.test", own_names)      with the EHLO name: points and sentences

Points go up with what speaks against a client and down with what vouches for it; each comes with its sentence, and nothing
that could not be looked up gives any. A name that does not fit is never worth a refusal by itself (RFC 5321 section
4.1.4 forbids it): `Weights` keep below any sane threshold what rests on EHLO alone.

Standards: RFC 8601 section 3 (iprev) and section 2.7.3 (how it is reported), RFC 5321 section 4.1.4 (EHLO), RFC 8904 (how
lists that vouch are reported).
Limits: ten names of an address are looked at.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats import domain as domains
from letterlock.formats.authentication_results import MethodResult, Property
from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.dns.rdata import A, Aaaa, Ptr
from letterlock.mta.border.lists import Listing, ListSettings, look_up
from letterlock.trust.ask import Decision, ask_all, together

_MOST_NAMES = 10  # RFC 8601 section 3
_LITERAL = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f:.]+)\]", re.IGNORECASE)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Iprev(enum.Enum):
    """Whether the client's address leads to a name and the name back to it (RFC 8601 section 2.7.3)."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"  # the address has no name


@dataclass(frozen=True, slots=True)
class Weights:
    """The points of each finding that is not a list's."""

    no_name: float = 2
    name_not_confirmed: float = 1.5
    ehlo_is_no_domain: float = 2
    ehlo_unknown: float = 1.5
    ehlo_is_ours: float = 4
    ehlo_literal_wrong: float = 2


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """What is known of an address. `name` is the one that leads back to it, or empty; `unknown` what could not be asked."""

    address: str
    iprev: Iprev
    name: str = ""
    reason: str = ""
    listings: tuple[Listing, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that counts, with its points."""

    points: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A client under its EHLO name: what was found, and the sum of the points. `facts` is None for one not looked at."""

    facts: ClientFacts | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def points(self) -> float:
        """The sum."""
        return sum(finding.points for finding in self.findings)

    @property
    def is_vouched_for(self) -> bool:
        """Whether a list names the client as good."""
        return self.facts is not None and any(listing.vouches for listing in self.facts.listings)

    @property
    def worst(self) -> str:
        """The sentence that speaks most against the client."""
        return max(self.findings, key=lambda finding: finding.points, default=Finding(0, "")).sentence

    @property
    def sentences(self) -> tuple[str, ...]:
        """Every finding with its points, for the log and the ledger."""
        return tuple(f"{finding.points:+g} {finding.sentence}" for finding in self.findings)

    @property
    def name(self) -> str:
        """The client's confirmed name, or empty."""
        return self.facts.name if self.facts else ""

    def results(self) -> tuple[MethodResult, ...]:
        """Return what Authentication-Results says of it: iprev, and dnswl for each list that vouches."""
        if self.facts is None:
            return ()
        facts = self.facts
        iprev = MethodResult(
            "iprev",
            facts.iprev.value,
            (Property("policy", "iprev", facts.address),),
            comments=(facts.name or facts.reason,),
        )
        vouching = (_dnswl(listing) for listing in facts.listings if listing.vouches)
        return (iprev, *vouching)


def _dnswl(listing: Listing) -> MethodResult:
    # RFC 8904 section 2
    properties = [Property("dns", "zone", listing.zone), Property("policy", "ip", listing.code)]
    if listing.text:
        properties.append(Property("policy", "txt", listing.text))
    properties.append(Property("dns", "sec", "yes" if listing.is_secure else "no"))
    return MethodResult("dnswl", "pass", tuple(properties))


def examine(address: str, lists: Sequence[ListSettings]) -> Decision[ClientFacts]:
    """Look a client's address up, everywhere at once. `address` is an IP address."""
    by_name, by_lists = yield from together((_examine_name(address), _examine_lists(address, lists)))
    assert isinstance(by_name, ClientFacts)
    assert isinstance(by_lists, ClientFacts)
    return ClientFacts(
        address, by_name.iprev, by_name.name, by_name.reason, by_lists.listings, (*by_name.unknown, *by_lists.unknown)
    )


def _examine_lists(address: str, lists: Sequence[ListSettings]) -> Decision[object]:
    listings, unknown = yield from look_up(address, lists)
    return ClientFacts(address, Iprev.TEMPERROR, listings=listings, unknown=unknown)


def _examine_name(address: str) -> Decision[object]:
    """Find the names of an address and ask whether one of them has the address (RFC 8601 section 3)."""
    parsed = ipaddress.ip_address(address)
    (pointers,) = yield from ask_all((Question(parsed.reverse_pointer, "PTR"),))
    if pointers.outcome is Outcome.FAILED:
        reason = f"the name of {address} could not be looked up: {pointers.reason}"
        return ClientFacts(address, Iprev.TEMPERROR, reason=reason, unknown=(reason,))
    names = [record.target for record in pointers.records if isinstance(record, Ptr)][:_MOST_NAMES]
    if not names:
        return ClientFacts(address, Iprev.PERMERROR, reason=f"{address} has no name in the DNS")
    answers = yield from ask_all(tuple(Question(name, "A" if parsed.version == 4 else "AAAA") for name in names))
    for name, answer in zip(names, answers, strict=True):
        if _has_address(answer, parsed):
            return ClientFacts(address, Iprev.PASS, name)
    for answer in answers:
        if answer.outcome is Outcome.FAILED:
            reason = f"the address of {answer.question.name} could not be looked up: {answer.reason}"
            return ClientFacts(address, Iprev.TEMPERROR, reason=reason, unknown=(reason,))
    return ClientFacts(address, Iprev.FAIL, reason=f"{names[0]} is not the name of {address}")


def judge(facts: ClientFacts, ehlo: str, own_names: frozenset[str], weights: Weights) -> Decision[Standing]:
    """Judge a client under the name it gave, "" where that is not known. `own_names` are ours, which nobody else has."""
    findings = [Finding(listing.points, f"{facts.address} is {listing.sentence}") for listing in facts.listings]
    if facts.iprev is Iprev.PERMERROR:
        findings.append(Finding(weights.no_name, facts.reason))
    elif facts.iprev is Iprev.FAIL:
        findings.append(Finding(weights.name_not_confirmed, facts.reason))
    of_ehlo = (yield from _judge_ehlo(facts, ehlo, own_names, weights)) if ehlo else None
    if of_ehlo is not None:
        findings.append(of_ehlo)
    return Standing(facts, tuple(findings))


def _judge_ehlo(facts: ClientFacts, ehlo: str, own_names: frozenset[str], weights: Weights) -> Decision[Finding | None]:
    if (literal := _LITERAL.fullmatch(ehlo)) is not None:
        if _same_address(literal[1], facts.address):
            return None
        return Finding(weights.ehlo_literal_wrong, f"it calls itself {ehlo}, which is not its address")
    try:
        name = domains.to_ascii(ehlo)
    except Malformed:
        return Finding(weights.ehlo_is_no_domain, f"it calls itself {ehlo[:80]!r}, which is no domain name")
    if name in own_names:
        return Finding(weights.ehlo_is_ours, f"it calls itself {name}, which is our name")
    if "." not in name or name.rpartition(".")[2].isdigit():
        return Finding(weights.ehlo_is_no_domain, f"it calls itself {name}, which is no domain name of the Internet")
    if name == facts.name:
        return None
    answers = yield from ask_all((Question(name, "A"), Question(name, "AAAA"), Question(name, "MX")))
    if all(answer.outcome.is_absent for answer in answers):
        return Finding(weights.ehlo_unknown, f"it calls itself {name}, which is not in the DNS")
    return None


def _has_address(answer: Answer, address: Address) -> bool:
    return any(
        isinstance(record, (A, Aaaa)) and ipaddress.ip_address(record.address) == address for record in answer.records
    )


def _same_address(literal: str, address: str) -> bool:
    try:
        return ipaddress.ip_address(literal) == ipaddress.ip_address(address)
    except ValueError:
        return False
