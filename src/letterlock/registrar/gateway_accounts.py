"""For whom a domain signs and decrypts at its gateway: one row an account, in the file of the domain's key store.

Nobody is in it to begin with. A change counts at once, also for a running server.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

import apsw

from letterlock.errors import Unavailable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS gateway_accounts (
  account TEXT PRIMARY KEY, signing TEXT NOT NULL, decrypts INTEGER NOT NULL, keeps_original INTEGER NOT NULL);
"""


class Signing(enum.Enum):
    """Whether what an account submits is signed."""

    NEVER = "never"
    IF_POSSIBLE = "if-possible"  # without a usable key it goes out unsigned
    ALWAYS = "always"  # without a usable key it is refused


@dataclass(frozen=True, slots=True)
class GatewayAccount:
    """What the gateway does for an account. `keeps_original` puts what came encrypted into a mailbox of its own."""

    account: str
    signing: Signing = Signing.NEVER
    decrypts: bool = False
    keeps_original: bool = False


class GatewayAccounts:
    """The rows; what is not there is off. One thread may use one."""

    def __init__(self, path: Path | str) -> None:
        try:
            self._database = apsw.Connection(str(path))
            self._database.set_busy_timeout(10_000)
            self._database.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
            self._database.execute(_SCHEMA)
        except apsw.Error as error:
            raise Unavailable(f"the key store {path} cannot be opened: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def of(self, account: str) -> GatewayAccount:
        """Return what is set for an account. Raises Unavailable."""
        found = self._rows("WHERE account = ?", (account,))
        return found[0] if found else GatewayAccount(account)

    def all(self) -> tuple[GatewayAccount, ...]:
        """Return every account for which something is set, by name. Raises Unavailable."""
        return self._rows("", ())

    def _rows(self, where: str, values: tuple[str, ...]) -> tuple[GatewayAccount, ...]:
        try:
            rows = self._database.execute(
                f"SELECT account, signing, decrypts, keeps_original FROM gateway_accounts {where} ORDER BY account",  # noqa: S608 - the callers' constants
                values,
            ).fetchall()
        except apsw.Error as error:
            raise Unavailable(f"the key store cannot be read: {error}") from None
        return tuple(
            GatewayAccount(str(name), Signing(how), bool(opens), bool(keeps)) for name, how, opens, keeps in rows
        )

    def forget(self, account: str) -> None:
        """Set nothing for an account any more. Raises Unavailable."""
        try:
            self._database.execute("DELETE FROM gateway_accounts WHERE account = ?", (account,))
        except apsw.Error as error:
            raise Unavailable(f"the key store cannot be written: {error}") from None

    def put(self, wanted: GatewayAccount) -> None:
        """Set what is done for an account. Raises Unavailable."""
        try:
            self._database.execute(
                "INSERT OR REPLACE INTO gateway_accounts VALUES (?, ?, ?, ?)",
                (wanted.account, wanted.signing.value, int(wanted.decrypts), int(wanted.keeps_original)),
            )
        except apsw.Error as error:
            raise Unavailable(f"the key store cannot be written: {error}") from None
