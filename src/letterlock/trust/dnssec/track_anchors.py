"""Following the keys of a trust anchor as its zone announces new ones and revokes old ones.

`observe` takes what was known and a key set just seen, and returns what is known now. A new key counts after it has been
seen for thirty days; one that revokes itself is never trusted again.

Standards: RFC 5011 sections 2 (revocation, hold-down), 2.3 (how often to look) and 4 (states).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from letterlock.formats.dns.zone import DNSKEY, RecordSet
from letterlock.trust.dnssec.signatures import Bogus, Budget, Key, Signature, describe, key_tag, verify_set

HOLD_DOWN_SECONDS = 30 * 86400
_REVOKE = 0x0080
_SECURE_ENTRY = 0x0001


class KeyState(enum.Enum):
    """What a key at a trust point is worth (RFC 5011 section 4)."""

    PENDING = "pending"  # seen, not yet trusted
    VALID = "valid"
    MISSING = "missing"  # trusted, but not in the zone now
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class TrackedKey:
    """One key: its DNSKEY data without the revocation bit, its state, and since when in seconds since 1970."""

    rdata: bytes
    state: KeyState
    since: int


@dataclass(frozen=True, slots=True)
class TrustPoint:
    """A zone that is a trust anchor, its keys, and when to look again."""

    zone: bytes
    keys: tuple[TrackedKey, ...]
    look_again_at: int = 0

    def anchor(self) -> RecordSet:
        """Return the keys that are trusted now, as an anchor."""
        trusted = tuple(key.rdata for key in self.keys if key.state in (KeyState.VALID, KeyState.MISSING))
        return RecordSet(self.zone, DNSKEY, 86400, tuple(sorted(trusted)))


def begin(zone: bytes, rdatas: tuple[bytes, ...], now: int) -> TrustPoint:
    """Return a trust point of keys that are trusted from the start."""
    return TrustPoint(zone, tuple(TrackedKey(rdata, KeyState.VALID, now) for rdata in rdatas))


def observe(point: TrustPoint, key_set: RecordSet, now: int) -> TrustPoint:
    """Return the trust point after a key set was seen; raises Bogus for one that no trusted key has signed."""
    budget = Budget()
    trusted = [Key.read(rdata) for rdata in point.anchor().rdatas]
    signature = verify_set(key_set, point.zone, trusted, now, budget)
    seen = {rdata for rdata in key_set.rdatas if int.from_bytes(rdata[:2], "big") & _SECURE_ENTRY}
    shown = {_plain(rdata) for rdata in seen if not _is_revoked(rdata)}
    revoked = {_plain(rdata) for rdata in seen if _is_revoked(rdata) and _signed_itself(key_set, rdata, now, budget)}
    known = {key.rdata for key in point.keys}
    keys = [kept for key in point.keys if (kept := _advance(key, shown, revoked, key_set.ttl, now)) is not None]
    keys += [TrackedKey(rdata, KeyState.PENDING, now) for rdata in sorted(shown - known)]
    return replace(point, keys=tuple(keys), look_again_at=now + _interval(key_set, signature, now))


def _advance(key: TrackedKey, shown: set[bytes], revoked: set[bytes], ttl: int, now: int) -> TrackedKey | None:
    """Return the key after it was seen or not; None for one to be forgotten (RFC 5011 section 4.1)."""
    if key.rdata in revoked:
        if key.state is KeyState.PENDING:
            return None
        return key if key.state is KeyState.REVOKED else TrackedKey(key.rdata, KeyState.REVOKED, now)
    is_shown = key.rdata in shown
    match key.state:
        case KeyState.PENDING:
            if not is_shown:
                return None
            # RFC 5011 section 2.4.1: the hold-down is thirty days or the TTL, whichever is longer.
            held = now - key.since >= max(HOLD_DOWN_SECONDS, ttl)
            return TrackedKey(key.rdata, KeyState.VALID, now) if held else key
        case KeyState.VALID:
            return key if is_shown else TrackedKey(key.rdata, KeyState.MISSING, now)
        case KeyState.MISSING:
            return TrackedKey(key.rdata, KeyState.VALID, now) if is_shown else key
        case KeyState.REVOKED:
            return key  # kept for ever, so that it never comes back as a new key


def _is_revoked(rdata: bytes) -> bool:
    return bool(rdata[1] & _REVOKE)


def _plain(rdata: bytes) -> bytes:
    return rdata[:1] + bytes((rdata[1] & ~_REVOKE,)) + rdata[2:]


def _signed_itself(key_set: RecordSet, rdata: bytes, now: int, budget: Budget) -> bool:
    """Whether a revoked key signed the set in which it stands (RFC 5011 section 2.1)."""
    signatures = tuple(found for found in key_set.signatures if Signature.read(found).key_tag == key_tag(rdata))
    # The revocation bit changes the tag, and bars the key from signing anything else.
    witness = Key(0x0101, rdata[3], rdata[4:], key_tag(rdata), rdata)
    narrowed = RecordSet(key_set.owner, DNSKEY, key_set.ttl, key_set.rdatas, signatures)
    try:
        verify_set(narrowed, key_set.owner, [witness], now, budget)
    except Bogus:
        return False
    return True


def _interval(key_set: RecordSet, signature: Signature, now: int) -> int:
    """For how long not to look again (RFC 5011 section 2.3)."""
    left = (signature.expiration - now) % (1 << 32)
    return max(3600, min(15 * 86400, signature.original_ttl // 2, left // 2))


def explain(point: TrustPoint) -> tuple[str, ...]:
    """Say in a sentence for each key what it is worth."""
    name = describe(RecordSet(point.zone, DNSKEY, 0, ()))
    return tuple(f"{name} {key_tag(key.rdata)}: {key.state.value}" for key in point.keys)
