"""How to reach a domain's mail servers, and what TLS each of them must show: one decision.

    plan = await drive(plan_delivery("rosewood.test"), resolver)

`Plan.fate` says whether to try the hosts, to wait, or to give up; every host says why it demands what it demands. A
look-up that failed is never taken for "no DANE": the host is left out, and without any host left the mail waits.

Standards: RFC 5321 section 5.1 (MX), RFC 7505 (null MX), RFC 7671 section 7 (CNAME), RFC 7672 sections 2 and 3.
Limits: 20 hosts, the most preferred; 16 addresses a host.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from letterlock.formats.dns.question import Answer, Outcome, Question, Security
from letterlock.formats.dns.rdata import A, Aaaa, Cname, Mx, Tlsa
from letterlock.trust.ask import Decision, ask, ask_all
from letterlock.trust.dane.authenticate import SMTP_USAGES
from letterlock.trust.dane.records import usable

_MAX_HOSTS = 20
_MAX_ADDRESSES = 16


class Requirement(enum.Enum):
    """What a host's TLS must be."""

    AUTHENTICATED = "dane"  # TLS, authenticated by its TLSA records
    ENCRYPTED = "encrypt"  # TLS; nothing to authenticate it by (RFC 7672 section 2.2.3)
    OPPORTUNISTIC = "may"  # TLS if offered; other policies may ask for more


class Fate(enum.Enum):
    """What to do with mail for the domain."""

    TRY = "try"  # deliver to the hosts, in their order
    DEFER = "defer"  # nothing is known now
    NO_MAIL = "no mail"  # the domain takes none (null MX): RFC 7505 section 4.1, 556 5.1.10
    NO_DOMAIN = "no domain"  # there is no such domain or host: 5.1.2


