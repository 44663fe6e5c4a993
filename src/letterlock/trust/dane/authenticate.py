"""Whether the certificates a server showed are those its TLSA records promise.

DANE-EE: the server's certificate or key is the one named; its names, dates and issuers say nothing. DANE-TA: an
authority is named, and from it an unbroken, current chain leads to a certificate for the server's name; the server's own
certificate is never that authority. PKIX-TA and PKIX-EE narrow an ordinary validation and need its success first.

Standards: RFC 6698 section 2.1.1, RFC 7671 sections 5 to 9, RFC 7672 section 3.1 (usages 0 and 1 do not count for SMTP).
Limits: 10 certificates of a chain are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.dns.rdata import Tlsa
from letterlock.trust.dane.records import DANE_EE, DANE_TA, PKIX_EE, PKIX_TA, describe, matches, usable
from letterlock.trust.primitives import peer_chain
from letterlock.trust.primitives.peer_chain import PeerCertificate

SMTP_USAGES = frozenset({DANE_TA, DANE_EE})
ALL_USAGES = frozenset({PKIX_TA, PKIX_EE, DANE_TA, DANE_EE})
_MAX_CHAIN = 10


@dataclass(frozen=True, slots=True)
class TlsaVerdict:
    """Whether the server is who its records say: `record` is the one that matched, at `depth` in the chain."""

    is_authentic: bool
    reason: str
    record: Tlsa | None = None
    depth: int | None = None


def authenticate(
    records: Iterable[Tlsa],
    chain: Sequence[bytes],
    reference_names: Sequence[str],
    now: int,
    *,
    usages: frozenset[int] = SMTP_USAGES,
    validated: Sequence[bytes] = (),
) -> TlsaVerdict:
    """Return the verdict on a chain (DER, the server's own certificate first) at a time in seconds since 1970.

    `reference_names` are the names of which the certificate must carry one where names count. `validated` is the path
    an ordinary PKIX validation has built, root included; empty where it failed or was not made.
    """
    counted = usable(records, usages)
    if not counted:
        return TlsaVerdict(False, "none of the TLSA records can be used")
    if not chain:
        return TlsaVerdict(False, "the server showed no certificate")
    try:
        shown = [peer_chain.read(der) for der in chain[:_MAX_CHAIN]]
        path = [peer_chain.read(der) for der in validated[:_MAX_CHAIN]]
    except Malformed as error:
        return TlsaVerdict(False, str(error))
    problems = []
    for record in sorted(counted, key=lambda record: -record.usage):
        verdict = _try(record, shown, path, reference_names, now)
        if verdict.is_authentic:
            return verdict
        problems.append(f"{describe(record)}: {verdict.reason}")
    return TlsaVerdict(False, "; ".join(problems))


def _try(
    record: Tlsa, shown: list[PeerCertificate], path: list[PeerCertificate], names: Sequence[str], now: int
) -> TlsaVerdict:
    own = shown[0]
    if record.usage == DANE_TA:
        return _try_anchor(record, shown, names, now)
    if record.usage in (PKIX_TA, PKIX_EE) and not path:
        return TlsaVerdict(False, "the ordinary validation did not succeed")
    if record.usage == PKIX_TA:
        for depth, authority in enumerate(path[1:], 1):
            if matches(record, authority.der, authority.public_key):
                return TlsaVerdict(True, f"{describe(record)} is on the validated path", record, depth)
        return TlsaVerdict(False, "the authority is not on the validated path")
    # RFC 7671 section 5.1: for DANE-EE no name, date or chain check.
    if matches(record, own.der, own.public_key):
        return TlsaVerdict(True, f"{describe(record)} is the server's own", record, 0)
    return TlsaVerdict(False, "the server's certificate is another")


def _try_anchor(record: Tlsa, shown: list[PeerCertificate], names: Sequence[str], now: int) -> TlsaVerdict:
    own = shown[0]
    if not any(own.is_for(name) for name in names):
        return TlsaVerdict(False, f"the certificate is for {', '.join(own.dns_names) or 'no host'}, not {names[0]}")
    problem = _date_problem(own, now)
    current = own
    rest = list(shown[1:])
    depth = 0
    while problem is None:
        if _is_signed_by_whole(record, current, now):
            return TlsaVerdict(True, f"{describe(record)} signed the chain", record, depth + 1)
        issuer = next((candidate for candidate in rest if _issued(candidate, current)), None)
        if issuer is None:
            problem = "no certificate of the chain is the named authority"
            break
        rest.remove(issuer)
        depth += 1
        problem = _authority_problem(issuer, depth, now)
        if problem is None and matches(record, issuer.der, issuer.public_key):
            return TlsaVerdict(True, f"{describe(record)} is an authority of the chain", record, depth)
        current = issuer
    return TlsaVerdict(False, problem or "no certificate of the chain is the named authority")


def _is_signed_by_whole(record: Tlsa, current: PeerCertificate, now: int) -> bool:
    """Whether the record itself holds the authority, a certificate or a bare key, that the server left out.

    RFC 7671 section 5.2.2.
    """
    if record.matching_type != 0 or matches(record, current.der, current.public_key):
        return False  # what signed itself is not signed by an authority
    try:
        if record.selector == 1:
            peer_chain.check_signed_by_key(current.der, record.data)
            return True
        authority = peer_chain.read(record.data)
        return authority.is_authority and authority.holds_at(now) and _issued(authority, current)
    except (Malformed, NotAuthentic):
        return False


def _issued(issuer: PeerCertificate, certificate: PeerCertificate) -> bool:
    if issuer.der == certificate.der:
        return False
    try:
        peer_chain.check_signed(certificate.der, issuer.der)
    except NotAuthentic:
        return False
    return True


def _authority_problem(issuer: PeerCertificate, depth: int, now: int) -> str | None:
    if not issuer.is_authority:
        return f"{issuer.subject} may not issue certificates"
    if issuer.path_length is not None and depth - 1 > issuer.path_length:
        return f"the chain below {issuer.subject} is too long"
    return _date_problem(issuer, now)


def _date_problem(certificate: PeerCertificate, now: int) -> str | None:
    if certificate.holds_at(now):
        return None
    return (
        f"{certificate.subject} holds from {certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d} only"
    )
