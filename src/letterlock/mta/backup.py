"""Mail for domains whose first exchanger is somebody else: taken while that one is away, and passed on.

Whether a recipient exists is asked of the better exchangers while they answer, so that what they would refuse is refused
here in the session and no bounce is owed to somebody who never wrote; what they said is remembered for a while. While none
answers, everybody is taken: that is what a backup is for.

Standards: RFC 5321 section 3.6.2 (relaying), section 5.1, section 6.1 (refuse rather than bounce).
Limits: 10,000 answers are remembered; one question takes ten seconds at most.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection

from letterlock.formats.address import Address
from letterlock.formats.envelope import Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import Clock
from letterlock.mda.deliver import Destination
from letterlock.mta.arrival import Destination as AnyDestination
from letterlock.mta.arrival import Recipients, becomes

_MOST_ANSWERS = 10_000
_TAKEN_SECONDS = 3600.0
_REFUSED_SECONDS = 300.0
_PATIENCE_SECONDS = 10.0

# Asks the exchangers of a recipient's domain whether they would take mail for it; None where none could be asked.
Ask = Callable[[Address], Awaitable[Outcome | None]]


class Backup:
    """The recipients of `inner`, and those of `domains` as far as their own exchangers know them."""

    def __init__(self, inner: Recipients, domains: Collection[str], ask: Ask, clock: Clock) -> None:
        self._inner = inner
        self._domains = frozenset(domains)
        self._ask = ask
        self._clock = clock
        self._known: OrderedDict[Address, tuple[Outcome | None, float]] = OrderedDict()

    def is_ours(self, domain: str) -> bool:
        """Tell whether mail for a domain is taken here."""
        return domain in self._domains or self._inner.is_ours(domain)

    async def accept(self, reverse_path: Address | None, recipient: Recipient) -> AnyDestination | Outcome:
        """Return what becomes of a recipient, or an outcome that says why nothing."""
        address = recipient.forward_path
        if address.domain not in self._domains or self._inner.is_ours(address.domain):
            return await becomes(self._inner, reverse_path, recipient)
        refusal = await self._refusal(address)
        return refusal if refusal is not None else Destination(relays=(recipient,))

    async def _refusal(self, address: Address) -> Outcome | None:
        elapsed = self._clock.elapsed()
        known = self._known.get(address)
        if known is not None and known[1] > elapsed:
            return known[0]
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                answer = await self._ask(address)
        except TimeoutError:
            answer = None
        if answer is None or answer.result is Result.DEFERRED:
            return None
        refusal = answer if answer.result is Result.FAILED else None
        self._known[address] = refusal, elapsed + (_TAKEN_SECONDS if refusal is None else _REFUSED_SECONDS)
        if len(self._known) > _MOST_ANSWERS:
            self._known.popitem(last=False)
        return refusal
