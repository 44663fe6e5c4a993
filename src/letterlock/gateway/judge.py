"""By what the signatures of mail from outside are judged, and what is kept of good ones: certificates, for later."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from letterlock.errors import Unavailable
from letterlock.formats.imf.header import Header
from letterlock.gateway.domain_keys import DomainKeys
from letterlock.gateway.inquiry import Inquiry
from letterlock.gateway.signature_record import SignatureRecord
from letterlock.host.logs import Log
from letterlock.mta.assess_smime import SmimeFound
from letterlock.mua.protect import learned
from letterlock.trust.pkix.path import Anchor
from letterlock.trust.smime.proof import Trust
from letterlock.trust.smime.unwrap import Unwrapped


@dataclass(frozen=True, slots=True)
class BorderJudge:
    """A `Judge` (mta/assess_smime.py) with the domain's keys, if it has any, and its signature log."""

    keys: DomainKeys | None
    anchors: tuple[Anchor, ...]
    record: SignatureRecord
    log: Log
    inquiry: Inquiry = field(default_factory=Inquiry)

    def trust(self, header: Header, when: datetime.datetime) -> Trust:
        """Return what the domain trusts and knows."""
        return Trust(when, self.anchors) if self.keys is None else self.keys.trust(header, when)

    async def complete(self, unwrapped: Unwrapped, trust: Trust) -> Trust:
        """Ask about revocation, and for the certificates of issuers."""
        return await self.inquiry.complete(unwrapped, trust)

    def heard(self, header: Header, found: SmimeFound, when: datetime.datetime) -> None:
        """Keep what came with a good signature, and the signatures themselves where that is wished."""
        self.record.received(found.unwrapped, header, when, found.proof.sentence)
        if self.keys is None or not found.proof.good:
            return
        try:
            self.keys.learn(learned(found.unwrapped, found.proof, when), when)
        except Unavailable as trouble:
            self.log.error("certificate not kept", problem=trouble.problem)
