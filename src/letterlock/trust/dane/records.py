"""Certificate associations: which are well-formed, and which of them count.

TLSA and SMIMEA records have the same fields: a usage (0 PKIX-TA, 1 PKIX-EE, 2 DANE-TA, 3 DANE-EE), a selector (0 the
whole certificate, 1 its public key), a matching type (0 all octets, 1 SHA-256, 2 SHA-512) and the data.

Standards: RFC 6698 section 2.1, RFC 7218 (names), RFC 7671 section 9 (digest agility) and section 4 (which are usable).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable

from letterlock.formats.dns.rdata import Tlsa

PKIX_TA, PKIX_EE, DANE_TA, DANE_EE = range(4)
USAGES = ("PKIX-TA(0)", "PKIX-EE(1)", "DANE-TA(2)", "DANE-EE(3)")
SELECTORS = ("Cert(0)", "SPKI(1)")
MATCHING_TYPES = ("Full(0)", "SHA2-256(1)", "SHA2-512(2)")
_DIGESTS = {1: hashlib.sha256, 2: hashlib.sha512}


def describe(record: Tlsa) -> str:
    """Name a record as people do: "DANE-EE(3) SPKI(1) SHA2-256(1) 8cb0…"."""
    parts = [
        names[number] if number < len(names) else f"({number})"
        for names, number in (
            (USAGES, record.usage),
            (SELECTORS, record.selector),
            (MATCHING_TYPES, record.matching_type),
        )
    ]
    return " ".join([*parts, record.data[:4].hex() + "…"])


def problem(record: Tlsa) -> str | None:
    """Return why a record can match nothing; None for a well-formed one of known parameters."""
    if record.usage > DANE_EE:
        return f"usage {record.usage} is unknown"
    if record.selector > 1:
        return f"selector {record.selector} is unknown"
    if record.matching_type > 2:
        return f"matching type {record.matching_type} is unknown"
    digest = _DIGESTS.get(record.matching_type)
    if digest is not None and len(record.data) != digest().digest_size:
        return f"{len(record.data)} octets are no {MATCHING_TYPES[record.matching_type]} digest"
    return None if record.data else "the data are empty"


def usable(records: Iterable[Tlsa], usages: frozenset[int]) -> tuple[Tlsa, ...]:
    """Return the records that count: well-formed, of an allowed usage, and only the strongest digest of each kind.

    Records with whole octets always count (RFC 7671 section 9).
    """
    kinds: defaultdict[tuple[int, int], list[Tlsa]] = defaultdict(list)
    for record in records:
        if record.usage in usages and problem(record) is None:
            kinds[record.usage, record.selector].append(record)
    kept: list[Tlsa] = []
    for same in kinds.values():
        strongest = max(record.matching_type for record in same)
        kept += [record for record in same if record.matching_type in (0, strongest)]
    return tuple(kept)


def associate(certificate: bytes, public_key: bytes, selector: int, matching_type: int) -> bytes:
    """Return the association data of a certificate (DER) with its SubjectPublicKeyInfo (DER)."""
    selected = public_key if selector == 1 else certificate
    digest = _DIGESTS.get(matching_type)
    return selected if digest is None else digest(selected).digest()


def matches(record: Tlsa, certificate: bytes, public_key: bytes) -> bool:
    """Tell whether a record names this certificate (DER, with its SubjectPublicKeyInfo)."""
    return associate(certificate, public_key, record.selector, record.matching_type) == record.data
