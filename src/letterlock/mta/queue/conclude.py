"""What an attempt leads to for each recipient: gone or waiting, and whether the sender is told.

Promises: a final failure is always reported unless the sender wished otherwise or there is nobody to tell (the null
reverse path); a delay is reported once; a success only on demand. Nothing expires before it was tried three times.

Standards: RFC 3461 section 4.1 (NOTIFY), section 5.2 (what a relay reports), RFC 3464 section 2.3.3 (actions), RFC 5321
section 4.5.5 (no report about a report), RFC 3463 section 3.5 (4.4.7: expired), RFC 2852 section 4.1.3 (BY).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from letterlock.formats.envelope import Notify
from letterlock.formats.outcome import Outcome, Result
from letterlock.formats.reports.dsn import Action
from letterlock.host.entropy import Entropy
from letterlock.mta.queue import deliver_by
from letterlock.mta.queue.schedule import QueueSettings, next_attempt
from letterlock.store.interface import Instant, QueuedRecipient, QueueEntry, Settlement

_FEWEST_ATTEMPTS = 3  # a clock that jumped ahead must not return mail that was hardly tried


@dataclass(frozen=True, slots=True)
class Note:
    """Something the sender is to be told about one recipient."""

    recipient: QueuedRecipient
    outcome: Outcome
    action: Action


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What an attempt for some recipients of an entry leads to."""

    settlements: tuple[Settlement, ...]
    notes: tuple[Note, ...]


def conclude(
    entry: QueueEntry,
    attempted: Sequence[tuple[QueuedRecipient, Outcome]],
    settings: QueueSettings,
    now: Instant,
    entropy: Entropy,
) -> Conclusion:
    """Return the settlements and notes for recipients of `entry` that were attempted at `now`."""
    settlements: list[Settlement] = []
    notes: list[Note] = []
    for recipient, outcome in attempted:
        tries = recipient.attempts + 1
        if outcome.result is Result.DEFERRED and now >= entry.expires and tries >= _FEWEST_ATTEMPTS:
            outcome = expired(outcome)
        action = owed_note(entry, recipient, outcome, settings, now)
        if action:
            told = outcome
            if action is Action.DELAYED and deliver_by.is_newly_late(entry, recipient, now):
                told = replace(outcome, status="4.4.7")  # RFC 2852 section 4.1.3
            notes.append(Note(recipient, told, action))
        if outcome.result.final:
            settlements.append(Settlement(recipient.number, outcome))
            continue
        when = next_attempt(settings, tries, now, entry.expires, entropy)
        when = deliver_by.not_after(entry.envelope.deliver_by, when, now)
        settlements.append(Settlement(recipient.number, outcome, when, delay_reported=action is Action.DELAYED))
    return Conclusion(tuple(settlements), tuple(notes))


def told_nothing(conclusion: Conclusion) -> tuple[tuple[Settlement, ...], tuple[QueuedRecipient, ...]]:
    """Return the settlements that stand where nobody can be told anything now, and the recipients whose failure must be.

    A delay is told at the next attempt.
    """
    unreported = {note.recipient.number: note.recipient for note in conclusion.notes if note.action is Action.FAILED}
    standing = tuple(
        replace(settlement, delay_reported=False)
        for settlement in conclusion.settlements
        if settlement.number not in unreported
    )
    return standing, tuple(unreported.values())


def expired(outcome: Outcome) -> Outcome:
    """Return the final failure that a deferral becomes when the time is over."""
    return replace(outcome, result=Result.FAILED, status="4.4.7", reply=outcome.reply or "Delivery time expired")


def owed_note(
    entry: QueueEntry, recipient: QueuedRecipient, outcome: Outcome, settings: QueueSettings, now: Instant
) -> Action | None:
    """Return what the sender is to be told about this outcome, or None for nothing."""
    if entry.envelope.reverse_path is None:  # RFC 5321 section 4.5.5
        return None
    wish = recipient.recipient.notify
    match outcome.result:
        case Result.FAILED:
            return Action.FAILED if wish & Notify.FAILURE else None
        case Result.DEFERRED:
            if deliver_by.is_newly_late(entry, recipient, now):
                return Action.DELAYED if wish & Notify.DELAY else None
            late = now - entry.arrived >= settings.warn_after_seconds
            return Action.DELAYED if late and wish & Notify.DELAY and not recipient.delay_reported else None
        case Result.DELIVERED:
            return Action.DELIVERED if wish & Notify.SUCCESS else None
        case Result.EXPANDED:
            return Action.EXPANDED if wish & Notify.SUCCESS else None
        case Result.RELAYED:
            # RFC 3461 section 5.2.2: who knows DSN takes the duty to report over
            wanted = wish & Notify.SUCCESS and not outcome.supports_dsn
            return Action.RELAYED if wanted or deliver_by.reports_relaying(entry, recipient, outcome) else None
