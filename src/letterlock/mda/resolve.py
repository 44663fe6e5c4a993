"""What an address leads to: accounts here, addresses elsewhere, or nowhere.

Looked for in this order: an address that sender rewriting made (it leads back to the first sender), an alias, an account,
an account or alias without the sub-address (`anna+lists`), the postmaster, and the catch-all of the domain. Aliases lead to
aliases; one that contains the address of an account under its own name means the account.

Standards: RFC 5321 section 2.4 (local parts), section 3.9.1 (aliases), section 4.5.1 (postmaster), RFC 5233 (sub-address).
Limits: 10 levels of aliases, 1000 targets of one address.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from letterlock.formats.address import Address
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import Clock, SystemClock
from letterlock.mda.srs import SenderRewriting, is_rewritten
from letterlock.store.accounts import Accounts, fold
from letterlock.store.interface import Instant

_MOST_LEVELS = 10
_MOST_TARGETS = 1000


@dataclass(frozen=True, slots=True)
class Local:
    """A mailbox here: the account, the address as it led there, and what stood behind the separator."""

    account: str
    address: Address
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What an address leads to; `aliased` tells whether through an alias."""

    local: tuple[Local, ...] = ()
    remote: tuple[Address, ...] = ()
    aliased: bool = False


@dataclass(frozen=True, slots=True)
class ResolveSettings:
    """The domains whose mail this is, the first one main: the others have its accounts too. `separator` "" is none.

    `postmaster` is an address that gets what comes for a postmaster without account or alias; "" is the oldest account.
    `services` are addresses of ours, folded, behind which no mailbox stands but a program (a mail list): as if elsewhere,
    they go to the queue, which knows the program.
    """

    domains: tuple[str, ...]
    separator: str = "+"
    postmaster: str = ""
    services: frozenset[str] = frozenset()

    def is_ours(self, domain: str) -> bool:
        """Tell whether mail for a domain is delivered here."""
        return domain in self.domains


class Resolver:
    """Resolves addresses by the accounts. `rewriting` gives mail that is forwarded its reverse path."""

    def __init__(self, settings: ResolveSettings, accounts: Accounts, clock: Clock | None = None) -> None:
        self.settings = settings
        self.rewriting = SenderRewriting(accounts.secret("sender rewriting"), settings.domains[0])
        self._accounts = accounts
        self._clock = clock or SystemClock()

    def resolve(self, address: Address) -> Resolved | Outcome:
        """Return what an address leads to, or a FAILED outcome that says why it leads nowhere."""
        if is_rewritten(address) and self.settings.is_ours(address.domain):
            first = self.rewriting.back(address, self._clock.now())
            if first is not None:
                return Resolved(remote=(first,), aliased=True)
        local: dict[str, Local] = {}
        remote: dict[Address, None] = {}
        pending: list[tuple[Address, tuple[str, ...]]] = [(address, ())]
        aliased = False
        while pending:
            target, path = pending.pop()
            if not self.settings.is_ours(target.domain) or self._is_service(target):
                remote[target] = None
                continue
            found = self._find(target, path)
            if isinstance(found, Local):
                local.setdefault(found.account, found)
                continue
            key, targets = found
            if not targets and not path:
                return Outcome(address, Result.FAILED, "5.1.1", f"No mailbox here has the address {address}")
            aliased = aliased or bool(targets)
            if len(path) >= _MOST_LEVELS or len(local) + len(remote) + len(pending) + len(targets) > _MOST_TARGETS:
                return Outcome(address, Result.FAILED, "5.4.6", f"The aliases of {address} do not end")
            pending += [(one, (*path, key)) for one in reversed(targets)]
        if not local and not remote:
            return Outcome(address, Result.FAILED, "5.4.6", f"The aliases of {address} lead nowhere")
        return Resolved(tuple(local.values()), tuple(remote), aliased)

    def _is_service(self, address: Address) -> bool:
        return bool(self.settings.services) and fold(address) in self.settings.services

    def owner_changed(self, address: Address) -> Instant | None:
        """Return when an address, or what leads to its owner, last left another owner; None: never."""
        keys: list[Address | str] = [candidate for candidate, _ in self._candidates(address)]
        keys += ["@" + domain for domain in self._same(address.domain)]
        changes = map(self._accounts.owner_changed, keys)
        return max((instant for instant in changes if instant is not None), default=None)

    def _find(self, address: Address, path: tuple[str, ...]) -> Local | tuple[str, tuple[Address, ...]]:
        """Return the mailbox of an address, or the alias it is and that alias' targets (none: it is nothing)."""
        for candidate, detail in self._candidates(address):
            key = fold(candidate)
            targets = self._accounts.targets_of(candidate) if key not in path else ()
            if targets:
                return key, targets
            account = self._accounts.account_of(candidate)
            if account:
                return Local(account, address, detail)
        if address.local_part.lower() == "postmaster":  # RFC 5321 section 4.5.1: there always is one
            account = self._postmaster()
            if account:
                return Local(account, address)
        for domain in self._same(address.domain):
            key = "@" + domain
            targets = self._accounts.targets_of(key) if key not in path else ()
            if targets:
                return key, targets
        return "", ()

    def _candidates(self, address: Address) -> Iterable[tuple[Address, str]]:
        """Yield the addresses to look for, each with its detail."""
        for domain in self._same(address.domain):
            yield Address(address.local_part, domain), ""
        user, separator, detail = address.local_part.partition(self.settings.separator or "\0")
        if separator and user:
            for domain in self._same(address.domain):
                yield Address(user, domain), detail

    def _same(self, domain: str) -> tuple[str, ...]:
        main = self.settings.domains[0]
        return (domain,) if domain == main else (domain, main)

    def _postmaster(self) -> str | None:
        if self.settings.postmaster:
            return self._accounts.account_of(Address.parse(self.settings.postmaster))
        oldest = min(self._accounts.accounts(), key=lambda account: account.created, default=None)
        return oldest.name if oldest else None
