"""Names for sessions and transactions: short, in the order of time, unguessable, never twice.

A transaction is named for its session, `SESSION-NUMBER`, and what follows from it (queue entries, copies for aliases,
reports) for the transaction, so that the session's name finds all of it: `trace_of` leads back.

Limits: 56 bits of microseconds since 1970, then 48 bits of entropy, as hexadecimal digits.
"""

from __future__ import annotations

from letterlock.host.clock import Clock
from letterlock.host.entropy import Entropy


class SessionName:
    """The name of one session, 26 hexadecimal digits that sort by time, and names for its transactions."""

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self.trace = f"{int(clock.now() * 1_000_000):014x}{entropy.octets(6).hex()}"
        self._transactions = 0

    def next_transaction(self) -> str:
        """Return a name for a new transaction."""
        self._transactions += 1
        return f"{self.trace}-{self._transactions}"


def trace_of(name: str) -> str:
    """Return the name of the session that a transaction or queue entry came from."""
    return name.partition("-")[0]
