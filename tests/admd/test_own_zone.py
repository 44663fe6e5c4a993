"""A domain that serves its own zone: what it publishes is what it needs, signed."""

import contextlib
import socket
from pathlib import Path

import pytest

from letterlock.admd.create import Found, create
from letterlock.admd.domain_facts import facts_of
from letterlock.admd.own_zone import serve_own_zones
from letterlock.admd.sections import Listen
from letterlock.admd.settings import Settings
from letterlock.admd.sockets import bound_sockets
from letterlock.errors import Malformed, SettingsFault
from letterlock.formats.dns.question import Question, Security
from letterlock.formats.dns.rdata import Tlsa
from letterlock.formats.dns.zone import DS, RecordSet
from letterlock.host.clock import SystemClock
from letterlock.host.drive_decisions import drive
from letterlock.host.entropy import SeededEntropy
from letterlock.host.resolver.exchange import Exchange, Server
from letterlock.host.resolver.source import ForwardSource
from letterlock.host.resolver.upstream import Upstream
from letterlock.host.resolver.validate import ValidatingResolver
from letterlock.hostmaster.check import Standing, compare
from letterlock.hostmaster.key_folder import KeyFolder
from letterlock.hostmaster.records import wanted_records
from letterlock.trust.dane.records import associate
from letterlock.trust.dnssec.sign import SigningKey
from letterlock.trust.primitives.peer_chain import public_key_of
from letterlock.trust.primitives.zone_keys import to_pem


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


NO_SERVICES: dict[str, list[str]] = {service: [] for service in Listen.model_fields}


def _created(folder: Path, publish: dict[str, object]) -> Found:
    overrides = {"listen": NO_SERVICES, "publish": publish}
    return create(folder / "a", "rosewood.test", overrides, clock=SystemClock(), entropy=SeededEntropy())


def _zone_sockets(settings: Settings, stack: contextlib.AsyncExitStack) -> list[tuple[socket.socket, socket.socket]]:
    sockets = bound_sockets(settings)
    stack.callback(sockets.close)
    return sockets.zones


async def test_the_check_finds_everything_right(tmp_path: Path) -> None:
    """TLSA and DKIM records of the very keys in use, validated from the zone's own key."""
    port = _free_port()
    (tmp_path / "more").write_text("www IN A 127.0.0.1\n")
    publish = {
        "listen": [f"127.0.0.1:{port}"],
        "name_servers": ["ns.rosewood.test"],
        "addresses": ["127.0.0.1"],
        "more": str(tmp_path / "more"),
    }
    found = _created(tmp_path, publish)
    async with contextlib.AsyncExitStack() as stack:
        sockets = _zone_sockets(found.settings, stack)
        assert await serve_own_zones(found.settings, sockets, stack, SystemClock()) is not None
        keys = KeyFolder(found.settings.path(found.settings.publish.keys), "rosewood.test").load()
        assert keys is not None
        apex = b"\x08rosewood\x04test\x00"
        anchor = RecordSet(apex, DS, 3600, (keys.entry.current.ds("rosewood.test"),))
        exchange = Exchange()
        stack.push_async_callback(exchange.aclose)
        source = ForwardSource(Upstream((Server("127.0.0.1", port),), exchange))
        resolver = ValidatingResolver(source, {apex: (anchor,)})
        wanted = wanted_records(facts_of(found.settings, "rosewood.test", ("127.0.0.1",)))
        findings = await drive(compare(wanted), resolver)
        assert {(finding.standing, finding.security) for finding in findings} == {(Standing.RIGHT, Security.SECURE)}
        assert "TLSA" in {finding.type for finding in findings}
        answer = await resolver.ask(Question("www.rosewood.test", "A"))
        assert answer.security is Security.SECURE


async def test_a_zone_without_name_servers_is_a_wrong_setting(tmp_path: Path) -> None:
    publish = {"listen": [f"127.0.0.1:{_free_port()}"]}
    found = _created(tmp_path, publish)
    async with contextlib.AsyncExitStack() as stack:
        with pytest.raises(SettingsFault, match="name servers"):
            await serve_own_zones(found.settings, _zone_sockets(found.settings, stack), stack, SystemClock())


def test_the_next_key_is_published_before_it_is_used(tmp_path: Path) -> None:
    """RFC 7671 section 8.1: two TLSA records, one of the certificate in use, one of the key to come."""
    key = SigningKey.generate()
    (tmp_path / "next.pem").write_bytes(to_pem(key.private))
    tls = {"next_key": str(tmp_path / "next.pem")}
    found = create(tmp_path / "a", "rosewood.test", {"tls": tls}, clock=SystemClock(), entropy=SeededEntropy())
    wanted = wanted_records(facts_of(found.settings))
    tlsa = [record.data for record in wanted if isinstance(record.data, Tlsa) and record.owner.startswith("_25.")]
    assert len(tlsa) == 2
    assert tlsa[1].data == associate(b"", public_key_of(to_pem(key.private)), 1, 1)
    (tmp_path / "next.pem").write_text("garbage")
    with pytest.raises(Malformed):
        facts_of(found.settings)


async def test_a_port_that_is_taken_is_a_wrong_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        publish = {"listen": [f"127.0.0.1:{taken.getsockname()[1]}"], "name_servers": ["ns.rosewood.test"]}
        found = create(
            tmp_path / "a",
            "rosewood.test",
            {"listen": NO_SERVICES, "publish": publish},
            clock=SystemClock(),
            entropy=SeededEntropy(),
        )
        with pytest.raises(SettingsFault, match=r"publish\.listen"):
            bound_sockets(found.settings)
