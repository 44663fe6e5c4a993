"""Find what is missing to judge a certificate: the certificates of its issuers, and what tells of revocation.

These are decisions like those in the other packages of trust: they ask, and a driver fetches (retrieval.py). What is
found is handed to `path` and `revocation`, which believe nothing that is not signed by whom it should be.

Where to ask about revocation is said by certificates that lead to a trusted anchor, so that nobody else chooses whom we
ask. Where an issuer's certificate lies is said by one that leads nowhere yet: whoever wrote it learns that it was looked at.

Standards: RFC 5280 sections 4.2.1.13, 4.2.1.15 and 4.2.2.1, RFC 6960 section 4.1, RFC 5019 section 2.1.
Limits: 4 issuers one above the other; of one certificate 2 responders and 4 lists.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats.asn1 import oids, writer
from letterlock.formats.x509 import ocsp
from letterlock.formats.x509.certificate import Certificate
from letterlock.formats.x509.crl import RevocationList
from letterlock.formats.x509.extensions import DistributionPoint
from letterlock.formats.x509.name import GeneralName, NameKind
from letterlock.formats.x509.ocsp import CertificateStatus, OcspResponse
from letterlock.trust.ask import together
from letterlock.trust.pkix import ocsp_check, retrieval, revocation
from letterlock.trust.pkix.path import Anchor, Path, Pool, find
from letterlock.trust.pkix.retrieval import Budget, Kind, Retrieval, Retrieved, Search
from letterlock.trust.pkix.revocation import DelegateUnknown, Evidence, Status

MOST_LEVELS = 4
MOST_RESPONDERS = 2
MOST_LISTS = 4
_MOST_CLIMBED = 64


@dataclass(frozen=True, slots=True)
class Told:
    """What was fetched that tells of revocation, and for whom nothing was, with the reason."""

    crls: tuple[RevocationList, ...] = ()
    ocsp: tuple[OcspResponse, ...] = ()
    troubles: Mapping[Certificate, str] = field(default_factory=dict)

    def added_to(self, evidence: Evidence) -> Evidence:
        """Return evidence with this beside it."""
        return replace(
            evidence,
            crls=(*self.crls, *evidence.crls),
            ocsp=(*self.ocsp, *evidence.ocsp),
            troubles={**evidence.troubles, **self.troubles},
        )


def seek_issuers(
    target: Certificate,
    known: Sequence[Certificate],
    anchors: Iterable[Anchor],
    when: datetime.datetime,
    budget: Budget,
) -> Search[tuple[Certificate, ...]]:
    """Return the certificates of issuers that were missing, fetched from where the certificates below them say."""
    anchors = tuple(anchors)
    found: list[Certificate] = []
    for _ in range(MOST_LEVELS):
        pool = Pool((*known, *found))
        try:
            find(target, pool, anchors, when)
        except NotAuthentic:
            pass
        else:
            break
        fresh = []
        for orphan in _orphans(target, pool, anchors):
            for uri in _uris(
                [each.location for each in orphan.extensions.authority_info_access if each.method == oids.AD_CA_ISSUERS]
            )[:1]:
                retrieved = yield from budget.ask(Retrieval(Kind.ISSUERS, uri))
                fresh += [each for each in _read_issuers(retrieved) if each.subject == orphan.issuer]
        fresh = [each for each in fresh if each not in known and each not in found]
        if not fresh:
            break
        found += fresh
    return tuple(found)


def _orphans(target: Certificate, pool: Pool, anchors: tuple[Anchor, ...]) -> list[Certificate]:
    """Return the certificates above (and with) `target` whose issuer nobody knows."""
    names = {anchor.name for anchor in anchors}
    pending, seen, orphans = [target], {target}, []
    while pending and len(seen) <= _MOST_CLIMBED:
        certificate = pending.pop()
        issuers = pool.named(certificate.issuer)
        if not issuers and certificate.issuer not in names and not certificate.is_self_issued:
            orphans.append(certificate)
        pending += [each for each in issuers if each not in seen]
        seen.update(issuers)
    return orphans


def _read_issuers(retrieved: Retrieved) -> tuple[Certificate, ...]:
    if retrieved.octets is None:
        return ()
    try:
        return retrieval.read_issuers(retrieved.octets)
    except Malformed:
        return ()


def seek_revocation(
    path: Path, evidence: Evidence, when: datetime.datetime, budget: Budget, nonce: bytes = b""
) -> Search[Told]:
    """Return what tells of the revocation of each certificate of a path that `evidence` does not tell of.

    With a `nonce` (32 octets nobody can foretell) responders are asked for answers made now; one that gives what it made
    before is believed all the same, for many can do no other (RFC 5019 section 4).
    """
    asked = []
    for index, certificate in enumerate(path.certificates):
        if certificate != path.anchor.certificate:
            about = _About(path, index, evidence, when, nonce)
            if not about.is_told(Told()):
                asked.append(about.seek(budget))
    found = yield from together(asked)
    return Told(
        tuple(each for one in found for each in one.crls),
        tuple(each for one in found for each in one.ocsp),
        {certificate: why for one in found for certificate, why in one.troubles.items()},
    )


@dataclass(frozen=True, slots=True)
class _About:
    """One certificate of a path, about which something is to be found."""

    path: Path
    index: int
    evidence: Evidence
    when: datetime.datetime
    nonce: bytes

    @property
    def certificate(self) -> Certificate:
        return self.path.certificates[self.index]

    def is_told(self, told: Told) -> bool:
        """Tell whether revocation is decided by what was at hand and what is `told`."""
        key, anchor = self.path.issuer_key(self.index), self.path.anchor
        evidence = told.added_to(self.evidence)
        found = revocation.check(self.certificate, key, anchor, evidence, self.when)
        return found.status is not Status.UNKNOWN

    def seek(self, budget: Budget) -> Search[Told]:
        """Ask responders, and fetch lists where none answered."""
        troubles: list[str] = []
        for uri in _uris(self._locations(oids.AD_OCSP))[:MOST_RESPONDERS]:
            answered = yield from self._ask_responder(uri, budget, troubles)
            if answered is not None:
                return answered
        crls: list[RevocationList] = []
        extensions = self.certificate.extensions
        points = (*extensions.crl_distribution_points, *extensions.freshest_crl)
        for point in points[:MOST_LISTS]:
            crl = yield from _fetch_list(point, budget, troubles)
            if crl is not None:
                crls.append(crl)
        told = Told(tuple(crls))
        if self.is_told(told):
            return told
        return replace(told, troubles={self.certificate: "; ".join(troubles) or self._why_not()})

    def _locations(self, method: str) -> list[GeneralName]:
        return [each.location for each in self.certificate.extensions.authority_info_access if each.method == method]

    def _why_not(self) -> str:
        extensions = self.certificate.extensions
        if not (extensions.crl_distribution_points or self._locations(oids.AD_OCSP)):
            return "its issuer says nowhere to ask"
        places = [name for point in extensions.crl_distribution_points for name in point.full_name]
        return _not_read([*places, *self._locations(oids.AD_OCSP)])

    def _ask_responder(self, uri: str, budget: Budget, troubles: list[str]) -> Search[Told | None]:
        """Return a responder's answer that may be believed and says good or revoked, with the lists that vouch for it."""
        key = self.path.issuer_key(self.index)
        identifier = ocsp_check.certificate_id(self.certificate.issuer, key, self.certificate.serial)
        request = ocsp.encode_request((identifier,), self.nonce)
        problem = ""
        for wanted in retrieval.ocsp_retrievals(uri, request, fresh=bool(self.nonce)):
            retrieved = yield from budget.ask(wanted)
            if retrieved.octets is None:
                problem = retrieved.problem
                continue
            try:
                response = retrieval.read_ocsp(retrieved.octets)
            except Malformed as fault:
                problem = fault.problem
                continue
            if response.nonce and self.nonce and response.nonce != writer.octet_string(self.nonce):
                problem = "the answer was made for another question"
                continue
            try:
                told, status = yield from self._believed(response, budget)
            except NotAuthentic as fault:
                problem = str(fault)
                continue
            if status is not CertificateStatus.UNKNOWN:
                return told
            problem = "it does not know the certificate"
        troubles.append(f"the responder {uri[:100]}: {problem}")
        return None

    def _believed(self, response: OcspResponse, budget: Budget) -> Search[tuple[Told, CertificateStatus]]:
        """Return an answer that may be believed, once the lists about its responder were fetched. Raises NotAuthentic."""
        key, anchor = self.path.issuer_key(self.index), self.path.anchor
        lists: tuple[RevocationList, ...] = ()
        told = Told(ocsp=(response,))
        try:
            answer = revocation.believe(response, self.certificate, key, anchor, self.evidence, self.when)
        except DelegateUnknown as fault:
            for point in fault.delegate.extensions.crl_distribution_points[:MOST_LISTS]:
                crl = yield from _fetch_list(point, budget, [])
                lists = (*lists, *([] if crl is None else [crl]))
            told = replace(told, crls=lists)
            evidence = told.added_to(self.evidence)
            answer = revocation.believe(response, self.certificate, key, anchor, evidence, self.when)
        return told, answer.status


