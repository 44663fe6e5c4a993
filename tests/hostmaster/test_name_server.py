"""The name server and the resolvers that ask it, over loopback."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from letterlock.formats.dns import message as messages
from letterlock.formats.dns.question import Outcome, Question
from letterlock.formats.dns.rdata import A, Mx, Txt
from letterlock.formats.dns.zone import Zone
from letterlock.host.resolver.cache import CachingResolver
from letterlock.host.resolver.exchange import Exchange, Server
from letterlock.host.resolver.forward import ForwardingResolver
from letterlock.host.resolver.upstream import Upstream
from letterlock.hostmaster.name_server import NameServer
from letterlock.protocols.dns import client
from letterlock.protocols.dns.server import Access
from letterlock.protocols.dns.transfer import AXFR

TEXT = """
@        IN SOA ns hostmaster 1 3600 600 86400 300
         IN NS  ns
         IN MX  10 mx
ns       IN A   127.0.0.1
mx       IN A   127.0.1.1
alias    IN CNAME mx
*.wild   IN TXT "wild"
old      IN DNAME new
a.new    IN TXT "new"
child    IN NS ns.child
ns.child IN A  127.0.0.9
big      IN TXT {}
""".format(" ".join(f'"{"x" * 200}{number}"' for number in range(30)))


@pytest.fixture
async def resolver() -> AsyncIterator[CachingResolver]:
    server = NameServer([Zone.parse(TEXT, "rosewood.test")])
    port = await server.listen("127.0.0.1")
    exchange = Exchange()
    yield CachingResolver(ForwardingResolver(Upstream((Server("127.0.0.1", port),), exchange, query_seconds=0.5)))
    await exchange.aclose()
    await server.aclose()


@pytest.mark.parametrize(
    ("name", "mnemonic", "outcome", "records"),
    [
        ("rosewood.test", "MX", Outcome.FOUND, (Mx(10, "mx.rosewood.test"),)),
        ("alias.rosewood.test", "A", Outcome.FOUND, (A("127.0.1.1"),)),
        ("x.wild.rosewood.test", "TXT", Outcome.FOUND, (Txt((b"wild",)),)),
        ("x.wild.rosewood.test", "A", Outcome.NO_DATA, ()),
        ("a.old.rosewood.test", "TXT", Outcome.FOUND, (Txt((b"new",)),)),
        ("rosewood.test", "TXT", Outcome.NO_DATA, ()),
        ("new.rosewood.test", "TXT", Outcome.NO_DATA, ()),
        ("none.rosewood.test", "TXT", Outcome.NO_NAME, ()),
        ("other.test", "A", Outcome.FAILED, ()),
        ("a..b", "A", Outcome.FAILED, ()),
        ("rosewood.test", "NONSENSE", Outcome.FAILED, ()),
    ],
)
async def test_the_zone_answers(
    resolver: CachingResolver, name: str, mnemonic: str, outcome: Outcome, records: tuple[object, ...]
) -> None:
    """What the zone says arrives, absence apart from failure."""
    answer = await resolver.ask(Question(name, mnemonic))
    assert (answer.outcome, answer.records) == (outcome, records)


async def test_what_does_not_fit_a_datagram_comes_over_tcp(resolver: CachingResolver) -> None:
    answer = await resolver.ask(Question("big.rosewood.test", "TXT"))
    assert len(answer.records[0].strings) == 30  # type: ignore[union-attr]


async def test_a_long_transfer_waits_for_its_reader() -> None:
    """Who asks for a large zone and does not read makes us keep little; who reads then gets all of it."""
    hosts = "".join(f'h{number} IN TXT "{"x" * 200}"\n' for number in range(4000))
    zone = Zone.parse("@ IN SOA ns h 1 1 1 1 1\n@ IN NS ns\nns IN A 127.0.0.1\n" + hosts, "rosewood.test")
    server = NameServer([zone], Access(addresses=frozenset({"127.0.0.1"})))
    port = await server.listen("127.0.0.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    query = messages.write(messages.query(7, zone.origin, AXFR))
    writer.write(client.frame(query) + client.frame(messages.write(messages.query(8, zone.origin, 6))))
    records = 0
    while True:
        size = int.from_bytes(await reader.readexactly(2), "big")
        response = messages.read(await reader.readexactly(size))
        (stream,) = server.connections
        kept = stream._transport.get_write_buffer_size() if stream._transport is not None else 0
        assert kept < 200_000
        if response.id == 8:
            break
        records += len(response.answer)
    assert records == 4000 + 4
    writer.close()
    await server.aclose()
