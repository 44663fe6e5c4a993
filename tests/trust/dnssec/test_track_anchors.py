"""A trust anchor follows its zone's keys, after RFC 5011 section 4."""

import pytest

from letterlock.formats.dns import name as names
from letterlock.formats.dns.zone import DNSKEY, RecordSet, Zone
from letterlock.trust.dnssec.sign import SigningKey, sign_zone
from letterlock.trust.dnssec.signatures import Bogus
from letterlock.trust.dnssec.track_anchors import HOLD_DOWN_SECONDS, KeyState, TrustPoint, begin, explain, observe

START = 1_800_000_000
DAY = 86400
APEX = names.to_wire("rosewood.test")
ZONE = Zone.parse("@ IN SOA ns h 1 1 1 1 1\n@ IN NS ns\nns IN A 127.0.0.1\n", "rosewood.test")


class _Revoked(SigningKey):
    """A key that says of itself that it is revoked."""

    @property
    def rdata(self) -> bytes:
        plain = SigningKey(self.algorithm, self.private).rdata
        return plain[:1] + bytes((plain[1] | 0x80,)) + plain[2:]


def _revoke(key: SigningKey) -> SigningKey:
    return _Revoked(key.algorithm, key.private)


def _shown(now: int, *keys: SigningKey) -> RecordSet:
    return sign_zone(ZONE, keys, now - 60, now + 30 * DAY).nodes[APEX][DNSKEY]


def _silent(key: SigningKey) -> SigningKey:
    return SigningKey(key.algorithm, key.private, active=False)


OLD, NEW = SigningKey.generate(), SigningKey.generate()


def _states(point: TrustPoint) -> dict[bytes, KeyState]:
    return {key.rdata: key.state for key in point.keys}


def _started() -> TrustPoint:
    return observe(begin(APEX, (OLD.rdata,), START), _shown(START, OLD), START)


def test_a_new_key_counts_after_thirty_days() -> None:
    """RFC 5011 section 2.2: seen all the time, signed by a trusted key."""
    point = observe(_started(), _shown(START, OLD, _silent(NEW)), START)
    assert _states(point) == {OLD.rdata: KeyState.VALID, NEW.rdata: KeyState.PENDING}
    now = START + HOLD_DOWN_SECONDS - 1
    point = observe(point, _shown(now, OLD, _silent(NEW)), now)
    assert _states(point)[NEW.rdata] is KeyState.PENDING
    point = observe(point, _shown(now + 1, OLD, _silent(NEW)), now + 1)
    assert _states(point)[NEW.rdata] is KeyState.VALID
    assert observe(point, _shown(now + 2, NEW, _silent(OLD)), now + 2)


def test_a_new_key_that_vanishes_begins_anew() -> None:
    point = observe(_started(), _shown(START, OLD, _silent(NEW)), START)
    point = observe(point, _shown(START + DAY, OLD), START + DAY)
    assert NEW.rdata not in _states(point)
    later = START + HOLD_DOWN_SECONDS + DAY
    assert _states(observe(point, _shown(later, OLD, _silent(NEW)), later))[NEW.rdata] is KeyState.PENDING


def test_a_key_set_signed_by_a_stranger_teaches_nothing() -> None:
    with pytest.raises(Bogus):
        observe(_started(), _shown(START, NEW), START)


def test_a_missing_key_stays_trusted_and_a_revoked_one_never_again() -> None:
    point = begin(APEX, (OLD.rdata, NEW.rdata), START)
    point = observe(point, _shown(START, OLD), START)
    assert _states(point)[NEW.rdata] is KeyState.MISSING
    point = observe(point, _shown(START, OLD, NEW), START)
    assert _states(point)[NEW.rdata] is KeyState.VALID
    point = observe(point, _shown(START, NEW, _revoke(OLD)), START)
    assert _states(point) == {OLD.rdata: KeyState.REVOKED, NEW.rdata: KeyState.VALID}
    assert point.anchor().rdatas == (NEW.rdata,)
    later = START + 90 * DAY
    point = observe(point, _shown(later, NEW, _silent(OLD)), later)
    assert _states(point)[OLD.rdata] is KeyState.REVOKED
    assert len(explain(point)) == 2


def test_revocation_needs_the_keys_own_signature() -> None:
    """RFC 5011 section 2.1: nobody else can revoke a key."""
    point = begin(APEX, (OLD.rdata, NEW.rdata), START)
    revoked = _Revoked(OLD.algorithm, OLD.private, active=False)
    assert _states(observe(point, _shown(START, NEW, revoked), START))[OLD.rdata] is not KeyState.REVOKED


def test_when_to_look_again() -> None:
    """RFC 5011 section 2.3: half the TTL, half the validity, between an hour and fifteen days."""
    assert _started().look_again_at == START + 3600
