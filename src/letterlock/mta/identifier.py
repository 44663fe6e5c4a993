"""Names for transactions: short, in the order of time, unguessable, never twice.

Limits: 56 bits of microseconds since 1970, then 48 bits of entropy, as hexadecimal digits.
"""

from __future__ import annotations

from letterlock.host.entropy import Entropy


def transaction_id(now: float, entropy: Entropy) -> str:
    """Return an identifier of 26 hexadecimal digits that sorts by time."""
    return f"{int(now * 1_000_000):014x}{entropy.octets(6).hex()}"
