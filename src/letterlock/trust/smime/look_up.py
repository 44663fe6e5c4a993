"""Find certificates to encrypt to in the DNS, where no correspondence has brought any.

Only a secure answer counts. Usage 3 names the certificate itself and needs no other anchor; usage 2 names an authority, to
which a certificate the caller has must lead; usages 0 and 1 ask for a path to an anchor of the user's in addition.

Standards: RFC 8162 sections 2 to 4, RFC 6698 section 2.1.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.address import Address
from letterlock.formats.dns.question import Security
from letterlock.formats.dns.rdata import Smimea
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.ask import Decision
from letterlock.trust.dane.owner_names import look_up_smimea
from letterlock.trust.pkix import smime_profile
from letterlock.trust.pkix.path import Anchor, Pool, check_current, find

MAX_RECORDS = 16


@dataclass(frozen=True, slots=True)
class Found:
    """The certificates an address's own domain vouches for, and the reason in a sentence where there are none."""

    certificates: tuple[Certificate, ...]
    reason: str


def find_certificates(
    address: Address, when: datetime.datetime, known: Iterable[Certificate] = (), anchors: tuple[Anchor, ...] = ()
) -> Decision[Found]:
    """Look up the certificates of `address`.

    `known` are candidates for records that hold only a digest; `anchors` are those the user trusts, to which the records
    of usage 0 and 1 ask a path in addition.
    """
    answer = yield from look_up_smimea(address)
    if answer.outcome.is_absent:
        return Found((), f"{address.domain} publishes no certificate for {address}")
    if not answer.records:
        return Found((), f"could not look up certificates for {address}: {answer.reason}")
    if answer.security is not Security.SECURE:
        return Found((), f"the answer about {address} is {answer.security.value}, not secure: it is not used")
    candidates = tuple(known)
    found: list[Certificate] = []
    reason = f"no record for {address} holds a usable certificate"
    for record in [each for each in answer.records if isinstance(each, Smimea)][:MAX_RECORDS]:
        for certificate in _named(record, candidates):
            try:
                _check(certificate, record, address, when, candidates, anchors)
            except (NotAuthentic, Malformed) as error:
                reason = f"a certificate published for {address} is not usable: {error}"
            else:
                found.append(certificate)
    return Found(tuple(dict.fromkeys(found)), "" if found else reason)


def _named(record: Smimea, candidates: tuple[Certificate, ...]) -> list[Certificate]:
    """Return the end certificates a record may stand for."""
    if record.usage in (0, 2):
        return list(candidates)
    if record.selector == 0 and record.matching_type == 0:
        try:
            return [Certificate.parse(record.data)]
        except Malformed:
            return []
    return [each for each in candidates if _matches(record, each)]


def _matches(record: Smimea, certificate: Certificate) -> bool:
    """Tell whether a record names a certificate (RFC 6698 section 2.1)."""
    selected = certificate.octets if record.selector == 0 else certificate.public_key.encoded
    match record.matching_type:
        case 0:
            return selected == record.data
        case 1:
            return hashlib.sha256(selected).digest() == record.data
        case 2:
            return hashlib.sha512(selected).digest() == record.data
        case _:
            return False


def _check(
    certificate: Certificate,
    record: Smimea,
    address: Address,
    when: datetime.datetime,
    known: tuple[Certificate, ...],
    anchors: tuple[Anchor, ...],
) -> None:
    smime_profile.check_encryption(certificate)
    if smime_profile.matching_address(certificate, (str(address),)) is None:
        raise NotAuthentic(f"it is for {', '.join(certificate.addresses) or 'no address'}")
    check_current(certificate, when)
    pool = Pool(known)
    match record.usage:
        case 3:
            return
        case 2:
            named = tuple(Anchor.of(each) for each in known if _matches(record, each))
            find(certificate, pool, named, when)
        case 1:
            find(certificate, pool, anchors, when)
        case 0:
            path = find(certificate, pool, anchors, when)
            above = (*path.certificates[:-1], path.anchor.certificate)
            if not any(each is not None and _matches(record, each) for each in above):
                raise NotAuthentic("its path does not go through the authority the record names")
        case _:
            raise NotAuthentic(f"its record has the unknown usage {record.usage}")
