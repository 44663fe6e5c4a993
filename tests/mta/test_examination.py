"""A message examined while it comes: the verdict is that on the whole, in bounded memory, and nobody waits."""

import asyncio
import functools
import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.formats.address import Address
from letterlock.formats.authentication_results import AuthenticationResults, MethodResult
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.imf.header import read_header
from letterlock.formats.limits import DEFAULT
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.stream import Endpoint
from letterlock.mta.arrival import Arrival, Assessment
from letterlock.mta.assess import Assessor, AssessSettings, without
from letterlock.mta.examination import Examination
from letterlock.trust import arc, dkim
from letterlock.trust.ask import decide
from letterlock.trust.primitives import eddsa

NOW = 1_800_000_000
MESSAGE = (
    b"Authentication-Results: mx.garden.test; dmarc=pass\r\nFrom: rose@rosewood.test\r\nTo: ada@garden.test\r\n"
    b"Subject: Hedge\r\n\r\nCut  it. \r\n\r\n\tNow\t\r\n \r\n\r\n\r\n"
)
ENVELOPE = Envelope(Address.parse("rose@rosewood.test"), (Recipient(Address.parse("ada@garden.test")),))


@functools.cache
def key(domain: str) -> dkim.SigningKey:
    """A key, always the same."""
    return dkim.SigningKey(domain, "s", eddsa.generate_ed25519())


@functools.cache
def zone() -> ZoneTable:
    """Rosewood asks for its mail to be refused; it and the list have keys."""
    names = ("rosewood.test", "lists.test")
    records = [f's._domainkey.{name}. IN TXT "{key(name).record()}"' for name in names]
    return ZoneTable.parse("\n".join(['_dmarc.rosewood.test. IN TXT "v=DMARC1; p=reject"', *records, ""]))


@functools.cache
def messages() -> tuple[bytes, ...]:
    """Good mail in both canonicalizations, sealed and broken mail, and header sections that end in odd ways."""
    manners = (dkim.Manner(), dkim.Manner(dkim.Canonicalization.SIMPLE, dkim.Canonicalization.SIMPLE))
    signed = [dkim.sign(MESSAGE, (key("rosewood.test"),), NOW, manner) + MESSAGE for manner in manners]
    chain = decide(arc.judge(signed[0], NOW), zone().answer)
    results = AuthenticationResults("lists.test", (MethodResult("dmarc", "pass"),))
    sealed = arc.seal(signed[0], key("lists.test"), NOW, chain, results) + signed[0]
    odd = (
        b"",
        b"\r\n",
        b"\r\nFrom: rose@rosewood.test\r\n\r\nx",
        b"From: rose@rosewood.test",
        b"From: rose@rosewood.test\r\nno field\r\n\r\nx\r\n",
        b"From: rose@rosewood.test\n\nx\r\n\r\n",
        b"From rose Mon Jan 1\r\n\r\nFrom: rose@rosewood.test\r\n\r\n",
        b"\x00\r\r\n\r\n\r\n",
    )
    return (*signed, sealed, sealed.replace(b"\tNow\t", b"\tThen\t"), signed[1].replace(b"  it", b" it"), MESSAGE, *odd)


def arrival(content: tuple[bytes, ...], examination: Examination | None = None) -> Arrival:
    """The message at the border."""
    peer = Endpoint("192.0.2.1", 999)
    return Arrival("t1", NOW, peer, "mx.test", "ESMTP", None, "", ENVELOPE, content, examination)


def pieces_of(octets: bytes, cuts: list[int]) -> tuple[bytes, ...]:
    """The octets, cut at some places."""
    places = sorted({0, len(octets), *(cut % (len(octets) + 1) for cut in cuts)})
    return tuple(octets[start:end] for start, end in itertools.pairwise(places))


async def assess_while_it_comes(pieces: tuple[bytes, ...]) -> Assessment:
    """Assess a message whose pieces were examined one by one."""
    assessor = Assessor(AssessSettings("mx.garden.test"), zone())
    examination = assessor.examine("192.0.2.1", "mx.test", ENVELOPE.reverse_path)
    await examination.take_all(pieces)
    # What is handed over beside it is not looked at again, except where fields are taken out.
    return await assessor(arrival(pieces, examination))


