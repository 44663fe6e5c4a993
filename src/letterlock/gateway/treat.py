"""Copies for accounts that the gateway decrypts for, and for people who may not read what is labelled.

A message is opened with the account's keys, judged, and stored without its encryption, the verdict in an
Authentication-Results field before it. What cannot be opened, or what may have been altered on the way (trust/smime/reveal.py),
is delivered as it came. The ledger keeps what was done and why, kind "smime".

Standards: RFC 8601 section 5 (our own field only), RFC 7281 (method smime), RFC 2634 section 3.3 (labels).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from letterlock.errors import Malformed, NotAuthentic
from letterlock.formats import authentication_results
from letterlock.formats.authentication_results import AuthenticationResults
from letterlock.formats.imf.header import Header, read_header
from letterlock.formats.outcome import Outcome, Result
from letterlock.gateway.domain_keys import DomainKeys, authors_of
from letterlock.gateway.signature_record import SignatureRecord
from letterlock.gateway.workshop import Workshop
from letterlock.host.entropy import Entropy
from letterlock.host.ledger import Entry, Fact, Ledger
from letterlock.host.logs import Log
from letterlock.mta.assess_smime import may_be_signed, method_result
from letterlock.mta.assessed import smime_facts
from letterlock.mta.queue.local import Treated
from letterlock.mua.protect import learned
from letterlock.store.interface import Delivery, Instant, QueuedRecipient, QueueEntry, Store, Transaction
from letterlock.trust.smime import reveal
from letterlock.trust.smime.decrypt import KeyRing
from letterlock.trust.smime.labels import LabelRules, Reading, may_read_layers
from letterlock.trust.smime.proof import Proof, Trust, prove
from letterlock.trust.smime.unwrap import Unwrapped, unwrap

KIND = "smime"
_MOST_HEADER = 64 << 10


@dataclass(frozen=True, slots=True)
class TreatmentSettings:
    """Our name in Authentication-Results, the mailbox for originals, and whether CBC without a signature is opened."""

    authserv_id: str
    originals_mailbox: str = "Encrypted"
    opens_unauthenticated: bool = False


@dataclass(frozen=True, slots=True)
class _Copy:
    """What became of one copy: its octets where they differ from those that came."""

    reading: Reading
    octets: bytes | None
    reason: str
    unwrapped: Unwrapped
    proof: Proof


@dataclass(frozen=True, slots=True)
class Treatment:
    """Treats copies in the queue (mta/queue/local.py). `keys` None opens nothing, `rules` None knows no labels."""

    settings: TreatmentSettings
    keys: DomainKeys | None
    rules: LabelRules | None
    workshop: Workshop
    store: Store
    record: SignatureRecord
    ledger: Ledger
    entropy: Entropy
    log: Log

    async def treat(
        self, entry: QueueEntry, recipient: QueuedRecipient, deliveries: tuple[Delivery, ...], now: Instant
    ) -> Treated:
        """Return what becomes of the copies of a message. Raises Unavailable."""
        opening = {one.account for one in deliveries if self.keys is not None and self.keys.of(one.account).decrypts}
        if not opening and self.rules is None:
            return Treated(deliveries)
        if not may_be_signed(read_header(await self.store.read(entry.content, 0, _MOST_HEADER))):
            return Treated(deliveries)
        octets = await self.store.read(entry.content)
        header = read_header(octets)
        when = datetime.datetime.fromtimestamp(int(now), datetime.UTC)
        kept: list[Delivery] = []
        own: list[Transaction] = []
        refusal: Outcome | None = None
        for number, delivery in enumerate(deliveries):
            copy = await self._copy(octets, header, delivery, when, is_opened=delivery.account in opening)
            self._tell(entry, delivery, copy, header, now)
            if copy.reading.refused:
                text = f"The security label forbids delivery: {copy.reading.reason}"
                refusal = Outcome(recipient.recipient.forward_path, Result.FAILED, "5.7.1", text)
            elif copy.octets is None:
                kept.append(delivery)
            else:
                name = f"{entry.queue_id}-{recipient.number}-s{number}"
                own.append(Transaction(name, now, (copy.octets,), (delivery,)))
                kept += self._original(delivery)
                self._keep(copy, header, when)
        return Treated(tuple(kept), tuple(own), refusal)

    def _original(self, delivery: Delivery) -> tuple[Delivery, ...]:
        assert self.keys is not None  # what was opened was opened with keys
        if not self.keys.of(delivery.account).keeps_original:
            return ()
        return (msgspec.structs.replace(delivery, mailbox=self.settings.originals_mailbox, flags=("\\Seen",)),)

    async def _copy(
        self, octets: bytes, header: Header, delivery: Delivery, when: datetime.datetime, *, is_opened: bool
    ) -> _Copy:
        make_ring: Callable[[], KeyRing] = KeyRing
        trust = Trust(when)
        if self.keys is not None and is_opened:
            make_ring, trust = self.keys.ring_of_account(delivery.account), self.keys.trust(header, when)
        token = self.entropy.octets(12).hex()
        account = delivery.account
        unwrapped = await self.workshop.run(lambda: unwrap(octets, make_ring(), trust.certificates))
        known = trust if self.keys is None else await self.keys.inquiry.complete(unwrapped, trust)
        return await self.workshop.run(lambda: self._opened(octets, header, account, unwrapped, known, token))

    def _opened(
        self, octets: bytes, header: Header, account: str, unwrapped: Unwrapped, trust: Trust, token: str
    ) -> _Copy:
        """Judge and reveal a message that was taken apart; in a thread."""
        proof = prove(header, unwrapped, trust)
        reading = Reading(True, "")
        if self.rules is not None:
            reading = may_read_layers(unwrapped.layers, account, self.rules)
        if not reading.allowed:
            return _Copy(reading, None, reading.reason, unwrapped, proof)
        try:
            if not self.settings.opens_unauthenticated:
                reveal.check_unchanged(unwrapped)
            content = reveal.revealed(octets, unwrapped, token)
        except (NotAuthentic, Malformed) as fault:
            return _Copy(reading, None, str(fault), unwrapped, proof)
        return _Copy(reading, self._field(proof) + content, "", unwrapped, proof)

    def _field(self, proof: Proof) -> bytes:
        """Return our Authentication-Results with what the signatures inside prove; nothing without any."""
        if not proof.signers:
            return b""
        return authentication_results.write(AuthenticationResults(self.settings.authserv_id, (method_result(proof),)))

    def _keep(self, copy: _Copy, header: Header, when: datetime.datetime) -> None:
        assert self.keys is not None  # what was opened was opened with keys
        self.record.received(copy.unwrapped, header, when, copy.proof.sentence)
        self.keys.learn(learned(copy.unwrapped, copy.proof, when), when)

    def _tell(self, entry: QueueEntry, delivery: Delivery, copy: _Copy, header: Header, now: Instant) -> None:
        done = "refused" if copy.reading.refused else "as it came" if copy.octets is None else "decrypted"
        self.log.event("smime", queue_id=entry.queue_id, account=delivery.account, done=done, reason=copy.reason)
        facts: Mapping[str, Fact] = {
            "account": delivery.account,
            "done": done,
            "reason": copy.reason,
            "message_id": header.text("message-id")[:200],
            "smime": smime_facts(copy.proof),
        }
        domain = next(iter(authors_of(header)), "").rpartition("@")[2].lower()
        self.ledger.append(Entry(now, KIND, entry.queue_id, domain, facts))