@dataclass(frozen=True, slots=True)
class Host:
    """One server: where it is, what its TLS must be, and why.

    `reference_names` are the names its certificate may carry where DANE-TA asks for names; `sni` is the name to send in
    the handshake (the TLSA base domain where there is one, RFC 7672 section 3.2.1).
    """

    name: str
    preference: int
    addresses: tuple[str, ...]
    requirement: Requirement
    reason: str
    tlsa: tuple[Tlsa, ...] = ()
    sni: str = ""
    reference_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The servers of a domain by preference; `skipped` are sentences about those left out.

    `unproved` are the names of those left out because their TLSA records could not be looked up.
    """

    domain: str
    fate: Fate
    reason: str
    hosts: tuple[Host, ...] = ()
    skipped: tuple[str, ...] = ()
    mx_security: Security = Security.INDETERMINATE
    unproved: tuple[str, ...] = ()


def plan_delivery(domain: str, port: int = 25) -> Decision[Plan]:
    """Return how mail for a domain (A-labels) is delivered over SMTP."""
    answer = yield from ask(Question(domain, "MX"))
    if answer.outcome is Outcome.FAILED:
        return Plan(domain, Fate.DEFER, f"the mail servers of {domain} cannot be looked up: {answer.reason}")
    if answer.outcome is Outcome.NO_NAME:
        return Plan(domain, Fate.NO_DOMAIN, f"{domain} does not exist", mx_security=answer.security)
    exchangers = sorted({(record.preference, record.exchange) for record in answer.records if isinstance(record, Mx)})
    if exchangers and all(not exchange for _, exchange in exchangers):
        return Plan(domain, Fate.NO_MAIL, f"{domain} takes no mail (null MX)", mx_security=answer.security)
    # RFC 5321 section 5.1: without MX records the domain is its own mail server.
    candidates = [pair for pair in exchangers if pair[1]] or [(0, domain)]
    references = tuple(dict.fromkeys(filter(None, (domain, answer.canonical_name))))
    return (yield from _plan_hosts(domain, candidates[:_MAX_HOSTS], references, answer.security, port))


def plan_host(name: str, port: int, usages: frozenset[int] = SMTP_USAGES) -> Decision[Plan]:
    """Return how one named host is reached, without MX: a relay or a server an admin has set.

    Submission and IMAP clients, who know a name and trust roots, honour all `usages` (RFC 6698 section 2.1.1).
    """
    return (yield from _plan_hosts(name, [(0, name)], (name,), Security.SECURE, port, usages))


def _plan_hosts(
    domain: str,
    candidates: list[tuple[int, str]],
    references: tuple[str, ...],
    mx_security: Security,
    port: int,
    usages: frozenset[int] = SMTP_USAGES,
) -> Decision[Plan]:
    questions = tuple(Question(name, kind) for _, name in candidates for kind in ("AAAA", "A"))
    answers = yield from ask_all(questions)
    hosts: list[Host] = []
    skipped: list[str] = []
    unproved: list[str] = []
    failed = False
    for index, (preference, name) in enumerate(candidates):
        found = answers[2 * index], answers[2 * index + 1]
        addresses = _addresses(found)
        if not addresses:
            failed = failed or any(answer.outcome is Outcome.FAILED for answer in found)
            skipped.append(f"{name}: " + "; ".join(answer.reason for answer in found if answer.reason))
            continue
        trusted = mx_security is Security.SECURE
        result = yield from _require(name, found, references if trusted else (), port, usages)
        if isinstance(result, str):
            failed = True
            unproved.append(name)
            skipped.append(f"{name}: {result}")
            continue
        requirement, reason, tlsa, base = result
        names = tuple(dict.fromkeys((base, name, *references))) if base else ()
        hosts.append(Host(name, preference, addresses, requirement, reason, tlsa, base or name, names))
    if hosts:
        return Plan(
            domain, Fate.TRY, f"{len(hosts)} host(s)", tuple(hosts), tuple(skipped), mx_security, tuple(unproved)
        )
    fate = Fate.DEFER if failed else Fate.NO_DOMAIN
    reason = "; ".join(skipped) or f"{domain} has no mail server"
    return Plan(domain, fate, reason, (), tuple(skipped), mx_security, tuple(unproved))


def _addresses(answers: tuple[Answer, Answer]) -> tuple[str, ...]:
    found = [record.address for answer in answers for record in answer.records if isinstance(record, A | Aaaa)]
    return tuple(found[:_MAX_ADDRESSES])


_Required = tuple[Requirement, str, tuple[Tlsa, ...], str]


def _require(
    name: str, addresses: tuple[Answer, Answer], references: tuple[str, ...], port: int, usages: frozenset[int]
) -> Decision[_Required | str]:
    """Return what the host's TLS must be, or a sentence why the host cannot be used now.

    Without `references` the name of the host is on nobody's word.
    """
    if not references:
        return Requirement.OPPORTUNISTIC, f"the MX records that name {name} are not secure", (), ""
    positive = [answer for answer in addresses if answer.outcome is Outcome.FOUND]
    bases = yield from _bases(name, positive)
    if isinstance(bases, str):
        return bases
    if not bases:
        return Requirement.OPPORTUNISTIC, f"the addresses of {name} are not secure", (), ""
    for base in bases:
        answer = yield from ask(Question(f"_{port}._tcp.{base}", "TLSA"))
        if answer.outcome is Outcome.FAILED:
            return f"its TLSA records cannot be looked up: {answer.reason}"
        if answer.outcome is Outcome.FOUND and answer.security is Security.SECURE:
            return _judge(base, tuple(record for record in answer.records if isinstance(record, Tlsa)), usages)
    return Requirement.OPPORTUNISTIC, f"{name} has no secure TLSA records", (), ""


def _bases(name: str, positive: list[Answer]) -> Decision[tuple[str, ...] | str]:
    """Return the names below which TLSA records may stand, in order (RFC 7672 section 2.2.2)."""
    canonical = positive[0].canonical_name or name
    if all(answer.security is Security.SECURE for answer in positive):
        return (canonical, name) if canonical != name else (name,)
    if canonical == name:
        return ()
    # An alias that leads out of the signed tree: its own zone may still be secure.
    alias = yield from ask(Question(name, "CNAME"))
    if alias.outcome is Outcome.FAILED:
        return f"its alias cannot be looked up: {alias.reason}"
    is_alias = any(isinstance(record, Cname) for record in alias.records)
    return (name,) if is_alias and alias.security is Security.SECURE else ()


def _judge(base: str, records: tuple[Tlsa, ...], usages: frozenset[int]) -> _Required:
    if counted := usable(records, usages):
        return Requirement.AUTHENTICATED, f"{base} has {len(counted)} secure TLSA record(s)", counted, base
    # RFC 7672 section 2.2.3: it committed itself to TLS, though there is nothing to authenticate it by.
    return Requirement.ENCRYPTED, f"none of the secure TLSA records of {base} can be used", (), base
