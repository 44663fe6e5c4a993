"""Whether mail may be encrypted to a certificate now: its use, its path to an anchor, and whether it was revoked.

    found = yield from gather_recipients(certificates, trust, Asking())      # asks the web; a decision like gather.py
    state = check_recipient(certificate, found[certificate])                 # asks nobody

Who encrypts to a revoked certificate may encrypt to whoever took its key. What could not be told is told to the author, or
refuses the certificate where `Trust.require_revocation` says so.

Standards: RFC 8550 sections 4.1 and 4.2 (the same checks as for signatures), RFC 5280 section 6.
Limits: 16 certificates are asked about at once, each with 16 retrievals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from letterlock.errors import NotAuthentic
from letterlock.formats.x509.certificate import Certificate
from letterlock.trust.ask import together
from letterlock.trust.pkix import revocation, smime_profile
from letterlock.trust.pkix.path import Pool, find
from letterlock.trust.pkix.retrieval import Budget, Search
from letterlock.trust.pkix.revocation import Evidence, Revocation, Status
from letterlock.trust.smime.gather import Asking, gather_for, known
from letterlock.trust.smime.proof import Trust

_AT_ONCE = 16


def check_recipient(certificate: Certificate, trust: Trust) -> Revocation:
    """Return what is known of the revocation of a certificate that mail may be encrypted to.

    Raises NotAuthentic with the reason where it may not be: not for that, no path, out of date, revoked, or (where that is
    required) nobody could tell.
    """
    smime_profile.check_encryption(certificate)
    pool = Pool(known((), trust))
    path = find(certificate, pool, trust.anchors, trust.when)
    smime_profile.check_authorities(path)
    state = revocation.check_path(path, Evidence(trust.crls, trust.ocsp, pool, trust.troubles), trust.when)
    if state.status is Status.REVOKED:
        raise NotAuthentic(state.reason)
    if state.status is Status.UNKNOWN and trust.require_revocation:
        raise NotAuthentic(f"it may have been revoked, which could not be told: {state.reason}")
    return state


def gather_recipients(
    certificates: Iterable[Certificate], trust: Trust, asking: Asking
) -> Search[Mapping[Certificate, Trust]]:
    """Return for each certificate `trust` with what was found about it."""
    found: dict[Certificate, Trust] = {}
    wanted = list(dict.fromkeys(certificates))
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        answers = yield from together([gather_for(each, (), trust, asking, Budget()) for each in some])
        found |= dict(zip(some, answers, strict=True))
    return found
