"""The programs behind addresses of the domain, and what the gateway does with copies: what the queue asks (`Programs`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from letterlock.gateway.treat import Treatment
from letterlock.mta.queue.local import Served, Treated
from letterlock.store.accounts import fold
from letterlock.store.interface import Delivery, Instant, QueuedRecipient, QueueEntry


class Program(Protocol):
    """What stands behind an address in place of a mailbox."""

    async def serve(self, entry: QueueEntry, recipient: QueuedRecipient, now: Instant) -> Served:
        """Return what became of a message and what is to be stored with that. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class GatewayPrograms:
    """`by_address` are programs by folded address; `treatment` None treats nothing."""

    by_address: Mapping[str, Program]
    treatment: Treatment | None = None

    async def serve(self, entry: QueueEntry, recipient: QueuedRecipient, now: Instant) -> Served | None:
        """Let the program behind an address serve the message, if there is one."""
        program = self.by_address.get(fold(recipient.recipient.forward_path))
        return None if program is None else await program.serve(entry, recipient, now)

    async def treat(
        self, entry: QueueEntry, recipient: QueuedRecipient, deliveries: tuple[Delivery, ...], now: Instant
    ) -> Treated:
        """Treat copies for mailboxes."""
        if self.treatment is None:
            return Treated(deliveries)
        return await self.treatment.treat(entry, recipient, deliveries, now)
