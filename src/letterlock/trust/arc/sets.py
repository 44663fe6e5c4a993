"""ARC sets: the three fields each handler adds, found, numbered and checked for their structure.

Standards: RFC 8617 section 4.1 (the fields), section 4.2 (instances), section 5.2 (structure).
Limits: fifty sets (RFC 8617 section 4.2.1).
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from letterlock.errors import Malformed
from letterlock.formats import authentication_results, tag_list
from letterlock.formats.authentication_results import AuthenticationResults
from letterlock.trust.dkim import signature as signature_field
from letterlock.trust.dkim.fields import Field, Fields
from letterlock.trust.dkim.signature import Signature

MOST_SETS = 50
_INSTANCE = re.compile(r"[1-9][0-9]?")
_AAR_INSTANCE = re.compile(rb"[ \t\r\n]*i[ \t\r\n]*=[ \t\r\n]*([1-9][0-9]?)[ \t\r\n]*;", re.IGNORECASE)
_NAMES = (b"arc-authentication-results", b"arc-message-signature", b"arc-seal")


class ChainValidation(enum.Enum):
    """What a handler found of the chain before it (cv=)."""

    NONE = "none"
    PASS = "pass"  # noqa: S105 - a result, no password
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Seal:
    """An ARC-Seal field as a value."""

    algorithm: str
    chain_validation: ChainValidation
    domain: str
    selector: str
    signature: bytes
    timestamp: int | None = None

    @property
    def key_name(self) -> str:
        """Where the public key is published."""
        return f"{self.selector}._domainkey.{self.domain}"


@dataclass(frozen=True, slots=True)
class ArcSet:
    """The three fields of one instance, as they stand and as they read."""

    instance: int
    results_field: Field
    message_signature_field: Field
    seal_field: Field
    message_signature: Signature
    seal: Seal

    @property
    def results(self) -> AuthenticationResults | None:
        """What the handler found, or None where its field cannot be read; it is only as good as the chain."""
        match = _AAR_INSTANCE.match(self.results_field.value)
        try:
            return authentication_results.parse(self.results_field.value[match.end() :]) if match else None
        except Malformed:
            return None


def collect(fields: Fields) -> tuple[ArcSet, ...]:
    """Return all sets in order of instance, none where there is no ARC field. Raises Malformed for a broken chain."""
    by_instance: dict[int, dict[bytes, Field]] = {}
    for name in _NAMES:
        for field in fields.named(name):
            kinds = by_instance.setdefault(_instance(field), {})
            if name in kinds:
                raise Malformed(f"instance {_instance(field)} has two {name.decode()} fields", clause=_STRUCTURE)
            kinds[name] = field
    count = len(by_instance)
    if count > MOST_SETS or set(by_instance) != set(range(1, count + 1)):
        raise Malformed("the instances are not 1 to 50 without a gap", clause=_STRUCTURE)
    return tuple(_set(instance, by_instance[instance]) for instance in range(1, count + 1))


_STRUCTURE = "RFC 8617 section 5.2"


def _set(instance: int, kinds: dict[bytes, Field]) -> ArcSet:
    missing = [name.decode() for name in _NAMES if name not in kinds]
    if missing:
        raise Malformed(f"instance {instance} has no {missing[0]}", clause=_STRUCTURE)
    results, message_signature, seal = (kinds[name] for name in _NAMES)
    return ArcSet(
        instance, results, message_signature, seal, _message_signature(message_signature), _seal(seal, instance)
    )


def _instance(field: Field) -> int:
    if field.name == _NAMES[0]:
        match = _AAR_INSTANCE.match(field.value)
        if match is None:
            raise Malformed("ARC-Authentication-Results does not begin with i=", clause="RFC 8617 section 4.1.1")
        return int(match[1])
    text = tag_list.parse(field.value).get("i", "")
    if not _INSTANCE.fullmatch(text):
        raise Malformed(f"i={text[:20]} is no instance", clause="RFC 8617 section 4.2.1")
    return int(text)


def _message_signature(field: Field) -> Signature:
    tags = tag_list.parse(field.value)
    missing = [name for name in ("a", "b", "bh", "d", "h", "s") if not tags.get(name)]
    if missing:
        raise Malformed(f"{missing[0]}= is missing or empty", clause="RFC 8617 section 4.1.2")
    if "l" in tags or "v" in tags:
        raise Malformed("ARC-Message-Signature has neither l= nor v=", clause="RFC 8617 section 4.1.2")
    parsed = signature_field.from_tags({name: value for name, value in tags.items() if name != "i"})
    if "arc-seal" in parsed.headers:  # RFC 8617 section 4.1.2
        raise Malformed("ARC-Message-Signature signs ARC-Seal", clause="RFC 8617 section 4.1.2")
    return parsed


def _seal(field: Field, instance: int) -> Seal:
    clause = "RFC 8617 section 4.1.3"
    tags = tag_list.parse(field.value)
    missing = [name for name in ("a", "b", "cv", "d", "s") if not tags.get(name)]
    if missing:
        raise Malformed(f"{missing[0]}= is missing or empty", clause=clause)
    if "h" in tags:
        raise Malformed("ARC-Seal has no h=", clause=clause)
    algorithm = tags["a"].lower()
    if algorithm not in signature_field.ALGORITHMS:
        raise Malformed(f"the algorithm {algorithm[:40]!r} is not known", clause=clause)
    try:
        validation = ChainValidation(tags["cv"].lower())
    except ValueError:
        raise Malformed(f"cv={tags['cv'][:20]} is not known", clause=clause) from None
    if instance == 1 and validation is ChainValidation.PASS:
        raise Malformed("the first seal says cv=pass", clause=_STRUCTURE)
    if instance > 1 and validation is ChainValidation.NONE:
        raise Malformed(f"seal {instance} says cv=none", clause=_STRUCTURE)
    timestamp = tags.get("t", "")
    return Seal(
        algorithm,
        validation,
        signature_field.key_domain(tags["d"]),
        signature_field.key_domain(tags["s"]),
        signature_field.base64(tags["b"]),
        int(timestamp) if timestamp.isdigit() and len(timestamp) <= 12 else None,
    )