def _fetch_list(point: DistributionPoint, budget: Budget, troubles: list[str]) -> Search[RevocationList | None]:
    """Return the list of a distribution point, from the first of its names where there is one."""
    problem = "" if _uris(point.full_name) else _not_read(point.full_name)
    for uri in _uris(point.full_name):
        retrieved = yield from budget.ask(Retrieval(Kind.LIST, uri))
        problem = problem or f"the list at {uri[:100]} could not be fetched: {retrieved.problem}"
        if retrieved.octets is not None:
            try:
                return retrieval.read_list(retrieved.octets)
            except Malformed as fault:
                problem = f"the list at {uri[:100]} cannot be read: {fault.problem}"
    if problem:
        troubles.append(problem)
    return None


def _uris(names: Iterable[GeneralName]) -> list[str]:
    """Return the http and https URIs among names, each once."""
    texts = [name.text for name in names if name.kind is NameKind.URI]
    return list(dict.fromkeys(text for text in texts if text.lower().startswith(("http://", "https://"))))


def _not_read(names: Iterable[GeneralName]) -> str:
    """Return why nothing is fetched from where these names point."""
    schemes = {name.text.partition(":")[0].lower() for name in names if name.kind is NameKind.URI}
    if schemes & {"ldap", "ldaps"}:
        return "the list is only published over LDAP, which is not read"
    return "where to ask is no http or https URI"
