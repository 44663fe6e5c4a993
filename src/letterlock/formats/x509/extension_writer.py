"""Write the extensions a certification authority puts into certificates and lists.

Standards: RFC 5280 sections 4.2 and 5.2, RFC 8551 section 2.5.2 (capabilities in a certificate).
"""

from __future__ import annotations

from collections.abc import Iterable

from letterlock.formats.asn1 import oids, writer
from letterlock.formats.x509.extensions import DistributionPoint, KeyUsage
from letterlock.formats.x509.name import GeneralName, encode_general_names


def extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    """Return one Extension around an encoded value."""
    return writer.sequence(writer.oid(oid), writer.boolean(True) if critical else b"", writer.octet_string(value))


def basic_constraints(ca: bool, path_length: int | None = None) -> bytes:
    """Return basicConstraints, critical for an authority."""
    length = b"" if path_length is None else writer.integer(path_length)
    return extension(oids.BASIC_CONSTRAINTS, writer.sequence(writer.boolean(True) if ca else b"", length), critical=ca)


def key_usage(usages: Iterable[KeyUsage]) -> bytes:
    """Return keyUsage, critical."""
    return extension(oids.KEY_USAGE, writer.named_bits(usage.value for usage in usages), critical=True)


def extended_key_usage(*purposes: str) -> bytes:
    """Return extKeyUsage."""
    return extension(oids.EXTENDED_KEY_USAGE, writer.sequence(*map(writer.oid, purposes)))


def subject_alt_names(names: tuple[GeneralName, ...], *, critical: bool = False) -> bytes:
    """Return subjectAltName; critical when the subject's name is empty."""
    return extension(oids.SUBJECT_ALT_NAME, encode_general_names(names), critical=critical)


def subject_key_id(key_id: bytes) -> bytes:
    """Return subjectKeyIdentifier."""
    return extension(oids.SUBJECT_KEY_IDENTIFIER, writer.octet_string(key_id))


def authority_key_id(key_id: bytes) -> bytes:
    """Return authorityKeyIdentifier."""
    value = writer.sequence(writer.implicit(0, writer.octet_string(key_id)))
    return extension(oids.AUTHORITY_KEY_IDENTIFIER, value)


def policies(*identifiers: str) -> bytes:
    """Return certificatePolicies without qualifiers."""
    return extension(
        oids.CERTIFICATE_POLICIES, writer.sequence(*(writer.sequence(writer.oid(each)) for each in identifiers))
    )


def name_constraints(permitted: tuple[GeneralName, ...], excluded: tuple[GeneralName, ...] = ()) -> bytes:
    """Return nameConstraints, critical."""
    parts = []
    for number, names in ((0, permitted), (1, excluded)):
        if names:
            parts.append(writer.explicit(number, *(writer.sequence(name.encode()) for name in names)))
    return extension(oids.NAME_CONSTRAINTS, writer.sequence(*parts), critical=True)


def distribution_point_name(names: tuple[GeneralName, ...]) -> bytes:
    """Return a DistributionPointName with a full name, inside its [0]."""
    return writer.explicit(0, writer.implicit(0, encode_general_names(names)))


def crl_distribution_points(*points: DistributionPoint) -> bytes:
    """Return cRLDistributionPoints with full names."""
    value = writer.sequence(*(writer.sequence(distribution_point_name(point.full_name)) for point in points))
    return extension(oids.CRL_DISTRIBUTION_POINTS, value)


def authority_info_access(method: str, uri: str) -> bytes:
    """Return authorityInfoAccess with one URI."""
    entry = writer.sequence(writer.oid(method), GeneralName.uri(uri).encode())
    return extension(oids.AUTHORITY_INFO_ACCESS, writer.sequence(entry))
