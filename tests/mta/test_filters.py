"""Filters behind our own assessment, asked over real sockets."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.host.listen import Listener, bind, bind_unix
from letterlock.host.logs import Log, send_to
from letterlock.host.milter_client import FilterSettings
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.stream import Endpoint, Stream
from letterlock.mta.arrival import Arrival, Assessment, take_as_it_is
from letterlock.mta.assess import Assessor, AssessSettings
from letterlock.mta.filters import FilterChain, Filtered, Milter
from letterlock.protocols.milter.client import Packet, PacketReader
from letterlock.protocols.smtp.reply import reply
from letterlock.trust import dkim
from letterlock.trust.primitives import eddsa

ENVELOPE = Envelope(Address("a", "b.test"), (Recipient(Address("c", "d.test")),))
ARRIVAL = Arrival(
    "42", 0.0, Endpoint("192.0.2.1", 1), "x", "ESMTP", None, "", ENVELOPE, (b"From: a@b.test\r\n", b"\r\nhi\r\n")
)


class Filter:
    """A filter by script: packets for the end of the message, in place of going on."""

    def __init__(self, *end: Packet) -> None:
        self.end = end or (Packet("c"),)
        self.seen: list[Packet] = []

    async def __call__(self, stream: Stream) -> None:
        reader = PacketReader()
        stream.expect_within(5)
        while octets := await stream.read():
            reader.receive(octets)
            while (packet := reader.next_packet()) is not None:
                self.seen.append(packet)
                answers: tuple[Packet, ...] = (Packet("c"),)
                if packet.letter == "O":
                    answers = (Packet("O", struct.pack("!III", 6, 0x31, 0)),)
                elif packet.letter == "E":
                    answers = (Packet("p"), *self.end)
                elif packet.letter in "DQ":
                    answers = ()
                for answer in answers:
                    stream.write(answer.octets)


@contextlib.asynccontextmanager
async def running(*filters: Filter, folder: Path | None = None) -> AsyncIterator[tuple[FilterSettings, ...]]:
    """Run filters; yield where they are."""
    before = send_to(lambda _line: None)
    listeners, where = [], []
    for number, one in enumerate(filters):
        listener = Listener(one, log=Log("filter"))
        if folder is not None:
            await listener.start([bind_unix(folder / str(number))])
            where.append(FilterSettings(f"unix:{folder / str(number)}"))
        else:
            await listener.start([bind("127.0.0.1", 0)])
            where.append(FilterSettings(f"inet:127.0.0.1:{listener.endpoints[0].port}"))
        listeners.append(listener)
    try:
        yield tuple(where)
    finally:
        for listener in listeners:
            await listener.stop(grace_seconds=1)
        send_to(before)


async def assess(where: tuple[FilterSettings, ...], *, is_optional: bool = False) -> Assessment:
    """What becomes of the message."""
    return await Filtered(take_as_it_is, chain(where, is_optional=is_optional))(ARRIVAL)


def chain(where: tuple[FilterSettings, ...], *, is_optional: bool = False) -> FilterChain:
    """The filters there."""
    return FilterChain([Milter(one, "mx.d.test") for one in where], Log("mta"), is_optional)


async def test_each_filter_sees_what_the_one_before_it_left(tmp_path: Path) -> None:
    """Over Unix sockets; the changes of both are there in the end, and the body is untouched."""
    first = Filter(Packet("h", b"X-One\x001\0"), Packet("c"))
    second = Filter(Packet("i", struct.pack("!I", 0) + b"X-Two\x002\0"), Packet("a"))
    async with running(first, second, folder=tmp_path) as where:
        assessment = await assess(where)
    assert b"".join(assessment.content or ()) == b"X-Two: 2\r\nFrom: a@b.test\r\nX-One: 1\r\n\r\nhi\r\n"
    assert assessment.refusal is None
    assert Packet("L", b"X-One\x001\0") in second.seen
    assert first.seen[-1] == Packet("Q")


async def test_wishes() -> None:
    """Refusals in the filter's words, in ours where it has none; what it would discard goes to the junk."""
    for end, expected in [
        ((Packet("y", b"554 5.7.1 Infected\0"),), Assessment(refusal=reply(554, "5.7.1", "Infected"))),
        ((Packet("r"),), Assessment(refusal=reply(550, "5.7.1", "Refused by a filter"))),
        ((Packet("t"),), Assessment(refusal=reply(451, "4.7.1", "A filter asks to try again later"))),
        ((Packet("d"),), Assessment(mailbox="Junk")),
        ((Packet("m", struct.pack("!I", 1) + b"X-Spam\0Yes\0"), Packet("c")), Assessment(mailbox="Junk")),
        ((Packet("h", b"X-Spam-Flag\0 YES\0"), Packet("c")), Assessment(mailbox="Junk")),
        ((Packet("h", b"X-Spam\0No\0"), Packet("c")), Assessment()),
        ((Packet("q", b"odd\0"), Packet("c")), Assessment(mailbox="Junk")),
    ]:
        async with running(Filter(*end)) as where:
            assessment = await assess(where)
        assert (assessment.refusal, assessment.mailbox) == (expected.refusal, expected.mailbox)


async def test_a_filter_changes_nothing_that_was_judged() -> None:
    """What the author signed is judged as it came, whatever a filter makes of it before it is stored."""
    key = dkim.SigningKey("b.test", "s", eddsa.generate_ed25519())
    message = b"From: a@b.test\r\n\r\nhi\r\n"
    signed = dkim.sign(message, (key,), 0) + message
    assessor = Assessor(AssessSettings("mx.d.test"), ZoneTable.parse(f's._domainkey.b.test. IN TXT "{key.record()}"\n'))
    examination = assessor.examine("192.0.2.1", "x", ENVELOPE.reverse_path)
    await examination.take_all([signed])
    arrival = msgspec.structs.replace(ARRIVAL, content=(signed,), examination=examination)
    async with running(Filter(Packet("m", struct.pack("!I", 1) + b"From\0x@y.test\0"), Packet("c"))) as where:
        assessment = await Filtered(assessor, chain(where))(arrival)
    octets = b"".join(assessment.content or ())
    assert octets.endswith(b"From: x@y.test\r\n\r\nhi\r\n")
    assert b"dkim=pass" in octets
    assert b"header.from=b.test" in octets
    assert arrival.content == (signed,)


@pytest.mark.parametrize("is_optional", [False, True])
async def test_a_filter_that_is_not_there(is_optional: bool) -> None:
    """Our fault, not the message's: it is deferred, or taken unfiltered where that was chosen."""
    free = bind("127.0.0.1", 0)
    port = free.getsockname()[1]
    free.close()
    before = send_to(lambda _line: None)
    assessment = await assess((FilterSettings(f"inet:127.0.0.1:{port}"),), is_optional=is_optional)
    send_to(before)
    if is_optional:
        assert assessment.refusal is None
    else:
        assert assessment.refusal is not None
        assert assessment.refusal.code == 451
