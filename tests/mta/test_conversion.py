"""Hosts that take less than the message is: another host is tried first, then it is converted, if it may be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.formats.mime.test_downgrade import MULTIPART, SIGNED, TEXT
from tests.mta.test_outbound import TO_ADA, Host, deliver, network

from letterlock.formats.envelope import Body
from letterlock.formats.mime.entity import parse
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.stream import Stream
from letterlock.protocols.smtp import event as events
from letterlock.protocols.smtp.offer import ServerSettings
from letterlock.protocols.smtp.server import ServerConversation


class Offer(ServerSettings):
    """What a server offers that does not know some extensions."""

    missing: tuple[str, ...] = ()

    def keywords(self, *, tls: bool, authenticated: bool, certified: bool = False) -> tuple[str, ...]:
        words = super().keywords(tls=tls, authenticated=authenticated, certified=certified)
        return tuple(word for word in words if word not in self.missing)


class Poor:
    """Such a server; `got` is the content it took, `told` the bodies MAIL named."""

    def __init__(self, *missing: str) -> None:
        self.offer = Offer("mx.test")
        object.__setattr__(self.offer, "missing", missing)
        self.got = b""
        self.told: list[Body] = []

    async def __call__(self, stream: Stream) -> None:
        server = ServerConversation(self.offer)
        server.greet()
        stream.expect_within(10)
        await stream.send(server.take_output())
        while octets := await stream.read():
            server.receive(octets)
            while (event := server.next_event()) is not None:
                match event:
                    case events.ContentReceived(piece):
                        self.got += piece
                    case events.SenderGiven(sender):
                        self.told.append(sender.body)
                        server.accept()
                    case events.RecipientGiven() | events.ContentEnded():
                        server.accept()
            await stream.send(server.take_output())


async def send(body: Body, content: bytes, *hosts: Poor) -> Outcome:
    """The outcome for one recipient of hosts in this order."""
    async with network(*hosts) as (outbound, _):
        return await deliver(outbound, replace(TO_ADA, body=body), content)


@pytest.mark.parametrize("missing", [(), ("BINARYMIME",), ("CHUNKING",), ("8BITMIME", "BINARYMIME", "CHUNKING")])
async def test_a_binary_message(missing: tuple[str, ...]) -> None:
    """RFC 3030 section 3: as it is where both extensions are offered, else in seven bits, and read as the same."""
    host = Poor(*missing)
    outcome = await send(Body.BINARY, MULTIPART, host)
    assert outcome.result is Result.RELAYED
    assert (host.got == MULTIPART, host.told) == ((True, [Body.BINARY]) if not missing else (False, [Body.SEVEN_BIT]))
    leaves = [entity.content() for entity in parse(host.got).entities() if not entity.children]
    assert leaves == [TEXT[:-2], b"\x89PNG\r\n\x1a\n\0\0", TEXT[:-2], b"plain"]


async def test_an_8_bit_message() -> None:
    """RFC 6152 section 3."""
    fields = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    host = Poor("8BITMIME")
    outcome = await send(Body.EIGHT_BIT, fields + TEXT, host)
    assert outcome.result is Result.RELAYED
    assert host.told == [Body.SEVEN_BIT]
    assert host.got.isascii()
    assert parse(host.got).content() == TEXT


async def test_a_host_that_takes_it_as_it_is_comes_first() -> None:
    """Whatever its preference: what is not converted keeps its DKIM signatures."""
    poor, rich = Poor("8BITMIME", "BINARYMIME"), Poor()
    outcome = await send(Body.BINARY, MULTIPART, poor, rich)
    assert (outcome.host, poor.told, rich.got) == ("b.test", [], MULTIPART)


async def test_what_is_signed_is_not_touched() -> None:
    """It fails with 5.6.3, and nothing was sent."""
    host = Poor("8BITMIME")
    outcome = await send(Body.EIGHT_BIT, SIGNED, host)
    assert (outcome.result, outcome.status, host.told) == (Result.FAILED, "5.6.3", [])


async def test_hosts_that_never_take_mail() -> None:
    """RFC 7504 section 3: 521 is final where every host says so, and else leads to the next."""
    never = Host(GREETING="521 5.3.2 we take no mail")
    async with network(never, Host()) as (outbound, _):
        assert (await deliver(outbound)).host == "b.test"
    async with network(never, never) as (outbound, _):
        outcome = await deliver(outbound)
        again = await deliver(outbound)
    assert (outcome.result, outcome.status) == (again.result, again.status) == (Result.FAILED, "5.3.2")
    async with network(never, Host(GREETING="421 4.3.2 later")) as (outbound, _):
        assert (await deliver(outbound)).result is Result.DEFERRED
