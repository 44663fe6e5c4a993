"""Delivery status notifications as messages: composed from notes, addressed to the sender, ready to be stored.

A report has the null reverse path, so that nobody ever reports about it; it asks for no notification. It goes the way
of all mail: to a mailbox here, or into the queue.

Standards: RFC 3461 section 6 (contents), RFC 3464, RFC 5321 section 4.5.5, RFC 8689 section 5 (a report about a message
that requires TLS requires it too and returns no content).
Limits: at most 1 MiB of the message is returned whole; beyond that its header section, of which 64 KiB are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from letterlock.formats.address import Address
from letterlock.formats.domain import is_within
from letterlock.formats.envelope import Body, Envelope, Notify, Recipient, Return
from letterlock.formats.imf.addresses import Mailbox
from letterlock.formats.reports.dsn import Action, DeliveryStatus, RecipientStatus, recipient_type, write_dsn
from letterlock.formats.reports.report import Typed
from letterlock.host.entropy import Entropy
from letterlock.mda.deliver import DeliveryAgent, Destination
from letterlock.mta.queue.conclude import Note
from letterlock.mta.queue.deliver_by import report_fields
from letterlock.mta.queue.schedule import QueueSettings
from letterlock.store.interface import Instant, Queued, QueueEntry, Store, Transaction

_MOST_RETURNED = 1 << 20
_MOST_HEADER = 64 << 10


@dataclass(frozen=True, slots=True)
class Reporter:
    """Makes the transactions that tell senders what became of their mail."""

    settings: QueueSettings
    store: Store
    agent: DeliveryAgent
    entropy: Entropy

    async def reports(self, entry: QueueEntry, notes: Sequence[Note], now: Instant) -> tuple[Transaction, ...]:
        """Return the report that `notes` ask for, one for failures and one for the rest; none for nobody."""
        sender = entry.envelope.reverse_path
        if sender is None or not notes:
            return ()
        failures = [note for note in notes if note.action is Action.FAILED]
        others = [note for note in notes if note.action is not Action.FAILED]
        made: list[Transaction] = []
        for some in (failures, others):
            if some:
                transaction = await self._report(entry, sender, some, now)
                if transaction:
                    made.append(transaction)
        return tuple(made)

    async def _report(
        self, entry: QueueEntry, sender: Address, notes: Sequence[Note], now: Instant
    ) -> Transaction | None:
        """Return one report, or None where the sender's address leads nowhere."""
        octets = await self._compose(entry, sender, notes, now)
        token = self.entropy.octets(8).hex()
        recipient = Recipient(sender, Notify.NEVER)
        name = f"{entry.queue_id}-r{token}"
        if not self.agent.is_ours(sender.domain):
            return self._transaction(name, now, octets, entry, Destination(relays=(recipient,)))
        destination = await self.agent.deliver(None, recipient)
        if isinstance(destination, Destination):
            return self._transaction(name, now, octets, entry, destination)
        if destination.result.final:
            return None
        return self._transaction(name, now, octets, entry, Destination(relays=(recipient,)))  # a full mailbox: later

    def _transaction(
        self, name: str, now: Instant, octets: bytes, entry: QueueEntry, destination: Destination
    ) -> Transaction:
        eight_bit = not octets.isascii()
        queued = tuple(
            Queued(
                name if number == 0 else f"{name}-{number}",
                Envelope(
                    None,
                    (relay,),
                    Body.EIGHT_BIT if eight_bit else Body.SEVEN_BIT,
                    smtputf8=eight_bit and entry.envelope.smtputf8,
                    require_tls=entry.envelope.require_tls,
                ),
                next_attempt=now,
                expires=now + self.settings.expire_after_seconds,
                source=f"report about {entry.queue_id}",
            )
            for number, relay in enumerate(destination.relays)
        )
        return Transaction(name, now, (octets,), destination.deliveries, queued)

    async def _compose(self, entry: QueueEntry, sender: Address, notes: Sequence[Note], now: Instant) -> bytes:
        envelope = entry.envelope
        whole = entry.size <= _MOST_RETURNED and not envelope.require_tls
        original = await self.store.read(entry.content, 0, None if whole else _MOST_HEADER)
        token = self.entropy.octets(12).hex()
        status = DeliveryStatus(
            reporting_mta=Typed("dns", self.settings.host_name),
            recipients=tuple(_recipient(note, entry, now) for note in notes),
            envelope_id=envelope.envelope_id,
            arrival=_moment(entry.arrived),
            extensions=report_fields(envelope),
        )
        return write_dsn(
            status,
            to=sender,
            author=self._author(),
            date=_moment(now),
            message_id=f"{token}@{self.settings.host_name}",
            token=token,
            original=original,
            return_content=envelope.return_content if whole else Return.HEADERS,
            smtputf8=envelope.smtputf8,
        )

    def _author(self) -> Mailbox:
        domains = self.agent.resolver.settings.domains
        host = self.settings.host_name
        domain = next((domain for domain in domains if is_within(host, domain)), domains[0])
        return Mailbox("Mail delivery at " + domain, "postmaster", domain)


def _recipient(note: Note, entry: QueueEntry, now: Instant) -> RecipientStatus:
    outcome, recipient = note.outcome, note.recipient.recipient
    kind, separator, original = recipient.original.partition(";")
    diagnostic = None
    if outcome.reply:
        said_by_peer = bool(outcome.host) and outcome.reply[:3].isdigit()
        diagnostic = Typed("smtp" if said_by_peer else "x-letterlock", " ".join(outcome.reply.split()))
    return RecipientStatus(
        final_recipient=recipient_type(recipient.forward_path),
        action=note.action,
        status=outcome.status,
        original_recipient=Typed(kind.strip().lower(), original.strip()) if separator else None,
        remote_mta=Typed("dns", outcome.host) if outcome.host else None,
        diagnostic=diagnostic,
        last_attempt=_moment(now),
        final_log_id=entry.queue_id,
        will_retry_until=_moment(entry.expires) if note.action is Action.DELAYED else None,
    )


def _moment(instant: Instant) -> datetime:
    return datetime.fromtimestamp(int(instant), UTC)
