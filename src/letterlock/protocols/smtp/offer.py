"""What a server offers and demands, how EHLO says it, and how a client hears it.

Standards: RFC 5321 section 4.1.1.1 (EHLO), RFC 9422 (LIMITS), RFC 8689 section 2 (REQUIRETLS only under TLS), RFC 4954
section 3 (AUTH), RFC 2852 section 2 (DELIVERBY), RFC 7293 section 3.1 (RRVS), RFC 3865 section 2 (NO-SOLICITING).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

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
    future release, in seconds and as the instant that is (RFC 4865 section 3); None does not offer it. `no_soliciting` are
    the classes of solicitation that are not wanted. `client_attributes` are what a proxy may say of its client (XCLIENT);
    none for a peer that is not trusted.
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
    no_soliciting: tuple[str, ...] = ()
    client_attributes: tuple[str, ...] = ()

    def mechanisms(self, *, tls: bool, certified: bool = False) -> tuple[str, ...]:
        """Return the SASL mechanisms that may be used with or without TLS, to a client that showed a certificate or not."""
        if not tls:
            return self.plain_mechanisms
        return tuple(name for name in self.tls_mechanisms if certified or name != "EXTERNAL")

    def keywords(self, *, tls: bool, authenticated: bool, certified: bool = False) -> tuple[str, ...]:
        """Return the lines of the answer to EHLO after the first."""
        mechanisms = self.mechanisms(tls=tls, certified=certified)
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
            "DELIVERBY",
            "RRVS",
            " ".join(("NO-SOLICITING", ",".join(self.no_soliciting))).rstrip(),
        ]
        if self.offers_tls and not tls:
            lines.append("STARTTLS")
        if tls:
            lines.append("REQUIRETLS")
        if mechanisms and not authenticated:
            lines.append("AUTH " + " ".join(mechanisms))
        if self.offers_priority:
            lines.append("MT-PRIORITY")
        if self.longest_hold is not None:
            lines.append(f"FUTURERELEASE {self.longest_hold[0]} {self.longest_hold[1]}")
        if self.client_attributes:
            lines.append("XCLIENT " + " ".join(self.client_attributes))
        return tuple(lines)

    def extensions(self, *, tls: bool) -> Extensions:
        """Return which extensions' parameters a client may use."""
        return Extensions(
            require_tls=tls,
            auth=bool(self.mechanisms(tls=tls)),
            priority=self.offers_priority,
            future_release=self.longest_hold is not None,
        )


@dataclass(frozen=True, slots=True)
class Offer:
    """What EHLO offered: keywords in upper case with their words."""

    keywords: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __contains__(self, keyword: str) -> bool:
        """Whether an extension is offered."""
        return keyword in self.keywords

    @property
    def size_limit(self) -> int:
        """The largest message the server takes, 0 where it does not say (RFC 1870 section 4)."""
        words = self.keywords.get("SIZE", ())
        return int(words[0]) if words and words[0].isdigit() and len(words[0]) <= 20 else 0

    @property
    def recipient_limit(self) -> int:
        """How many recipients one transaction may have: LIMITS RCPTMAX, else what every server takes."""
        return self._limit("RCPTMAX") or 100  # RFC 5321 section 4.5.3.1.8

    def _limit(self, wanted: str) -> int:
        for word in self.keywords.get("LIMITS", ()):
            name, _, value = word.partition("=")
            if name.upper() == wanted and value.isascii() and value.isdigit() and len(value) <= 6:
                return max(int(value), 1)
        return 0

    @property
    def message_limit(self) -> int:
        """How many messages one connection may carry: LIMITS MAILMAX, 0 where the server does not say."""
        return self._limit("MAILMAX")

    @property
    def least_seconds(self) -> int:
        """The least BY with R that the server takes (RFC 2852 section 2), 0 where it does not say."""
        words = self.keywords.get("DELIVERBY", ())
        return int(words[0]) if words and words[0].isdigit() and len(words[0]) <= 9 else 0

    @property
    def unwanted_solicitation(self) -> frozenset[str]:
        """The classes of solicitation the server does not take (RFC 3865 section 2.1)."""
        return frozenset(one for word in self.keywords.get("NO-SOLICITING", ()) for one in word.split(",") if one)

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The SASL mechanisms offered, in upper case."""
        return tuple(word.upper() for word in self.keywords.get("AUTH", ()))
