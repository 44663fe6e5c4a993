"""When a new key may be used, and when the old one may go, so that no cache anywhere ever shows a gap.

A roll-over has three moments: the new key is published beside the old; after everything older has left the caches it
is used; after everything made with the old one has left them, that one is withdrawn. What must leave the caches differs:

    what        wait before use                       wait before the old one goes
    ZSK         DNSKEY TTL + propagation              longest TTL of the zone + propagation
    KSK         DNSKEY TTL + propagation, and the     DS TTL + the parent's propagation
                parent shows its DS
    TLSA        twice the TLSA TTL + propagation      TLSA TTL

Standards: RFC 6781 section 4.1.1.1 (ZSK, pre-publication), section 4.1.2 (KSK, double signature), RFC 7583 section 3
(timing), RFC 7671 section 8.1 (TLSA).
See also: host/key_ring.py for the keys of DKIM.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from letterlock.errors import OurFault

HOUR = 3600


class Stage(enum.Enum):
    """Where a roll-over stands."""

    SPREADING = "the new key is published, not yet used"
    READY = "the new key may be used"
    DRAINING = "the new key is used, the old one still published"
    DONE = "the old key may be withdrawn"


@dataclass(frozen=True, slots=True)
class Waits:
    """How long each stage lasts, in seconds."""

    before_use: int
    before_withdrawal: int


def zsk_waits(dnskey_ttl: int, longest_ttl: int, propagation: int = HOUR) -> Waits:
    """Return the waits of a zone-signing key."""
    return Waits(dnskey_ttl + propagation, longest_ttl + propagation)


def ksk_waits(dnskey_ttl: int, ds_ttl: int, propagation: int = HOUR) -> Waits:
    """Return the waits of a key-signing key; it is used when the parent is seen to show its DS (`confirmed`)."""
    return Waits(dnskey_ttl + propagation, ds_ttl + propagation)


def tlsa_waits(tlsa_ttl: int, propagation: int = HOUR) -> Waits:
    """Return the waits of a TLS server's key."""
    return Waits(2 * tlsa_ttl + propagation, tlsa_ttl)


@dataclass(frozen=True, slots=True)
class RollOver:
    """One roll-over; times in seconds since 1970. `confirmed` is false while something outside has yet to happen."""

    waits: Waits
    published_at: int
    used_since: int | None = None
    confirmed: bool = True

    def stage(self, now: int) -> Stage:
        """Return where it stands at a time."""
        if self.used_since is not None:
            return Stage.DONE if now >= self.used_since + self.waits.before_withdrawal else Stage.DRAINING
        ready = self.confirmed and now >= self.published_at + self.waits.before_use
        return Stage.READY if ready else Stage.SPREADING

    def use(self, now: int) -> RollOver:
        """Return the roll-over after the new key was taken into use; raises OurFault when that is too early."""
        if self.stage(now) is not Stage.READY:
            raise OurFault("the new key is not known everywhere yet")
        return replace(self, used_since=now)
