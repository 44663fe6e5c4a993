"""The extensions of certificates that mean something in a path, as one value.

An extension that stands twice is Malformed; one not known here and critical is listed in `unknown_critical`, for the
path validation to refuse.

Standards: RFC 5280 section 4.2, RFC 6960 section 4.2.2.2.1 (OCSP no check).
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Element, Fields
from letterlock.formats.x509.name import GeneralName, Name, parse_general_names


class KeyUsage(enum.Enum):
    """What a key is for, by bit number (RFC 5280 section 4.2.1.3)."""

    DIGITAL_SIGNATURE = 0
    NON_REPUDIATION = 1
    KEY_ENCIPHERMENT = 2
    DATA_ENCIPHERMENT = 3
    KEY_AGREEMENT = 4
    KEY_CERT_SIGN = 5
    CRL_SIGN = 6
    ENCIPHER_ONLY = 7
    DECIPHER_ONLY = 8


@dataclass(frozen=True, slots=True)
class BasicConstraints:
    """Whether the subject is a certification authority, and how many below it may be."""

    ca: bool = False
    path_length: int | None = None


@dataclass(frozen=True, slots=True)
class AuthorityKeyIdentifier:
    """Which key of the issuer signed."""

    key_id: bytes | None = None
    issuer: tuple[GeneralName, ...] = ()
    serial: int | None = None


@dataclass(frozen=True, slots=True)
class NameConstraints:
    """The subtrees in which names of subjects below must and must not lie."""

    permitted: tuple[GeneralName, ...] = ()
    excluded: tuple[GeneralName, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyConstraints:
    """After how many certificates a policy must be explicit, or may no longer be mapped."""

    require_explicit: int | None = None
    inhibit_mapping: int | None = None


@dataclass(frozen=True, slots=True)
class DistributionPoint:
    """Where a revocation list is: a full name or one relative to the issuer, for which reasons, by which issuer."""

    full_name: tuple[GeneralName, ...] = ()
    relative_name: bytes = b""  # the encoded RDN, as a SET
    reasons: frozenset[int] | None = None
    crl_issuer: tuple[GeneralName, ...] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """One entry of authority information access."""

    method: str
    location: GeneralName


class Extensions(msgspec.Struct, frozen=True):
    """The extensions of a certificate; None or empty where one is absent."""

    basic_constraints: BasicConstraints | None = None
    key_usage: frozenset[KeyUsage] | None = None
    extended_key_usage: tuple[str, ...] | None = None
    subject_alt_names: tuple[GeneralName, ...] = ()
    issuer_alt_names: tuple[GeneralName, ...] = ()
    subject_key_id: bytes | None = None
    authority_key_id: AuthorityKeyIdentifier | None = None
    name_constraints: NameConstraints | None = None
    policies: tuple[str, ...] | None = None
    policy_mappings: tuple[tuple[str, str], ...] = ()
    policy_constraints: PolicyConstraints | None = None
    inhibit_any_policy: int | None = None
    crl_distribution_points: tuple[DistributionPoint, ...] = ()
    freshest_crl: tuple[DistributionPoint, ...] = ()
    authority_info_access: tuple[Access, ...] = ()
    smime_capabilities: bytes | None = None
    ocsp_no_check: bool = False
    critical: frozenset[str] = frozenset()
    unknown_critical: tuple[str, ...] = ()
    values: dict[str, bytes] = msgspec.field(default_factory=dict)


def split(element: Element) -> list[tuple[str, bool, Element]]:
    """Return identifier, critical and the OCTET STRING of each extension; Malformed if one stands twice."""
    found, seen = [], set()
    for child in element.expect(tags.SEQUENCE).children():
        oid, critical, value = _part(child)
        if oid in seen:
            raise _twice(child, oid)
        seen.add(oid)
        found.append((oid, critical, value))
    return found


def _part(element: Element) -> tuple[str, bool, Element]:
    """Return identifier, critical and the OCTET STRING of one extension."""
    fields = Fields(element)
    oid = fields.oid()
    critical = fields.optional(tags.BOOLEAN)
    value = fields.take(tags.OCTET_STRING)
    fields.finish()
    return oid, critical is not None and critical.boolean(), value


def _twice(element: Element, oid: str) -> Malformed:
    return element.fault(f"the extension {oid} stands twice", "RFC 5280 section 4.2")


def parse(element: Element) -> Extensions:
    """Read the Extensions of a certificate; raises Malformed."""
    known: dict[str, Any] = {}  # keyword arguments of one struct, whose types the parsers below give
    critical, unknown, values = set(), [], {}
    for child in element.expect(tags.SEQUENCE).children():
        encoded = child.encoded
        found = (_read_once if len(encoded) <= _REMEMBERED_OCTETS else _read)(encoded)
        if found.oid in values:
            raise _twice(child, found.oid)
        values[found.oid] = found.value
        if found.critical:
            critical.add(found.oid)
        if found.field:
            known[found.field] = found.meaning
        elif found.critical:
            unknown.append(found.oid)
    return Extensions(**known, critical=frozenset(critical), unknown_critical=tuple(unknown), values=values)


class _Read(msgspec.Struct, frozen=True):
    """One extension, and the field of `Extensions` that has its meaning; none for one not known here."""

    oid: str
    critical: bool
    value: bytes
    field: str = ""
    meaning: object = None


def _read(encoded: bytes) -> _Read:
    oid, critical, element = _part(reader.parse(encoded))
    value = element.octet_string()
    if oid not in _PARSERS:
        return _Read(oid, critical, value)
    field, read = _PARSERS[oid]
    return _Read(oid, critical, value, field, read(reader.parse(value)))


_REMEMBERED_OCTETS = 256
_read_once = functools.lru_cache(maxsize=1024)(_read)  # most are the same in all certificates of an authority


def _basic_constraints(element: Element) -> BasicConstraints:
    fields = Fields(element)
    ca = fields.optional(tags.BOOLEAN)
    length = fields.optional(tags.INTEGER)
    fields.finish()
    return BasicConstraints(ca is not None and ca.boolean(), None if length is None else length.integer())


def _key_usage(element: Element) -> frozenset[KeyUsage]:
    return frozenset(KeyUsage(bit) for bit in element.named_bits() if bit <= 8)


def _oid_list(element: Element) -> tuple[str, ...]:
    return tuple(child.oid() for child in element.expect(tags.SEQUENCE).children())


def _general_names(element: Element) -> tuple[GeneralName, ...]:
    return parse_general_names(element.expect(tags.SEQUENCE))


def parse_authority_key_id(element: Element) -> AuthorityKeyIdentifier:
    """Read an AuthorityKeyIdentifier; raises Malformed."""
    fields = Fields(element)
    key_id = fields.optional(tags.context(0))
    issuer = fields.optional(tags.context(1))
    serial = fields.optional(tags.context(2))
    fields.finish()
    return AuthorityKeyIdentifier(
        None if key_id is None else key_id.retagged(tags.OCTET_STRING).octet_string(),
        () if issuer is None else parse_general_names(issuer),
        None if serial is None else serial.retagged(tags.INTEGER).integer(),
    )


def _subtrees(element: Element | None) -> tuple[GeneralName, ...]:
    if element is None:
        return ()
    # RFC 5280 section 4.2.1.10: minimum is always zero and maximum always absent
    return tuple(GeneralName.parse(Fields(child).any()) for child in element.children())


def _name_constraints(element: Element) -> NameConstraints:
    fields = Fields(element)
    permitted, excluded = fields.optional(tags.context(0)), fields.optional(tags.context(1))
    fields.finish()
    return NameConstraints(_subtrees(permitted), _subtrees(excluded))


def _policies(element: Element) -> tuple[str, ...]:
    return tuple(Fields(child).take(tags.OBJECT_IDENTIFIER).oid() for child in element.expect(tags.SEQUENCE).children())


def _policy_mappings(element: Element) -> tuple[tuple[str, str], ...]:
    pairs = []
    for child in element.expect(tags.SEQUENCE).children():
        fields = Fields(child)
        pairs.append((fields.any().oid(), fields.any().oid()))
    return tuple(pairs)


def _policy_constraints(element: Element) -> PolicyConstraints:
    fields = Fields(element)
    explicit, mapping = fields.optional(tags.context(0)), fields.optional(tags.context(1))
    fields.finish()
    return PolicyConstraints(
        None if explicit is None else explicit.retagged(tags.INTEGER).integer(),
        None if mapping is None else mapping.retagged(tags.INTEGER).integer(),
    )


def parse_distribution_point_name(element: Element) -> tuple[tuple[GeneralName, ...], bytes]:
    """Read a DistributionPointName inside its [0]: the full name, or the encoded relative name."""
    choice = element.only_child()
    if choice.tag == tags.context(0):
        return parse_general_names(choice), b""
    choice.expect(tags.context(1))
    return (), b"\x31" + choice.encoded[1:]


def _distribution_points(element: Element) -> tuple[DistributionPoint, ...]:
    points = []
    for child in element.expect(tags.SEQUENCE).children():
        fields = Fields(child)
        name = fields.optional(tags.context(0))
        reasons = fields.optional(tags.context(1))
        issuer = fields.optional(tags.context(2))
        fields.finish()
        full, relative = ((), b"") if name is None else parse_distribution_point_name(name)
        points.append(
            DistributionPoint(
                full,
                relative,
                None if reasons is None else reasons.retagged(tags.BIT_STRING).named_bits(),
                () if issuer is None else parse_general_names(issuer),
            )
        )
    return tuple(points)


def _information_access(element: Element) -> tuple[Access, ...]:
    entries = []
    for child in element.expect(tags.SEQUENCE).children():
        fields = Fields(child)
        entries.append(Access(fields.any().oid(), GeneralName.parse(fields.any())))
    return tuple(entries)


_PARSERS: dict[str, tuple[str, Callable[[Element], object]]] = {
    oids.BASIC_CONSTRAINTS: ("basic_constraints", _basic_constraints),
    oids.KEY_USAGE: ("key_usage", _key_usage),
    oids.EXTENDED_KEY_USAGE: ("extended_key_usage", _oid_list),
    oids.SUBJECT_ALT_NAME: ("subject_alt_names", _general_names),
    oids.ISSUER_ALT_NAME: ("issuer_alt_names", _general_names),
    oids.SUBJECT_KEY_IDENTIFIER: ("subject_key_id", Element.octet_string),
    oids.AUTHORITY_KEY_IDENTIFIER: ("authority_key_id", parse_authority_key_id),
    oids.NAME_CONSTRAINTS: ("name_constraints", _name_constraints),
    oids.CERTIFICATE_POLICIES: ("policies", _policies),
    oids.POLICY_MAPPINGS: ("policy_mappings", _policy_mappings),
    oids.POLICY_CONSTRAINTS: ("policy_constraints", _policy_constraints),
    oids.INHIBIT_ANY_POLICY: ("inhibit_any_policy", Element.integer),
    oids.CRL_DISTRIBUTION_POINTS: ("crl_distribution_points", _distribution_points),
    oids.FRESHEST_CRL: ("freshest_crl", _distribution_points),
    oids.AUTHORITY_INFO_ACCESS: ("authority_info_access", _information_access),
    oids.SMIME_CAPABILITIES: ("smime_capabilities", lambda element: element.encoded),
    oids.OCSP_NOCHECK: ("ocsp_no_check", lambda _element: True),
}


def relative_to(issuer: Name, rdn: bytes) -> Name:
    """Return the name that `rdn` (an encoded SET) means relative to `issuer` (RFC 5280 section 4.2.1.13)."""
    inner = b"".join(child.encoded for child in reader.parse(issuer.encoded).children())
    return Name.parse(reader.parse(writer.sequence(inner, rdn)))
