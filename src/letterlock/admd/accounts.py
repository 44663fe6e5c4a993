"""The accounts of an installation, for commands and for the server alike: both may have them open at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from letterlock.admd.control import SOCKET_NAME, Operation, request
from letterlock.admd.settings import Settings
from letterlock.errors import Unavailable
from letterlock.store.accounts import Accounts
from letterlock.store.core import StoreSettings
from letterlock.store.engine import open_store
from letterlock.store.interface import Store

STORE_NAME = "store"

_FILE_NAME = "accounts.sqlite"


def accounts_file(settings: Settings) -> Path:
    """Return the database that holds the accounts."""
    return settings.path(settings.data) / _FILE_NAME


@contextlib.contextmanager
def opened_accounts(settings: Settings) -> Iterator[Accounts]:
    """Open the accounts for the length of the context. Raises Unavailable."""
    accounts = Accounts(accounts_file(settings), default_domain=settings.domain)
    try:
        yield accounts
    finally:
        accounts.close()


async def forget_mail(settings: Settings, account: str) -> None:
    """Remove an account's mailboxes: through the running server, or in the store itself where none runs.

    Raises Unavailable.
    """
    data = settings.path(settings.data)
    try:
        await asyncio.to_thread(request, data / SOCKET_NAME, "account forget", {"account": account})
        return
    except Unavailable:
        pass  # nobody serves; the lock of the store tells if that is not so
    store = await open_store(StoreSettings(data / STORE_NAME))
    try:
        await store.remove_account(account)
    finally:
        await store.close()


def account_operations(store: Store) -> dict[str, Operation]:
    """Return what a running server does for `letterlock account`."""

    async def forget(arguments: Mapping[str, Any]) -> object:
        await store.remove_account(arguments["account"])
        return {}

    return {"account forget": forget}
