"""Messages that go right behind others: their commands in the packet that ends the content of the one before."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from tests.mta.test_outbound import Host, network

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.stream import Stream
from letterlock.host.tls import KeyPair, ServerTls
from letterlock.mta.outbound import Outbound


def to(number: int, *, require_tls: bool = False) -> Envelope:
    """The envelope of message `number`, whose recipient says which it is."""
    recipient = Recipient(Address(f"r{number}", "harbor.test"))
    return Envelope(Address("x", "rosewood.test"), (recipient,), require_tls=require_tls)


async def send(outbound: Outbound, number: int, *, require_tls: bool = False) -> Outcome:
    """The outcome of message `number`, whose content says which it is too."""
    content = f"Subject: {number}\r\n\r\n.text\r\n".encode()
    (outcome,) = await outbound.deliver(to(number, require_tls=require_tls), content)
    return outcome


class Pipelining(Host):
    """A host that knows PIPELINING and names the message in its last answer; `packets` are what it read at once."""

    def __init__(self, tls: ServerTls | None = None, **replies: str) -> None:
        super().__init__(tls, keywords=("PIPELINING",), **replies)
        self.packets: list[bytes] = []
        self.followed = asyncio.Event()

    async def __call__(self, stream: Stream) -> None:
        read = stream.read

        async def watched(*, idle: bool = False) -> bytes:
            octets = await read(idle=idle)
            self.packets.append(octets)
            if b"\r\n.\r\nMAIL" in octets:
                self.followed.set()
            return octets

        stream.read = watched  # type: ignore[method-assign]
        await super().__call__(stream)

    async def say(self, stream: Stream, verb: str) -> bool:
        if verb == "END" and self.replies["END"].startswith("250"):
            subject = self.contents[-1].split(b"\r\n")[0].decode()
            await stream.send(f"250 2.0.0 {subject}\r\n".encode())
            return True
        return await super().say(stream, verb)


@pytest.mark.parametrize("protected", [False, True])
async def test_a_message_is_begun_in_the_packet_that_ends_the_one_before(key_pair: KeyPair, protected: bool) -> None:
    """RFC 2920 section 3.1; ten messages for one connection, and each hears its own answer."""
    host = Pipelining(ServerTls([key_pair]) if protected else None)
    async with network(host, connections_per_host=1) as (outbound, _):
        outcomes = await asyncio.gather(*(send(outbound, number) for number in range(10)))
        assert outbound.connections == (0, 1)
    assert [one.reply for one in outcomes] == [f"250 2.0.0 Subject: {number}" for number in range(10)]
    assert (host.connections, len(host.contents)) == (1, 10)
    assert sum(b"\r\n.\r\nMAIL FROM" in packet for packet in host.packets) == 9
    assert "RSET" not in host.seen


async def test_no_more_over_a_connection_than_it_may_carry() -> None:
    host = Pipelining()
    async with network(host, connections_per_host=1, messages_per_connection=4) as (outbound, _):
        outcomes = await asyncio.gather(*(send(outbound, number) for number in range(10)))
    assert {one.result for one in outcomes} == {Result.RELAYED}
    assert (host.connections, len(host.contents)) == (3, 10)


async def test_nothing_goes_behind_where_pipelining_is_not_offered() -> None:
    host = Pipelining()
    host.keywords = ()
    async with network(host, connections_per_host=1) as (outbound, _):
        outcomes = await asyncio.gather(*(send(outbound, number) for number in range(4)))
    assert {one.result for one in outcomes} == {Result.RELAYED}
    assert not any(b"\r\n.\r\nMAIL" in packet for packet in host.packets)


@pytest.mark.parametrize("answer", ["drop", "421 4.3.2 going down", "hang"])
async def test_what_was_behind_a_message_that_is_lost_goes_another_way(answer: str) -> None:
    """The connection fails at the end of the first content: that message waits, the one behind it goes on."""

    class FailsOnce(Pipelining):
        async def say(self, stream: Stream, verb: str) -> bool:
            if verb == "END" and len(self.contents) == 1:
                self.replies["END"], before = answer, self.replies["END"]
                try:
                    await super().say(stream, verb)
                finally:
                    self.replies["END"] = before
                return False
            return await super().say(stream, verb)

    host = FailsOnce()
    async with network(host, connections_per_host=1) as (outbound, _):
        first, *others = await asyncio.gather(*(send(outbound, number) for number in range(4)))
        assert outbound.connections[0] == 0
    assert first.result is Result.DEFERRED
    assert [one.result for one in others] == [Result.RELAYED] * 3
    taken = Counter(content.split(b"\r\n")[0] for content in host.contents)
    assert [taken[f"Subject: {number}".encode()] for number in (1, 2, 3)] == [1, 1, 1]


async def test_a_refused_message_keeps_nobody() -> None:
    """A recipient or a content that is refused: the next message has its own answers."""

    class Picky(Pipelining):
        async def say(self, stream: Stream, verb: str) -> bool:
            if verb == "RCPT" and "<r1@" in self.seen[-1]:
                await stream.send(b"550 5.1.1 no such user\r\n")
                return True
            if verb == "DATA" and "<r1@" in self.seen[-2]:
                await stream.send(b"503 5.5.1 nobody to send it to\r\n")
                self.replies["DATA"] = "503"
                return True
            self.replies["DATA"] = "354 go"
            if verb == "END" and self.contents[-1].startswith(b"Subject: 3"):
                await stream.send(b"554 5.6.0 not such content\r\n")
                return True
            return await super().say(stream, verb)

    async with network(host := Picky(), connections_per_host=1) as (outbound, _):
        outcomes = await asyncio.gather(*(send(outbound, number) for number in range(6)))
    assert [one.status for one in outcomes] == ["2.0.0", "5.1.1", "2.0.0", "5.6.0", "2.0.0", "2.0.0"]
    assert host.connections == 1


async def test_a_message_that_fits_no_connection_has_its_own_turn() -> None:
    """REQUIRETLS to a host without: it is refused by itself, and those around it go on."""
    async with network(host := Pipelining(), connections_per_host=1) as (outbound, _):
        outcomes = await asyncio.gather(*(send(outbound, number, require_tls=number == 2) for number in range(5)))
    assert [one.result is Result.RELAYED for one in outcomes] == [True, True, False, True, True]
    assert len(host.contents) == 4


async def test_who_gives_up_behind_another_leaves_nothing_behind() -> None:
    """A message that is cancelled while it is behind another: places are free again, and mail goes on."""
    host = Pipelining(END="hang")
    async with network(host, connections_per_host=1) as (outbound, _):
        tasks = [asyncio.create_task(send(outbound, number)) for number in range(3)]
        async with asyncio.timeout(30):
            await host.followed.wait()
        host.replies["END"] = "250 ok"
        tasks[1].cancel()
        first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(first, Outcome)
        assert isinstance(third, Outcome)
        assert isinstance(second, asyncio.CancelledError)
        assert (first.result, third.result) == (Result.DEFERRED, Result.RELAYED)
        assert (await send(outbound, 4)).result is Result.RELAYED
        assert outbound.connections[0] == 0


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_a_host_does_every_message_has_its_own_outcome(seed: int) -> None:
    """A host that fails at random: what it took is never called failed, what it never took never relayed, and no place leaks."""
    chance = random.Random(seed)
    taken: Counter[bytes] = Counter()

    class Moody(Pipelining):
        async def say(self, stream: Stream, verb: str) -> bool:
            mood = chance.random()
            if verb in ("MAIL", "RCPT", "END") and mood < 0.12:
                if mood < 0.04:
                    stream.abort()
                    return False
                if mood < 0.06:
                    await stream.send(b"421 4.3.2 tired\r\n")
                    return False
                refusal = b"451 4.3.0 later\r\n" if mood < 0.09 else b"550 5.7.1 no\r\n"
                await stream.send(refusal)
                if verb != "END":
                    self.replies["DATA"] = "503 5.5.1 no"
                return True
            if verb == "DATA":
                answer, self.replies["DATA"] = self.replies["DATA"], "354 go"
                await stream.send(answer.encode() + b"\r\n")
                self.replies["DATA"] = answer if answer.startswith("503") else "354 go"
                return True
            if verb == "MAIL":
                self.replies["DATA"] = "354 go"
            if verb == "END":
                taken[self.contents[-1].split(b"\r\n")[0]] += 1
            return await super().say(stream, verb)

    host = Moody()
    async with network(host, connections_per_host=1, memory_seconds=0) as (outbound, _):
        async with asyncio.timeout(60):
            outcomes = await asyncio.gather(*(send(outbound, number) for number in range(60)))
        assert outbound.connections[0] == 0
    for number, outcome in enumerate(outcomes):
        times = taken[f"Subject: {number}".encode()]
        assert times <= 1, number
        if outcome.result is Result.RELAYED:
            assert times == 1, (number, outcome)
            assert outcome.reply == f"250 2.0.0 Subject: {number}"
        elif times:
            assert outcome.result is Result.DEFERRED, (number, outcome)
    assert sum(taken.values()) >= 20
