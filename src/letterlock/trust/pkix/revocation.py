"""Whether a certificate was revoked: from revocation lists and OCSP answers at hand, each checked before it is believed.

The answer has three values: not revoked, revoked, and could not tell, which is never taken for one of the others.

Standards: RFC 5280 section 6.3, RFC 6960 sections 3.2 and 4.2.2.2.
Limits: 64 lists of one issuer and 64 OCSP answers; the certificates of list signers are followed 4 levels deep.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids
from letterlock.formats.x509.algorithm import PublicKeyInfo
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import Reason, RevocationList, Revoked
from letterlock.formats.x509.extensions import DistributionPoint, KeyUsage, relative_to
from letterlock.formats.x509.name import GeneralName, Name, NameKind
from letterlock.formats.x509.ocsp import CertificateStatus, OcspResponse
from letterlock.trust.pkix import ocsp_check, remembered
from letterlock.trust.pkix.path import Anchor, Path, Pool, find
from letterlock.trust.primitives import signatures

MAX_DEPTH = 4
MAX_LISTS = 64
_ALL_REASONS = frozenset(range(1, 9))


class Status(enum.Enum):
    """What is known about a certificate's revocation."""

    GOOD = "not revoked"
    REVOKED = "revoked"
    UNKNOWN = "could not tell"


@dataclass(frozen=True, slots=True)
class Revocation:
    """The status with its reason in a sentence, and until when the evidence is fresh."""

    status: Status
    reason: str
    revoked: Revoked | None = None
    fresh_until: datetime.datetime | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is at hand to tell revocation by; `troubles` says for whom more was sought in vain, and why."""

    crls: Sequence[RevocationList] = ()
    ocsp: Sequence[OcspResponse] = ()
    pool: Pool = field(default_factory=Pool)
    troubles: Mapping[Certificate, str] = field(default_factory=dict)


def check_path(path: Path, evidence: Evidence, when: datetime.datetime) -> Revocation:
    """Return the worst status among the certificates of a path; where all are good, the reason is the target's."""
    worst: Revocation | None = None
    for index, certificate in reversed(list(enumerate(path.certificates))):
        if path.anchor.certificate == certificate:
            continue
        found = check(certificate, path.issuer_key(index), path.anchor, evidence, when)
        if found.status is Status.REVOKED:
            return found
        if worst is None or (worst.status is Status.GOOD and found.status is Status.UNKNOWN):
            worst = found
        elif worst.status is Status.GOOD and _sooner(found, worst):
            worst = replace(worst, fresh_until=found.fresh_until)
    return worst or Revocation(Status.GOOD, "the certificate is itself the trusted anchor")


def _sooner(one: Revocation, other: Revocation) -> bool:
    return one.fresh_until is not None and (other.fresh_until is None or one.fresh_until < other.fresh_until)


def check(
    certificate: Certificate,
    issuer_key: PublicKeyInfo,
    anchor: Anchor,
    evidence: Evidence,
    when: datetime.datetime,
) -> Revocation:
    """Return whether one certificate is revoked: by the newest OCSP answer if there is one, else by lists."""
    answers, faults = [], []
    for response in evidence.ocsp[:MAX_LISTS]:
        if ocsp_check.about(response, certificate, issuer_key) is None:
            continue
        try:
            answer = believe(response, certificate, issuer_key, anchor, evidence, when)
        except NotAuthentic as fault:
            faults.append(f"a responder is not believed: {fault}")
            continue
        if answer.status is not CertificateStatus.UNKNOWN:
            answers.append(answer)
    if answers:
        # an older one may come with the very message, chosen by whose certificate was revoked since
        return _from_ocsp(certificate, max(answers, key=lambda each: each.produced_at))
    found = _Lists(anchor, evidence, when, ()).check(certificate, issuer_key)
    trouble = evidence.troubles.get(certificate, "") or "; ".join(faults[:1])
    return replace(found, reason=f"{found.reason}; {trouble}") if found.status is Status.UNKNOWN and trouble else found


class DelegateUnknown(NotAuthentic):
    """Whether a responder's own certificate was revoked could not be told, though it says how to tell."""

    def __init__(self, delegate: Certificate, problem: str) -> None:
        self.delegate = delegate
        super().__init__(problem)


