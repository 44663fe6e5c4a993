"""The resolver of a system: probing, falling back, TLS to the forwarder, anchors that follow their zone."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from letterlock.errors import Malformed, SettingsFault
from letterlock.formats.dns import message as messages
from letterlock.formats.dns import zone_text
from letterlock.formats.dns.question import Outcome, Question, Security
from letterlock.formats.dns.zone import RRSIG, Zone
from letterlock.host.resolver.exchange import Exchange, Server
from letterlock.host.resolver.keep_anchors import AnchorKeeper
from letterlock.host.resolver.source import ForwardSource
from letterlock.host.resolver.system import Mode, ResolverSettings, open_resolver, read_resolv_conf
from letterlock.host.resolver.upstream import Upstream
from letterlock.host.tls import KeyPair
from letterlock.hostmaster.name_server import NameServer
from letterlock.hostmaster.tree import anchors_of
from letterlock.protocols.dns import client
from letterlock.protocols.dns.server import Catalog, respond
from letterlock.trust.dnssec.sign import SigningKey, sign_zone
from letterlock.trust.dnssec.track_anchors import KeyState

KEY = SigningKey.generate()
NEXT = SigningKey.generate()
NOW = int(time.time())
TEXT = "@ IN SOA ns h 1 1 1 1 60\n@ IN NS ns.\nns IN A 127.0.0.1\nwww.test IN A 127.0.1.1\n"


def _root(*keys: SigningKey) -> Zone:
    return sign_zone(Zone.parse(TEXT, ""), keys, NOW - 60, NOW + 86400)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = NameServer([_root(KEY)])
    yield await server.listen("127.0.0.1")
    await server.aclose()


@pytest.fixture
def anchors(tmp_path: Path) -> Path:
    path = tmp_path / "anchors"
    path.write_text(zone_text.write(anchors_of(_root(KEY))[b"\0"][0].records()))
    return path


class _Stripping(NameServer):
    """A forwarder of the old kind: it forgets signatures."""

    def respond(self, octets, address, *, tcp):  # type: ignore[no-untyped-def]
        for answered in super().respond(octets, address, tcp=tcp):
            read = messages.read(answered)
            kept = tuple(record for record in read.answer if record.type != RRSIG)
            yield messages.write(replace(read, answer=kept, authority=()))


async def test_a_forwarder_that_carries_signatures_is_used(port: int, anchors: Path) -> None:
    opened = await open_resolver(ResolverSettings(servers=(f"127.0.0.1:{port}",), anchors=anchors))
    answer = await opened.resolver.ask(Question("www.test", "A"))
    assert (opened.mode, opened.findings, answer.security) == (Mode.VALIDATE, (), Security.SECURE)
    await opened.aclose()


async def test_a_forwarder_that_strips_signatures_is_reported_and_left(port: int, anchors: Path) -> None:
    """It is never turned into "everything is bogus"."""
    stripping = _Stripping([_root(KEY)])
    bad = await stripping.listen("127.0.0.1")
    roots = (f"127.0.0.1:{port}",)
    settings = ResolverSettings(servers=(f"127.0.0.1:{bad}",), anchors=anchors, root_servers=roots, port=port)
    opened = await open_resolver(settings)
    answer = await opened.resolver.ask(Question("www.test", "A"))
    assert (opened.mode, answer.security) == (Mode.ITERATE, Security.SECURE)
    assert opened.findings == (f"127.0.0.1:{bad} strips signatures",)
    await opened.aclose()
    await stripping.aclose()


async def test_a_forwarder_that_is_silent_now_is_kept(anchors: Path) -> None:
    """At boot the network may not be there yet: what does not answer is no reason to iterate for ever."""
    opened = await open_resolver(ResolverSettings(servers=("127.0.0.1:1",), anchors=anchors))
    assert (opened.mode, len(opened.findings)) == (Mode.VALIDATE, 1)
    assert (await opened.resolver.ask(Question("www.test", "A"))).outcome is Outcome.FAILED
    await opened.aclose()


async def test_the_ad_bit_counts_only_where_it_is_trusted(port: int) -> None:
    """Our name server sets no AD bit, so nothing is secure on its word."""
    opened = await open_resolver(ResolverSettings(Mode.TRUST_AD, (f"127.0.0.1:{port}",)))
    answer = await opened.resolver.ask(Question("www.test", "A"))
    assert (answer.outcome, answer.security) == (Outcome.FOUND, Security.INSECURE)
    await opened.aclose()


async def test_wrong_settings_are_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsFault):
        await open_resolver(ResolverSettings(servers=("resolver.example",)))
    (tmp_path / "anchors").write_text("www.test. IN A 127.0.0.1")
    with pytest.raises(Malformed):
        await open_resolver(ResolverSettings(servers=("127.0.0.1",), anchors=tmp_path / "anchors"))


def test_the_systems_resolvers_are_read(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# a comment\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver junk\noptions edns0\n")
    assert read_resolv_conf(file) == (Server("192.0.2.1"), Server("fe80::1"))
    assert read_resolv_conf(tmp_path / "none") == ()


async def test_a_forwarder_is_asked_over_tls(key_pair: KeyPair) -> None:
    """RFC 7858: the name is verified; another name is a reason, not an answer."""
    catalog = Catalog([_root(KEY)])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key_pair.chain, key_pair.key)

    opened: list[asyncio.Transport] = []

    class Dot(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport, self.frames = transport, client.Frames()
            opened.append(transport)  # type: ignore[arg-type]

        def data_received(self, data: bytes) -> None:
            for octets in self.frames.receive(data):
                for answered in respond(catalog, octets, tcp=True):
                    self.transport.write(client.frame(answered))  # type: ignore[attr-defined]

    listener = await asyncio.get_running_loop().create_server(Dot, "127.0.0.1", 0, ssl=context)
    port = listener.sockets[0].getsockname()[1]
    exchange = Exchange(ssl.create_default_context(cafile=str(key_pair.chain)))
    for name, outcome in (("mx.rosewood.test", True), ("other.test", False)):
        source = ForwardSource(Upstream((Server("127.0.0.1", port, name),), exchange))
        try:
            response = await source.fetch(b"\x03www\x04test\x00", 1)
            assert (response.answer[0].rdata, outcome) == (bytes((127, 0, 1, 1)), True)
        except Exception as error:
            assert (outcome, "certificate" in str(error).lower()) == (False, True), error
    await exchange.aclose()
    listener.close()
    for transport in opened:
        transport.abort()
    await listener.wait_closed()


async def test_anchors_follow_their_zone(tmp_path: Path) -> None:
    """A second key is learned after thirty days and is still known after a restart, when it is the only one."""
    server = NameServer([_root(KEY)])
    port = await server.listen("127.0.0.1")
    exchange = Exchange()
    source = ForwardSource(Upstream((Server("127.0.0.1", port),), exchange))
    now = [NOW]
    file = tmp_path / "anchors.json"

    def keeper() -> AnchorKeeper:
        return AnchorKeeper(source, anchors_of(_root(KEY)), file, lambda: now[0])

    first = keeper()
    assert await first.look() >= 3600
    for day in range(0, 40, 5):
        now[0] = NOW + day * 86400
        signed = sign_zone(Zone.parse(TEXT, ""), [KEY, NEXT], now[0] - 60, now[0] + 86400)
        server.put(signed)
        await first.look()
    assert {key.state for key in first.points[b"\0"].keys} == {KeyState.VALID}
    server.put(sign_zone(Zone.parse(TEXT, ""), [NEXT], now[0] - 60, now[0] + 86400))
    second = keeper()
    assert NEXT.rdata in second.anchors[b"\0"][0].rdatas
    now[0] += 20 * 86400
    server.put(sign_zone(Zone.parse(TEXT, ""), [SigningKey.generate()], now[0] - 60, now[0] + 86400))
    await second.look()
    assert b"\0" in second.problems
    replaced = AnchorKeeper(source, anchors_of(_root(SigningKey.generate())), file, lambda: now[0])
    assert NEXT.rdata not in replaced.anchors[b"\0"][0].rdatas
    assert NEXT.rdata in second.anchors[b"\0"][0].rdatas
    await exchange.aclose()
    await server.aclose()
