"""The life of a domain's DKIM keys: pending, active, retiring, retired.

| State | its record | it signs | ends when |
|---|---|---|---|
| pending | published | no | the record had time to reach every cache |
| active | published | yes | a newer key of its kind becomes active |
| retiring | published | no | mail it signed has arrived and was verified |
| retired | revoked, p= empty | no | the revocation was seen; then it is forgotten |

A ring is a folder of SELECTOR.pem and `ring.json`, which is replaced as a whole. A key without an entry is active. The
private key of a retired one is removed.

Standards: RFC 6376 section 3.6.1 (revocation), RFC 5863 section 3 (key management), NIST SP 800-177r1 (lifetimes).
"""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from letterlock.errors import Malformed, Unavailable
from letterlock.host.signing_keys import generate, read_key, write_key
from letterlock.trust.dkim import SigningKey

_FILE = "ring.json"
REVOKED = "v=DKIM1; p="
_DAY = 86_400


class State(enum.Enum):
    """Where a key stands in its life."""

    PENDING = "pending"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Entry:
    """One selector: its kind (rsa, ed25519), its state, and since when, in seconds since 1970."""

    selector: str
    kind: str
    state: State
    since: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long each state lasts, in seconds; `lifetime` is when an active key is due to be followed by another."""

    pending: int = 2 * _DAY
    retiring: int = 8 * _DAY
    retired: int = 30 * _DAY
    lifetime: int = 365 * _DAY


class KeyRing:
    """The keys in one folder; `keys` are those that have been read, by selector."""

    def __init__(self, folder: Path, entries: tuple[Entry, ...], keys: Mapping[str, SigningKey]) -> None:
        self.folder = folder
        self.entries = entries
        self._keys = keys

    @classmethod
    def load(cls, folder: Path) -> KeyRing:
        """Read a folder. Raises Malformed for a file that is no key or no ring, OSError."""
        states = _read_states(folder / _FILE)
        entries, keys = [], {}
        for path in sorted(folder.glob("*.pem"), reverse=True):
            key = keys[path.stem] = read_key("", path.stem, path)
            state, since = states.pop(path.stem, (State.ACTIVE, int(path.stat().st_mtime)))
            entries.append(Entry(path.stem, key.key_type, state, since))
        entries += [
            Entry(name, "", State.RETIRED, since) for name, (state, since) in states.items() if state is State.RETIRED
        ]
        return cls(folder, tuple(entries), keys)

    def signing(self, domain: str) -> tuple[SigningKey, ...]:
        """Return the keys that sign now."""
        return tuple(self._key(domain, entry) for entry in self.entries if entry.state is State.ACTIVE)

    def records(self, domain: str) -> tuple[tuple[str, str], ...]:
        """Return selector and text of every record to publish, revocations too."""
        return tuple(
            (entry.selector, REVOKED if entry.state is State.RETIRED else self._key(domain, entry).record())
            for entry in self.entries
        )

    def is_due(self, now: int, schedule: Schedule) -> bool:
        """Whether an active key has lived long enough and no follower waits yet."""
        active = [entry for entry in self.entries if entry.state is State.ACTIVE]
        waiting = any(entry.state is State.PENDING for entry in self.entries)
        return bool(active) and not waiting and any(now - entry.since >= schedule.lifetime for entry in active)

    def begin(self, now: int) -> KeyRing:
        """Make a follower for each kind of active key; it is pending. Raises Unavailable where it cannot be written."""
        kinds = dict.fromkeys(entry.kind for entry in self.entries if entry.state is State.ACTIVE) or {"rsa": None}
        made, keys = [], {}
        for kind in kinds:
            selector = self._new_selector(kind, now)
            key = keys[selector] = generate("", selector, kind)
            try:
                write_key(self.folder / f"{selector}.pem", key)
            except OSError as error:
                raise Unavailable(f"{self.folder}: no key could be written: {error.strerror}") from None
            made.append(Entry(selector, kind, State.PENDING, now))
        return KeyRing(self.folder, self.entries, {**self._keys, **keys})._keep((*made, *self.entries))

    def advance(self, now: int, schedule: Schedule) -> KeyRing:
        """Move every key on whose time has come; the same ring where none has."""
        ready = {
            entry.kind
            for entry in self.entries
            if entry.state is State.PENDING and now - entry.since >= schedule.pending
        }
        kept = tuple(moved for entry in self.entries if (moved := _moved(entry, ready, now, schedule)) is not None)
        return self if kept == self.entries else self._keep(kept)

    def _new_selector(self, kind: str, now: int) -> str:
        taken = {entry.selector for entry in self.entries}
        base = f"{kind[0]}{datetime.fromtimestamp(now, UTC).strftime('%Y%m')}"
        names = (base, *(f"{base}{letter}" for letter in "bcdefghijklmnopqrstuvwxyz"))
        return next(name for name in names if name not in taken)

    def _key(self, domain: str, entry: Entry) -> SigningKey:
        return replace(self._keys[entry.selector], domain=domain)

    def _keep(self, entries: tuple[Entry, ...]) -> KeyRing:
        """Write the states, then remove private keys that are retired."""
        value = {entry.selector: {"state": entry.state.value, "since": entry.since} for entry in entries}
        path = self.folder / _FILE
        fresh = path.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(value), indent=2))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            for entry in entries:
                if entry.state is State.RETIRED:
                    (self.folder / f"{entry.selector}.pem").unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(f"{path}: cannot be written: {error.strerror}") from None
        return KeyRing(self.folder, entries, self._keys)


def _moved(entry: Entry, ready: set[str], now: int, schedule: Schedule) -> Entry | None:
    age = now - entry.since
    match entry.state:
        case State.PENDING if entry.kind in ready and age >= schedule.pending:
            return replace(entry, state=State.ACTIVE, since=now)
        case State.ACTIVE if entry.kind in ready:
            return replace(entry, state=State.RETIRING, since=now)
        case State.RETIRING if age >= schedule.retiring:
            return replace(entry, state=State.RETIRED, since=now)
        case State.RETIRED if age >= schedule.retired:
            return None
        case _:
            return entry


def _read_states(path: Path) -> dict[str, tuple[State, int]]:
    if not path.exists():
        return {}
    try:
        value = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, str | int]])
        return {name: (State(found["state"]), int(found["since"])) for name, found in value.items()}
    except (msgspec.DecodeError, KeyError, ValueError) as error:
        raise Malformed(f"{path}: no key ring: {error}", clause="host/key_ring") from None
