"""The zone of a domain made from its settings."""

from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.errors import Malformed
from letterlock.formats.dns import name as names
from letterlock.formats.dns.zone import NS, SOA
from letterlock.hostmaster.domain_zone import DomainZone, make_zone
from letterlock.hostmaster.records import DomainFacts, wanted_records
from letterlock.hostmaster.zone_host import ZoneHost

FACTS = DomainFacts("rosewood.test", "mail.rosewood.test", ("127.0.1.1", "::1"))


def test_the_zone_has_all_that_is_wanted() -> None:
    zone = make_zone(FACTS, ("ns1.rosewood.test", "ns.elsewhere.test"), "www IN A 127.0.1.2\n")
    text = zone.text()
    assert all(record.line() in text for record in wanted_records(FACTS))
    assert len(zone.nodes[zone.origin][NS].rdatas) == 2
    assert set(zone.nodes[names.to_wire("ns1.rosewood.test")]) == {1, 28}
    assert names.to_wire("www.rosewood.test") in zone.nodes


def test_without_name_servers_there_is_no_zone() -> None:
    with pytest.raises(Malformed):
        make_zone(FACTS, ())


async def test_new_facts_become_a_new_version(tmp_path: Path) -> None:
    """A certificate renewed, an address moved: the zone follows, signed, with a higher serial number."""
    facts = [FACTS]
    host = ZoneHost(
        [DomainZone("rosewood.test", lambda: facts[0], ("ns1.rosewood.test",))], key_folder=tmp_path / "keys"
    )
    said: list[str] = []
    facts[0] = replace(FACTS, addresses=("127.0.1.9",))
    await host.look(said.append)
    zone = host.server.catalog.zones[names.to_wire("rosewood.test")]
    assert (zone.serial, zone.is_signed, len(said)) == (2, True, 1)
    assert zone.nodes[names.to_wire("mail.rosewood.test")][1].rdatas == (bytes((127, 0, 1, 9)),)
    assert SOA in zone.nodes[zone.origin]
