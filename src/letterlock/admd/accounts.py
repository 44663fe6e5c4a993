"""The accounts of an installation, for commands and for the server alike: both may have them open at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from letterlock.admd.settings import Settings
from letterlock.store.accounts import Accounts

_FILE_NAME = "accounts.sqlite"


@contextlib.contextmanager
def opened_accounts(settings: Settings) -> Iterator[Accounts]:
    """Open the accounts for the length of the context. Raises Unavailable."""
    accounts = Accounts(settings.path(settings.data) / _FILE_NAME, default_domain=settings.domain)
    try:
        yield accounts
    finally:
        accounts.close()
