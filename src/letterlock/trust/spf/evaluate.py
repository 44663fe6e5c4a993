"""check_host(): may this address send mail for this domain?

`judge` judges one identity of a session, MAIL FROM or, where that is null, HELO. It asks for TXT, A, AAAA, MX and PTR
records; what could not be looked up gives temperror, never none.

Standards: RFC 7208 section 4 (the function), section 5 (mechanisms), section 6 (modifiers), RFC 8616 section 4
(internationalised senders).
Limits: ten terms with look-ups, two void look-ups, ten exchangers and ten pointers (RFC 7208 section 4.6.4).
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
from typing import NoReturn

from letterlock.errors import Malformed
from letterlock.formats import domain as domains
from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.dns.rdata import A, Aaaa, Mx, Ptr, Txt
from letterlock.trust.ask import Decision, ask, ask_all
from letterlock.trust.spf import macro, record
from letterlock.trust.spf.macro import IpAddress, MacroString, MacroValues
from letterlock.trust.spf.record import Mechanism, Qualifier, Record
from letterlock.trust.spf.verdict import Identity, Limits, Result, TermTrace, Verdict

_OF_QUALIFIER = {
    Qualifier.PASS: Result.PASS,
    Qualifier.FAIL: Result.FAIL,
    Qualifier.SOFTFAIL: Result.SOFTFAIL,
    Qualifier.NEUTRAL: Result.NEUTRAL,
}


def judge(
    address: IpAddress | str, helo: str, mail_from: str = "", *, receiver: str = "unknown", now: int = 0
) -> Decision[Verdict]:
    """Judge the identity of one transaction: the domain of `mail_from`, or of `helo` where that is empty.

    `mail_from` is the reverse path without angle brackets; `receiver` and `now` (seconds since 1970) appear only in
    explanations. Addresses that are IPv4 mapped into IPv6 count as IPv4 (RFC 7208 section 5).
    """
    if not mail_from or mail_from == "<>":
        # RFC 7208 section 2.4: the null reverse path stands for postmaster at the HELO name
        return check_host(address, helo, f"postmaster@{helo}", helo, Identity.HELO, receiver=receiver, now=now)
    domain = mail_from.rpartition("@")[2]
    return check_host(address, domain, mail_from, helo, Identity.MAIL_FROM, receiver=receiver, now=now)


def check_host(
    address: IpAddress | str,
    domain: str,
    sender: str,
    helo: str,
    identity: Identity = Identity.MAIL_FROM,
    *,
    receiver: str = "unknown",
    now: int = 0,
    limits: Limits | None = None,
) -> Decision[Verdict]:
    """Evaluate the policy of `domain` for a sender and an address (RFC 7208 section 4.1)."""
    address = _unmapped(address)
    name = _checkable(domain)
    if not name:
        reason = f"{domain!r} is no domain name with at least two labels, so nothing can be asked of it"
        return Verdict(Result.NONE, identity, domain, address, reason)
    local_part, _, sender_domain = sender.rpartition("@")
    values = MacroValues(
        address, local_part or "postmaster", _checkable(sender_domain) or name, name, helo, receiver, now
    )
    evaluation = _Evaluation(values, limits or Limits())
    try:
        result = yield from evaluation.check_host(name)
    except _Stopped as stop:
        result = stop.result
        evaluation.reason = stop.reason
    if result is Result.FAIL:
        yield from evaluation.explain()
    return Verdict(
        result,
        identity,
        name,
        address,
        evaluation.reason,
        evaluation.explanation,
        evaluation.lookups,
        evaluation.voids,
        evaluation.matched,
        evaluation.blamed,
        tuple(evaluation.trace),
    )


_parsed = functools.lru_cache(maxsize=4096)(ipaddress.ip_address)  # of one client, each message asks anew


def _unmapped(address: IpAddress | str) -> IpAddress:
    parsed = _parsed(address) if isinstance(address, str) else address
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


def _checkable(domain: str) -> str:
    """Return the name as A-labels, or nothing where RFC 7208 section 4.3 says there is nothing to check."""
    try:
        name = domain.lower().removesuffix(".") if domain.isascii() else domains.to_ascii(domain, underscores=True)
    except Malformed:
        return ""
    return name if "." in name and _is_askable(name) and not name.startswith("[") else ""


def _is_askable(name: str) -> bool:
    return 0 < len(name) <= 253 and all(0 < len(label) < 64 for label in name.split("."))


class _Stopped(Exception):
    """The whole evaluation ends here, whatever includes it is in."""

    def __init__(self, result: Result, reason: str) -> None:
        self.result = result
        self.reason = reason
        super().__init__(reason)


class _Evaluation:
    """The state that all records of one check share: counters, trace, and what was found."""

    def __init__(self, values: MacroValues, limits: Limits) -> None:
        self.values = values
        self.limits = limits
        self.lookups = 0
        self.voids = 0
        self.trace: list[TermTrace] = []
        self.blamed: tuple[str, ...] = ()
        self.reason = ""
        self.explanation = ""
        self.matched = ""
        self._explained_by: tuple[MacroString, str] | None = None
        self._validated: tuple[str, ...] | None = None
        address = values.address
        self._number = int(address)
        self._width = address.max_prefixlen
        self._address_type = "A" if address.version == 4 else "AAAA"

    def check_host(self, domain: str, path: tuple[str, ...] = ()) -> Decision[Result]:
        """Evaluate the record of one name, reached by way of `path`; the reason is left in `reason`."""
        path = (*path, domain)
        found = yield from self._record(path)
        if found is None:
            self.reason = f"{domain} publishes no SPF record"
            return Result.NONE
        for mechanism in found.mechanisms:
            matches = yield from self._matches(mechanism, path)
            if matches:
                self.reason = f"{self.values.address} matches {mechanism.text!r} in the record of {domain}"
                self.matched = mechanism.text
                self.blamed = path
                self._explained_by = (found.explanation, domain) if found.explanation else None
                return _OF_QUALIFIER[mechanism.qualifier]
        if found.redirect is not None:
            result = yield from self._redirect(found.redirect, path)
            if result is not Result.NONE:
                return result
        self.reason = f"no term of the record of {domain} matches {self.values.address}"
        self.blamed = path
        return Result.NEUTRAL  # RFC 7208 section 4.7

    def _record(self, path: tuple[str, ...]) -> Decision[Record | None]:
        domain = path[-1]
        answer = yield from ask(Question(domain, "TXT"))
        if answer.outcome is Outcome.FAILED:
            self._stop(Result.TEMPERROR, f"the record of {domain} could not be looked up: {answer.reason}", path)
        records = record.select(answer.records)
        if len(records) > 1:  # RFC 7208 section 4.5
            self._stop(Result.PERMERROR, f"{domain} publishes {len(records)} SPF records; one is right", path)
        try:
            return record.parse(records[0]) if records else None
        except Malformed as error:
            self._stop(Result.PERMERROR, f"the record of {domain} is wrong: {error}", path)

    def _redirect(self, target: MacroString, path: tuple[str, ...]) -> Decision[Result]:
        term = f"redirect={target.text}"
        self._count_lookup(term, path)
        name = yield from self._expand(target, path[-1])
        self._note(path, term, f"continues with {name}")
        if not name:
            return Result.NONE
        result = (yield from self.check_host(name, path)) if _is_askable(name) else Result.NONE
        if result is Result.NONE:  # RFC 7208 section 6.1
            self._stop(Result.PERMERROR, f"{path[-1]} redirects to {name}, which has no SPF record", (*path, name))
        return result

    def _matches(self, mechanism: Mechanism, path: tuple[str, ...]) -> Decision[bool]:
        if mechanism.needs_lookup:
            self._count_lookup(mechanism.text, path)
        match mechanism.name:
            case "all":
                matches = True
            case "ip4" | "ip6":
                matches = (
                    mechanism.version == self.values.address.version
                    and self._number & mechanism.mask == mechanism.network
                )
            case "include":
                return (yield from self._include(mechanism, path))
            case "a":
                name = yield from self._target(mechanism, path)
                matches = yield from self._has_address((name,), mechanism, path)
            case "mx":
                matches = yield from self._mx(mechanism, path)
            case "ptr":
                matches = yield from self._ptr(mechanism, path)
            case _:
                matches = yield from self._exists(mechanism, path)
        self._note(path, mechanism.text, "match" if matches else "no match")
        return matches

    def _include(self, mechanism: Mechanism, path: tuple[str, ...]) -> Decision[bool]:
        name = yield from self._target(mechanism, path)
        place = len(self.trace)
        if not name:
            self._note(path, mechanism.text, "no match: the local part is not ASCII")
            return False
        result = (yield from self.check_host(name, path)) if _is_askable(name) else Result.NONE
        if result is Result.NONE:  # RFC 7208 section 5.2
            self._stop(Result.PERMERROR, f"{path[-1]} includes {name}, which has no SPF record", (*path, name))
        finding = f"{result.value}: {'match' if result is Result.PASS else 'no match'}"
        self.trace.insert(place, TermTrace(len(path) - 1, path[-1], mechanism.text, finding, self.lookups))
        return result is Result.PASS

    def _mx(self, mechanism: Mechanism, path: tuple[str, ...]) -> Decision[bool]:
        name = yield from self._target(mechanism, path)
        answer = yield from self._ask(name, "MX", mechanism, path)
        exchanges = [r.exchange for r in answer.records if isinstance(r, Mx)] if answer else []
        if len(exchanges) > self.limits.address_lookups:
            problem = f"{mechanism.text!r} of {path[-1]} leads to {len(exchanges)} mail exchangers"
            self._stop(Result.PERMERROR, f"{problem}; {self.limits.address_lookups} are allowed", path)
        return (yield from self._has_address(tuple(exchange for exchange in exchanges if exchange), mechanism, path))

    def _has_address(self, names: tuple[str, ...], mechanism: Mechanism, path: tuple[str, ...]) -> Decision[bool]:
        names = tuple(name for name in names if _is_askable(name))
        answers = yield from ask_all(tuple(Question(name, self._address_type) for name in names))
        prefix = mechanism.prefix4 if self._width == 32 else mechanism.prefix6
        shift = self._width - prefix
        for answer in answers:
            self._judge(answer, mechanism.text, path)
            for found in answer.records:
                if isinstance(found, A | Aaaa):
                    number = int(ipaddress.ip_address(found.address))
                    if number >> shift == self._number >> shift:
                        return True
        return False

    def _exists(self, mechanism: Mechanism, path: tuple[str, ...]) -> Decision[bool]:
        name = yield from self._target(mechanism, path)
        # RFC 7208 section 5.7: the type is A even where the connection is IPv6
        answer = yield from self._ask(name, "A", mechanism, path)
        return answer is not None and any(isinstance(found, A) for found in answer.records)

    def _ptr(self, mechanism: Mechanism, path: tuple[str, ...]) -> Decision[bool]:
        name = yield from self._target(mechanism, path)
        validated = yield from self._validated_names()
        return any(domains.is_within(host, name) for host in validated)

    def _ask(self, name: str, type_: str, mechanism: Mechanism, path: tuple[str, ...]) -> Decision[Answer | None]:
        if not _is_askable(name):
            return None
        answer = yield from ask(Question(name, type_))
        self._judge(answer, mechanism.text, path)
        return answer

    def _judge(self, answer: Answer, term: str, path: tuple[str, ...]) -> None:
        """Stop where nothing is known, count what is void."""
        if answer.outcome is Outcome.FAILED:
            what = f"{term!r} of {path[-1]} needs {answer.question.name} {answer.question.type}"
            self._stop(Result.TEMPERROR, f"{what}, which could not be looked up: {answer.reason}", path)
        if not answer.records:
            self.voids += 1
            if self.voids > self.limits.void_lookups:
                problem = f"{term!r} of {path[-1]} is void look-up number {self.voids}"
                self._stop(Result.PERMERROR, f"{problem}; {self.limits.void_lookups} are allowed", path)

    def _target(self, mechanism: Mechanism, path: tuple[str, ...]) -> Decision[str]:
        if mechanism.domain is None:
            return path[-1]
        return (yield from self._expand(mechanism.domain, path[-1]))

    def _expand(self, string: MacroString, domain: str) -> Decision[str]:
        if not string.letters:
            return macro.expand_domain(string, self.values)
        if string.letters & {"l", "s"} and not self.values.local_part.isascii():
            return ""  # RFC 8616 section 4: such a macro never matches
        values = yield from self._values_for(string, domain)
        return macro.expand_domain(string, values)

    def _values_for(self, string: MacroString, domain: str) -> Decision[MacroValues]:
        if "p" not in string.letters:
            return dataclasses.replace(self.values, domain=domain)
        hosts = yield from self._validated_names()
        # RFC 7208 section 7.3: the domain itself, then a name below it, then any
        ranked = sorted(hosts, key=lambda host: 0 if host == domain else 1 if domains.is_within(host, domain) else 2)
        return dataclasses.replace(self.values, domain=domain, validated_name=ranked[0] if ranked else "unknown")

    def _validated_names(self) -> Decision[tuple[str, ...]]:
        """Return the names behind the address that lead back to it (RFC 7208 section 5.5)."""
        if self._validated is None:
            pointer = yield from ask(Question(macro.reverse_name(self.values.address), "PTR"))
            hosts = [r.target.lower() for r in pointer.records if isinstance(r, Ptr)][: self.limits.address_lookups]
            hosts = [host for host in hosts if _is_askable(host)]
            answers = yield from ask_all(tuple(Question(host, self._address_type) for host in hosts))
            own = str(self.values.address)
            self._validated = tuple(
                host
                for host, answer in zip(hosts, answers, strict=True)
                if any(isinstance(r, A | Aaaa) and r.address.lower() == own for r in answer.records)
            )
        return self._validated

    def explain(self) -> Decision[None]:
        """Fetch and expand the explanation of the record that failed; whatever is wrong with it, there is none."""
        if self._explained_by is None:
            return
        string, domain = self._explained_by
        name = yield from self._expand(string, domain)
        if not _is_askable(name):
            return
        answer = yield from ask(Question(name, "TXT"))
        texts = [found.joined for found in answer.records if isinstance(found, Txt)]
        if len(texts) != 1:  # RFC 7208 section 6.2
            return
        try:
            text = macro.parse(texts[0].decode("ascii"), explanation=True)
        except (UnicodeDecodeError, Malformed):
            return
        values = yield from self._values_for(text, domain)
        self.explanation = macro.expand(text, values)

    def _count_lookup(self, term: str, path: tuple[str, ...]) -> None:
        self.lookups += 1
        if self.lookups > self.limits.lookups:
            problem = f"{term!r} of {path[-1]} would be look-up number {self.lookups}"
            self._stop(Result.PERMERROR, f"{problem}; {self.limits.lookups} are allowed", path)

    def _note(self, path: tuple[str, ...], term: str, finding: str) -> None:
        self.trace.append(TermTrace(len(path) - 1, path[-1], term, finding, self.lookups))

    def _stop(self, result: Result, reason: str, path: tuple[str, ...]) -> NoReturn:
        self.blamed = path
        raise _Stopped(result, reason)
