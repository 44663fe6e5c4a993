"""A user's keys, or those of a domain's people, the certificates of correspondents, what they can read and what they use.

Private keys are kept encrypted (PKCS#8 with AES-256) under the store's password. Certificates are harvested from signed
mail whose signature held; what a correspondent announced is kept by the time it was signed. The log of detached
signatures (signature_log.py) lies in the same file, off until it is switched on.

Limits: of 65,536 correspondents it is known what they can read, and of as many what they use; the oldest go first.
Standards: RFC 5958 (keys), RFC 8551 section 2.7.1 (capabilities), RFC 7292 (PKCS#12).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from letterlock.errors import NotAuthentic, OurFault, Unavailable
from letterlock.formats.asn1 import reader
from letterlock.formats.cms import capabilities
from letterlock.formats.x509.certificate import Certificate
from letterlock.registrar.signature_log import SignatureLog
from letterlock.trust.pkix.smime_profile import comparable
from letterlock.trust.primitives import key_pairs, public_keys
from letterlock.trust.primitives.key_pairs import PrivateKey
from letterlock.trust.smime.capabilities import Remembered, UsedCipher

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, kind TEXT NOT NULL, pem BLOB NOT NULL, added REAL NOT NULL);
CREATE TABLE IF NOT EXISTS certificates (
  octets BLOB PRIMARY KEY, key_id TEXT NOT NULL, source TEXT NOT NULL, added REAL NOT NULL, anchor INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS addresses (address TEXT NOT NULL, octets BLOB NOT NULL, PRIMARY KEY (address, octets));
CREATE TABLE IF NOT EXISTS capabilities (address TEXT PRIMARY KEY, encoded BLOB NOT NULL, signed_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS used_ciphers (address TEXT PRIMARY KEY, cipher TEXT NOT NULL, signed_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS addresses_by_certificate ON addresses (octets);
CREATE INDEX IF NOT EXISTS capabilities_by_time ON capabilities (signed_at);
CREATE INDEX IF NOT EXISTS used_ciphers_by_time ON used_ciphers (signed_at);
"""
MOST_CORRESPONDENTS = 65_536
_FORGET = "DELETE FROM {0} WHERE signed_at <= (SELECT signed_at FROM {0} ORDER BY signed_at DESC LIMIT 1 OFFSET ?)"


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """A certificate with where it came from; `own` when its key is here, `anchor` when the user trusts it."""

    certificate: Certificate
    source: str
    own: bool
    anchor: bool


