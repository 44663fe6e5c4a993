"""Recipients of ours in the queue: their copies, and the addresses their aliases lead on to, from the stored octets.

Nothing is copied: the new deliveries and queue entries refer to the content the entry has. What goes on gets the seal that
was made when the message came, if there is one.

Standards: RFC 3461 section 5.2.7 (aliases: who reports what), section 5.2.1.
"""

from __future__ import annotations

from dataclasses import replace

from letterlock.formats.envelope import Notify, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.mda.deliver import DeliveryAgent, Destination
from letterlock.mta.arrival import SEAL
from letterlock.mta.queue.schedule import QueueSettings
from letterlock.store.interface import Instant, Queued, QueuedRecipient, QueueEntry, Transaction


class LocalDelivery:
    """Turns a queued recipient of ours into a transaction."""

    def __init__(self, agent: DeliveryAgent, settings: QueueSettings) -> None:
        self._agent = agent
        self._settings = settings

    async def deliver(
        self, entry: QueueEntry, recipient: QueuedRecipient, now: Instant
    ) -> tuple[Outcome, tuple[Transaction, ...]]:
        """Return the outcome and what is to be stored with it. Raises Unavailable."""
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
        seal = details.pop(SEAL, "").encode()
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
        return outcome, (Transaction(name, now, (), destination.deliveries, queued, content=entry.content),)


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
