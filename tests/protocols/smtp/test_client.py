"""The client's conversation: what it sends, what hostile servers cannot do to it, and client against server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import PeerFault
from letterlock.formats.address import Address
from letterlock.formats.envelope import Body, Envelope, Notify, Recipient, Return
from letterlock.protocols.sasl.mechanism import client_exchange
from letterlock.protocols.sasl.plain import PlainClient
from letterlock.protocols.smtp import event as events
from letterlock.protocols.smtp.client import ClientConversation, Exchange, Offer, Refused, Send
from letterlock.protocols.smtp.offer import Dialect, ServerSettings
from letterlock.protocols.smtp.reply import Reply, ReplyReader, reply
from letterlock.protocols.smtp.server import ServerConversation

T = TypeVar("T")

ADA, BOB, EVE = (Recipient(Address(name, "rosewood.test")) for name in ("ada", "bob", "eve"))
ENVELOPE = Envelope(Address("x", "harbor.test"), (ADA, BOB))


def read(octets: bytes) -> list[Reply]:
    """All replies in `octets`."""
    reader = ReplyReader()
    reader.receive(octets)
    replies = []
    while (one := reader.next_reply()) is not None:
        replies.append(one)
    assert not reader.has_input
    return replies


def run(exchange: Exchange[T], answers: Sequence[bytes]) -> tuple[T, list[bytes]]:
    """Run a step with one element of `answers` for each thing sent; return its result and what it sent."""
    left = list(answers)
    sent: list[bytes] = []
    try:
        step = next(exchange)
        while True:
            sent.append(b"".join(step.octets))
            replies = tuple(read(left.pop(0)))
            assert len(replies) == step.replies, (step, replies)
            step = exchange.send(replies)
    except StopIteration as stop:
        assert not left
        result: T = stop.value
        return result, sent


def offering(*keywords: str, dialect: Dialect = Dialect.SMTP) -> ClientConversation:
    """A client that was offered these keywords."""
    client = ClientConversation("mx.harbor.test", dialect=dialect)
    client.offer = Offer({line.split()[0]: tuple(line.split()[1:]) for line in keywords})
    return client


def test_the_envelope_goes_out_in_one_group() -> None:
    """RFC 2920: MAIL, RCPT and DATA together, and each recipient gets the reply that counts for it."""
    client = offering("PIPELINING", "SIZE 1000", "8BITMIME")
    replies, sent = run(client.transfer(ENVELOPE, b"a\r\n.b\r\n"), [
        b"250 ok\r\n250 2.1.5 ok\r\n550-5.1.1 no\r\n550 5.1.1 such user\r\n354 go\r\n", b"250 2.0.0 queued\r\n"
    ])  # fmt: skip
    assert sent == [
        b"MAIL FROM:<x@harbor.test> SIZE=7\r\nRCPT TO:<ada@rosewood.test>\r\nRCPT TO:<bob@rosewood.test>\r\nDATA\r\n",
        b"a\r\n..b\r\n.\r\n",
    ]
    assert [(answer.code, answer.status) for answer in replies] == [(250, "2.0.0"), (550, "5.1.1")]
    assert replies[1].lines == ("no", "such user")


def test_without_pipelining_one_command_at_a_time() -> None:
    """A refused recipient is not followed by DATA if it was the last; the next transaction begins with RSET."""
    client = offering()
    replies, sent = run(client.transfer(replace(ENVELOPE, recipients=(ADA,)), b""), [b"250 ok\r\n", b"550 no\r\n"])
    assert [answer.code for answer in replies] == [550]
    assert sent[0] == b"MAIL FROM:<x@harbor.test>\r\n"
    _, sent = run(client.transfer(replace(ENVELOPE, reverse_path=None, recipients=(ADA,)), b"x"),
                  [b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 ok\r\n"])  # fmt: skip
    assert sent == [b"RSET\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<ada@rosewood.test>\r\n", b"DATA\r\n", b"x\r\n.\r\n"]


def test_a_go_on_without_recipients_gets_an_empty_message() -> None:
    """RFC 2920 section 3.1: the server said 354 although it took nobody."""
    replies, sent = run(offering("PIPELINING").transfer(ENVELOPE, b"x\r\n"), [
        b"250 ok\r\n550 no\r\n451 later\r\n354 go\r\n", b"554 no recipients\r\n"])  # fmt: skip
    assert [answer.code for answer in replies] == [550, 451]
    assert sent[1] == b".\r\n"


def test_a_refused_sender_is_the_answer_for_all() -> None:
    """And so is a refused DATA, for those who were taken."""
    replies, _ = run(offering("PIPELINING").transfer(ENVELOPE, b""), [b"550 no\r\n503 bad\r\n503 bad\r\n503 bad\r\n"])
    assert [answer.code for answer in replies] == [550, 550]
    replies, _ = run(offering("PIPELINING").transfer(ENVELOPE, b""), [b"250 ok\r\n250 ok\r\n551 no\r\n451 disk\r\n"])
    assert [answer.code for answer in replies] == [451, 551]


def test_extensions_are_used_only_where_offered() -> None:
    """RFC 3461, 6531, 8689 and 6152: parameters for those who know them."""
    recipient = Recipient(Address("grå", "rosewood.test"), Notify.SUCCESS | Notify.DELAY, "rfc822;a+b@c")
    envelope = Envelope(Address("x", "harbor.test"), (recipient,), Body.EIGHT_BIT, smtputf8=True, require_tls=True,
                        return_content=Return.HEADERS, envelope_id="a b=")  # fmt: skip
    client = offering("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "REQUIRETLS")
    replies, _ = run(client.transfer(envelope, b"\xff"), [])
    assert [answer.status for answer in replies] == ["5.7.30"]
    urgent = offering("PIPELINING", "MT-PRIORITY")
    _, sent = run(urgent.transfer(ENVELOPE, b"", priority=-2), [b"550 a\r\n503 b\r\n503 c\r\n503 d\r\n"])
    assert sent[0].startswith(b"MAIL FROM:<x@harbor.test> MT-PRIORITY=-2\r\n")
    client.tls_begun()
    client.offer = offering("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "REQUIRETLS").offer
    _, sent = run(client.transfer(envelope, b"\xff"), [b"250 a\r\n250 b\r\n354 c\r\n", b"250 d\r\n"])
    assert sent[0] == (
        b"MAIL FROM:<x@harbor.test> BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=a+20b+3D\r\n"
        + "RCPT TO:<grå@rosewood.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c\r\nDATA\r\n".encode()
    )


@pytest.mark.parametrize(
    ("change", "content", "status"),
    [
        ({}, b"x" * 2000, "5.3.4"),
        ({"body": Body.BINARY}, b"\0", "5.6.3"),
        ({}, b"a\nb", "5.6.0"),
        ({}, b"a\rb", "5.6.0"),
        ({}, b"a\0b", "5.6.0"),
        ({}, b"\xff", "5.6.3"),
        ({"reverse_path": Address("grå", "x.test")}, b"", "5.6.7"),
        ({"smtputf8": True, "body": Body.EIGHT_BIT}, "Subject: grå\r\n\r\n".encode(), "5.6.9"),
    ],
)
def test_what_cannot_be_sent_is_not_begun(change: dict[str, object], content: bytes, status: str) -> None:
    """Nothing goes over the wire: bare CR, LF and NUL above all (RELIABILITY promise 5)."""
    envelope = replace(ENVELOPE, **change)  # type: ignore[arg-type]
    replies, sent = run(offering("SIZE 1000").transfer(envelope, content), [])
    assert [answer.status for answer in replies] == [status, status]
    assert not sent


def test_binary_goes_by_chunk() -> None:
    """RFC 3030: BINARYMIME needs BDAT."""
    client = offering("PIPELINING", "BINARYMIME", "CHUNKING", "8BITMIME")
    _, sent = run(client.transfer(replace(ENVELOPE, body=Body.BINARY), b"a\0\n."),
                  [b"250 a\r\n250 b\r\n250 c\r\n", b"250 d\r\n"])  # fmt: skip
    assert b"DATA" not in sent[0]
    assert sent[1] == b"BDAT 4 LAST\r\na\0\n."


def test_lmtp_hears_a_reply_for_each_recipient() -> None:
    """RFC 2033 section 4.2."""
    client = offering("PIPELINING", dialect=Dialect.LMTP)
    envelope = replace(ENVELOPE, recipients=(ADA, BOB, EVE))
    replies, _ = run(client.transfer(envelope, b""), [
        b"250 a\r\n250 b\r\n550 c\r\n250 d\r\n354 e\r\n", b"250 stored\r\n452 full\r\n"])  # fmt: skip
    assert [answer.code for answer in replies] == [250, 550, 452]


def test_hello_falls_back() -> None:
    """RFC 5321 section 3.2: HELO for those who do not know EHLO; a refusal is one."""
    client = ClientConversation("mx.harbor.test")
    _, sent = run(client.hello(), [b"502 what\r\n", b"250 hello\r\n"])
    assert sent == [b"EHLO mx.harbor.test\r\n", b"HELO mx.harbor.test\r\n"]
    offer, _ = run(client.hello(), [b"250-hi\r\n250-size 100\r\n250-AUTH=LOGIN PLAIN\r\n250 limits rcptmax=7\r\n"])
    assert (offer.size_limit, offer.mechanisms, offer.recipient_limit) == (100, ("LOGIN", "PLAIN"), 7)
    with pytest.raises(Refused):
        run(client.hello(), [b"421 go away\r\n"])
    with pytest.raises(Refused):
        run(client.greet(), [b"554 no\r\n"])


@pytest.mark.parametrize(
    "octets",
    [b"220-a\r\n221 b\r\n", b"hello\r\n", b"99 x\r\n", b"x" * 3000, b"250-x\r\n" * 200, b"250 " + b"y" * 3000 + b"\r\n",
     b"\r\n", b"250x\r\n", b"\xff\xfe\r\n"],
)  # fmt: skip
def test_replies_that_are_none(octets: bytes) -> None:
    """Long, endless, mixed and wrong replies are a PeerFault, and nothing more is kept."""
    reader = ReplyReader()
    reader.receive(octets)
    with pytest.raises(PeerFault):
        while reader.next_reply() is not None:
            pass


@given(st.lists(st.integers(1, 9), min_size=1))
def test_replies_split_anywhere_are_the_same(sizes: list[int]) -> None:
    """However a server's octets are cut, and with LF for CRLF, the replies are those of one piece."""
    octets = b"220 host\r\n250-a\r\n250-2.0.0 b\n250 c\r\n354\r\n550 5.1.1 no\r\n"
    whole = read(octets)
    assert [(one.code, one.status, one.lines) for one in whole] == [
        (220, "", ("host",)), (250, "2.0.0", ("a", "b", "c")), (354, "", ("",)), (550, "5.1.1", ("no",))]  # fmt: skip
    reader = ReplyReader()
    replies: list[Reply] = []
    at = 0
    while at < len(octets):
        size = sizes[at % len(sizes)]
        reader.receive(octets[at : at + size])
        at += size
        while (one := reader.next_reply()) is not None:
            replies.append(one)
    assert replies == whole


