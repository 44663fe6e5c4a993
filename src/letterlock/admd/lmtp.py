"""The LMTP service: mail handed over by a mail server in front, on this machine, that has judged it already.

No TLS and no authentication: who reaches the socket may deliver to the people here, and nowhere else. What aliases lead on
to other domains goes through the queue.

Standards: RFC 2033.
"""

from __future__ import annotations

from letterlock.admd.settings import Settings
from letterlock.host.clock import Clock
from letterlock.host.drive_sessions import Session
from letterlock.host.entropy import Entropy
from letterlock.host.logs import Log
from letterlock.mda.deliver import DeliveryAgent
from letterlock.mta.arrival import Gate
from letterlock.mta.inbound import Inbound, InboundSettings
from letterlock.protocols.smtp.offer import Dialect
from letterlock.store.interface import Store


def lmtp_session(
    settings: Settings, store: Store, agent: DeliveryAgent, clock: Clock, entropy: Entropy, gate: Gate | None = None
) -> Session:
    """Return the session function of the service; `gate` looks at what is going to be delivered (security labels)."""
    return Inbound(
        InboundSettings(
            settings.host_name,
            dialect=Dialect.LMTP,
            size_limit=settings.limits.message_octets,
            recipient_limit=settings.limits.recipients,
            expire_seconds=settings.transfer.expire_after_seconds,
        ),
        store=store,
        recipients=agent,
        clock=clock,
        entropy=entropy,
        log=Log("lmtp"),
        gate=gate,
    ).session
