"""What a running server does for `letterlock queue`: the queue as JSON values, and the four verbs.

Each operation takes a filter: `queue_id`, `sender`, `recipient`, `destination` (all optional strings).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from letterlock.admd.control import Operation
from letterlock.host.clock import Clock
from letterlock.store.interface import Attempt, QueueEntry, QueueFilter, Store

_MOST_ENTRIES = 1000


def queue_operations(store: Store, clock: Clock) -> dict[str, Operation]:
    """Return the operations by name."""

    async def show_all(arguments: Mapping[str, Any]) -> object:
        entries = await store.queue(_filter(arguments), limit=_MOST_ENTRIES, after=arguments.get("after", ""))
        messages, recipients = await store.queue_size()
        return {"messages": messages, "recipients": recipients, "entries": [_entry(entry) for entry in entries]}

    async def show_one(arguments: Mapping[str, Any]) -> object:
        queue_id = arguments["queue_id"]
        entry = await store.queue_entry(queue_id)
        if entry is None:
            return None
        return _entry(entry) | {"history": [_attempt(attempt) for attempt in await store.attempts(queue_id)]}

    async def retry(arguments: Mapping[str, Any]) -> object:
        chosen = _filter(arguments)
        await store.hold(chosen, held=False)
        return {"recipients": await store.retry(chosen, clock.now(), route=arguments.get("route"))}

    async def hold(arguments: Mapping[str, Any]) -> object:
        return {"recipients": await store.hold(_filter(arguments), held=True)}

    async def drop(arguments: Mapping[str, Any]) -> object:
        return {"recipients": await store.drop(_filter(arguments))}

    return {
        "queue list": show_all,
        "queue show": show_one,
        "queue retry": retry,
        "queue hold": hold,
        "queue drop": drop,
    }


def _filter(arguments: Mapping[str, Any]) -> QueueFilter:
    return QueueFilter(
        queue_id=arguments.get("queue_id", ""),
        sender=arguments.get("sender", ""),
        recipient=arguments.get("recipient", ""),
        destination=arguments.get("destination", ""),
    )


def _entry(entry: QueueEntry) -> dict[str, Any]:
    return {
        "queue_id": entry.queue_id,
        "sender": str(entry.envelope.reverse_path or ""),
        "size_octets": entry.size,
        "arrived": entry.arrived,
        "expires": entry.expires,
        "source": entry.source,
        "recipients": [
            {
                "address": str(owed.recipient.forward_path),
                "attempts": owed.attempts,
                "held": owed.held,
                "next_attempt": owed.next_attempt,
                "last": _attempt(owed.last) if owed.last else None,
            }
            for owed in entry.recipients
        ],
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    outcome = attempt.outcome
    return {
        "instant": attempt.instant,
        "recipient": str(outcome.recipient),
        "result": outcome.result.value,
        "status": outcome.status,
        "reply": outcome.reply,
        "host": outcome.host,
        "address": outcome.address,
        "security": outcome.security,
    }
