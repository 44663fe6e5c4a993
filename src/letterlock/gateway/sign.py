"""What an account submits is signed for it on the way out, before DKIM, where the account asks for that.

A message that its author signed goes out as it is. One that cannot be signed is refused with the reason where the account
asks that everything be signed, and goes out unsigned only where it asked for signatures "if possible", or where it goes to
the domain's own authority alone, for how else would a key be asked for.

Standards: RFC 8551 section 3.5.3 (multipart/signed), RFC 9788 (the header is covered), RFC 3463 section 3.8 (5.7.5).
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from letterlock.errors import LetterlockError, Unavailable
from letterlock.formats.envelope import Envelope
from letterlock.formats.imf.header import Header, read_header
from letterlock.formats.mime.entity import parse
from letterlock.gateway.domain_keys import DomainKeys, authors_of
from letterlock.gateway.signature_record import SignatureRecord
from letterlock.gateway.workshop import Workshop
from letterlock.host.clock import Clock
from letterlock.host.entropy import Entropy
from letterlock.host.logs import Log
from letterlock.mta.assess_smime import may_be_signed
from letterlock.protocols.smtp.reply import Reply, reply
from letterlock.registrar.gateway_accounts import Signing
from letterlock.store.accounts import fold
from letterlock.trust.smime import protect
from letterlock.trust.smime.entities import is_clear_signed, is_enveloping


@dataclass(frozen=True, slots=True)
class SubmissionSigner:
    """Signs for accounts; give it to submission as `protect`. `authority` is the address of the domain's own, or empty."""

    keys: DomainKeys | None
    workshop: Workshop
    record: SignatureRecord
    clock: Clock
    entropy: Entropy
    log: Log
    authority: str = ""

    async def __call__(self, account: str, envelope: Envelope, message: tuple[bytes, ...]) -> tuple[bytes, ...] | Reply:
        """Return the message as it goes out, or the reply that refuses it. Raises Unavailable."""
        wish = Signing.NEVER if self.keys is None else self.keys.of(account).signing
        if wish is Signing.NEVER and not self.record.is_on:
            return message
        octets = b"".join(message)
        header = read_header(octets)
        when = datetime.datetime.fromtimestamp(int(self.clock.now()), datetime.UTC)
        if wish is Signing.NEVER or _is_signed(octets, header):
            await self.record.sent(octets, header, when)
            return message
        try:
            signed = await self._signed(octets, header, when)
        except Unavailable:
            raise
        except LetterlockError as fault:
            is_refused = wish is Signing.ALWAYS and not self._is_for_authority(envelope)
            self.log.event("not signed", user=account, problem=str(fault), refused=is_refused)
            if is_refused:
                # RFC 3463 section 3.8: X.7.5, the necessary key was not available
                return reply(550, "5.7.5", f"Your mail is to be signed and this cannot be: {fault}")
            return message
        await self.record.sent(signed, read_header(signed), when)
        return (signed,)

    def _is_for_authority(self, envelope: Envelope) -> bool:
        return all(fold(one.forward_path) == self.authority for one in envelope.recipients)

    async def _signed(self, octets: bytes, header: Header, when: datetime.datetime) -> bytes:
        assert self.keys is not None  # nobody asks for signatures without
        make_signer = self.keys.signer(next(iter(authors_of(header)), ""), when)
        token = self.entropy.octets(12).hex()

        def made() -> bytes:
            return protect.sign_message(octets, (make_signer(),), when, protect_header=True, token=token)

        return await self.workshop.run(made)


def _is_signed(octets: bytes, header: Header) -> bool:
    """Tell whether the author signed it already, as far as that can be seen."""
    if not may_be_signed(header):
        return False
    entity = parse(octets[: header.body_start])
    if is_clear_signed(entity):
        return True
    return is_enveloping(entity) and entity.content_type.parameters.get("smime-type", "").lower() == "signed-data"
