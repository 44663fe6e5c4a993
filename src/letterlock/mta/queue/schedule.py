"""When to try again: soon at first, then ever later up to a bound, never all at the same instant.

Standards: RFC 5321 section 4.5.4.1 (30 minutes at first is asked for in general; greylisting taught us to come earlier).
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.formats.address import Address
from letterlock.host.entropy import Entropy
from letterlock.store.interface import Instant

OUR_TROUBLE_SECONDS = 60.0  # until the next attempt, where it was we who could not make one

_GROWTH = 2.0
_JITTER = 0.2


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """How long mail is owed. Seconds; `host_name` names us in reports.

    `peace_seconds` is how long a destination that does not answer is left in peace. Mail of `held_senders` and for
    `held_recipients` (addresses or domains) is held before its first attempt, until an operator lets it go. Mail for
    the domains of `backup_for` is passed on as it came.
    """

    host_name: str
    retry_first_seconds: float = 300
    retry_longest_seconds: float = 14_400
    warn_after_seconds: float = 14_400
    expire_after_seconds: float = 432_000
    peace_seconds: float = 60
    held_senders: frozenset[str] = frozenset()
    held_recipients: frozenset[str] = frozenset()
    backup_for: frozenset[str] = frozenset()

    def hold_rule(self, sender: Address | None, recipient: Address) -> str:
        """Return the rule, an address or domain, that holds mail of a sender for a recipient, or ""."""
        for rules, address in ((self.held_senders, sender), (self.held_recipients, recipient)):
            if rules and address is not None:
                for name in (str(address).lower(), address.domain):
                    if name in rules:
                        return name
        return ""

    @property
    def most_wait_seconds(self) -> float:
        """How far ahead the next attempt can lie, give or take included."""
        return max(self.retry_longest_seconds * (1 + _JITTER), OUR_TROUBLE_SECONDS)


def wait_seconds(settings: QueueSettings, attempts: int, entropy: Entropy) -> float:
    """Return how long to wait after the attempt number `attempts` (1 is the first) failed for now.

    The wait doubles from attempt to attempt up to the longest, give or take a fifth.
    """
    exponent = min(max(attempts - 1, 0), 60)
    wait = min(settings.retry_first_seconds * _GROWTH**exponent, settings.retry_longest_seconds)
    share = int.from_bytes(entropy.octets(4)) / 0xFFFFFFFF  # 0 to 1
    return wait * (1 - _JITTER + 2 * _JITTER * share)


def next_attempt(settings: QueueSettings, attempts: int, now: Instant, expires: Instant, entropy: Entropy) -> Instant:
    """Return when to try next: the last regular attempt is made when the message expires."""
    when = now + wait_seconds(settings, attempts, entropy)
    return min(when, expires) if now < expires else when