class KeyStore:
    """Keys and certificates in one SQLite file; `password` opens and encrypts the private keys.

    A server and commands may have it open at once. `signatures` is its log of signatures. Without `waits_for_disk` a power
    cut may take the last changes, as is fit for what a server learns from mail.
    """

    def __init__(self, path: Path | str, password: bytes, *, waits_for_disk: bool = True) -> None:
        if not password:
            raise OurFault("a key store needs a password: keys are never kept open")
        self._password = password
        try:
            self._database = apsw.Connection(str(path))
            self._database.set_busy_timeout(10_000)
            synchronous = "FULL" if waits_for_disk else "NORMAL"
            self._database.execute(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}")
            self._database.execute(_SCHEMA)
            self.signatures = SignatureLog(self._database)
        except apsw.Error as error:
            raise Unavailable(f"the key store {path} cannot be opened: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _change(self) -> Iterator[apsw.Connection]:
        try:
            with self._database:
                yield self._database
        except apsw.Error as error:
            raise Unavailable(f"the key store cannot be written: {error}") from None

    # What SQLite gives back has the types of the columns, which mypy cannot know.
    def _rows(self, query: str, values: tuple[str, ...] = ()) -> list[Any]:
        """Return what a question finds. Raises Unavailable."""
        try:
            return self._database.execute(query, values).fetchall()
        except apsw.Error as error:
            raise Unavailable(f"the key store cannot be read: {error}") from None

    def add_key(self, key: PrivateKey, when: datetime.datetime) -> str:
        """Keep a private key; return its identifier, the hash of its public half."""
        key_id = public_keys.key_id(key.public).hex()
        pem = key_pairs.dump(key, self._password)
        with self._change() as database:
            database.execute(
                "INSERT OR REPLACE INTO keys (id, kind, pem, added) VALUES (?, ?, ?, ?)",
                (key_id, key.kind, pem, when.timestamp()),
            )
        return key_id

    def key(self, key_id: str) -> PrivateKey:
        """Return a private key; OurFault if there is none, NotAuthentic if the password is not the store's."""
        return self.opener(key_id)()

    def opener(self, key_id: str) -> Callable[[], PrivateKey]:
        """Return what opens a private key, which takes a while, in any thread. Raises OurFault; it, NotAuthentic."""
        found = self._rows("SELECT pem FROM keys WHERE id = ?", (key_id,))
        if not found:
            raise OurFault(f"there is no key {key_id}")

        pem = found[0][0]

        def opened() -> PrivateKey:
            try:
                return key_pairs.load(pem, self._password)
            except NotAuthentic:
                raise NotAuthentic("the password does not open this key store") from None

        return opened

    def check_password(self) -> None:
        """Raise NotAuthentic where the password does not open the keys that are here."""
        for key_id, _kind in self.keys()[:1]:
            self.key(key_id)

    def keys(self) -> list[tuple[str, str]]:
        """Return identifier and kind of every private key."""
        return [(row[0], row[1]) for row in self._rows("SELECT id, kind FROM keys ORDER BY added")]

    def add_certificate(
        self, certificate: Certificate, source: str, when: datetime.datetime, *, anchor: bool = False
    ) -> None:
        """Keep a certificate under all its addresses; an anchor stays one."""
        key_id = public_keys.key_id(certificate.public_key).hex()
        with self._change() as database:
            database.execute(
                "INSERT INTO certificates (octets, key_id, source, added, anchor) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (octets) DO UPDATE SET anchor = max(anchor, excluded.anchor)",
                (certificate.octets, key_id, source, when.timestamp(), int(anchor)),
            )
            for address in certificate.addresses:
                database.execute(
                    "INSERT OR IGNORE INTO addresses (address, octets) VALUES (?, ?)",
                    (comparable(address).casefold(), certificate.octets),
                )

    def certificates(self, address: str | None = None) -> list[StoredCertificate]:
        """Return all certificates, or those for an address, the newest first, one's own before others."""
        query = "SELECT c.octets, c.source, k.id IS NOT NULL, c.anchor FROM certificates c LEFT JOIN keys k ON k.id = c.key_id"
        if address is None:
            rows = self._rows(f"{query} ORDER BY k.id IS NULL, c.added DESC")
        else:
            rows = self._rows(
                f"{query} JOIN addresses a ON a.octets = c.octets WHERE a.address = ? ORDER BY k.id IS NULL, c.added DESC",
                (comparable(address).casefold(),),
            )
        return [StoredCertificate(Certificate.parse(row[0]), row[1], bool(row[2]), bool(row[3])) for row in rows]

    def anchors(self) -> tuple[Certificate, ...]:
        """Return the certificates that are trusted as anchors."""
        rows = self._rows("SELECT octets FROM certificates WHERE anchor ORDER BY added")
        return tuple(Certificate.parse(row[0]) for row in rows)

    def without_address(self) -> tuple[Certificate, ...]:
        """Return the certificates for nobody's address: anchors, and the authorities between them and people."""
        rows = self._rows(
            "SELECT octets FROM certificates c WHERE NOT EXISTS (SELECT 1 FROM addresses a WHERE a.octets = c.octets)"
            " ORDER BY added"
        )
        return tuple(Certificate.parse(row[0]) for row in rows)

    def learn(
        self,
        certificates: tuple[Certificate, ...],
        announced: Remembered | None,
        used: UsedCipher | None,
        when: datetime.datetime,
    ) -> None:
        """Keep what the good signature of a message teaches of its author. Raises Unavailable."""
        addresses = dict.fromkeys(address for each in certificates for address in each.addresses)
        known = {each.certificate for address in addresses for each in self.certificates(address)}
        for certificate in certificates:
            if certificate not in known:
                self.add_certificate(certificate, "signed mail", when)
        if announced is not None:
            self.remember(announced)
        if used is not None:
            self.remember_used(used)

    def remember(self, remembered: Remembered) -> None:
        """Keep what a correspondent announced, unless something newer is known (RFC 8551 section 2.7.1)."""
        with self._change() as database:
            is_new = self.remembered(remembered.address) is None
            database.execute(
                "INSERT INTO capabilities (address, encoded, signed_at) VALUES (?1, ?2, ?3) ON CONFLICT (address)"
                " DO UPDATE SET encoded = ?2, signed_at = ?3 WHERE signed_at <= ?3",
                (
                    comparable(remembered.address).casefold(),
                    capabilities.encode(remembered.capabilities),
                    remembered.signed_at.timestamp(),
                ),
            )
            if is_new:
                database.execute(_FORGET.format("capabilities"), (MOST_CORRESPONDENTS,))

    def remembered(self, address: str) -> Remembered | None:
        """Return what a correspondent last announced."""
        for encoded, signed_at in self._rows(
            "SELECT encoded, signed_at FROM capabilities WHERE address = ?", (comparable(address).casefold(),)
        ):
            when = datetime.datetime.fromtimestamp(signed_at, datetime.UTC)
            return Remembered(address, capabilities.parse(reader.parse(encoded)), when)
        return None

    def remember_used(self, used: UsedCipher) -> None:
        """Keep which cipher a correspondent used, unless something newer is known."""
        with self._change() as database:
            is_new = self.used(used.address) is None
            database.execute(
                "INSERT INTO used_ciphers (address, cipher, signed_at) VALUES (?1, ?2, ?3) ON CONFLICT (address)"
                " DO UPDATE SET cipher = ?2, signed_at = ?3 WHERE signed_at <= ?3",
                (comparable(used.address).casefold(), used.cipher, used.signed_at.timestamp()),
            )
            if is_new:
                database.execute(_FORGET.format("used_ciphers"), (MOST_CORRESPONDENTS,))

    def used(self, address: str) -> UsedCipher | None:
        """Return the cipher a correspondent used last."""
        for cipher, signed_at in self._rows(
            "SELECT cipher, signed_at FROM used_ciphers WHERE address = ?", (comparable(address).casefold(),)
        ):
            return UsedCipher(address, cipher, datetime.datetime.fromtimestamp(signed_at, datetime.UTC))
        return None
