"""Gather what is missing to judge the signatures of a message: issuers' certificates, and what tells of revocation.

    trust = yield from gather(unwrapped, trust, Asking())
    proof = prove(header, unwrapped, trust)

A decision that asks the web (trust/pkix/retrieval.py); `prove` itself asks nobody. Only signatures that hold are asked
about. What a message brings with it does not keep us from asking: an answer from before a revocation would come along, too.

Limits: the signatures of 4 signers of one message, 16 retrievals for all of them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from letterlock.errors import NotAuthentic
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.pkix import smime_profile
from letterlock.trust.pkix.path import Path, Pool, find
from letterlock.trust.pkix.retrieval import Budget, Search
from letterlock.trust.pkix.revocation import Evidence
from letterlock.trust.pkix.seek import Told, seek_issuers, seek_revocation
from letterlock.trust.smime.proof import Trust, certificates_of
from letterlock.trust.smime.unwrap import SignedLayer, Unwrapped

MOST_SIGNERS = 4


@dataclass(frozen=True, slots=True)
class Asking:
    """What may be asked for: issuers' certificates, too, and with a `nonce` OCSP answers made for this question."""

    issuers: bool = True
    nonce: bytes = b""


def gather(unwrapped: Unwrapped, trust: Trust, asking: Asking) -> Search[Trust]:
    """Return `trust` with what was found for the signers of a message."""
    budget = Budget()
    for layer in unwrapped.layers:
        if not isinstance(layer, SignedLayer):
            continue
        signers = dict.fromkeys(check.certificate for check in layer.checks if check.good and check.certificate)
        brought = certificates_of(layer)
        for certificate in list(signers)[:MOST_SIGNERS]:
            trust = yield from gather_for(certificate, brought, trust, asking, budget)
    return trust


def gather_for(
    certificate: Certificate, brought: tuple[Certificate, ...], trust: Trust, asking: Asking, budget: Budget
) -> Search[Trust]:
    """Return `trust` with what was found for one certificate; `brought` are those that came with it."""
    if asking.issuers:
        at_hand = known(brought, trust)
        more = yield from seek_issuers(certificate, at_hand, trust.anchors, trust.when, budget)
        trust = dataclasses.replace(trust, certificates=(*trust.certificates, *more))
    pool = Pool(known(brought, trust))
    path = _path(certificate, pool, trust)
    if path is None:
        return trust
    told = yield from seek_revocation(path, Evidence(trust.crls, trust.ocsp, pool), trust.when, budget, asking.nonce)
    return _with(trust, told)


def _path(certificate: Certificate, pool: Pool, trust: Trust) -> Path | None:
    try:
        path = find(certificate, pool, trust.anchors, trust.when)
        smime_profile.check_authorities(path)
    except NotAuthentic:
        return None
    return path


def known(brought: tuple[Certificate, ...], trust: Trust) -> tuple[Certificate, ...]:
    """Return all certificates that paths may be built from."""
    return (*brought, *trust.certificates, *(a.certificate for a in trust.anchors if a.certificate is not None))


def _with(trust: Trust, told: Told) -> Trust:
    return dataclasses.replace(
        trust,
        crls=(*told.crls, *trust.crls),
        ocsp=(*told.ocsp, *trust.ocsp),
        troubles={**trust.troubles, **told.troubles},
    )
