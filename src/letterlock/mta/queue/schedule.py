"""When to try again: soon at first, then ever later up to a bound, never all at the same instant.

Standards: RFC 5321 section 4.5.4.1 (30 minutes at first is asked for in general; greylisting taught us to come earlier).
"""

from __future__ import annotations

from dataclasses import dataclass

from letterlock.host.entropy import Entropy
from letterlock.store.interface import Instant

_GROWTH = 2.0
_JITTER = 0.2


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """How long mail is owed. Seconds; `host_name` names us in reports."""

    host_name: str
    retry_first_seconds: float = 300
    retry_longest_seconds: float = 14_400
    warn_after_seconds: float = 14_400
    expire_after_seconds: float = 432_000


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
