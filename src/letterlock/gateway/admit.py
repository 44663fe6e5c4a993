"""Before a message is taken: may those it is for read it, and is it to be opened for them?

Labels are looked for in every layer that can be seen: those outside, and those within encryption for accounts that the gateway
decrypts for. Where nobody may have the message it is refused in the session. Where some may, or where it is to be opened, the
recipients concerned go to the queue, which delivers each by itself (treat.py) and tells the sender of those it does not.

What goes elsewhere, from authors here or by an alias, is looked at too: who has no clearance gets nothing, and the message is
refused with the recipient named, for an author can choose others.

Standards: RFC 2634 section 3.3, RFC 3463 section 3.8 (5.7.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from letterlock.formats.imf.header import read_header
from letterlock.gateway.domain_keys import DomainKeys
from letterlock.gateway.label_book import LabelBook
from letterlock.gateway.workshop import Workshop
from letterlock.host.logs import Log
from letterlock.mta.arrival import Destination, ToQueue
from letterlock.mta.assess_smime import may_be_signed
from letterlock.protocols.smtp.reply import Reply, reply
from letterlock.trust.smime.decrypt import KeyRing
from letterlock.trust.smime.labels import LabelRules, Reading, may_leave, may_read_layers
from letterlock.trust.smime.reveal import is_encrypted
from letterlock.trust.smime.unwrap import Unwrapped, unwrap

Content = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Admission:
    """A `Gate` (mta/arrival.py). `keys` None opens nothing; `is_ours` tells whether a domain is served here."""

    keys: DomainKeys | None
    labels: LabelBook
    workshop: Workshop
    is_ours: Callable[[str], bool]
    log: Log

    async def __call__(
        self, content: Content, destinations: Sequence[Destination], is_junk: bool
    ) -> Sequence[Destination] | Reply:
        """Return what becomes of the recipients, or the reply that refuses the message. Raises Unavailable."""
        rules = self.labels.rules
        accounts = dict.fromkeys(each.account for one in destinations for each in one.deliveries)
        opening = {name for name in accounts if self.keys is not None and self.keys.of(name).decrypts}
        if rules is None and (is_junk or not opening):
            return destinations
        octets = b"".join(content)
        if not may_be_signed(read_header(octets)):
            return destinations
        outside = await self.workshop.run(lambda: unwrap(octets))
        if rules is not None and (refusal := self._forbidden(outside, destinations, rules)) is not None:
            return refusal
        readings = await self._readings(octets, outside, tuple(accounts), opening, rules)
        denied = [one for one in destinations if any(readings[each.account].refused for each in one.deliveries)]
        if denied and len(denied) == len(destinations):
            reason = next(reading.reason for reading in readings.values() if reading.refused)
            self.log.event("label forbids", reason=reason)
            return reply(550, "5.7.1", f"The security label forbids delivery: {reason}")
        opened = opening if is_encrypted(outside) and not is_junk else set()
        return list(_queued(destinations, denied, opened))

    def _forbidden(self, outside: Unwrapped, destinations: Sequence[Destination], rules: LabelRules) -> Reply | None:
        """Return the refusal of a message that may not be sent to somebody elsewhere."""
        relays = dict.fromkeys(relay.forward_path for one in destinations for relay in one.relays)
        for address in relays:
            if self.is_ours(address.domain):
                continue  # it is delivered here later, and looked at then
            reading = may_leave(outside.layers, str(address), rules)
            if reading.refused:
                self.log.event("label forbids", reason=reading.reason)
                return reply(550, "5.7.1", f"The security label forbids sending: {reading.reason}")
        return None

    async def _opened(self, octets: bytes, make_ring: Callable[[], KeyRing]) -> Unwrapped:
        return await self.workshop.run(lambda: unwrap(octets, make_ring()))

    async def _readings(
        self,
        octets: bytes,
        outside: Unwrapped,
        accounts: tuple[str, ...],
        opening: set[str],
        rules: LabelRules | None,
    ) -> dict[str, Reading]:
        """Return for each account whether it may read the message, as far as the gateway can see into it."""
        found = {}
        for account in accounts:
            seen = outside
            if rules is not None and self.keys is not None and account in opening and is_encrypted(outside):
                seen = await self._opened(octets, self.keys.ring_of_account(account))
            found[account] = Reading(True, "") if rules is None else may_read_layers(seen.layers, account, rules)
        return found


def _queued(
    destinations: Sequence[Destination], denied: Sequence[Destination], opened: set[str]
) -> Iterator[Destination]:
    """Yield the destinations, those in the queue's place for which more is to be done; a mailbox gets one copy."""
    seen: set[str] = set()
    for one in destinations:
        accounts = {each.account for each in one.deliveries}
        if one.recipient is None or not (one in denied or accounts & opened):
            yield one
        elif one in denied or one.relays or not accounts <= seen:
            seen |= accounts
            yield ToQueue(one.recipient)
