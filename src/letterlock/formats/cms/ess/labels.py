"""Security labels: how sensitive a content is, under which policy, for whom.

Standards: RFC 2634 sections 3.2 (label) and 3.4 (equivalent labels).
Limits: 64 categories, 64 equivalent labels, marks of 128 characters.
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats.asn1 import tags, writer
from letterlock.formats.asn1.reader import Element, Fields

MAX_CATEGORIES = 64
_CLAUSE = "RFC 2634 section 3.2"
CLASSIFICATIONS = ("unmarked", "unclassified", "restricted", "confidential", "secret", "top-secret")


@dataclass(frozen=True, slots=True)
class SecurityLabel:
    """An ESSSecurityLabel; `classification` None leaves it out, `categories` are pairs of type and encoded value."""

    policy: str
    classification: int | None = None
    privacy_mark: str = ""
    categories: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def parse(cls, element: Element) -> SecurityLabel:
        """Read an ESSSecurityLabel, a SET in any order; raises Malformed."""
        policy, classification, mark = "", None, ""
        categories: tuple[tuple[str, bytes], ...] = ()
        for child in element.expect(tags.SET).children():
            match child.tag:
                case tags.OBJECT_IDENTIFIER if not policy:
                    policy = child.oid()
                case tags.INTEGER if classification is None:
                    classification = child.integer()
                case tags.PRINTABLE_STRING | tags.UTF8_STRING if not mark:
                    mark = child.text()
                case tags.SET if not categories:
                    categories = tuple(map(_parse_category, child.children()))
                case _:
                    raise child.fault("an element too many in a security label", _CLAUSE)
        if not policy:
            raise element.fault("a security label without its policy", _CLAUSE)
        if not 0 <= (classification or 0) <= 256 or len(mark) > 128 or len(categories) > MAX_CATEGORIES:
            raise element.fault("a security label out of bounds", _CLAUSE)
        return cls(policy, classification, mark, categories)

    def encode(self) -> bytes:
        """Return the DER."""
        parts = [writer.oid(self.policy)]
        if self.classification is not None:
            parts.append(writer.integer(self.classification))
        if self.privacy_mark:
            parts.append(writer.utf8_string(self.privacy_mark))
        if self.categories:
            encoded = [
                writer.sequence(writer.implicit(0, writer.oid(oid)), writer.explicit(1, value))
                for oid, value in self.categories
            ]
            parts.append(writer.set_of(encoded))
        return writer.set_of(parts)

    def __str__(self) -> str:
        number = self.classification
        name = "" if number is None else CLASSIFICATIONS[number] if number < len(CLASSIFICATIONS) else str(number)
        return " ".join(filter(None, (name, self.privacy_mark, f"(policy {self.policy})")))


def _parse_category(element: Element) -> tuple[str, bytes]:
    fields = Fields(element)
    oid = fields.take(tags.context(0)).retagged(tags.OBJECT_IDENTIFIER).oid()
    value = fields.take(tags.context(1)).only_child().encoded
    fields.finish()
    return oid, value


def parse_equivalent(element: Element) -> tuple[SecurityLabel, ...]:
    """Read EquivalentLabels: what the label is called under other policies; raises Malformed."""
    found = tuple(SecurityLabel.parse(child) for child in element.expect(tags.SEQUENCE).children())
    if len(found) > MAX_CATEGORIES:
        raise Malformed(f"more than {MAX_CATEGORIES} equivalent labels", clause="RFC 2634 section 3.4")
    return found


def encode_equivalent(labels: tuple[SecurityLabel, ...]) -> bytes:
    """Return EquivalentLabels in DER."""
    return writer.sequence(*(label.encode() for label in labels))
