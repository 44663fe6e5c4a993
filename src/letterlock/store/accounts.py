"""Who has mail here: accounts with their password proofs, their addresses, and the aliases of each domain.

An account is named by its main address ("anna@rosewood.test"). Further addresses lead to it; an alias leads to any
addresses, here or elsewhere; the alias "@rosewood.test" is the catch-all of a domain. Local parts are compared without
case (RFC 5321 section 2.4 lets the receiving host decide). When an address leaves its owner, that is remembered.

The database is a file of its own, opened by the server and by commands at the same time. Who may log in is always asked of
the file; where an address leads is remembered for a tenth of a second, and a change by another process counts after that.

Promises: a change is durable when the call returns (WAL with synchronous=FULL).
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from letterlock.errors import Malformed, Unavailable
from letterlock.formats.address import Address
from letterlock.host.clock import Clock, SystemClock
from letterlock.host.entropy import Entropy, SystemEntropy
from letterlock.protocols.sasl.saslprep import saslprep
from letterlock.protocols.sasl.step import ScramKeys
from letterlock.store.interface import Instant, Refusal, Refused
from letterlock.store.passwords import Verifier, false_keys, hash_password, scram_keys

_VERSION = 2
_ANSWER_SECONDS = 0.1
_MOST_ANSWERS = 10_000
_FORMER = "CREATE TABLE former_owners (address TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;"
_SCHEMA = """
CREATE TABLE secrets (name TEXT PRIMARY KEY, octets BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE accounts (
    name TEXT PRIMARY KEY, password TEXT NOT NULL, created REAL NOT NULL, changed REAL NOT NULL,
    quota_octets INTEGER NOT NULL DEFAULT 0, enabled INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID;
CREATE TABLE scram (
    account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE, digest TEXT NOT NULL, salt BLOB NOT NULL,
    iterations INTEGER NOT NULL, stored_key BLOB NOT NULL, server_key BLOB NOT NULL,
    PRIMARY KEY (account, digest)) WITHOUT ROWID;
CREATE TABLE addresses (
    address TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE) WITHOUT ROWID;
CREATE INDEX addresses_by_account ON addresses (account);
CREATE TABLE aliases (address TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY (address, target)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Account:
    """An account. `quota_octets` 0 is no limit; `addresses` are all that lead to it, the main one first."""

    name: str
    addresses: tuple[str, ...]
    created: Instant
    quota_octets: int = 0
    enabled: bool = True


def fold(address: Address | str) -> str:
    """Return an address as it is compared here. Raises Malformed."""
    parsed = Address.parse(address) if isinstance(address, str) else address
    local_part = unicodedata.normalize("NFC", parsed.local_part).lower()
    return str(Address(local_part, parsed.domain))


class Accounts:
    """The accounts in the database at `path`, made if it does not exist. One thread may use one.

    `default_domain` completes a user name without a domain. `digests` are those SCRAM keys are kept for.
    """

    def __init__(
        self,
        path: Path,
        *,
        default_domain: str = "",
        digests: Sequence[str] = ("sha256",),
        clock: Clock | None = None,
        entropy: Entropy | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._entropy = entropy or SystemEntropy()
        self._default_domain = default_domain
        self._digests = tuple(digests)
        self._verifier: Verifier | None = None
        self._answers: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
        self._stale_at = -math.inf
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = apsw.Connection(str(path))
            path.chmod(0o600)
            self._prepare()
        except (apsw.Error, OSError) as error:
            raise Unavailable(f"opening the accounts {path} failed: {error}") from None

    def _prepare(self) -> None:
        connection = self._connection
        connection.set_busy_timeout(10_000)
        connection.set_commit_hook(self._forget)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")
        with_version = connection.execute("PRAGMA user_version").fetchone()
        version = with_version[0] if with_version else 0
        if version == 0:
            connection.execute(_SCHEMA + _FORMER)
            connection.execute("INSERT INTO secrets VALUES ('false keys', ?)", (self._entropy.octets(32),))
        elif version == 1:
            connection.execute(_FORMER)
            version = _VERSION
        if version in (0, _VERSION):
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")
        if version not in (0, _VERSION):
            raise Unavailable(f"the accounts have version {version}; this program knows version {_VERSION}")
        row = connection.execute("SELECT octets FROM secrets WHERE name = 'false keys'").fetchone()
        self._secret: bytes = row[0] if row else b""

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
        if self._verifier:
            self._verifier.close()

    # changes, which block

    def add(self, name: str, password: str, *, addresses: Sequence[str] = (), quota_octets: int = 0) -> Account:
        """Add an account. Raises Malformed for an address or password that is none, Refused for one that is taken."""
        name, prepared = fold(name), _prepared(password)
        proof, keys = self._proofs(prepared)
        now = self._clock.now()
        with self._connection:
            if self._row(name):
                raise Refused(Refusal.ALREADYEXISTS, name)
            self._connection.execute(
                "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, 1)", (name, proof, now, now, quota_octets)
            )
            self._keep_keys(name, keys)
            for address in dict.fromkeys((name, *map(fold, addresses))):
                self._add_address(address, name)
        account = self.account(name)
        assert account is not None
        return account

    def add_address(self, name: str, address: str) -> None:
        """Let an address lead to an account. Raises Refused."""
        with self._connection:
            self._add_address(fold(address), self._must_exist(name))

    def _add_address(self, address: str, name: str) -> None:
        if self._connection.execute("SELECT 1 FROM addresses WHERE address = ?", (address,)).fetchone():
            raise Refused(Refusal.ALREADYEXISTS, address)
        self._connection.execute("INSERT INTO addresses VALUES (?, ?)", (address, name))

    def remove_address(self, address: str) -> None:
        """Take an address from its account; the main one stays. Raises Refused."""
        folded = fold(address)
        if self._row(folded):
            raise Refused(Refusal.CANNOT, "an account keeps its main address")
        with self._connection:
            self._connection.execute("DELETE FROM addresses WHERE address = ?", (folded,))
            if not self._connection.changes():
                raise Refused(Refusal.NONEXISTENT, folded)
            self._release(folded)

    def set_password(self, name: str, password: str) -> None:
        """Replace an account's password. Raises Refused, Malformed."""
        name, prepared = self._must_exist(name), _prepared(password)
        proof, keys = self._proofs(prepared)
        with self._connection:
            self._connection.execute(
                "UPDATE accounts SET password = ?, changed = ? WHERE name = ?", (proof, self._clock.now(), name)
            )
            self._connection.execute("DELETE FROM scram WHERE account = ?", (name,))
            self._keep_keys(name, keys)

    def set_quota(self, name: str, quota_octets: int) -> None:
        """Limit what an account may hold; 0 is no limit. Raises Refused."""
        name = self._must_exist(name)
        self._connection.execute("UPDATE accounts SET quota_octets = ? WHERE name = ?", (quota_octets, name))

    def enable(self, name: str, enabled: bool) -> None:
        """Let an account log in, or not; it receives mail either way. Raises Refused."""
        name = self._must_exist(name)
        self._connection.execute("UPDATE accounts SET enabled = ? WHERE name = ?", (enabled, name))

    def remove(self, name: str) -> None:
        """Remove an account with its addresses; its mailboxes are the store's. Raises Refused."""
        name = self._must_exist(name)
        with self._connection:
            owned = self._connection.execute("SELECT address FROM addresses WHERE account = ?", (name,)).fetchall()
            self._release(*(str(address) for (address,) in owned))
            self._connection.execute("DELETE FROM accounts WHERE name = ?", (name,))

    def set_alias(self, address: str, targets: Sequence[str]) -> None:
        """Let an address (or "@domain", the catch-all) lead to `targets`; to nothing removes it. Raises Malformed."""
        folded = _alias(address)
        wanted = [str(Address.parse(target)) for target in targets]
        with self._connection:
            before = {str(target) for target in self.targets_of(folded)}
            if before and before != set(wanted):
                self._release(folded)
            self._connection.execute("DELETE FROM aliases WHERE address = ?", (folded,))
            for target in dict.fromkeys(wanted):
                self._connection.execute("INSERT INTO aliases VALUES (?, ?)", (folded, target))

    def _release(self, *addresses: str) -> None:
        now = self._clock.now()
        for address in addresses:
            self._connection.execute("INSERT OR REPLACE INTO former_owners VALUES (?, ?)", (address, now))

    def _proofs(self, prepared: str) -> tuple[str, dict[str, ScramKeys]]:
        keys = {digest: scram_keys(prepared, digest, self._entropy) for digest in self._digests}
        return hash_password(prepared, self._entropy), keys

    def _keep_keys(self, name: str, keys: dict[str, ScramKeys]) -> None:
        for digest, some in keys.items():
            self._connection.execute(
                "INSERT INTO scram VALUES (?, ?, ?, ?, ?, ?)",
                (name, digest, some.salt, some.iterations, some.stored_key, some.server_key),
            )

    def _must_exist(self, name: str) -> str:
        folded = fold(name)
        if not self._row(folded):
            raise Refused(Refusal.NONEXISTENT, folded)
        return folded

    def _row(self, folded: str) -> tuple[str, float, int, int] | None:
        """Return (password, created, quota, enabled)."""
        rows = self._ask("SELECT password, created, quota_octets, enabled FROM accounts WHERE name = ?", folded)
        return next(((str(row[0]), float(row[1]), int(row[2]), int(row[3])) for row in rows), None)

    def secret(self, name: str) -> bytes:
        """Return 32 secret octets of this name, made when first asked for."""
        with self._connection:
            self._connection.execute("INSERT OR IGNORE INTO secrets VALUES (?, ?)", (name, self._entropy.octets(32)))
            row = self._connection.execute("SELECT octets FROM secrets WHERE name = ?", (name,)).fetchone()
        assert row is not None
        return bytes(row[0])

    # questions, quick: what other processes change is seen a moment later; all of them raise Unavailable

    def _forget(self) -> bool:
        """Remember no answers: they are about to change."""
        self._answers.clear()
        return False  # SQLite's: go on with the commit

    def _rows(self, sql: str, key: str) -> list[tuple[Any, ...]]:
        """Return the rows `sql` finds for `key`, as they were within the last moment.

        A server asks the same of each message, and each question is a call into SQLite that gives up the interpreter.
        """
        now = self._clock.elapsed()
        if now >= self._stale_at or len(self._answers) >= _MOST_ANSWERS:
            self._answers.clear()
            self._stale_at = now + _ANSWER_SECONDS
        rows = self._answers.get((sql, key))
        if rows is None:
            rows = self._answers[sql, key] = self._ask(sql, key)
        return rows

    def _ask(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        """Return the rows `sql` finds. Raises Unavailable: whoever waits is told to come again."""
        try:
            return self._connection.execute(sql, values).fetchall()
        except apsw.Error as error:
            raise Unavailable(f"reading the accounts failed: {error}") from None

    def account(self, name: str) -> Account | None:
        """Return an account by its name."""
        row = self._row(fold(name))
        if row is None:
            return None
        folded = fold(name)
        rows = self._ask("SELECT address FROM addresses WHERE account = ?", folded)
        addresses = [str(address) for (address,) in rows]
        addresses.sort(key=lambda address: (address != folded, address))
        return Account(folded, tuple(addresses), row[1], row[2], bool(row[3]))

    def accounts(self) -> tuple[Account, ...]:
        """Return all accounts, by name."""
        names = [str(name) for (name,) in self._ask("SELECT name FROM accounts ORDER BY name")]
        return tuple(account for account in map(self.account, names) if account)

    def account_of(self, address: Address) -> str | None:
        """Return the name of the account an address leads to."""
        rows = self._rows("SELECT account FROM addresses WHERE address = ?", fold(address))
        return str(rows[0][0]) if rows else None

    def targets_of(self, address: Address | str) -> tuple[Address, ...]:
        """Return where an alias leads, nowhere if it is none; "@domain" asks for the catch-all."""
        key = address if isinstance(address, str) else fold(address)
        rows = self._rows("SELECT target FROM aliases WHERE address = ? ORDER BY target", key)
        return tuple(Address.parse(str(target)) for (target,) in rows)

    def owner_changed(self, address: Address | str) -> Instant | None:
        """Return when an address last left an owner, or None where it never did; "@domain" asks for the catch-all."""
        key = address if isinstance(address, str) else fold(address)
        rows = self._rows("SELECT until FROM former_owners WHERE address = ?", key)
        return float(rows[0][0]) if rows else None

    def aliases(self) -> dict[str, tuple[str, ...]]:
        """Return every alias with its targets."""
        found: dict[str, list[str]] = {}
        for address, target in self._ask("SELECT address, target FROM aliases ORDER BY 1, 2"):
            found.setdefault(str(address), []).append(str(target))
        return {address: tuple(targets) for address, targets in found.items()}

    def quota_of(self, name: str) -> int:
        """Return how many octets an account may hold, 0 for no limit."""
        rows = self._rows("SELECT quota_octets FROM accounts WHERE name = ?", name)
        return int(rows[0][0]) if rows else 0

    def may_send_as(self, name: str, address: Address) -> bool:
        """Tell whether an address is the account's own: one of its addresses, sub-addresses aside."""
        return self.account_of(address) == name

    # proofs

    async def verify(self, user: str, password: str) -> Account | None:
        """Return the account whose name (or address) and password these are. Raises Unavailable.

        For everybody else it takes as long, and returns None.
        """
        if self._verifier is None:
            self._verifier = Verifier(self._clock, self._entropy)
        account, stored = self._find(user)
        try:
            prepared = saslprep(password)
        except Malformed:
            prepared, stored = "\0", None
        if not await self._verifier.verify(stored, prepared):
            return None
        return account

    def keys(self, user: str, digest: str) -> ScramKeys:
        """Return a user's SCRAM keys, or false ones for whoever has none."""
        account, _ = self._find(user)
        name = account.name if account and account.enabled else ""
        rows = self._ask(
            "SELECT salt, iterations, stored_key, server_key FROM scram WHERE account = ? AND digest = ?", name, digest
        )
        return ScramKeys(*rows[0]) if rows else false_keys(user.lower(), digest, self._secret)

    def authenticated(self, user: str) -> Account | None:
        """Return the account a user name means, once somebody has proved to be that user."""
        account, _ = self._find(user)
        return account if account and account.enabled else None

    def _find(self, user: str) -> tuple[Account | None, str | None]:
        """Return the account a user name means, and its hash if it may log in."""
        text = user if "@" in user or not self._default_domain else f"{user}@{self._default_domain}"
        try:
            name = self.account_of(Address.parse(text))
        except Malformed:
            name = None
        row = self._row(name) if name else None
        if name is None or row is None:
            return None, None
        return self.account(name), row[0] if row[3] else None


def _alias(address: str) -> str:
    if address.startswith("@"):
        return "@" + Address.parse("x" + address).domain
    return fold(address)


def _prepared(password: str) -> str:
    """Return a new password prepared (RFC 4013). Raises Malformed for an empty one."""
    prepared = saslprep(password)
    if not prepared:
        raise Malformed("an empty password", clause="RFC 4616 section 2")
    return prepared
