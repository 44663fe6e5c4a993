"""Who may come in: the accounts, as the services that log people in ask for them.

See also: store/accounts.py and store/passwords.py, which do the work.
"""

from __future__ import annotations

from letterlock.protocols.sasl.step import ScramKeys
from letterlock.store.accounts import Accounts


class Doorkeeper:
    """Answers for IMAP, POP3 and submission alike."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def check_password(self, user: str, password: str, *, network: str = "") -> str | None:
        """Return the account's name if user and password are right, else None. Raises Unavailable."""
        account = await self._accounts.verify(user, password)
        return account.name if account else None

    async def scram_keys(self, user: str, digest: str) -> ScramKeys:
        """Return the keys of a user, false ones for nobody."""
        return self._accounts.keys(user, digest)

    async def account(self, user: str) -> str | None:
        """Return the name of the account of a user who has proved to be it."""
        account = self._accounts.authenticated(user)
        return account.name if account else None
