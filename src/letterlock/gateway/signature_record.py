"""The domain's signature log, kept while it serves: the signatures of all mail sent and received, where it is switched on.

Writing never keeps mail from going: what cannot be written is said in the log of events.
"""

from __future__ import annotations

import asyncio
import datetime
from dataclasses import dataclass

from letterlock.errors import Unavailable
from letterlock.formats.imf.header import Header
from letterlock.gateway.domain_keys import authors_of
from letterlock.host.logs import Log
from letterlock.mta.assess_smime import may_be_signed
from letterlock.mua.protect import detached_signatures
from letterlock.registrar.signature_log import LoggedSignature, SignatureLog
from letterlock.trust.smime.unwrap import Unwrapped, unwrap


@dataclass(frozen=True, slots=True)
class SignatureRecord:
    """Writes into `kept`; None keeps nothing."""

    kept: SignatureLog | None
    log: Log

    @property
    def is_on(self) -> bool:
        """Whether anything is kept."""
        return self.kept is not None

    async def sent(self, octets: bytes, header: Header, when: datetime.datetime) -> None:
        """Keep the signatures of a message that goes out."""
        if self.kept is not None and may_be_signed(header):
            unwrapped = await asyncio.to_thread(unwrap, octets)
            self._keep(unwrapped, header, when, sent=True, verdict="sent")

    def received(self, unwrapped: Unwrapped, header: Header, when: datetime.datetime, verdict: str) -> None:
        """Keep the signatures of a message that came, and what they proved."""
        if self.kept is not None:
            self._keep(unwrapped, header, when, sent=False, verdict=verdict)

    def _keep(self, unwrapped: Unwrapped, header: Header, when: datetime.datetime, *, sent: bool, verdict: str) -> None:
        assert self.kept is not None  # both callers have looked
        author = next(iter(authors_of(header)), "")
        message_id = header.text("message-id").strip("<> ")[:500]
        try:
            for cms in detached_signatures(unwrapped):
                self.kept.add(LoggedSignature(when, sent, author, message_id, verdict, cms))
        except Unavailable as trouble:
            self.log.error("signature not logged", problem=trouble.problem)
