"""A zone kept signed: signatures renewed before they run out, keys rolled over, serial numbers counted up.

    keeper = ZoneKeeper(zone, KeySet.generate(now))
    signed = keeper.refresh(now)      # None while nothing needs to change
    if signed: server.put(signed)     # and notify the secondaries

`refresh` is called whenever one likes, say every quarter of an hour; the time is its argument.

Standards: RFC 6781 section 4.1 (roll-overs) and 4.4.2 (validity), RFC 1982 section 3 (serial numbers).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace

from letterlock.formats.dns.message import Record
from letterlock.formats.dns.zone import SOA, Zone
from letterlock.hostmaster.roll_over import HOUR, RollOver, Stage, Waits
from letterlock.protocols.dns.transfer import is_newer
from letterlock.trust.dnssec.sign import Denial, SigningKey, sign_zone
from letterlock.trust.primitives import zone_keys

_DAY = 86400


@dataclass(frozen=True, slots=True)
class Validity:
    """How long signatures hold, and when they are renewed, in seconds."""

    before: int = HOUR  # for clocks that are slow
    holds: int = 14 * _DAY
    renew_before_end: int = 7 * _DAY


@dataclass(frozen=True, slots=True)
class Role:
    """The keys of one role: the one that signs, and the other of a roll-over (the next, or the one before)."""

    current: SigningKey
    other: SigningKey | None = None
    rolling: RollOver | None = None

    def begin(self, successor: SigningKey, rolling: RollOver) -> Role:
        """Return the role with a successor published; a roll-over that runs is left as it is."""
        return self if self.rolling is not None else Role(self.current, successor, rolling)

    def advance(self, now: int) -> Role:
        """Return the role after what is due: the successor used, or the predecessor gone."""
        if self.rolling is None or self.other is None:
            return self
        match self.rolling.stage(now):
            case Stage.READY:
                return Role(self.other, self.current, self.rolling.use(now))
            case Stage.DONE:
                return Role(self.current)
            case _:
                return self

    def published(self) -> tuple[SigningKey, ...]:
        """Return the keys to publish, marked by whether they sign.

        During a roll-over both KSKs sign the key set (RFC 6781 section 4.1.2); only one ZSK signs.
        """
        others = (self.other,) if self.other is not None else ()
        return (
            replace(self.current, active=True),
            *(replace(other, active=other.is_entry) for other in others),
        )


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of a zone."""

    entry: Role
    zone: Role

    @classmethod
    def generate(cls, algorithm: int = zone_keys.ECDSAP256SHA256) -> KeySet:
        """Make a KSK and a ZSK."""
        return cls(Role(SigningKey.generate(algorithm)), Role(SigningKey.generate(algorithm, is_entry=False)))

    def advance(self, now: int) -> KeySet:
        """Return the key set after what is due."""
        return KeySet(self.entry.advance(now), self.zone.advance(now))

    def published(self) -> tuple[SigningKey, ...]:
        """Return all keys to publish."""
        return (*self.entry.published(), *self.zone.published())

    def roll_zone_key(self, waits: Waits, now: int) -> KeySet:
        """Return the key set with a successor of the ZSK published; one that rolls already is left as it is."""
        successor = SigningKey.generate(self.zone.current.algorithm, is_entry=False)
        return replace(self, zone=self.zone.begin(successor, RollOver(waits, now)))

    def roll_entry_key(self, waits: Waits, now: int) -> KeySet:
        """Return the key set with a successor of the KSK published; it waits until the parent shows its DS."""
        successor = SigningKey.generate(self.entry.current.algorithm)
        return replace(self, entry=self.entry.begin(successor, RollOver(waits, now, confirmed=False)))

    def confirmed(self, shown: Iterable[bytes], origin: str) -> KeySet | None:
        """Return the key set after the parent was seen to show DS data; None where the new KSK's is not among it."""
        role = self.entry
        if role.other is None or role.rolling is None or role.other.ds(origin) not in set(shown):
            return None
        return replace(self, entry=replace(role, rolling=replace(role.rolling, confirmed=True)))


class ZoneKeeper:
    """Keeps one zone signed. `content` is the zone without DNSSEC records, `last_serial` what was served last."""

    def __init__(
        self,
        content: Zone,
        keys: KeySet,
        denial: Denial | None = None,
        validity: Validity | None = None,
        last_serial: int | None = None,
    ) -> None:
        self.content = content
        self.keys = keys
        self._denial = denial
        self._validity = validity or Validity()
        self.serial = last_serial
        self._expires = 0
        self._signed_with: tuple[tuple[bytes, bool], ...] = ()
        self._is_changed = True

    def change(self, content: Zone) -> None:
        """Take new content; its serial number is counted by the keeper."""
        self.content = content
        self._is_changed = True

    def confirm_ds(self, shown: Iterable[bytes], origin: str) -> bool:
        """Tell what DS data the parent shows; return whether the new KSK's is among it."""
        confirmed = self.keys.confirmed(shown, origin)
        self.keys = confirmed or self.keys
        return confirmed is not None

    def refresh(self, now: int) -> Zone | None:
        """Return the zone signed anew where that is due; None where what was returned last still serves."""
        self.keys = self.keys.advance(now)
        keys = self.keys.published()
        shown = tuple((key.rdata, key.active) for key in keys)
        due = self._is_changed or shown != self._signed_with or now >= self._expires - self._validity.renew_before_end
        if not due:
            return None
        self.serial = self._next_serial()
        self._expires = now + self._validity.holds
        self._signed_with = shown
        self._is_changed = False
        numbered = self.content.replace(_with_serial(self.content, self.serial))
        return sign_zone(numbered, keys, now - self._validity.before, self._expires, self._denial)

    def _next_serial(self) -> int:
        """Return the content's own number where that is newer than the last one served, else the next."""
        if self.serial is None or is_newer(self.content.serial, self.serial):
            return self.content.serial
        return (self.serial + 1) & 0xFFFFFFFF or 1


def _with_serial(zone: Zone, serial: int) -> Iterable[Record]:
    for record in zone.records():
        if record.type == SOA:
            rdata = record.rdata[:-20] + struct.pack(">I", serial) + record.rdata[-16:]
            yield Record(record.owner, record.type, record.rdclass, record.ttl, rdata)
        else:
            yield record
