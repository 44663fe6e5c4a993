"""What an envelope demands of the next host beyond taking the message: in time, to the owner it was meant for, not unasked.

A client asks here what to say in MAIL and RCPT, and what keeps a message or a recipient from going to a host that does not
know of such demands.

Standards: RFC 2852 section 4.1.4 (BY), RFC 7293 section 5.1.1 (RRVS), RFC 3865 section 2.7 (SOLICIT).
"""

from __future__ import annotations

import datetime

from letterlock.formats.envelope import Envelope, Late, Notify, Recipient
from letterlock.protocols.smtp.offer import Offer
from letterlock.protocols.smtp.reply import Reply, reply

_MOST_SECONDS = 999_999_999  # RFC 2852 section 4


def hindrance(envelope: Envelope, offer: Offer, now: float) -> Reply | None:
    """Return why a host with this offer cannot have the message at all, or None."""
    by = envelope.deliver_by
    if by is not None and by.late is Late.RETURN:
        left = int(by.instant - now)
        if left <= 0:
            return reply(550, "5.4.7", "The time in which the message was to be delivered is over")
        if "DELIVERBY" not in offer:  # RFC 2852 section 4.1.4.1
            return reply(
                550, "5.3.3", "The message is to be delivered in time or returned; the next host cannot promise that"
            )
        if offer.least_seconds > left:
            return reply(
                550, "5.3.3", f"The next host needs {offer.least_seconds} seconds to deliver, and {left} are left"
            )
    unwanted = [one for one in envelope.solicitation if one in offer.unwanted_solicitation]
    if unwanted:
        return reply(550, "5.7.1", "The next host does not take SOLICIT=" + ",".join(unwanted))
    return None


def recipient_hindrance(recipient: Recipient, offer: Offer) -> Reply | None:
    """Return why a host with this offer cannot have the message for one recipient, or None."""
    demand = recipient.valid_since
    if demand is not None and not demand.is_optional and "RRVS" not in offer:
        return reply(550, "5.7.19", "The next host cannot tell whether the mailbox still has the same owner")
    return None


def mail_words(envelope: Envelope, offer: Offer, now: float) -> list[str]:
    """Return the parameters of MAIL."""
    words = []
    by = envelope.deliver_by
    if by is not None and "DELIVERBY" in offer:
        left = max(-_MOST_SECONDS, min(int(by.instant - now), _MOST_SECONDS))
        words.append(f"BY={left};{by.late.value}{'T' if by.trace else ''}")
    if envelope.solicitation and "NO-SOLICITING" in offer:
        words.append("SOLICIT=" + ",".join(envelope.solicitation))
    return words


def rcpt_words(recipient: Recipient, offer: Offer) -> list[str]:
    """Return the parameters of RCPT."""
    demand = recipient.valid_since
    if demand is None or "RRVS" not in offer:
        return []
    instant = datetime.datetime.fromtimestamp(demand.instant, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [f"RRVS={instant};C" if demand.is_optional else f"RRVS={instant}"]


def notify(envelope: Envelope, recipient: Recipient, offer: Offer) -> Notify:
    """Return what the next host is to report."""
    by = envelope.deliver_by
    if by is not None and "DELIVERBY" not in offer and recipient.notify != Notify.NEVER:
        # RFC 2852 section 4.1.4.2: who does not know of the hour is to tell of delays at least.
        return recipient.notify | Notify.DELAY
    return recipient.notify
