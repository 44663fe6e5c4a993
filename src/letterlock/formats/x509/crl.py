"""Certificate revocation lists: complete, delta and indirect.

Standards: RFC 5280 section 5.
Limits: 16 MiB a list.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from letterlock.errors import Malformed
from letterlock.formats.asn1 import oids, reader, tags, writer
from letterlock.formats.asn1.reader import Element, Fields
from letterlock.formats.x509 import extension_writer
from letterlock.formats.x509.algorithm import AlgorithmIdentifier
from letterlock.formats.x509.certificate import signed, signed_fields
from letterlock.formats.x509.extensions import (
    AuthorityKeyIdentifier,
    parse_authority_key_id,
    parse_distribution_point_name,
    split,
)
from letterlock.formats.x509.name import GeneralName, Name, NameKind, parse_general_names

MAX_CRL_OCTETS = 16 << 20


class Reason(enum.Enum):
    """Why a certificate was revoked (RFC 5280 section 5.3.1)."""

    UNSPECIFIED = 0
    KEY_COMPROMISE = 1
    CA_COMPROMISE = 2
    AFFILIATION_CHANGED = 3
    SUPERSEDED = 4
    CESSATION_OF_OPERATION = 5
    CERTIFICATE_HOLD = 6
    REMOVE_FROM_CRL = 8
    PRIVILEGE_WITHDRAWN = 9
    AA_COMPROMISE = 10


@dataclass(frozen=True, slots=True)
class Revoked:
    """One entry: when, why, and since when the key may have been bad."""

    serial: int
    when: datetime.datetime
    reason: Reason = Reason.UNSPECIFIED
    invalid_since: datetime.datetime | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a list speaks about: its issuing distribution point."""

    full_name: tuple[GeneralName, ...] = ()
    relative_name: bytes = b""
    only_users: bool = False
    only_authorities: bool = False
    only_attributes: bool = False
    indirect: bool = False
    reasons: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A CRL; `entries` by certificate issuer and serial number. `tbs` is what is signed."""

    octets: bytes = field(repr=False)
    tbs: bytes = field(compare=False, repr=False)
    issuer: Name = field(compare=False)
    this_update: datetime.datetime = field(compare=False)
    next_update: datetime.datetime | None = field(compare=False)
    entries: dict[tuple[Name, int], Revoked] = field(compare=False, repr=False)
    number: int | None = field(compare=False)
    base_number: int | None = field(compare=False)
    authority_key_id: AuthorityKeyIdentifier | None = field(compare=False)
    scope: Scope | None = field(compare=False)
    unknown_critical: tuple[str, ...] = field(compare=False)
    signature_algorithm: AlgorithmIdentifier = field(compare=False)
    signature: bytes = field(compare=False, repr=False)

    @staticmethod
    def parse(octets: bytes) -> RevocationList:
        """Read a list in DER or BER; raises Malformed."""
        return _parse(octets)


def _parse(octets: bytes) -> RevocationList:
    if len(octets) > MAX_CRL_OCTETS:
        raise Malformed(f"a revocation list of more than {MAX_CRL_OCTETS} octets", clause="RFC 5280 section 5.1")
    tbs, algorithm, signature = signed_fields(reader.parse(octets))
    fields = Fields(tbs)
    fields.optional(tags.INTEGER)
    if AlgorithmIdentifier.parse(fields.take(tags.SEQUENCE)) != algorithm:
        raise tbs.fault("two different signature algorithms", "RFC 5280 section 5.1.1.2")
    issuer = Name.parse(fields.any())
    this_update = fields.any().time()
    following = fields.optional(tags.UTC_TIME) or fields.optional(tags.GENERALIZED_TIME)
    next_update = None if following is None else following.time()
    revoked = fields.optional(tags.SEQUENCE)
    more = fields.optional(tags.context(0))
    fields.finish()
    entries, unknown = ({}, []) if revoked is None else _entries(revoked, issuer)
    number = base = key_id = scope = None
    for oid, critical, value in [] if more is None else split(more.only_child()):
        inner = reader.parse(value.octet_string())
        if oid == oids.CRL_NUMBER:
            number = inner.integer()
        elif oid == oids.DELTA_CRL_INDICATOR:
            base = inner.integer()
        elif oid == oids.AUTHORITY_KEY_IDENTIFIER:
            key_id = parse_authority_key_id(inner)
        elif oid == oids.ISSUING_DISTRIBUTION_POINT:
            scope = _scope(inner)
        elif critical:
            unknown.append(oid)
    return RevocationList(
        octets, tbs.encoded, issuer, this_update, next_update, entries, number, base, key_id, scope, tuple(unknown),
        algorithm, signature,
    )  # fmt: skip


def _entries(element: Element, issuer: Name) -> tuple[dict[tuple[Name, int], Revoked], list[str]]:
    entries: dict[tuple[Name, int], Revoked] = {}
    unknown: list[str] = []
    for child in element.children():
        fields = Fields(child)
        serial, when = fields.take(tags.INTEGER).integer(), fields.any().time()
        more = fields.optional(tags.SEQUENCE)
        fields.finish()
        reason, since = Reason.UNSPECIFIED, None
        for oid, critical, value in [] if more is None else split(more):
            inner = reader.parse(value.octet_string())
            if oid == oids.REASON_CODE:
                reason = _reason(inner)
            elif oid == oids.INVALIDITY_DATE:
                since = inner.time()
            elif oid == oids.CERTIFICATE_ISSUER:
                # RFC 5280 section 5.3.3: holds for this entry and those after it
                names = [each.name for each in parse_general_names(inner) if each.kind is NameKind.DIRECTORY]
                if not names or names[0] is None:
                    raise child.fault("a certificate issuer that is no directory name", "RFC 5280 section 5.3.3")
                issuer = names[0]
            elif critical:
                unknown.append(oid)
        entries[issuer, serial] = Revoked(serial, when, reason, since)
    return entries, unknown


def _reason(element: Element) -> Reason:
    try:
        return Reason(element.integer())
    except ValueError:
        raise element.fault("no reason code", "RFC 5280 section 5.3.1") from None


def _scope(element: Element) -> Scope:
    fields = Fields(element)
    name = fields.optional(tags.context(0))
    full, relative = ((), b"") if name is None else parse_distribution_point_name(name)
    flags = {}
    for number in (1, 2, 3, 4, 5):
        item = fields.optional(tags.context(number))
        if item is not None:
            flags[number] = item
    fields.finish()

    def flag(number: int) -> bool:
        return number in flags and flags[number].retagged(tags.BOOLEAN).boolean()

    reasons = flags[3].retagged(tags.BIT_STRING).named_bits() if 3 in flags else None
    return Scope(full, relative, flag(1), flag(2), flag(5), flag(4), reasons)


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A list an authority is about to sign; `base_number` makes it a delta."""

    issuer: Name
    this_update: datetime.datetime
    next_update: datetime.datetime
    number: int
    key_id: bytes
    entries: tuple[Revoked, ...] = ()
    base_number: int | None = None

    def sign(self, algorithm: AlgorithmIdentifier, sign: Callable[[bytes], bytes]) -> RevocationList:
        """Return the list whose signature `sign` makes with `algorithm`."""
        make = extension_writer.extension
        extensions = [
            extension_writer.authority_key_id(self.key_id),
            make(oids.CRL_NUMBER, writer.integer(self.number)),
        ]
        if self.base_number is not None:
            extensions.append(make(oids.DELTA_CRL_INDICATOR, writer.integer(self.base_number), critical=True))
        tbs = writer.sequence(
            writer.integer(1),
            algorithm.encode(),
            self.issuer.encoded,
            writer.time(self.this_update),
            writer.time(self.next_update),
            writer.sequence(*map(_encode_entry, self.entries)) if self.entries else b"",
            writer.explicit(0, writer.sequence(*extensions)),
        )
        return RevocationList.parse(signed(tbs, algorithm, sign))


def _encode_entry(entry: Revoked) -> bytes:
    extensions = []
    if entry.reason is not Reason.UNSPECIFIED:
        extensions.append(extension_writer.extension(oids.REASON_CODE, writer.enumerated(entry.reason.value)))
    if entry.invalid_since is not None:
        value = writer.generalized_time(entry.invalid_since)
        extensions.append(extension_writer.extension(oids.INVALIDITY_DATE, value))
    return writer.sequence(
        writer.integer(entry.serial), writer.time(entry.when), writer.sequence(*extensions) if extensions else b""
    )
