"""Who sends as us? The records of aggregate reports, gathered by sender and sorted into four groups.

A sender is named by what it proves: the domain that passes SPF or DKIM, else the network of its address. It is

- ours and right, where DMARC passes;
- ours and misconfigured, where it is authenticated by its own name or sits beside our own servers, and DMARC fails;
- a forwarder, where our signature was on the message and broke, or a receiver says so;
- a stranger otherwise.

Standards: RFC 9989 section 5.1.5 and 5.1.6, appendix B.5 (what reports are for).
"""

from __future__ import annotations

import enum
import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from letterlock.formats import domain as domains
from letterlock.formats.reports.dmarc_aggregate import Record
from letterlock.postmaster.report_store import StoredRow

_FORWARDING = frozenset(("forwarded", "trusted_forwarder", "mailing_list"))
_STEADY_MESSAGES = 5
_STEADY_REPORTERS = 2


class Group(enum.Enum):
    """What a sender is to us."""

    RIGHT = "ours and right"
    MISCONFIGURED = "ours and misconfigured"
    FORWARDER = "forwarder"
    STRANGER = "stranger"


@dataclass(slots=True)
class Sender:
    """One sender: how much it sent, how much of it passed, from where, and who says so."""

    name: str
    group: Group
    messages: int = 0
    dkim_aligned: int = 0
    spf_aligned: int = 0
    refused: int = 0
    addresses: set[str] = field(default_factory=set)
    reporters: set[str] = field(default_factory=set)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """All senders, the largest first, and the span the reports cover."""

    domain: str
    senders: tuple[Sender, ...]
    days: int
    reporters: int

    def messages(self, *groups: Group) -> int:
        """Return how many messages the senders of some groups sent."""
        return sum(sender.messages for sender in self.senders if sender.group in groups)


def view(domain: str, rows: Iterable[StoredRow], known_senders: Iterable[str] = ()) -> View:
    """Return who sends as `domain`; `known_senders` are domains of providers that send on its behalf."""
    kept = list(rows)
    ours = {_network(row.record.source_ip) for row in kept if row.record.is_pass and _is_direct(row.record)}
    steady = _steady(kept)
    known = tuple(known_senders)
    found: dict[tuple[str, Group], Sender] = {}
    for row in kept:
        group, problem = _classify(row.record, ours, steady, known)
        name = _name(row.record, group)
        sender = found.setdefault((name, group), Sender(name, group, problem=problem))
        record = row.record
        sender.messages += record.messages
        sender.dkim_aligned += record.messages if record.dkim == "pass" else 0
        sender.spf_aligned += record.messages if record.spf == "pass" else 0
        sender.refused += record.messages if record.disposition in ("reject", "quarantine") else 0
        sender.addresses.add(record.source_ip)
        sender.reporters.add(row.organization)
    ranked = sorted(found.values(), key=lambda sender: (-sender.messages, sender.name))
    days = (max(row.end for row in kept) - min(row.begin for row in kept) + 43_200) // 86_400 if kept else 0
    return View(domain, tuple(ranked), days, len({row.organization for row in kept}))


def _steady(rows: list[StoredRow]) -> set[str]:
    """Return the authenticated names that send as us often, and to several receivers: hardly a passing forger."""
    messages: defaultdict[str, int] = defaultdict(int)
    reporters: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        for name in _authenticated(row.record):
            messages[name] += row.record.messages
            reporters[name].add(row.organization)
    return {
        name
        for name, count in messages.items()
        if count >= _STEADY_MESSAGES and len(reporters[name]) >= _STEADY_REPORTERS
    }


def _authenticated(record: Record) -> list[str]:
    """Return the domains that pass by themselves, DKIM first."""
    names = [one.domain for one in record.dkim_results if one.result == "pass"]
    names += [one.domain for one in record.spf_results if one.result == "pass"]
    return list(dict.fromkeys(name for name in names if name))


def _is_direct(record: Record) -> bool:
    """Whether a passing message came from a server of ours and not over a forwarder."""
    return record.spf == "pass"


def _classify(record: Record, ours: set[str], steady: set[str], known: tuple[str, ...]) -> tuple[Group, str]:
    if any(reason.type in _FORWARDING for reason in record.reasons):
        return Group.FORWARDER, "a receiver knows it as a forwarder or list"
    if record.is_pass:
        if record.spf != "pass" and _network(record.source_ip) not in ours and _foreign_envelope(record):
            return Group.FORWARDER, "our signature survived, the envelope is another's"
        return (
            Group.RIGHT,
            "" if record.dkim == "pass" else "passes by SPF alone: forwarding will break it; sign it, too",
        )
    names = _authenticated(record)
    if any(domains.is_within(name, provider) for name in names for provider in known):
        return Group.MISCONFIGURED, "sends for us by its own name; have it sign as our domain"
    if _network(record.source_ip) in ours:
        return Group.MISCONFIGURED, "sits beside our servers, but neither SPF nor DKIM passes for us"
    if any(one.result != "pass" and _same_organization(one.domain, record.header_from) for one in record.dkim_results):
        return Group.FORWARDER, "our signature was on it and no longer verifies"
    if any(name in steady for name in names):
        return Group.MISCONFIGURED, "sends steadily by its own name; if it is ours, have it sign as our domain"
    return Group.STRANGER, "nothing about it is ours"


def _foreign_envelope(record: Record) -> bool:
    envelope = record.envelope_from or (record.spf_results[0].domain if record.spf_results else "")
    return bool(envelope) and not _same_organization(envelope, record.header_from)


def _same_organization(one: str, other: str) -> bool:
    return domains.is_within(one, other) or domains.is_within(other, one)


def _name(record: Record, group: Group) -> str:
    names = _authenticated(record)
    if group is Group.RIGHT:
        aligned = [name for name in names if _same_organization(name, record.header_from)]
        return f"{(aligned or names or [record.header_from])[0]} from {_network(record.source_ip)}"
    return names[0] if names and group is not Group.STRANGER else _network(record.source_ip)


def _network(text: str) -> str:
    """Return the /24 or /64 an address is in, or the text where it is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text[:60] or "unknown"
    length = 24 if address.version == 4 else 64
    return str(ipaddress.ip_network(f"{address}/{length}", strict=False))
