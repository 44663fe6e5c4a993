"""Name servers that die, lie, truncate, loop or answer from elsewhere: a reason, in bounded time, and no wrong answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from letterlock.formats.dns import message as messages
from letterlock.formats.dns import name as names
from letterlock.formats.dns import types
from letterlock.formats.dns.message import Message, Record
from letterlock.formats.dns.question import Answer, Outcome, Question
from letterlock.formats.dns.rdata import A
from letterlock.host.resolver.cache import CachingResolver
from letterlock.host.resolver.exchange import Exchange, Server
from letterlock.host.resolver.forward import ForwardingResolver
from letterlock.host.resolver.iterate import IterativeSource
from letterlock.host.resolver.upstream import Upstream
from letterlock.host.resolver.validate import ValidatingResolver
from letterlock.protocols.dns import client

NAME = names.to_wire("www.test")
QUESTION = Question("www.test", "A")
GOOD = Record(NAME, 1, 1, 60, bytes((127, 0, 1, 1)))
FALSE = Record(NAME, 1, 1, 60, bytes((127, 6, 6, 6)))
Script = Callable[[Message, bool], list[bytes]]


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, script: Script) -> None:
        self._script = script
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        for octets in self._script(messages.read(data), False):
            self._transport.sendto(octets, addr)  # type: ignore[attr-defined]


class _Tcp(asyncio.Protocol):
    def __init__(self, script: Script) -> None:
        self._script = script
        self._frames = client.Frames()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for octets in self._frames.receive(data):
            answers = self._script(messages.read(octets), True)
            if not answers:
                self._transport.close()
            for answered in answers:
                self._transport.write(client.frame(answered))  # type: ignore[attr-defined]


@asynccontextmanager
async def _serve(script: Script) -> AsyncIterator[tuple[Server, _Udp]]:
    loop = asyncio.get_running_loop()
    tcp = await loop.create_server(lambda: _Tcp(script), "127.0.0.1", 0)
    port = tcp.sockets[0].getsockname()[1]
    transport, udp = await loop.create_datagram_endpoint(lambda: _Udp(script), ("127.0.0.1", port))
    try:
        yield Server("127.0.0.1", port), udp
    finally:
        transport.close()
        tcp.close()
        await tcp.wait_closed()


def _answer(query: Message, *records: Record, rcode: int = 0, flags: int = messages.RA) -> bytes:
    return messages.write(replace(messages.response(query, rcode, flags), answer=records))


async def _ask(*servers: Server, seconds: float = 0.5) -> Answer:
    exchange = Exchange()
    upstream = Upstream(servers, exchange, query_seconds=seconds, total_seconds=3 * seconds)
    answer = await ForwardingResolver(upstream).ask(QUESTION)
    await exchange.aclose()
    return answer


async def test_a_dead_server_is_left_for_one_that_lives() -> None:
    async with (
        _serve(lambda query, tcp: []) as (dead, _),
        _serve(lambda query, tcp: [_answer(query, GOOD)]) as (good, _),
    ):
        assert (await _ask(dead, good)).records == (A("127.0.1.1"),)
        answer = await _ask(dead)
        assert (answer.outcome, "did not answer within" in answer.reason) == (Outcome.FAILED, True)


async def test_nobody_listening_is_a_reason_at_once() -> None:
    answer = await _ask(Server("127.0.0.1", 1), seconds=5)
    assert (answer.outcome, "refused" in answer.reason.lower()) == (Outcome.FAILED, True)


async def test_lies_before_the_truth_are_ignored() -> None:
    """Wrong id, wrong question, no response, garbage: none is believed, and the good answer still counts."""

    def script(query: Message, tcp: bool) -> list[bytes]:
        wrong_id = replace(query, id=query.id ^ 1)
        other = ((names.to_wire("other.test"), 1, 1),)
        lies = [
            _answer(wrong_id, FALSE),
            messages.write(replace(messages.response(query), question=other, answer=(FALSE,))),
            messages.write(replace(query, answer=(FALSE,))),
            b"garbage",
            query.id.to_bytes(2, "big") + b"\x80",
        ]
        return [*lies, _answer(query, GOOD)]

    async with _serve(script) as (server, _):
        assert (await _ask(server)).records == (A("127.0.1.1"),)


async def test_an_answer_from_another_address_never_arrives() -> None:
    """The socket is connected: what another address sends is refused by the system."""
    elsewhere = asyncio.get_running_loop()
    stranger, _ = await elsewhere.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))

    class Redirecting(_Udp):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            stranger.sendto(_answer(messages.read(data), FALSE), addr)

    transport, _ = await elsewhere.create_datagram_endpoint(
        lambda: Redirecting(lambda query, tcp: []), ("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    assert (await _ask(Server("127.0.0.1", port))).outcome is Outcome.FAILED
    transport.close()
    stranger.close()


@pytest.mark.parametrize("cut", [True, False])
async def test_truncation_leads_to_tcp(cut: bool) -> None:
    """Also where the datagram was cut in the middle of a record."""

    def script(query: Message, tcp: bool) -> list[bytes]:
        if tcp:
            return [_answer(query, GOOD)]
        octets = _answer(query, FALSE, flags=messages.TC)
        return [octets[:-3] if cut else octets]

    async with _serve(script) as (server, _):
        assert (await _ask(server)).records == (A("127.0.1.1"),)


async def test_truncation_without_tcp_is_a_reason() -> None:
    def script(query: Message, tcp: bool) -> list[bytes]:
        return [] if tcp else [_answer(query, flags=messages.TC)]

    async with _serve(script) as (server, _):
        answer = await _ask(server)
    assert (answer.outcome, bool(answer.reason)) == (Outcome.FAILED, True)


@pytest.mark.parametrize("rcode", [2, 5, 1, 4])
async def test_refusals_are_named(rcode: int) -> None:
    async with _serve(lambda query, tcp: [_answer(query, rcode=rcode)]) as (server, _):
        answer = await _ask(server)
    assert (answer.outcome, types.rcode_text(rcode) in answer.reason) == (Outcome.FAILED, True)


async def test_aliases_in_a_loop_are_named() -> None:
    loop = Record(NAME, client.CNAME, 1, 60, names.to_wire("b.test"))
    back = Record(names.to_wire("b.test"), client.CNAME, 1, 60, NAME)
    async with _serve(lambda query, tcp: [_answer(query, loop, back)]) as (server, _):
        answer = await _ask(server)
    assert (answer.outcome, "aliases" in answer.reason) == (Outcome.FAILED, True)


async def test_referrals_without_end_are_cut() -> None:
    """A server that refers deeper and deeper, or sideways to itself, is asked a bounded number of times."""

    def script(query: Message, tcp: bool) -> list[bytes]:
        owner = query.question[0][0]
        host = names.to_wire("ns.elsewhere.test")
        referral = Record(owner, 2, 1, 60, b"\x01" + bytes([97 + query.id % 26]) + host)
        return [messages.write(replace(messages.response(query), authority=(referral,)))]

    async with _serve(script) as (server, udp):
        exchange = Exchange()
        resolver = ValidatingResolver(IterativeSource(exchange, [server], port=server.port), {})
        answer = await resolver.ask(Question("a.b.c.d.e.f.test", "A"))
        await exchange.aclose()
    assert (answer.outcome, bool(answer.reason)) == (Outcome.FAILED, True)
    assert udp.asked <= 64


async def test_a_server_may_not_speak_for_other_zones() -> None:
    """Records outside the zone that was asked about are not taken (RFC 2181 section 5.4.1)."""
    ns = Record(names.to_wire("test"), 2, 1, 60, names.to_wire("ns.test"))
    glue = Record(names.to_wire("ns.test"), 1, 1, 60, bytes((127, 0, 0, 1)))
    alias = Record(NAME, client.CNAME, 1, 60, names.to_wire("www.bank.example"))
    poison = Record(names.to_wire("www.bank.example"), 1, 1, 60, bytes((127, 6, 6, 6)))
    asked: list[bytes] = []

    def script(query: Message, tcp: bool) -> list[bytes]:
        owner, _, _ = query.question[0]
        asked.append(owner)
        if len(asked) == 1:
            referral = replace(messages.response(query), authority=(ns,), additional=(glue,))
            return [messages.write(referral)]
        if owner == NAME:
            return [_answer(query, alias, poison, flags=messages.AA)]
        return [_answer(query, rcode=3, flags=messages.AA)]

    async with _serve(script) as (server, _):
        exchange = Exchange()
        resolver = ValidatingResolver(IterativeSource(exchange, [server], port=server.port), {})
        answer = await resolver.ask(QUESTION)
        await exchange.aclose()
    assert (answer.outcome, answer.canonical_name) == (Outcome.NO_NAME, "www.bank.example")


async def test_tcp_carries_many_queries_at_once_in_any_order() -> None:
    """RFC 7766 section 6.2.1.1: answers may come in another order than the queries."""
    waiting: list[bytes] = []

    def script(query: Message, tcp: bool) -> list[bytes]:
        record = Record(query.question[0][0], 1, 1, 60, query.question[0][0][1:5])
        waiting.append(_answer(query, record))
        if len(waiting) < 5:
            return [messages.write(replace(messages.response(query), id=query.id ^ 0xFFFF))]
        return list(reversed(waiting))

    async with _serve(script) as (server, _):
        exchange = Exchange()
        queries = [client.query(0, names.to_wire(f"abc{number}.test"), 1) for number in range(5)]
        async with asyncio.timeout(30):
            responses = await asyncio.gather(*(exchange.ask(server, query, 5, tcp=True) for query in queries))
        await exchange.aclose()
    assert [response.answer[0].rdata for response in responses] == [f"abc{number}".encode() for number in range(5)]


async def test_the_cache_asks_once_and_serves_stale() -> None:
    """Equal questions become one; a dead server leaves the old answer, marked (RFC 8767); time decides."""
    now = [0.0]
    alive = [True]

    def script(query: Message, tcp: bool) -> list[bytes]:
        return [_answer(query, GOOD)] if alive[0] else [_answer(query, rcode=2)]

    async with _serve(script) as (server, udp):
        exchange = Exchange()
        upstream = Upstream((server,), exchange, query_seconds=0.2)
        resolver = CachingResolver(ForwardingResolver(upstream), clock=lambda: now[0])
        answers = await asyncio.gather(*(resolver.ask(QUESTION) for _ in range(10)))
        assert ({answer.ttl_seconds for answer in answers}, udp.asked) == ({60}, 1)
        now[0] = 20
        assert ((await resolver.ask(QUESTION)).ttl_seconds, udp.asked) == (40, 1)
        alive[0] = False
        now[0] = 100
        stale = await resolver.ask(QUESTION)
        assert (stale.outcome, stale.extended_error, stale.ttl_seconds) == (Outcome.FOUND, 3, 30)
        asked = udp.asked
        now[0] = 110
        assert ((await resolver.ask(QUESTION)).extended_error, udp.asked) == (3, asked)
        now[0] = 2 * 86400
        assert (await resolver.ask(QUESTION)).outcome is Outcome.FAILED
        await exchange.aclose()


async def test_no_server_learns_more_of_a_name_than_it_must() -> None:
    """RFC 9156: the parent is asked about its child only, and the type that is wanted is told to the last one alone."""
    asked: list[tuple[bytes, int]] = []
    ns = Record(names.to_wire("test"), 2, 1, 60, names.to_wire("ns.test"))
    glue = Record(names.to_wire("ns.test"), 1, 1, 60, bytes((127, 0, 0, 1)))
    text = Record(names.to_wire("a.b.test"), 16, 1, 60, b"\x02hi")

    def script(query: Message, tcp: bool) -> list[bytes]:
        owner, number, _ = query.question[0]
        asked.append((owner, number))
        if len(asked) == 1:
            return [messages.write(replace(messages.response(query), authority=(ns,), additional=(glue,)))]
        return [_answer(query, *((text,) if number == 16 else ()), flags=messages.AA)]

    async with _serve(script) as (server, _):
        exchange = Exchange()
        source = IterativeSource(exchange, [server], port=server.port)
        response = await source.fetch(names.to_wire("a.b.test"), 16)
        await source.fetch(names.to_wire("c.test"), 16)
        await exchange.aclose()
    assert response.answer == (text,)
    wanted = [("test", 1), ("b.test", 1), ("a.b.test", 16), ("c.test", 16)]
    assert asked == [(names.to_wire(name), number) for name, number in wanted]


async def test_a_verdict_comes_in_time() -> None:
    """However slow the servers are, the whole of it is bounded."""
    async with _serve(lambda query, tcp: []) as (server, _):
        exchange = Exchange()
        source = IterativeSource(exchange, [server] * 13, port=server.port)
        answer = await ValidatingResolver(source, {}, total_seconds=0.1).ask(QUESTION)
        await exchange.aclose()
    assert (answer.outcome, "within 0.1 s" in answer.reason) == (Outcome.FAILED, True)


@pytest.mark.parametrize("mnemonic", ["ANY", "AXFR", "RRSIG", "OPT", "TSIG"])
async def test_what_is_no_record_set_is_not_looked_up(mnemonic: str) -> None:
    answer = await ValidatingResolver(IterativeSource(Exchange(), []), {}).ask(Question("www.test", mnemonic))
    assert (answer.outcome, "by itself" in answer.reason) == (Outcome.FAILED, True)
