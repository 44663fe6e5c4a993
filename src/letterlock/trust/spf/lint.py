"""What the owner of an SPF record should know of it: errors, look-ups, and how many addresses it lets send.

`lint` follows every include and redirect as a receiver would at worst; `build` writes a record that passes it.

Standards: RFC 7208 section 4.6.4 (limits), section 5 (mechanisms), section 10.1 (advice to senders).
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from letterlock.errors import Malformed
from letterlock.formats import domain as domains
from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.dns.rdata import A, Aaaa, Mx
from letterlock.trust.ask import Decision, ask, ask_all
from letterlock.trust.spf import record
from letterlock.trust.spf.record import Mechanism, Qualifier, Record

_MANY_ADDRESSES = 1 << 16
_DEEPEST = 20


class Severity(enum.Enum):
    """How much a finding matters."""

    ERROR = "error"  # receivers answer permerror, or anyone may send
    WARNING = "warning"
    ADVICE = "advice"
    UNKNOWN = "unknown"  # a look-up failed


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about a record."""

    severity: Severity
    message: str


@dataclass(slots=True)
class Report:
    """All findings. `ipv4_addresses` counts addresses that pass, `ipv6_networks` /64 networks, both with repeats.

    `networks` are what passes, as a record that needs no look-up would list it; `has_macros` says that more may pass.
    """

    domain: str
    record: str = ""
    lookups: int = 0
    void_lookups: int = 0
    ipv4_addresses: int = 0
    ipv6_networks: int = 0
    includes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = field(default_factory=list)
    has_macros: bool = False
    rest: str = "?all"

    @property
    def flattened(self) -> str:
        """The record without look-ups that lets the same addresses send today; it grows stale as providers move."""
        if not self.record or self.has_macros:
            return ""
        four = ipaddress.collapse_addresses(one for one in self.networks if isinstance(one, ipaddress.IPv4Network))
        six = ipaddress.collapse_addresses(one for one in self.networks if isinstance(one, ipaddress.IPv6Network))
        rest = {"-": "fail", "~": "softfail"}.get(self.rest[0], "neutral")
        return build([str(one) for one in (*four, *six)], rest=rest)

    def add(self, severity: Severity, message: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(severity, message))


def lint(domain: str, text: str | None = None) -> Decision[Report]:
    """Examine the record of `domain`, or `text` as if it were that."""
    report = Report(domain)
    parsed = yield from _read(report, domain, text, is_top=True)
    if parsed is None:
        return report
    report.record = parsed.text
    yield from _examine(report, domain, parsed, (domain,))
    _judge_top(report, parsed)
    if report.lookups > 10:
        report.add(Severity.ERROR, f"{report.lookups} terms need look-ups; receivers stop at 10 with permerror")
    elif report.lookups > 8:
        report.add(Severity.WARNING, f"{report.lookups} of 10 look-ups are used; a provider's change may break it")
    if report.void_lookups > 2:
        report.add(Severity.ERROR, f"{report.void_lookups} look-ups are void; receivers stop after 2 with permerror")
    if report.ipv4_addresses >= _MANY_ADDRESSES:
        report.add(Severity.WARNING, f"{report.ipv4_addresses:,} IPv4 addresses may send, many of strangers perhaps")
    return report


def _read(report: Report, domain: str, text: str | None, *, is_top: bool) -> Decision[Record | None]:
    if text is not None:
        octets = text.encode()
        texts: tuple[bytes, ...] = (octets,) if record.is_spf(octets) else ()
    else:
        answer = yield from ask(Question(domain, "TXT"))
        if answer.outcome is Outcome.FAILED:
            report.add(Severity.UNKNOWN, f"the record of {domain} could not be looked up: {answer.reason}")
            return None
        texts = record.select(answer.records)
    if len(texts) != 1:
        problem = f"{domain} publishes {len(texts)} SPF records" if texts else f"{domain} publishes no SPF record"
        if is_top and not texts:
            problem += "; a domain that sends no mail says so with `v=spf1 -all`"
        report.add(Severity.ERROR, problem)
        return None
    if len(texts[0]) > 450:
        report.add(Severity.ADVICE, f"the record of {domain} has {len(texts[0])} octets; answers may outgrow UDP")
    try:
        return record.parse(texts[0])
    except Malformed as error:
        report.add(Severity.ERROR, f"the record of {domain} is wrong: {error}")
        return None


def _examine(report: Report, domain: str, parsed: Record, path: tuple[str, ...]) -> Decision[None]:
    seen_all = False
    for mechanism in parsed.mechanisms:
        if seen_all:
            report.add(Severity.WARNING, f"{mechanism.text!r} of {domain} stands behind all and is never reached")
            continue
        report.lookups += mechanism.needs_lookup
        seen_all = mechanism.name == "all"
        yield from _examine_mechanism(report, domain, mechanism, path)
    if parsed.redirect is not None:
        if seen_all:
            report.add(Severity.WARNING, f"redirect={parsed.redirect.text} of {domain} is ignored because of all")
        else:
            report.lookups += 1
            yield from _follow(report, parsed.redirect.text, path, "redirect")
    for unknown in parsed.unknown_modifiers:
        report.add(Severity.ADVICE, f"{unknown!r} of {domain} is a modifier nobody knows")