def believe(
    response: OcspResponse,
    certificate: Certificate,
    issuer_key: PublicKeyInfo,
    anchor: Anchor,
    evidence: Evidence,
    when: datetime.datetime,
) -> ocsp_check.OcspAnswer:
    """Return what a responder says about a certificate, if it may be believed; raises NotAuthentic, DelegateUnknown.

    RFC 6960 section 4.2.2.2.1: a delegate with id-pkix-ocsp-nocheck is believed as long as its certificate lasts; one that
    says how to tell whether it was revoked only if that is known, unless it says the worst; any other unless a list at hand
    has it.
    """
    answer = ocsp_check.answer(response, certificate, issuer_key, when)
    delegate = answer.delegate
    if delegate is None or delegate.extensions.ocsp_no_check:
        return answer
    state = _Lists(anchor, evidence, when, ()).check(delegate, issuer_key)
    if state.status is Status.REVOKED:
        raise NotAuthentic(f"its own certificate is no longer good, {state.reason}")
    says_how = bool(delegate.extensions.crl_distribution_points or delegate.extensions.authority_info_access)
    if state.status is Status.UNKNOWN and says_how and answer.status is not CertificateStatus.REVOKED:
        raise DelegateUnknown(delegate, f"its own certificate may have been revoked, {state.reason}")
    return answer


def _from_ocsp(certificate: Certificate, answer: ocsp_check.OcspAnswer) -> Revocation:
    if answer.status is CertificateStatus.GOOD:
        said = f"says an OCSP answer of {answer.produced_at:%Y-%m-%d %H:%M} UTC"
        return Revocation(Status.GOOD, said, fresh_until=answer.fresh_until)
    revoked = Revoked(certificate.serial, answer.revoked_at or answer.produced_at, answer.reason)
    return Revocation(Status.REVOKED, _sentence(certificate, revoked), revoked, answer.fresh_until)


def _sentence(certificate: Certificate, revoked: Revoked) -> str:
    why = revoked.reason.name.lower().replace("_", " ")
    return f"the certificate for {certificate.subject} was revoked on {revoked.when:%Y-%m-%d} ({why})"


class _Lists:
    """One check against revocation lists; `open_names` are the certificates being checked above this one."""

    def __init__(self, anchor: Anchor, evidence: Evidence, when: datetime.datetime, above: tuple[bytes, ...]) -> None:
        self._anchor = anchor
        self._evidence = evidence
        self._when = when
        self._above = above

    def check(self, certificate: Certificate, issuer_key: PublicKeyInfo) -> Revocation:
        """RFC 5280 section 6.3.3."""
        missing, fault = set(_ALL_REASONS), ""
        fresh: datetime.datetime | None = None
        issued = ""
        points = certificate.extensions.crl_distribution_points or (DistributionPoint(),)
        for point in points:
            for crl in self._lists_for(point, certificate):
                if not missing:
                    break
                if crl.base_number is not None or not _covers(crl, point, certificate):
                    continue
                reasons = _reasons(crl, point)
                if not reasons & missing:
                    continue
                try:
                    self._believe(crl, certificate, issuer_key)
                except (NotAuthentic, Malformed) as error:
                    fault = fault or str(error)
                    continue
                revoked = self._entry(crl, point, certificate, issuer_key)
                if revoked is not None:
                    return Revocation(Status.REVOKED, _sentence(certificate, revoked), revoked, crl.next_update)
                missing -= reasons
                issued = issued or f" of {crl.this_update:%Y-%m-%d %H:%M} UTC"
                fresh = crl.next_update if fresh is None else min(fresh, crl.next_update or fresh)
        if not missing:
            return Revocation(Status.GOOD, f"says the revocation list{issued}", fresh_until=fresh)
        about = f"no current revocation list speaks about the certificate for {certificate.subject}"
        return Revocation(Status.UNKNOWN, f"{about}: {fault}" if fault else about)

    def _lists_for(self, point: DistributionPoint, certificate: Certificate) -> list[RevocationList]:
        """Return the lists of those who may speak about `certificate` at this point."""
        names = {name.name for name in point.crl_issuer} if point.crl_issuer else {certificate.issuer}
        return [crl for crl in self._evidence.crls if crl.issuer in names][:MAX_LISTS]

    def _entry(
        self, crl: RevocationList, point: DistributionPoint, certificate: Certificate, key: PublicKeyInfo
    ) -> Revoked | None:
        """Return the certificate's entry, from the newest delta if there is one."""
        entry = crl.entries.get(certificate.identifier)
        for delta in self._lists_for(point, certificate):
            if delta.base_number is None or not _complements(delta, crl) or not _covers(delta, point, certificate):
                continue
            try:
                self._believe(delta, certificate, key)
            except (NotAuthentic, Malformed):
                continue
            changed = delta.entries.get(certificate.identifier)
            if changed is not None:
                entry = None if changed.reason is Reason.REMOVE_FROM_CRL else changed
        return None if entry is not None and entry.reason is Reason.REMOVE_FROM_CRL else entry

    def _believe(self, crl: RevocationList, certificate: Certificate, issuer_key: PublicKeyInfo) -> None:
        """Check freshness, critical extensions and signature of a list; raises NotAuthentic."""
        if crl.unknown_critical:
            raise NotAuthentic(f"the list of {crl.issuer} has a critical extension not known here")
        if self._when < crl.this_update:
            raise NotAuthentic(f"the list of {crl.issuer} is from the future")
        if crl.next_update is None or self._when > crl.next_update:
            raise NotAuthentic(f"the list of {crl.issuer} is stale")
        scheme = signatures.scheme_of(crl.signature_algorithm)
        for key in self._signers(crl, certificate, issuer_key):
            try:
                remembered.verify(key, scheme, crl.signature, crl.tbs)
            except NotAuthentic:
                continue
            return
        raise NotAuthentic(f"nobody entitled to signed the list of {crl.issuer}")

    def _signers(self, crl: RevocationList, certificate: Certificate, issuer_key: PublicKeyInfo) -> list[PublicKeyInfo]:
        """Return the keys that may sign `crl`: those of its issuer that are valid and for that use."""
        keys: list[PublicKeyInfo] = []
        if crl.issuer == self._anchor.name and _may_sign_lists(self._anchor.certificate):
            keys.append(self._anchor.public_key)
        for candidate in self._evidence.pool.named(crl.issuer):
            if not _may_sign_lists(candidate):
                continue
            if candidate.public_key.key == issuer_key.key and crl.issuer == certificate.issuer:
                keys.append(issuer_key)  # the path validated it already
            elif candidate.octets not in self._above and len(self._above) < MAX_DEPTH and self._is_valid(candidate):
                keys.append(candidate.public_key)
        return keys

    def _is_valid(self, candidate: Certificate) -> bool:
        """Tell whether a list signer's own certificate is valid and, as far as can be told, not revoked."""
        try:
            path = find(candidate, self._evidence.pool, (self._anchor,), self._when)
        except NotAuthentic:
            return False
        inner = _Lists(self._anchor, self._evidence, self._when, (*self._above, candidate.octets))
        return all(
            inner.check(each, path.issuer_key(index)).status is not Status.REVOKED
            for index, each in enumerate(path.certificates)
            if each.octets not in self._above
        )


