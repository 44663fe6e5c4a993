"""Whether a certificate of somebody elsewhere was revoked: asked where its authority says, while mail waits only a moment.

Every verdict of the gateway on a signature goes through `complete`: at the border, when mail is opened, and for lists whose
members sign; what lists encrypt to members goes through `about`. What is not told in time is "not known" in this verdict,
and known in the next (host/retrieve.py). For the certificates of issuers, which anybody may have named, mail does not wait
at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from letterlock.formats.x509.certificate import Certificate
from letterlock.host.retrieve import Retriever
from letterlock.trust.smime.gather import Asking, gather
from letterlock.trust.smime.proof import Trust
from letterlock.trust.smime.recipients import gather_recipients
from letterlock.trust.smime.unwrap import Unwrapped


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Asks with `retriever`, or nobody; `is_required` lets signatures prove nothing where revocation is not known."""

    retriever: Retriever | None = None
    asking: Asking = dataclasses.field(default_factory=Asking)
    is_required: bool = False

    async def complete(self, unwrapped: Unwrapped, trust: Trust) -> Trust:
        """Return what to judge a message by, with what was found for its signers."""
        if self.is_required:
            trust = dataclasses.replace(trust, require_revocation=True)
        if self.retriever is None or not trust.anchors:
            return trust
        return await self.retriever.search(gather(unwrapped, trust, self.asking))

    async def about(self, certificates: Sequence[Certificate], trust: Trust) -> Mapping[Certificate, Trust]:
        """Return what to judge certificates by that mail is to be encrypted to; all of them wait only once."""
        if self.is_required:
            trust = dataclasses.replace(trust, require_revocation=True)
        if self.retriever is None or not trust.anchors:
            return dict.fromkeys(certificates, trust)
        return await self.retriever.search(gather_recipients(certificates, trust, self.asking))
