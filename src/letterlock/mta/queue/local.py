"""Recipients of ours in the queue: their copies, and the addresses their aliases lead on to, from the stored octets.

Programs may stand behind an address (a mail list) or treat what an account gets (`Programs`): what they make of a message is
stored in the same change that ends the recipient, so that it happens once.

Nothing is copied: the new deliveries and queue entries refer to the content the entry has. What goes on gets the seal that
was made when the message came, if there is one.

Standards: RFC 3461 section 5.2.7 (aliases: who reports what), section 5.2.1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from letterlock.formats.envelope import Notify, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.mda.deliver import DeliveryAgent, Destination
from letterlock.mta.arrival import MAILBOX, SEAL, placed
from letterlock.mta.queue.schedule import QueueSettings
from letterlock.store.interface import Delivery, Instant, Queued, QueuedRecipient, QueueEntry, Transaction

# What became of a queued recipient, and what is to be stored with it.
Served = tuple[Outcome, tuple[Transaction, ...]]


@dataclass(frozen=True, slots=True)
class Treated:
    """What becomes of copies: `deliveries` of the message as it came, `transactions` with octets of their own.

    `refusal` is there where somebody may not get it.
    """

    deliveries: tuple[Delivery, ...]
    transactions: tuple[Transaction, ...] = ()
    refusal: Outcome | None = None


class Programs(Protocol):
    """What more than plain delivery is done here. Both raise Unavailable."""

    async def serve(self, entry: QueueEntry, recipient: QueuedRecipient, now: Instant) -> Served | None:
        """Serve a recipient that is no mailbox, or return None for one that is."""
        ...

    async def treat(
        self, entry: QueueEntry, recipient: QueuedRecipient, deliveries: tuple[Delivery, ...], now: Instant
    ) -> Treated:
        """Treat the copies for a recipient."""
        ...


class LocalDelivery:
    """Turns a queued recipient of ours into a transaction."""

    def __init__(self, agent: DeliveryAgent, settings: QueueSettings, programs: Programs | None = None) -> None:
        self._agent = agent
        self._settings = settings
        self._programs = programs

    async def deliver(self, entry: QueueEntry, recipient: QueuedRecipient, now: Instant) -> Served:
        """Return the outcome and what is to be stored with it. Raises Unavailable."""
        if self._programs is not None:
            served = await self._programs.serve(entry, recipient, now)
            if served is not None:
                return served
        asked = recipient.recipient
        destination = await self._agent.deliver(entry.envelope.reverse_path, asked)
        if not isinstance(destination, Destination):
            return destination, ()
        outcome = _outcome(asked, destination)
        relays = destination.relays
        if outcome.result is Result.EXPANDED:
            # RFC 3461 section 5.2.7.3: the expansion was reported; what comes after it is not
            relays = tuple(replace(relay, notify=relay.notify & ~Notify.SUCCESS) for relay in relays)
        details = dict(entry.details)
        seal, mailbox = details.pop(SEAL, "").encode(), details.pop(MAILBOX, "")
        deliveries = tuple(placed(delivery, mailbox) for delivery in destination.deliveries)
        name = f"{entry.queue_id}-{recipient.number}"
        queued = tuple(
            Queued(
                f"{name}-{number}",
                replace(entry.envelope, recipients=(relay,)),
                next_attempt=now,
                expires=now + self._settings.expire_after_seconds,
                priority=entry.priority,
                source=entry.source,
                prefix=seal,
                details=details,
            )
            for number, relay in enumerate(relays)
        )
        treated = Treated(deliveries)
        if self._programs is not None and deliveries:
            treated = await self._programs.treat(entry, recipient, deliveries, now)
        kept = Transaction(name, now, (), treated.deliveries, queued, content=entry.content)
        plain = (kept,) if treated.deliveries or queued else ()
        return treated.refusal or outcome, (*plain, *treated.transactions)


def _outcome(asked: Recipient, destination: Destination) -> Outcome:
    copies = len(destination.deliveries) + len(destination.relays)
    if destination.aliased and copies > 1:
        return Outcome(asked.forward_path, Result.EXPANDED, "2.1.5", "Expanded to the alias's addresses")
    if destination.relays:
        # RFC 3461 section 5.2.7.2: an alias for one address is as if that had been given; whoever delivers reports
        return Outcome(
            asked.forward_path, Result.RELAYED, "2.1.5", "Forwarded", supports_dsn=True, supports_deliver_by=True
        )
    return Outcome(asked.forward_path, Result.DELIVERED, "2.1.5", "Delivered")
