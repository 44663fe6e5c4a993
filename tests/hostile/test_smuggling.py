"""False ends of data, in both directions: as server nothing is taken for an end, as client nothing of the kind goes out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.hostile.sequences import FALSE_ENDS, LOOK_ALIKES
from tests.mta.test_inbound import codes, converse, inbound
from tests.mta.test_outbound import CONTENT, TO_ADA, Host, deliver, network
from tests.protocols.smtp.test_client import ENVELOPE, offering, run
from tests.protocols.smtp.test_server import talk

from letterlock.formats.envelope import Body, Envelope
from letterlock.formats.outcome import Result
from letterlock.protocols.smtp import event as events

OPENING = b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<ada@rosewood.test>\r\nDATA\r\nSubject: first\r\n\r\nfirst"
SECOND = b"MAIL FROM:<evil@b.test>\r\nRCPT TO:<ada@rosewood.test>\r\nDATA\r\nsecond\r\n.\r\nQUIT\r\n"


@pytest.mark.parametrize("name", FALSE_ENDS)
async def test_a_false_end_is_refused_by_name(name: str) -> None:
    """Over a real connection: one transaction is seen, refused, and nothing is stored."""
    async with inbound() as (endpoint, ledger, _):
        answer = await converse(endpoint, OPENING + FALSE_ENDS[name] + SECOND)
    assert codes(answer)[:5] == ["220", "250", "250", "250", "354"]
    refused = [line for line in answer.split(b"\r\n") if line.startswith(b"554")]
    # Two of them hold a true end behind what is false: what comes then is the client's own second message.
    true_end = b"\r\n.\r\n" in FALSE_ENDS[name]
    assert len(ledger.transactions) == (1 if true_end else 0)
    assert refused[0].startswith(b"554 5.6.0 The message contains a ")
    assert any(word in refused[0] for word in (b"bare CR", b"bare LF", b"NUL"))


@pytest.mark.parametrize("name", FALSE_ENDS)
def test_a_false_end_cut_anywhere(name: str) -> None:
    """However it is cut into packets; where several things are wrong, which of them is named may differ."""
    octets = OPENING + FALSE_ENDS[name] + SECOND
    whole, senders, _ = talk([octets])
    for cut in range(len(OPENING) - 1, len(OPENING) + len(FALSE_ENDS[name]) + 2):
        out, seen, _ = talk([octets[:cut], octets[cut:]])
        assert codes(out) == codes(whole)
        assert [type(event) for event in seen] == [type(event) for event in senders]


@pytest.mark.parametrize("name", FALSE_ENDS)
@pytest.mark.parametrize("cut", [False, True])
def test_a_false_end_in_chunks(name: str, cut: bool) -> None:
    """BDAT: content that is not BINARYMIME has lines, whole or over two chunks."""
    false = b"first" + FALSE_ENDS[name] + b"second"
    half = len(false) // 2 if cut else 0
    chunks = b"BDAT %d\r\n%b" % (half, false[:half]) + b"BDAT %d LAST\r\n%b" % (len(false) - half, false[half:])
    out, seen, _ = talk([b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n" + chunks])
    assert b"554 5.6.0" in out
    assert not any(isinstance(event, events.ContentEnded) for event in seen)


@pytest.mark.parametrize("name", LOOK_ALIKES)
async def test_a_look_alike_is_text(name: str) -> None:
    """What is no line end is none: the message ends where it ends, and is stored octet for octet."""
    text = b"first" + LOOK_ALIKES[name] + b"MAIL FROM:<evil@b.test>\r\n"
    async with inbound() as (endpoint, ledger, _):
        answer = await converse(endpoint, OPENING[:-5] + text + b".\r\nQUIT\r\n")
    assert codes(answer) == ["220", "250", "250", "250", "354", "250", "221"]
    (transaction,) = ledger.transactions
    assert b"".join(transaction.octets).endswith(b"\r\n\r\n" + text.replace(b"\r\n.", b"\r\n"))


@pytest.mark.parametrize("name", FALSE_ENDS)
def test_a_false_end_is_never_sent(name: str) -> None:
    """By whatever way it came into the queue: DATA does not carry it, BDAT neither unless both sides said BINARYMIME."""
    content = b"Subject: x\r\n\r\nfirst" + FALSE_ENDS[name] + b"second\r\n"
    for keywords in (("PIPELINING",), ("8BITMIME", "CHUNKING"), ("PIPELINING", "CHUNKING", "BINARYMIME", "8BITMIME")):
        for body in (Body.SEVEN_BIT, Body.EIGHT_BIT):
            replies, sent = run(offering(*keywords).transfer(replace(ENVELOPE, body=body), content), [])
            assert {answer.status for answer in replies} == {"5.6.0"}
            assert sent == []


@pytest.mark.parametrize("name", FALSE_ENDS)
async def test_a_false_end_fails_on_its_way_out(name: str) -> None:
    """Over a real connection: the host hears no DATA, and the recipient's outcome is final."""
    host = Host()
    async with network(host) as (outbound, _):
        outcome = await deliver(outbound, content=CONTENT + FALSE_ENDS[name] + b"x\r\n")
    assert (outcome.result, outcome.status) == (Result.FAILED, "5.6.0")
    assert not [line for line in host.seen if line.startswith(("MAIL", "DATA"))]
    assert not host.contents


@pytest.mark.parametrize("name", LOOK_ALIKES)
async def test_a_look_alike_goes_out_as_it_is(name: str) -> None:
    """As one message, with its dots doubled."""
    content = CONTENT + b"first" + LOOK_ALIKES[name] + b"end\r\n"
    envelope: Envelope = replace(TO_ADA, body=Body.EIGHT_BIT)
    host = Host()
    async with network(host) as (outbound, _):
        outcome = await deliver(outbound, envelope, content)
    assert outcome.result is Result.RELAYED
    assert host.contents == [content.replace(b"\r\n.", b"\r\n..")]
