"""Security labels: who may read what, by a policy file of the domain.

A label under a policy nobody here knows is not readable, unless one of its equivalents is under a policy that is known
and the signature that equates them is the label's own. A label whose signature does not hold restricts as well: whoever
spoilt the signature must not widen the circle of readers.

Standards: RFC 2634 sections 3.1 to 3.4.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from letterlock.errors import Malformed, OurFault, SettingsFault
from letterlock.formats.asn1 import oids
from letterlock.formats.cms.attributes import Attribute, Attributes
from letterlock.formats.cms.ess.labels import CLASSIFICATIONS, SecurityLabel, encode_equivalent, parse_equivalent
from letterlock.trust.pkix.smime_profile import comparable
from letterlock.trust.smime.unwrap import Layer, SignedLayer
from letterlock.trust.smime.verify import Check


@dataclass(frozen=True, slots=True)
class Clearance:
    """Up to which classification somebody may read, and which categories (by their object identifiers)."""

    classification: int
    categories: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LabelPolicy:
    """One security policy: its name and the clearances by address or, as "@domain", for everybody of a domain.

    `refuses` tells whether mail beyond somebody's clearance is refused; else it is delivered unopened.
    """

    oid: str
    name: str
    clearances: Mapping[str, Clearance] = field(default_factory=dict)
    refuses: bool = True

    def clearance(self, address: str) -> Clearance | None:
        """Return the clearance of an address: its own, else its domain's."""
        own = comparable(address).casefold()
        found = self.clearances.get(own)
        return found if found is not None else self.clearances.get("@" + own.rpartition("@")[2])


@dataclass(frozen=True, slots=True)
class LabelRules:
    """All policies of a domain, and whether mail under a policy it does not know is refused."""

    policies: Mapping[str, LabelPolicy] = field(default_factory=dict)
    refuses_unknown: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """Whether somebody may read a message, and why; `refused` where the policy wants it not even delivered."""

    allowed: bool
    reason: str
    refused: bool = False


def rules_of(value: object) -> LabelRules:
    """Read a whole policy file's content: the policies, and at its top `unknown`, "refuse" (without it) or "deliver".

    Raises SettingsFault with every mistake.
    """
    policies = policies_of(value)
    unknown = value.get("unknown", "refuse") if isinstance(value, dict) else None
    if unknown not in _BEYOND:
        raise SettingsFault(('unknown: write "refuse" or "deliver"',))
    return LabelRules(policies, unknown == "refuse")


def policies_of(value: object) -> dict[str, LabelPolicy]:
    """Read a policy file's content, as TOML gives it: tables [policy.NAME] with `oid`, `clearances` and, perhaps, `beyond`.

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
        beyond = table.get("beyond", "refuse")
        if beyond not in _BEYOND:
            problems.append(f'[policy.{name}] beyond: write "refuse" or "deliver"')
        clearances = {}
        for who, entry in entries.items():
            level = entry.get("classification") if isinstance(entry, dict) else entry
            categories = entry.get("categories", []) if isinstance(entry, dict) else []
            if not isinstance(level, int) or not isinstance(categories, list):
                problems.append(f"[policy.{name}.clearances] {who}: give a classification from 0 to 256")
                continue
            clearances[who.casefold()] = Clearance(level, frozenset(map(str, categories)))
        found[oid] = LabelPolicy(oid, name, clearances, beyond == "refuse")
    if problems:
        raise SettingsFault(tuple(problems))
    return found


_BEYOND = ("refuse", "deliver")


def label_of(text: str, policies: Mapping[str, LabelPolicy]) -> SecurityLabel:
    """Read POLICY, POLICY:CLASSIFICATION or POLICY:CLASSIFICATION:MARK.

    POLICY is a name in the policy file or an object identifier, CLASSIFICATION a number from 0 to 256 or one of the
    standard's words (RFC 2634 section 3.2). Raises OurFault with what is wrong.
    """
    name, _, rest = text.partition(":")
    level, _, mark = rest.partition(":")
    oid = next((each.oid for each in policies.values() if each.name == name), name)
    if not re.fullmatch(r"[0-2](\.\d+)+", oid):
        known = ", ".join(sorted(each.name for each in policies.values())) or "none, without a policy file"
        raise OurFault(f"{name!r} is neither an object identifier nor a policy known here ({known})")
    if level and not level.isdecimal() and level not in CLASSIFICATIONS:
        raise OurFault(f"{level!r} is no classification: a number, or one of {', '.join(CLASSIFICATIONS)}")
    number = int(level) if level.isdecimal() else CLASSIFICATIONS.index(level) if level else None
    if (number or 0) > 256 or len(mark) > 128:
        raise OurFault("a classification is at most 256, and a mark has at most 128 characters")
    return SecurityLabel(oid, number, mark)


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
    return may_read_label(labels[0], equivalents, reader, policies)


def may_read_label(
    label: SecurityLabel, equivalents: tuple[SecurityLabel, ...], reader: str, policies: Mapping[str, LabelPolicy]
) -> Reading:
    """Decide whether `reader` may read what has a label, by the first policy known of it and its equivalents."""
    for each in (label, *equivalents):
        policy = policies.get(each.policy)
        if policy is not None:
            return _judge(each, policy, reader)
    return Reading(False, f"the label {label} is of a policy not known here")


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


def may_read_layers(layers: Iterable[Layer], reader: str, rules: LabelRules) -> Reading:
    """Decide whether `reader` may read a message of these layers: every label of every layer must allow it."""
    last = Reading(True, "the message has no security label")
    for layer in layers:
        if isinstance(layer, SignedLayer):
            reading = may_read(tuple(map(_attributes_of, layer.checks)), reader, rules.policies)
            if not reading.allowed:
                return dataclasses.replace(reading, refused=_refuses(layer, rules))
            if any(check.signer.signed.first(oids.SECURITY_LABEL) is not None for check in layer.checks):
                last = reading
    return last


def _attributes_of(check: Check) -> Attributes:
    """Return what a signature says of labels; what equates them counts only where it holds."""
    if check.good:
        return check.signer.signed
    return Attributes(tuple(item for item in check.signer.signed.items if item.type != oids.EQUIVALENT_LABELS))


def _refuses(layer: SignedLayer, rules: LabelRules) -> bool:
    """Tell whether mail with the labels of a layer is refused: where any policy of them says so, or none is known."""
    known = []
    for check in layer.checks:
        try:
            label, equivalent = labels_of(_attributes_of(check))
        except Malformed:
            return True
        known += [
            rules.policies[each.policy] for each in (label, *equivalent) if each and each.policy in rules.policies
        ]
    return any(policy.refuses for policy in known) if known else rules.refuses_unknown
