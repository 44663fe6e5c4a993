"""BY in the queue: when an attempt must not be made any more, when the next may be, and what the sender hears.

Standards: RFC 2852 section 4.1.3 (the time is over), section 4.1.4 (relaying), section 5 (Deliver-By-Date).
"""

from __future__ import annotations

from datetime import UTC, datetime

from letterlock.formats.envelope import DeliverBy, Envelope, Late, Notify
from letterlock.formats.imf.dates import write_date
from letterlock.formats.outcome import Outcome, Result
from letterlock.store.interface import Instant, QueuedRecipient, QueueEntry

_OVER = "The time in which the message was to be delivered is over"


def is_over(envelope: Envelope, now: Instant) -> bool:
    """Tell whether no further attempt may be made."""
    by = envelope.deliver_by
    return by is not None and by.late is Late.RETURN and now >= by.instant


def returned(recipient: QueuedRecipient) -> Outcome:
    """Return the failure of a recipient whose time is over; it names the last attempt's trouble."""
    said = recipient.last.outcome.reply if recipient.last is not None else ""
    reply = f"{_OVER}; the last attempt: {said}" if said else _OVER
    return Outcome(recipient.recipient.forward_path, Result.FAILED, "5.4.7", reply)


def not_after(by: DeliverBy | None, when: Instant, now: Instant) -> Instant:
    """Return `when`, or the instant of BY where that comes before: then the message is returned, or its sender told."""
    return min(when, by.instant) if by is not None and by.instant > now else when


def is_newly_late(entry: QueueEntry, recipient: QueuedRecipient, now: Instant) -> bool:
    """Tell whether the time of a message with N passed since its last attempt."""
    by = entry.envelope.deliver_by
    if by is None or now < by.instant or by.instant < entry.arrived:
        return False
    return recipient.last is None or recipient.last.instant < by.instant


def reports_relaying(entry: QueueEntry, recipient: QueuedRecipient, outcome: Outcome) -> bool:
    """Tell whether the sender is to hear that the message went on, asked for or not."""
    by = entry.envelope.deliver_by
    if by is None or recipient.recipient.notify == Notify.NEVER:
        return False
    return by.trace or not outcome.supports_deliver_by


def report_fields(envelope: Envelope) -> tuple[tuple[str, str], ...]:
    """Return the fields a delivery status notification has on account of BY."""
    by = envelope.deliver_by
    return (("Deliver-By-Date", write_date(datetime.fromtimestamp(int(by.instant), UTC))),) if by is not None else ()
