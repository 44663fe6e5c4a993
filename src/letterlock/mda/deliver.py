"""Delivery: the copies a message makes in mailboxes here, each with the trace fields that final delivery adds.

A copy begins with Return-Path (the reverse path, which only now leaves the envelope) and Delivered-To (the address it
is for). A sub-address goes to the mailbox of its name where there is one, else to INBOX.

Nothing is written here: the deliveries become part of a store transaction, the one that takes the message on or the one
that settles it in the queue.

Standards: RFC 5321 section 4.4 (Return-Path), section 3.9 (forwarding), RFC 3461 section 5.2.7 (aliases), RFC 7293 (RRVS).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from letterlock.formats.address import Address
from letterlock.formats.envelope import Notify, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.mda.ownership import changed_owner
from letterlock.mda.resolve import Local, Resolved, Resolver
from letterlock.store.accounts import Accounts
from letterlock.store.interface import Delivery, Intake


@dataclass(frozen=True, slots=True)
class Destination:
    """What becomes of one recipient: copies for mailboxes here, and recipients it goes on to elsewhere.

    `recipient` is the recipient as it was given, where it was resolved.
    """

    deliveries: tuple[Delivery, ...] = ()
    relays: tuple[Recipient, ...] = ()
    aliased: bool = False
    recipient: Recipient | None = field(default=None, compare=False)


class DeliveryAgent:
    """Says what becomes of a recipient."""

    def __init__(self, resolver: Resolver, accounts: Accounts, store: Intake) -> None:
        self.resolver = resolver
        self._accounts = accounts
        self._store = store

    def is_ours(self, domain: str) -> bool:
        """Tell whether mail for a domain is delivered here."""
        return self.resolver.settings.is_ours(domain)

    async def accept(self, reverse_path: Address | None, recipient: Recipient) -> Destination | Outcome:
        """Return what a transaction should hold for a recipient of ours, or an outcome that says why nothing.

        Where the sender asked to hear of success, the recipient goes to the queue although it is ours, so that its
        delivery and the report of it become one change (`deliver`).
        """
        destination = await self.deliver(reverse_path, recipient)
        if isinstance(destination, Destination) and reverse_path and recipient.notify & Notify.SUCCESS:
            return Destination(relays=(recipient,), aliased=destination.aliased)
        return destination

    async def deliver(self, reverse_path: Address | None, recipient: Recipient) -> Destination | Outcome:
        """Return the copies and further recipients of a recipient of ours, or a FAILED or DEFERRED outcome."""
        resolved = self.resolver.resolve(recipient.forward_path)
        if isinstance(resolved, Outcome):
            return resolved
        if (changed := changed_owner(recipient, self.resolver)) is not None:
            return changed
        full = await self._full(resolved)
        if full:
            return Outcome(recipient.forward_path, Result.DEFERRED, "4.2.2", "The mailbox is full: try again later")
        deliveries = [await self._delivery(reverse_path, local) for local in resolved.local]
        # RFC 7293 section 8.2: of who owns the addresses an alias leads to, nothing is known here.
        relays = [replace(recipient, forward_path=address, valid_since=None) for address in resolved.remote]
        return Destination(tuple(deliveries), tuple(relays), resolved.aliased, recipient)

    async def _full(self, resolved: Resolved) -> bool:
        """Tell whether the one mailbox this is for is full; of several, each has its own luck."""
        if len(resolved.local) != 1 or resolved.remote:
            return False
        account = self._accounts.account(resolved.local[0].account)
        if account is None or not account.quota_octets:
            return False
        return (await self._store.usage(account.name)).octets >= account.quota_octets

    async def _delivery(self, reverse_path: Address | None, local: Local) -> Delivery:
        mailbox = "INBOX"
        if local.detail:
            named = await self._store.mailbox(local.account, local.detail)
            mailbox = named.name if named else "INBOX"
        prefix = f"Return-Path: <{reverse_path or ''}>\r\nDelivered-To: {local.address}\r\n"
        return Delivery(local.account, mailbox, prefix.encode(), recipient=str(local.address))