@given(st.integers(0, 13), st.lists(st.integers(0, 3000), max_size=40))
def test_the_verdict_is_that_on_the_whole_message(number: int, cuts: list[int]) -> None:
    """However the octets come, what is found and what is done are the same."""
    octets = messages()[number]
    pieces = pieces_of(octets, cuts)

    async def both() -> tuple[Assessment, Assessment]:
        whole = await Assessor(AssessSettings("mx.garden.test"), zone())(arrival((octets,)))
        return whole, await assess_while_it_comes(pieces)

    whole, streamed = asyncio.run(both())
    assert (streamed.fields, streamed.refusal, streamed.remarks) == (whole.fields, whole.refusal, whole.remarks)
    assert b"".join(streamed.content or ()) == b"".join(whole.content or ())


@pytest.mark.parametrize("number", range(6))
async def test_octet_by_octet(number: int) -> None:
    """The verdicts differ from message to message, and not by the pieces."""
    octets = messages()[number]
    assessment = await assess_while_it_comes(tuple(octets[at : at + 1] for at in range(len(octets))))
    expected = ["pass", "pass", "pass", "fail", "fail", "none"][number]
    assert dict(assessment.remarks)["dkim"] == expected
    assert (assessment.refusal is None) == (expected == "pass")
    if expected == "pass":
        assert b"".join(assessment.content or ()) == octets.replace(MESSAGE.partition(b"From")[0], b"")


@pytest.mark.parametrize(
    "octets",
    [
        b"Subject: " + b"x" * DEFAULT.header_octets + b"\r\nFrom: a@b.test\r\n\r\n" + b"y" * 100,
        b"A: b\r\n" * (DEFAULT.header_octets // 6 + 2) + b"\r\ny",
        b"Subject: " + b"x" * (DEFAULT.header_octets - 11) + b"\r\n\r\nbody",
        b"Subject: " + b"x" * (DEFAULT.header_octets - 12) + b"\r\n\r\nbody",
        b"From " + b"x" * DEFAULT.header_octets + b"\r\nFrom: a@b.test\r\n\r\nbody",
    ],
)
@pytest.mark.parametrize("step", [1000, 65_536, 3_000_000])
async def test_a_header_section_without_measure(octets: bytes, step: int) -> None:
    """It ends where it ends for every reader, and no more of it is gathered."""
    examination = Examination(None)
    await examination.take_all(octets[at : at + step] for at in range(0, len(octets), step))
    header, _ = examination.finish()
    whole = read_header(octets)
    assert (header.spans, header.end, header.body_start) == (whole.spans, whole.end, whole.body_start)
    assert header.defects == whole.defects
    assert len(header.octets) <= DEFAULT.header_octets + 2 + min(step, 1 << 18)


async def test_memory_does_not_grow_with_the_message() -> None:
    """Thirty megabytes leave nothing behind but the state of two hashes."""
    fields = messages()[0].partition(b"\r\n\r\n")[0] + b"\r\n" + messages()[1]
    examination = Examination(None)
    line = b"A line  of text that  is canonicalized\t\r\n"
    piece = line * 1600
    tracemalloc.start()
    try:
        await examination.take_all([fields, *[piece] * 480])
        examination.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


async def test_a_large_piece_lets_others_go_on() -> None:
    """While megabytes are hashed, other sessions have their turn."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await Examination(None).take_all([messages()[0] + b"x" * (4 << 20)])
    task.cancel()
    assert turns >= 16


@given(st.lists(st.integers(0, 60), max_size=8), st.sets(st.integers(0, 59), max_size=8), st.integers(1, 60))
def test_fields_are_taken_out_of_pieces(cuts: list[int], edges: set[int], length: int) -> None:
    """Whatever the pieces are, the same octets go."""
    octets = bytes(range(length))
    places = sorted(edge for edge in edges if edge <= length)
    spans = tuple(zip(places[::2], places[1::2], strict=False))
    expected = bytes(one for one in octets if not any(start <= one < end for start, end in spans))
    assert b"".join(without(pieces_of(octets, cuts), spans)) == expected
