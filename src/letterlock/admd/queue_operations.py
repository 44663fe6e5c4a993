"""What a running server does for `letterlock queue`: the queue as JSON values, the verbs, the list of the suppressed.

Each operation on the queue takes a filter: `queue_id`, `sender`, `recipient`, `destination`, `reason` (all optional
strings), `arrived_before` (seconds since 1970) and `held`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from letterlock.admd.control import Operation
from letterlock.admd.sending import Sending
from letterlock.errors import LetterlockError
from letterlock.formats.address import Address
from letterlock.host.clock import Clock
from letterlock.mta.queue.suppressed import Suppressed
from letterlock.store.interface import Attempt, QueueEntry, QueueFilter, Refused, Store

_MOST_ENTRIES = 1000
_PIECE_OCTETS = 4 << 20


def queue_operations(store: Store, clock: Clock, sending: Sending) -> dict[str, Operation]:
    """Return the operations by name."""

    async def show_all(arguments: Mapping[str, Any]) -> object:
        limit = min(int(arguments.get("limit", _MOST_ENTRIES)), _MOST_ENTRIES)
        entries = await store.queue(_filter(arguments), limit=limit, after=arguments.get("after", ""))
        messages, recipients = await store.queue_size()
        return {"messages": messages, "recipients": recipients, "entries": [_entry(entry) for entry in entries]}

    async def show_one(arguments: Mapping[str, Any]) -> object:
        queue_id = arguments["queue_id"]
        entry = await store.queue_entry(queue_id)
        if entry is None:
            return None
        return _entry(entry) | {"history": [_attempt(attempt) for attempt in await store.attempts(queue_id)]}

    async def read(arguments: Mapping[str, Any]) -> object:
        entry = await store.queue_entry(arguments["queue_id"])
        if entry is None:
            return None
        try:
            octets = await store.read(entry.content, int(arguments.get("offset", 0)), _PIECE_OCTETS)
        except Refused:  # it left meanwhile
            return None
        return {"octets": base64.b64encode(octets).decode()}

    async def retry(arguments: Mapping[str, Any]) -> object:
        chosen = _filter(arguments)
        sending.forget_failures()  # whoever says "now" knows something that we do not
        recipients = await store.retry(chosen, clock.now(), route=arguments.get("route"))
        await store.hold(chosen, held=False)  # second: the filter may be for what is held
        return {"recipients": recipients}

    async def hold(arguments: Mapping[str, Any]) -> object:
        return {"recipients": await store.hold(_filter(arguments), held=True)}

    async def drop(arguments: Mapping[str, Any]) -> object:
        return {"recipients": await store.drop(_filter(arguments))}

    return {
        "queue list": show_all,
        "queue show": show_one,
        "queue read": read,
        "queue retry": retry,
        "queue hold": hold,
        "queue drop": drop,
        **_suppression(sending),
    }


def _suppression(sending: Sending) -> dict[str, Operation]:
    suppressions = sending.suppressions

    async def show(_arguments: Mapping[str, Any]) -> object:
        return [_suppressed(entry) for entry in suppressions.entries()]

    async def add(arguments: Mapping[str, Any]) -> object:
        entry = await suppressions.add(
            arguments["address"],
            sender=arguments.get("sender", ""),
            reason=arguments.get("reason", ""),
            seconds=float(arguments.get("seconds", 0)),
        )
        return _suppressed(entry)

    async def remove(arguments: Mapping[str, Any]) -> object:
        return {"removed": await suppressions.remove(arguments["address"], sender=arguments.get("sender", ""))}

    return {"queue suppressed": show, "queue suppress": add, "queue allow": remove}


def _suppressed(entry: Suppressed) -> dict[str, Any]:
    return {
        "address": entry.recipient,
        "sender": entry.sender,
        "reason": entry.reason,
        "since": entry.since,
        "until": entry.until or None,
        "bounces": entry.bounces,
    }


def _filter(arguments: Mapping[str, Any]) -> QueueFilter:
    recipient = arguments.get("recipient", "")
    if recipient:
        Address.parse(recipient)
    held = arguments.get("held")
    if held not in (None, True, False):
        raise LetterlockError(f"held is true or false, not {held!r}")
    before = arguments.get("arrived_before")
    return QueueFilter(
        queue_id=arguments.get("queue_id", ""),
        sender=arguments.get("sender", ""),
        recipient=recipient,
        destination=arguments.get("destination", "").lower(),
        held=held,
        arrived_before=None if before is None else float(before),
        reason=arguments.get("reason", ""),
    )


def _entry(entry: QueueEntry) -> dict[str, Any]:
    return {
        "queue_id": entry.queue_id,
        "sender": str(entry.envelope.reverse_path or ""),
        "body": entry.envelope.body.value,
        "smtputf8": entry.envelope.smtputf8,
        "require_tls": entry.envelope.require_tls,
        "envelope_id": entry.envelope.envelope_id,
        "priority": entry.priority,
        "route": entry.route,
        "size_octets": entry.size,
        "arrived": entry.arrived,
        "expires": entry.expires,
        "source": entry.source,
        "problem": entry.problem,
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
