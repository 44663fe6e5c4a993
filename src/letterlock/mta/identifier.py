"""Names for transactions: short, in the order of time, unguessable, never twice.

Limits: 56 bits of microseconds since 1970, then 44 bits of entropy, in base 32 with the order of ASCII.
"""

from __future__ import annotations

import base64

from letterlock.host.entropy import Entropy


def transaction_id(now: float, entropy: Entropy) -> str:
    """Return an identifier of 20 letters and digits that sorts by time: `06HC5Z1TRM8KQ2V9DNPA`."""
    microseconds = int(now * 1_000_000)
    octets = microseconds.to_bytes(8)[-7:] + entropy.octets(6)[:6]
    return base64.b32hexencode(octets)[:20].decode()
