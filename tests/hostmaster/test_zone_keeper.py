"""Roll-overs: whatever a validator has cached, it never sees a gap."""

import pytest

from letterlock.errors import NotAuthentic, OurFault
from letterlock.formats.dns import name as names
from letterlock.formats.dns.zone import DNSKEY, DS, RecordSet, Zone
from letterlock.hostmaster.roll_over import HOUR, RollOver, Stage, ksk_waits, tlsa_waits, zsk_waits
from letterlock.hostmaster.zone_keeper import KeySet, ZoneKeeper
from letterlock.trust.dnssec.signatures import Budget, Key, ds_digest, verify_set

APEX = names.to_wire("rosewood.test")
START = 1_800_000_000
TEXT = "@ 3600 IN SOA ns hostmaster 4294967295 1 1 1 300\n@ 3600 IN NS ns\nns 7200 IN A 127.0.0.1\n"
TTL, DS_TTL, LONGEST = 3600, 7200, 7200


class _World:
    """What the zone and its parent have shown over time, hour by hour, and what a cache may still hold of it."""

    def __init__(self) -> None:
        self.keeper = ZoneKeeper(Zone.parse(TEXT, "rosewood.test"), KeySet.generate())
        self.zones: list[Zone] = []
        self.parent: list[RecordSet] = []
        self.now = START
        self.serials: list[int] = []
        self.ds = (self.keeper.keys.entry.current.ds("rosewood.test"),)

    def pass_hour(self) -> None:
        signed = self.keeper.refresh(self.now)
        if signed is not None:
            self.serials.append(signed.serial)
        self.zones.append(signed or self.zones[-1])
        self.parent.append(RecordSet(APEX, DS, DS_TTL, self.ds))
        self.check()
        self.now += HOUR

    def check(self) -> None:
        """Every mixture of what caches hold, each part as old as its TTL allows, must still validate."""
        for ds in self._shown(self.parent, DS_TTL):
            for keys in {zone.nodes[APEX][DNSKEY] for zone in self._shown(self.zones, TTL)}:
                trusted = [
                    Key.read(rdata)
                    for rdata in keys.rdatas
                    if any(ds_digest(APEX, rdata, 2) == vouched[4:] for vouched in ds.rdatas)
                ]
                verify_set(keys, APEX, trusted, self.now, Budget())
                for zone in self._shown(self.zones, LONGEST):
                    address = zone.nodes[names.to_wire("ns.rosewood.test")][1]
                    verify_set(address, APEX, [Key.read(rdata) for rdata in keys.rdatas], self.now, Budget())

    @staticmethod
    def _shown(history: list, ttl: int) -> list:  # type: ignore[type-arg]
        return history[-(ttl // HOUR + 1) :]


def test_a_zone_key_rolls_without_a_gap() -> None:
    world = _World()
    for _ in range(5):
        world.pass_hour()
    old = world.keeper.keys.zone.current
    world.keeper.keys = world.keeper.keys.roll_zone_key(zsk_waits(TTL, LONGEST), world.now)
    for _ in range(12):
        world.pass_hour()
    assert world.keeper.keys.zone.current != old
    assert world.keeper.keys.zone.other is None


def test_an_entry_key_waits_for_its_parent() -> None:
    """RFC 6781 section 4.1.2: as long as the parent does not show the new DS, the old key stays."""
    world = _World()
    world.pass_hour()
    old = world.keeper.keys.entry.current
    world.keeper.keys = world.keeper.keys.roll_entry_key(ksk_waits(TTL, DS_TTL), world.now)
    for _ in range(10):
        world.pass_hour()
    assert world.keeper.keys.entry.current == old
    successor = world.keeper.keys.entry.other
    assert successor is not None
    world.ds = (successor.ds("rosewood.test"),)
    assert world.keeper.confirm_ds(world.ds, "rosewood.test")
    for _ in range(10):
        world.pass_hour()
    assert (world.keeper.keys.entry.current, world.keeper.keys.entry.other) == (successor, None)


def test_a_key_that_is_swapped_at_once_leaves_a_gap() -> None:
    """The check above can fail: without the waits, it does."""
    world = _World()
    world.pass_hour()
    world.keeper.keys = KeySet(world.keeper.keys.entry, KeySet.generate().zone)
    with pytest.raises(NotAuthentic):
        world.pass_hour()


def test_signatures_are_renewed_and_serials_wrap() -> None:
    """For forty days nothing changes, and the signatures always hold for a week at least."""
    world = _World()
    for _ in range(40 * 24):
        world.pass_hour()
    assert len(world.serials) == 6
    assert world.serials[:3] == [4294967295, 1, 2]


def test_nothing_is_signed_anew_without_need() -> None:
    keeper = ZoneKeeper(Zone.parse(TEXT, "rosewood.test"), KeySet.generate())
    assert keeper.refresh(START) is not None
    assert keeper.refresh(START + 86400) is None
    keeper.change(Zone.parse(TEXT + "new IN A 127.0.0.2\n", "rosewood.test"))
    assert keeper.refresh(START + 86400) is not None


def test_a_new_tls_key_may_not_be_used_early() -> None:
    """RFC 7671 section 8.1: published for two TTLs, then used, then the old one withdrawn."""
    waits = tlsa_waits(3600)
    rolling = RollOver(waits, START)
    with pytest.raises(OurFault):
        rolling.use(START + 3600)
    used = rolling.use(START + waits.before_use)
    end = START + waits.before_use + waits.before_withdrawal
    assert (used.stage(end - 1), used.stage(end)) == (Stage.DRAINING, Stage.DONE)
