"""Security labels: who may read what, by a policy file of the domain.

A label under a policy nobody here knows is not readable, unless one of its equivalents is under a policy that is known
and the signature that equates them is the label's own.

Standards: RFC 2634 sections 3.1 to 3.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from letterlock.errors import Malformed, SettingsFault
from letterlock.formats.asn1 import oids
from letterlock.formats.cms.attributes import Attribute, Attributes
from letterlock.formats.cms.ess.labels import SecurityLabel, encode_equivalent, parse_equivalent
from letterlock.trust.pkix.smime_profile import comparable


@dataclass(frozen=True, slots=True)
class Clearance:
    """Up to which classification somebody may read, and which categories (by their object identifiers)."""

    classification: int
    categories: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LabelPolicy:
    """One security policy: its name and the clearances by address or, as "@domain", for everybody of a domain."""

    oid: str
    name: str
    clearances: Mapping[str, Clearance] = field(default_factory=dict)

    def clearance(self, address: str) -> Clearance | None:
        """Return the clearance of an address: its own, else its domain's."""
        own = comparable(address).casefold()
        found = self.clearances.get(own)
        return found if found is not None else self.clearances.get("@" + own.rpartition("@")[2])


@dataclass(frozen=True, slots=True)
class Reading:
    """Whether somebody may read a message, and why."""

    allowed: bool
    reason: str


def policies_of(value: object) -> dict[str, LabelPolicy]:
    """Read a policy file's content, as TOML gives it: a table [policy.NAME] with `oid` and `clearances`.

    Raises SettingsFault with every mistake.
    """
    problems: list[str] = []
    found: dict[str, LabelPolicy] = {}
    tables = value.get("policy") if isinstance(value, dict) else None
    if not isinstance(tables, dict):
        raise SettingsFault(("a label policy file has tables [policy.NAME] with oid and clearances",))
    for name, table in tables.items():
        oid = table.get("oid") if isinstance(table, dict) else None
        entries = table.get("clearances", {}) if isinstance(table, dict) else None
        if not isinstance(oid, str) or not isinstance(entries, dict):
            problems.append(f'[policy.{name}] needs oid = "1.2.3" and a table clearances')
            continue
        clearances = {}
        for who, entry in entries.items():
            level = entry.get("classification") if isinstance(entry, dict) else entry
            categories = entry.get("categories", []) if isinstance(entry, dict) else []
            if not isinstance(level, int) or not isinstance(categories, list):
                problems.append(f"[policy.{name}.clearances] {who}: give a classification from 0 to 256")
                continue
            clearances[who.casefold()] = Clearance(level, frozenset(map(str, categories)))
        found[oid] = LabelPolicy(oid, name, clearances)
    if problems:
        raise SettingsFault(tuple(problems))
    return found


def attributes(label: SecurityLabel, equivalent: tuple[SecurityLabel, ...] = ()) -> tuple[Attribute, ...]:
    """Return the signed attributes that carry a label and what it is called elsewhere."""
    made = [Attribute.of(oids.SECURITY_LABEL, label.encode())]
    if equivalent:
        made.append(Attribute.of(oids.EQUIVALENT_LABELS, encode_equivalent(equivalent)))
    return tuple(made)


def labels_of(signed: Attributes) -> tuple[SecurityLabel | None, tuple[SecurityLabel, ...]]:
    """Return the label of a signature and its equivalents; raises Malformed."""
    label, equivalent = signed.first(oids.SECURITY_LABEL), signed.first(oids.EQUIVALENT_LABELS)
    return (
        None if label is None else SecurityLabel.parse(label),
        () if equivalent is None else parse_equivalent(equivalent),
    )


def may_read(signatures: tuple[Attributes, ...], reader: str, policies: Mapping[str, LabelPolicy]) -> Reading:
    """Decide whether `reader` may read a message with these signatures' attributes.

    All signatures must carry the same label (RFC 2634 section 3.1.2), and an unreadable label is one nobody may read.
    """
    try:
        found = [labels_of(each) for each in signatures]
    except Malformed as error:
        return Reading(False, f"the security label cannot be read: {error}")
    labels = [label for label, _equivalent in found if label is not None]
    if not labels:
        return Reading(True, "the message has no security label")
    if any(label != labels[0] for label in labels):
        return Reading(False, "the signatures carry different security labels")
    equivalents = next(equivalent for label, equivalent in found if label is not None)
    for label in (labels[0], *equivalents):
        policy = policies.get(label.policy)
        if policy is not None:
            return _judge(label, policy, reader)
    return Reading(False, f"the label {labels[0]} is of a policy not known here")


def _judge(label: SecurityLabel, policy: LabelPolicy, reader: str) -> Reading:
    clearance = policy.clearance(reader)
    if clearance is None:
        return Reading(False, f"{reader} has no clearance under the policy {policy.name}")
    if (label.classification or 0) > clearance.classification:
        return Reading(False, f"{reader} is not cleared for {label}")
    lacking = {oid for oid, _value in label.categories} - clearance.categories
    if lacking:
        return Reading(False, f"{reader} is not cleared for the category {min(lacking)}")
    return Reading(True, f"{reader} is cleared for {label}")