@pytest.mark.parametrize(
    "answers",
    [
        [b"354 a\r\n250 b\r\n250 c\r\n354 d\r\n"],
        [b"250 a\r\n354 b\r\n250 c\r\n354 d\r\n"],
        [b"250 a\r\n250 b\r\n250 c\r\n250 d\r\n"],
        [b"250 a\r\n250 b\r\n250 c\r\n354 d\r\n", b"354 e\r\n"],
    ],
)
def test_answers_that_fit_no_step(answers: list[bytes]) -> None:
    """A server that answers out of order is not believed."""
    with pytest.raises(PeerFault):
        run(offering("PIPELINING").transfer(ENVELOPE, b"x"), answers)


def test_authentication_steps() -> None:
    """RFC 4954: initial response, challenges, and a challenge that is no base64."""
    client = offering("AUTH PLAIN")
    _, sent = run(client.authenticate(PlainClient(user="a", password="b")), [b"235 ok\r\n"])
    assert sent == [b"AUTH PLAIN AGEAYg==\r\n"]
    with pytest.raises(Refused):
        run(client.authenticate(PlainClient(user="a", password="b")), [b"535 no\r\n"])
    with pytest.raises(PeerFault):
        run(client.authenticate(PlainClient(user="a", password="b")), [b"334 ???\r\n"])
    exchange = client_exchange(["LOGIN"], user="a", password="b", nonce=b"", bindings={}, protected=True)
    _, sent = run(client.authenticate(exchange), [b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n", b"235 ok\r\n"])
    assert sent == [b"AUTH LOGIN\r\n", b"YQ==\r\n", b"Yg==\r\n"]


def meet(client: ClientConversation, exchange: Exchange[T], server: ServerConversation, contents: list[bytes]) -> T:
    """Let a server that takes everybody but eve answer a client's step."""
    reader = ReplyReader()
    step: Send = next(exchange)
    try:
        while True:
            server.receive(b"".join(step.octets))
            while (event := server.next_event()) is not None:
                match event:
                    case events.RecipientGiven(recipient) if recipient == EVE:
                        server.refuse(reply(550, "5.1.1", "No"))
                    case events.ContentBegun():
                        contents.append(b"")
                    case events.ContentReceived(octets):
                        contents[-1] += octets
                    case events.SenderGiven() | events.RecipientGiven() | events.ContentEnded():
                        server.accept()
            reader.receive(server.take_output())
            replies = tuple(one for _ in range(step.replies) if (one := reader.next_reply()) is not None)
            assert len(replies) == step.replies
            step = exchange.send(replies)
    except StopIteration as stop:
        assert not reader.has_input
        result: T = stop.value
        return result


_LINES = st.lists(st.sampled_from([b"", b".", b"..", b".x", b"text", b"\xe9t\xe9", b"From x", b"-- "]), max_size=12)


@given(st.lists(st.tuples(_LINES, st.sets(st.sampled_from([ADA, BOB, EVE]), min_size=1)), max_size=3), st.booleans())
def test_client_against_server(messages: list[tuple[list[bytes], set[Recipient]]], lmtp: bool) -> None:
    """Whatever lines a message has, it arrives as it was sent, for those who were taken."""
    dialect = Dialect.LMTP if lmtp else Dialect.SMTP
    server = ServerConversation(ServerSettings("mx.rosewood.test", dialect=dialect))
    client = ClientConversation("mx.harbor.test", dialect=dialect)
    contents: list[bytes] = []
    server.greet()
    meet(client, client.greet(), server, contents)
    meet(client, client.hello(), server, contents)
    for lines, recipients in messages:
        content = b"".join(line + b"\r\n" for line in lines)
        ordered = tuple(sorted(recipients, key=lambda recipient: str(recipient.forward_path)))
        count = len(contents)
        replies = meet(client, client.transfer(replace(ENVELOPE, recipients=ordered), content), server, contents)
        assert [answer.code for answer in replies] == [550 if to == EVE else 250 for to in ordered]
        assert contents[count:] == ([content] if recipients != {EVE} else [])
    meet(client, client.quit(), server, contents)
