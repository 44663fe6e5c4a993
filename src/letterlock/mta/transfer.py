"""What the queue's runner calls for mail to other domains: an errand's octets read from the store and sent.

See also: mta/queue/runner.py (errands), mta/outbound.py (sending).
"""

from __future__ import annotations

from collections.abc import Sequence

from letterlock.errors import Unavailable
from letterlock.formats.outcome import Outcome
from letterlock.mta.outbound import Outbound
from letterlock.mta.queue.lanes import Errand
from letterlock.mta.queue.runner import Transfer
from letterlock.store.interface import Refused, Store


def transfer_over(outbound: Outbound, store: Store) -> Transfer:
    """Return the runner's `transfer` over SMTP."""

    async def transfer(errand: Errand) -> Sequence[Outcome]:
        entry = errand.entry
        try:
            content = await store.read(entry.content)
        except Refused as refused:
            if await store.queue_entry(entry.queue_id) is None:  # dropped before its turn came
                raise
            # What is owed must be there; where it is not, a person has to look.
            raise Unavailable(f"the octets of {entry.queue_id} cannot be read: {refused}") from refused
        return await outbound.deliver(entry.envelope, content, route=entry.route, priority=entry.priority)

    return transfer
