"""Zones of files kept signed: restarts, changes, roll-overs that survive both."""

import asyncio
from pathlib import Path

import pytest

from letterlock.errors import Malformed
from letterlock.formats.dns import name as names
from letterlock.formats.dns.zone import DNSKEY, RRSIG, Zone
from letterlock.hostmaster.key_folder import KeyFolder
from letterlock.hostmaster.roll_over import HOUR, RollOver, zsk_waits
from letterlock.hostmaster.zone_host import ZoneFile, ZoneHost
from letterlock.hostmaster.zone_keeper import KeySet
from letterlock.trust.dnssec.sign import SigningKey

START = 1_800_000_000
APEX = names.to_wire("rosewood.test")
TEXT = "@ 3600 IN SOA ns h 7 1 1 1 60\n@ 3600 IN NS ns\nns IN A 127.0.0.1\n"


class _Site:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "zone"
        self.path.write_text(TEXT)
        self.keys = folder / "keys"
        self.now = float(START)
        self.said: list[str] = []

    def start(self) -> ZoneHost:
        files = [ZoneFile("rosewood.test", self.path)]
        return ZoneHost(files, key_folder=self.keys, clock=lambda: self.now)

    @staticmethod
    def zone(server: ZoneHost) -> Zone:
        return server.server.catalog.zones[APEX]


@pytest.fixture
def site(tmp_path: Path) -> _Site:
    return _Site(tmp_path)


def test_a_restart_keeps_the_keys_and_counts_on(site: _Site) -> None:
    """A secondary must never see an older serial number than it has."""
    first = site.zone(site.start())
    second = site.zone(site.start())
    assert (first.serial, second.serial) == (7, 8)
    assert first.nodes[APEX][DNSKEY].rdatas == second.nodes[APEX][DNSKEY].rdatas
    assert second.is_signed


async def test_a_changed_file_is_served_and_a_wrong_one_is_not(site: _Site) -> None:
    server = site.start()
    await server.look(site.said.append)
    assert site.said == []
    site.path.write_text(TEXT + "new IN A 127.0.0.2\n")
    await server.look(site.said.append)
    assert names.to_wire("new.rosewood.test") in site.zone(server).nodes
    site.path.write_text(TEXT + "new IN A 127.0.0\n")
    await server.look(site.said.append)
    assert site.zone(server).serial == 8
    assert ["serial 8" in site.said[0], "not read again" in site.said[1]] == [True, True]


async def test_a_fault_does_not_end_the_looking(site: _Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with one zone, and not with all of them: what is signed no more ends one day."""
    monkeypatch.setattr("letterlock.hostmaster.zone_host._LOOK_SECONDS", 0.001)
    server = site.start()
    look, look_at, turns, again = server.look, server._look_at, 0, asyncio.Event()

    def broken(_source: object) -> None:
        raise ZeroDivisionError

    async def broken_first(say: object) -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            raise ZeroDivisionError
        monkeypatch.setattr(server, "_look_at", broken if turns == 2 else look_at)
        await look(say)  # type: ignore[arg-type]
        if turns == 3:
            again.set()

    monkeypatch.setattr(server, "look", broken_first)
    keeping = asyncio.create_task(server.keep(site.said.append))
    async with asyncio.timeout(30):
        await again.wait()
    keeping.cancel()
    await asyncio.wait([keeping])
    assert [("not looked at" in one, "not read again" in one) for one in site.said[:2]] == [
        (True, False),
        (False, True),
    ]


async def test_a_roll_over_begun_outside_is_carried_through(site: _Site) -> None:
    """As `dns zone roll` begins it: the server takes it up, restarts in between, and finishes it."""
    site.start()
    store = KeyFolder(site.keys, "rosewood.test")
    keys = store.load()
    assert keys is not None
    successor = SigningKey.generate(is_entry=False)
    rolling = RollOver(zsk_waits(3600, 3600), START)
    store.save(KeySet(keys.entry, keys.zone.begin(successor, rolling)))
    tags = []
    for _ in range(8):
        server = site.start()
        await server.look(site.said.append)
        signature = site.zone(server).soa.signatures[0]
        tags.append((int.from_bytes(signature[16:18], "big"), len(site.zone(server).nodes[APEX][DNSKEY].rdatas)))
        site.now += HOUR
    old, new = keys.zone.current.tag, successor.tag
    assert tags == [(old, 3), (old, 3), (new, 3), (new, 3), (new, 2), (new, 2), (new, 2), (new, 2)]
    assert len(list(site.keys.glob("*.pem"))) == 2
    assert RRSIG not in site.zone(server).nodes[APEX]


def test_private_keys_are_their_owners_only(site: _Site) -> None:
    site.start()
    assert {path.stat().st_mode & 0o777 for path in site.keys.glob("*.pem")} == {0o600}


def test_a_damaged_list_of_keys_is_told(site: _Site) -> None:
    site.start()
    (site.keys / "rosewood.test.json").write_text("{}")
    with pytest.raises(Malformed):
        site.start()
