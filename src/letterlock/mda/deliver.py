"""Delivery: the copies a message makes in mailboxes here, each with the trace fields that final delivery adds.

A copy begins with Return-Path (the reverse path, which only now leaves the envelope) and Delivered-To (the address it
is for). A sub-address goes to the mailbox of its name where there is one, else to INBOX.

Nothing is written here: the deliveries become part of a store transaction, the one that takes the message on or the one
that settles it in the queue.

Standards: RFC 5321 section 4.4 (Return-Path), section 3.9 (forwarding), RFC 3461 section 5.2.7 (aliases), RFC 7293 (RRVS).
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from letterlock.formats.address import Address
from letterlock.formats.envelope import Notify, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.mda.ownership import changed_owner
from letterlock.mda.resolve import Local, Resolved, Resolver
from letterlock.store.accounts import Accounts
from letterlock.store.interface import Delivery, Intake

DEFAULT_MAILBOXES: Mapping[str, str] = {
    "Drafts": "\\Drafts",
    "Sent": "\\Sent",
    "Junk": "\\Junk",
    "Trash": "\\Trash",
    "Archive": "\\Archive",
}


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

    def accept(
        self, reverse_path: Address | None, recipient: Recipient
    ) -> Destination | Outcome | Awaitable[Destination | Outcome]:
        """Return what a transaction should hold for a recipient of ours, or an outcome that says why nothing.

        Where the sender asked to hear of success, the recipient goes to the queue although it is ours, so that its
        delivery and the report of it become one change (`deliver`). Where the store must be asked, this is a promise.
        """
        if reverse_path and recipient.notify & Notify.SUCCESS:
            return self._accept_for_queue(reverse_path, recipient)
        resolved = self._resolved(recipient)
        if isinstance(resolved, Outcome):
            return resolved
        if self._quota(resolved) or any(local.detail for local in resolved.local):
            return self._destination(reverse_path, recipient, resolved)
        return _destination(reverse_path, recipient, resolved, ["INBOX"] * len(resolved.local))

    async def deliver(self, reverse_path: Address | None, recipient: Recipient) -> Destination | Outcome:
        """Return the copies and further recipients of a recipient of ours, or a FAILED or DEFERRED outcome."""
        resolved = self._resolved(recipient)
        return resolved if isinstance(resolved, Outcome) else await self._destination(reverse_path, recipient, resolved)

    async def _accept_for_queue(self, reverse_path: Address, recipient: Recipient) -> Destination | Outcome:
        destination = await self.deliver(reverse_path, recipient)
        if isinstance(destination, Outcome):
            return destination
        return Destination(relays=(recipient,), aliased=destination.aliased)

    def _resolved(self, recipient: Recipient) -> Resolved | Outcome:
        resolved = self.resolver.resolve(recipient.forward_path)
        if isinstance(resolved, Outcome):
            return resolved
        return changed_owner(recipient, self.resolver) or resolved

    async def _destination(
        self, reverse_path: Address | None, recipient: Recipient, resolved: Resolved
    ) -> Destination | Outcome:
        quota = self._quota(resolved)
        if quota and (await self._store.usage(resolved.local[0].account)).octets >= quota:
            return Outcome(recipient.forward_path, Result.DEFERRED, "4.2.2", "The mailbox is full: try again later")
        mailboxes = [await self._mailbox(local) for local in resolved.local]
        return _destination(reverse_path, recipient, resolved, mailboxes)

    def _quota(self, resolved: Resolved) -> int:
        """Return how many octets the one mailbox this is for may hold, 0 for any; of several, each has its own luck."""
        if len(resolved.local) != 1 or resolved.remote:
            return 0
        account = self._accounts.account(resolved.local[0].account)
        return account.quota_octets if account is not None else 0

    async def _mailbox(self, local: Local) -> str:
        named = await self._store.mailbox(local.account, local.detail) if local.detail else None
        return named.name if named else "INBOX"


def _destination(
    reverse_path: Address | None, recipient: Recipient, resolved: Resolved, mailboxes: Sequence[str]
) -> Destination:
    """Return the copies for `mailboxes`, one of each local address, and what goes on."""
    deliveries = [
        Delivery(
            local.account,
            mailbox,
            f"Return-Path: <{reverse_path or ''}>\r\nDelivered-To: {local.address}\r\n".encode(),
            recipient=str(local.address),
        )
        for local, mailbox in zip(resolved.local, mailboxes, strict=True)
    ]
    # RFC 7293 section 8.2: of who owns the addresses an alias leads to, nothing is known here.
    relays = [replace(recipient, forward_path=address, valid_since=None) for address in resolved.remote]
    return Destination(tuple(deliveries), tuple(relays), resolved.aliased, recipient)
