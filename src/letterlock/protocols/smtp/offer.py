"""What a server offers and demands, and how EHLO says it.

Standards: RFC 5321 section 4.1.1.1 (EHLO), RFC 9422 (LIMITS), RFC 8689 section 2 (REQUIRETLS only under TLS), RFC 4954
section 3 (AUTH).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from letterlock.protocols.smtp.command import Extensions


class Dialect(enum.Enum):
    """Which of the two protocols is spoken."""

    SMTP = "SMTP"
    LMTP = "LMTP"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a server offers and demands. Sizes in octets; mechanisms in the order they are offered.

    After more than `fault_limit` wrong commands, `refusal_limit` refused recipients, or `idle_command_limit` commands
    without a message, the client is sent away. `longest_hold` is how long messages may be held for
    future release, in seconds and as the instant that is (RFC 4865 section 3); None does not offer it.
    """

    host_name: str
    dialect: Dialect = Dialect.SMTP
    banner: str = "Letterlock"
    size_limit: int = 50 * 1024 * 1024
    recipient_limit: int = 1000
    fault_limit: int = 20
    refusal_limit: int = 100
    idle_command_limit: int = 2000
    offers_tls: bool = False
    demands_tls: bool = False
    plain_mechanisms: tuple[str, ...] = ()
    tls_mechanisms: tuple[str, ...] = ()
    demands_authentication: bool = False
    offers_priority: bool = False
    longest_hold: tuple[int, str] | None = None

    def mechanisms(self, *, tls: bool) -> tuple[str, ...]:
        """Return the SASL mechanisms that may be used with or without TLS."""
        return self.tls_mechanisms if tls else self.plain_mechanisms

    def keywords(self, *, tls: bool, authenticated: bool) -> tuple[str, ...]:
        """Return the lines of the answer to EHLO after the first."""
        lines = [
            "PIPELINING",
            f"SIZE {self.size_limit}",
            "8BITMIME",
            "SMTPUTF8",
            "DSN",
            "ENHANCEDSTATUSCODES",
            "CHUNKING",
            "BINARYMIME",
            f"LIMITS RCPTMAX={self.recipient_limit}",
        ]
        if self.offers_tls and not tls:
            lines.append("STARTTLS")
        if tls:
            lines.append("REQUIRETLS")
        if self.mechanisms(tls=tls) and not authenticated:
            lines.append("AUTH " + " ".join(self.mechanisms(tls=tls)))
        if self.offers_priority:
            lines.append("MT-PRIORITY")
        if self.longest_hold is not None:
            lines.append(f"FUTURERELEASE {self.longest_hold[0]} {self.longest_hold[1]}")
        return tuple(lines)

    def extensions(self, *, tls: bool) -> Extensions:
        """Return which extensions' parameters a client may use."""
        return Extensions(
            require_tls=tls,
            auth=bool(self.mechanisms(tls=tls)),
            priority=self.offers_priority,
            future_release=self.longest_hold is not None,
        )