def _examine_mechanism(report: Report, domain: str, mechanism: Mechanism, path: tuple[str, ...]) -> Decision[None]:
    target = mechanism.domain
    if target is not None and target.letters:
        report.has_macros = True
        report.add(Severity.ADVICE, f"{mechanism.text!r} of {domain} has macros; what it matches was not counted")
        return
    name = target.text.lower().removesuffix(".") if target is not None else domain
    counts = mechanism.qualifier is Qualifier.PASS
    match mechanism.name:
        case "ip4" | "ip6":
            _count_network(report, domain, mechanism, counts)
        case "include":
            yield from _follow(report, name, path, "include")
        case "a":
            yield from _count_hosts(report, (name,), mechanism, domain, counts)
        case "mx":
            answer = yield from ask(Question(name, "MX"))
            if _is_usable(report, answer, mechanism, domain):
                hosts = tuple(one.exchange for one in answer.records if isinstance(one, Mx) and one.exchange)
                if len(hosts) > 10:
                    report.add(Severity.ERROR, f"{mechanism.text!r} of {domain} leads to {len(hosts)} exchangers")
                yield from _count_hosts(report, hosts[:10], mechanism, domain, counts)
        case "ptr":
            report.add(Severity.WARNING, f"ptr of {domain} is slow and unreliable; do not use it (RFC 7208)")
        case _:
            return


def _count_network(report: Report, domain: str, mechanism: Mechanism, counts: bool) -> None:
    length = mechanism.prefix4
    if not counts:
        return
    kind = ipaddress.IPv4Network if mechanism.version == 4 else ipaddress.IPv6Network
    report.networks.append(kind((mechanism.network, length)))
    if mechanism.version == 4:
        report.ipv4_addresses += 1 << (32 - length)
        if length < 16:
            report.add(Severity.WARNING, f"{mechanism.text!r} of {domain} lets {1 << (32 - length):,} addresses send")
    else:
        report.ipv6_networks += 1 << max(0, 64 - length)
        if length < 32:
            report.add(Severity.WARNING, f"{mechanism.text!r} of {domain} is larger than a provider's whole network")


def _count_hosts(
    report: Report, hosts: tuple[str, ...], mechanism: Mechanism, domain: str, counts: bool
) -> Decision[None]:
    questions = tuple(Question(host, kind) for host in hosts for kind in ("A", "AAAA"))
    answers = yield from ask_all(questions)
    for host_answers in zip(answers[::2], answers[1::2], strict=True):
        if not all(_is_known(report, one, mechanism, domain) for one in host_answers):
            continue
        if not any(one.records for one in host_answers):
            report.void_lookups += 1
            problem = f"{mechanism.text!r} of {domain}: {host_answers[0].question.name} has no address"
            report.add(Severity.WARNING, problem)
        for found in (found for one in host_answers for found in one.records):
            if counts and isinstance(found, A):
                report.ipv4_addresses += 1 << (32 - mechanism.prefix4)
                report.networks.append(ipaddress.ip_network(f"{found.address}/{mechanism.prefix4}", strict=False))
            elif counts and isinstance(found, Aaaa):
                report.ipv6_networks += 1 << max(0, 64 - mechanism.prefix6)
                report.networks.append(ipaddress.ip_network(f"{found.address}/{mechanism.prefix6}", strict=False))


def _is_known(report: Report, answer: Answer, mechanism: Mechanism, domain: str) -> bool:
    if answer.outcome is not Outcome.FAILED:
        return True
    report.add(Severity.UNKNOWN, f"{mechanism.text!r} of {domain} could not be looked up: {answer.reason}")
    return False


def _is_usable(report: Report, answer: Answer, mechanism: Mechanism, domain: str) -> bool:
    if not _is_known(report, answer, mechanism, domain):
        return False
    if not answer.records:
        report.void_lookups += 1
        report.add(Severity.WARNING, f"{mechanism.text!r} of {domain}: {answer.question.name} has no MX record")
    return bool(answer.records)


def _follow(report: Report, name: str, path: tuple[str, ...], how: str) -> Decision[None]:
    chain = " > ".join((*path, name))
    if name in path:
        report.add(Severity.ERROR, f"{how} in a circle: {chain}")
        return
    if len(path) > _DEEPEST or len(report.includes) > 100:
        report.add(Severity.ERROR, f"too many includes at {chain}")
        return
    report.includes.append(name)
    parsed = yield from _read(report, name, None, is_top=False)
    if parsed is None:
        return
    if how == "include" and any(one.name == "all" and one.qualifier is Qualifier.PASS for one in parsed.mechanisms):
        report.add(Severity.ERROR, f"{chain} ends in +all: everybody may send")
    yield from _examine(report, name, parsed, (*path, name))


def _judge_top(report: Report, parsed: Record) -> None:
    last = next((one for one in parsed.mechanisms if one.name == "all"), None)
    if last is not None:
        report.rest = last.text if last.text[0] in "-~?+" else "+all"
    if last is None:
        if parsed.redirect is None:
            report.add(Severity.WARNING, "the record ends without all or redirect, so strangers are neutral")
    elif last.qualifier is Qualifier.PASS:
        report.add(Severity.ERROR, "+all lets everybody send")
    elif last.qualifier is Qualifier.NEUTRAL:
        report.add(Severity.WARNING, "?all says nothing about strangers; use ~all or -all")


def build(
    addresses: Sequence[str] = (),
    *,
    mx: bool = False,
    own_address: bool = False,
    includes: Sequence[str] = (),
    rest: str = "fail",
) -> str:
    """Return a record. Raises ValueError for what is no network, Malformed for what is no domain."""
    terms = ["v=spf1"]
    if own_address:
        terms.append("a")
    if mx:
        terms.append("mx")
    for text in addresses:
        network = ipaddress.ip_network(text, strict=False)
        short = str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
        terms.append(f"ip{network.version}:{short}")
    terms += [f"include:{domains.to_ascii(name, underscores=True)}" for name in includes]
    terms.append({"fail": "-all", "softfail": "~all", "neutral": "?all"}[rest])
    return " ".join(terms)
