"""A folder of zone keys: each key a PEM file, and one small file a zone that says what each is for.

    ORIGIN.TAG.pem     a private key, readable by its owner only
    ORIGIN.json        the zone's keys by role, and where a roll-over stands
    ORIGIN.serial      the serial number that was served last

Limits: one writer at a time; every file is replaced as a whole.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from letterlock.errors import Malformed
from letterlock.hostmaster.roll_over import RollOver
from letterlock.hostmaster.zone_keeper import KeySet, Role
from letterlock.trust.dnssec.sign import SigningKey
from letterlock.trust.primitives import zone_keys


@dataclass(frozen=True, slots=True)
class _StoredKey:
    file: str
    algorithm: int


@dataclass(frozen=True, slots=True)
class _StoredRole:
    current: _StoredKey
    other: _StoredKey | None = None
    rolling: RollOver | None = None


@dataclass(frozen=True, slots=True)
class _StoredKeys:
    entry: _StoredRole
    zone: _StoredRole


class KeyFolder:
    """The keys of one zone in a folder; `origin` without a final dot, empty for the root."""

    def __init__(self, folder: Path, origin: str) -> None:
        self._folder = folder
        self._name = origin or "root"

    def load(self) -> KeySet | None:
        """Return the zone's keys; None where it has none yet. Raises Malformed, OSError."""
        try:
            octets = self._index.read_bytes()
        except FileNotFoundError:
            return None
        try:
            stored = msgspec.json.decode(octets, type=_StoredKeys)
        except msgspec.DecodeError as error:
            raise Malformed(f"{self._index}: does not list keys: {error}") from None
        return KeySet(self._role(stored.entry, is_entry=True), self._role(stored.zone, is_entry=False))

    def load_or_generate(self, algorithm: int) -> KeySet:
        """Return the zone's keys, made and saved now if there are none."""
        keys = self.load()
        if keys is None:
            keys = KeySet.generate(algorithm)
            self.save(keys)
        return keys

    def save(self, keys: KeySet) -> None:
        """Write the keys, and remove those that are not used any more; raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        stored = _StoredKeys(self._store(keys.entry), self._store(keys.zone))
        self._replace(self._index, msgspec.json.format(msgspec.json.encode(stored)))
        used = {key.file for role in (stored.entry, stored.zone) for key in (role.current, role.other) if key}
        for path in self._folder.glob(f"{self._name}.*.pem"):
            if path.name not in used and path.name.removeprefix(f"{self._name}.").removesuffix(".pem").isdigit():
                path.unlink()

    def last_serial(self) -> int | None:
        """Return the serial number that was served last, if any."""
        try:
            return int((self._folder / f"{self._name}.serial").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None

    def save_serial(self, serial: int) -> None:
        """Remember a serial number before it is served, so that a restart never goes back; raises OSError."""
        self._replace(self._folder / f"{self._name}.serial", f"{serial}\n".encode())

    @property
    def _index(self) -> Path:
        return self._folder / f"{self._name}.json"

    def _role(self, stored: _StoredRole, *, is_entry: bool) -> Role:
        other = self._key(stored.other, is_entry=is_entry) if stored.other is not None else None
        return Role(self._key(stored.current, is_entry=is_entry), other, stored.rolling)

    def _key(self, stored: _StoredKey, *, is_entry: bool) -> SigningKey:
        private = zone_keys.from_pem((self._folder / stored.file).read_bytes())
        return SigningKey(stored.algorithm, private, is_entry=is_entry)

    def _store(self, role: Role) -> _StoredRole:
        other = self._write(role.other) if role.other is not None else None
        return _StoredRole(self._write(role.current), other, role.rolling)

    def _write(self, key: SigningKey) -> _StoredKey:
        path = self._folder / f"{self._name}.{key.tag}.pem"
        if not path.exists():
            self._replace(path, zone_keys.to_pem(key.private))
        return _StoredKey(path.name, key.algorithm)

    @staticmethod
    def _replace(path: Path, octets: bytes) -> None:
        draft = path.with_name(path.name + ".new")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