def _may_sign_lists(certificate: Certificate | None) -> bool:
    """Tell whether a list's issuer may sign it (RFC 5280 section 6.3.3 f); of an anchor that is a key alone nothing is known."""
    usage = None if certificate is None else certificate.extensions.key_usage
    return usage is None or KeyUsage.CRL_SIGN in usage


def _reasons(crl: RevocationList, point: DistributionPoint) -> frozenset[int]:
    reasons = _ALL_REASONS if point.reasons is None else point.reasons
    scope = crl.scope
    return reasons if scope is None or scope.reasons is None else reasons & scope.reasons


def _covers(crl: RevocationList, point: DistributionPoint, certificate: Certificate) -> bool:
    """Tell whether a list speaks about a certificate at this distribution point (RFC 5280 section 6.3.3 b)."""
    scope = crl.scope
    if point.crl_issuer:
        issuers = [name.name for name in point.crl_issuer if name.kind is NameKind.DIRECTORY]
        if crl.issuer not in issuers or (crl.issuer != certificate.issuer and (scope is None or not scope.indirect)):
            return False
    elif crl.issuer != certificate.issuer:
        return False
    if scope is None:
        return True
    constraints = certificate.extensions.basic_constraints
    is_authority = constraints is not None and constraints.ca
    if scope.only_attributes or (scope.only_users and is_authority) or (scope.only_authorities and not is_authority):
        return False
    names = _names(scope.full_name, scope.relative_name, crl.issuer)
    if not names:
        return True
    wanted = _names(point.full_name, point.relative_name, crl.issuer if point.crl_issuer else certificate.issuer)
    return bool(names & (wanted or _names(point.crl_issuer, b"", crl.issuer)))


def _names(full: tuple[GeneralName, ...], relative: bytes, issuer: Name) -> set[GeneralName | Name]:
    if relative:
        return {relative_to(issuer, relative)}
    return {name.name if name.name is not None else name for name in full}


def _complements(delta: RevocationList, complete: RevocationList) -> bool:
    """Tell whether a delta may be applied to a complete list (RFC 5280 section 5.2.4)."""
    if delta.issuer != complete.issuer or delta.scope != complete.scope or complete.number is None:
        return False
    key = delta.authority_key_id.key_id if delta.authority_key_id else None
    other = complete.authority_key_id.key_id if complete.authority_key_id else None
    if key != other or delta.base_number is None or delta.number is None:
        return False
    return delta.base_number <= complete.number and delta.number >= complete.number


def is_ocsp_signer(certificate: Certificate) -> bool:
    """Tell whether a certificate is one an authority gave to its OCSP responder (RFC 6960 section 4.2.2.2)."""
    usage = certificate.extensions.extended_key_usage
    return usage is not None and oids.OCSP_SIGNING in usage
