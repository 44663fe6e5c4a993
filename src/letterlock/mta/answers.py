"""What a host's answers, or its silence, mean for each recipient.

See also: mta/outbound.py; formats/outcome.py (the value this leads to).

Standards: RFC 3463 (enhanced status codes), RFC 8689 section 4.2.1 (5.7.10), RFC 5321 section 3.8 (421).
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.errors import NotAuthentic
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.connect import ConnectionFailed
from letterlock.host.stream import TlsFailed
from letterlock.host.tls import TlsState
from letterlock.mta.demand import TlsDemand
from letterlock.protocols.smtp.offer import Offer
from letterlock.protocols.smtp.reply import Reply


@dataclass(frozen=True, slots=True)
class Attempt:
    """Why a host decided nothing."""

    host: str
    address: str
    status: str
    reason: str
    is_uncertain: bool = False
    is_about_message: bool = False

    def outcomes(self, envelope: Envelope) -> list[Outcome]:
        """Return DEFERRED for everybody, or FAILED where the status says so."""
        result = Result.FAILED if self.status[0] == "5" else Result.DEFERRED
        about_host = not (self.is_uncertain or self.is_about_message)
        return [
            Outcome(to.forward_path, result, self.status, self.reason, self.host, self.address, about_host=about_host)
            for to in envelope.recipients
        ]


def failure_status(fault: Exception, envelope: Envelope) -> str:
    """Return the enhanced status code of what failed before a host said anything of the message."""
    if isinstance(fault, NotAuthentic | TlsFailed):
        return not_authentic(envelope)
    return "4.4.1" if isinstance(fault, ConnectionFailed) else "4.4.2"


def not_authentic(envelope: Envelope) -> str:
    """Return the status of a host whose TLS does not show what is demanded."""
    return "5.7.10" if envelope.require_tls else "4.7.5"  # RFC 8689 section 4.2.1


def outcome_of(recipient: Recipient, reply: Reply, host: str, address: str, security: str, offer: Offer) -> Outcome:
    """Return what a host's reply means for a recipient."""
    if reply.code < 300:
        result = Result.RELAYED
    else:
        result = Result.DEFERRED if reply.is_transient else Result.FAILED
    return Outcome(
        recipient.forward_path,
        result,
        status_of(reply),
        str(reply),
        host=host,
        address=address,
        security=security,
        supports_dsn="DSN" in offer,
        supports_deliver_by="DELIVERBY" in offer,
        about_host=reply.code == 421,  # RFC 5321 section 3.8: it closes, whoever the message is for
    )


def status_of(reply: Reply) -> str:
    """Return the enhanced status code of a reply, or the one its code stands for."""
    if reply.status and reply.status[0] == str(reply.code)[0]:
        return reply.status
    return f"{reply.code // 100}.0.0"


def security_of(tls: TlsState | None, demand: TlsDemand) -> str:
    """Return how a session was protected, as outcomes say it."""
    return f"{tls.version} {demand.label}" if tls is not None else "none"
