"""The client's conversation: responses to values, split anywhere, with bad octets, and against our own server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import PeerFault
from letterlock.protocols.imap import client
from letterlock.protocols.imap import command as c
from letterlock.protocols.imap.client import ClientConversation, Condition, Continued, Event, Literal, Untagged
from letterlock.protocols.imap.server import LiteralAwaited, Received, ServerConversation

RESPONSES = (
    b"* OK [CAPABILITY IMAP4rev1 LITERAL+] ready {3}\r\n"
    b'* LIST (\\HasNoChildren) "/" "a \\"b\\""\r\n'
    b"* 12 FETCH (UID 7 BODY[HEADER.FIELDS (Date To)] {9}\r\nabc\r\ndef\r FLAGS (\\Seen) BODY[]<5> NIL)\r\n"
    b"* 3 EXISTS\r\n"
    b"* SEARCH\r\n"
    b"+ go on\r\n"
    b"c1 NO [TRYCREATE] no such mailbox\r\n"
    b"* BYE\r\n"
)
EVENTS: list[Event] = [
    Condition(b"*", b"OK", (b"CAPABILITY", b"IMAP4rev1 LITERAL+"), "ready {3}"),
    Untagged(b"LIST", None, [[b"\\HasNoChildren"], b"/", b'a "b"']),
    Untagged(
        b"FETCH",
        12,
        [[b"UID", b"7", b"BODY[HEADER.FIELDS (Date To)]", b"abc\r\ndef\r", b"FLAGS", [b"\\Seen"], b"BODY[]<5>", None]],
    ),
    Untagged(b"EXISTS", 3, []),
    Untagged(b"SEARCH", None, []),
    Continued(b"go on", b""),
    Condition(b"c1", b"NO", (b"TRYCREATE",), "no such mailbox"),
    Condition(b"*", b"BYE", (), ""),
]


def drain(conversation: ClientConversation) -> list[Event]:
    events = []
    while (event := conversation.next_event()) is not None:
        events.append(event)
    return events


def test_responses_become_values_however_they_are_split() -> None:
    for cut in range(len(RESPONSES)):
        conversation = ClientConversation()
        conversation.receive(RESPONSES[:cut])
        events = drain(conversation)
        conversation.receive(RESPONSES[cut:])
        assert events + drain(conversation) == EVENTS


def test_a_literal_waits_until_the_server_asks() -> None:
    conversation = ClientConversation()
    tag, octets = conversation.command(b"APPEND", b"INBOX", Literal(b"hello"))
    assert (tag, octets) == (b"c1", b"c1 APPEND INBOX {5}\r\n")
    conversation.receive(b"+ OK\r\n")
    assert conversation.next_event() == Continued(b"OK", b"hello\r\n")


def test_a_literal_goes_at_once_where_the_server_takes_it() -> None:
    conversation = ClientConversation()
    conversation.capabilities = frozenset({b"LITERAL-"})
    assert conversation.command(b"X", Literal(b"a" * 5000))[1].endswith(b"{5000}\r\n")
    conversation = ClientConversation()
    conversation.capabilities = frozenset({b"LITERAL-"})
    assert conversation.command(b"X", Literal(b"hello"))[1] == b"c1 X {5+}\r\nhello\r\n"


def test_the_server_understands_the_client() -> None:
    speaker, hearer = ClientConversation(), ServerConversation()
    hearer.authenticated()
    _, octets = speaker.command(b"APPEND", client.mailbox_argument("Gr\u00fc\u00dfe"), Literal(b"\xff\r\n"))
    hearer.receive(octets)
    asked = hearer.next_event()
    assert isinstance(asked, LiteralAwaited)
    speaker.receive(asked.octets)
    (more,) = drain(speaker)
    assert isinstance(more, Continued)
    hearer.receive(more.octets)
    assert hearer.next_event() == Received(b"c1", c.Append("Gr\u00fc\u00dfe", (), None, b"\xff\r\n"))


@pytest.mark.parametrize(
    "octets",
    [
        b"* LIST (\r\n",
        b"* LIST )\r\n",
        b"* 1 FETCH " + b"(" * 200 + b"\r\n",
        b"nonsense\r\n",
        b"* OK\n",
        b"\n",
        b"* LIST {999999999999}\r\n",
        b"* " + b"x" * (client.LINE_OCTETS + 1),
    ],
)
def test_what_is_no_response_is_the_peers_fault(octets: bytes) -> None:
    conversation = ClientConversation()
    conversation.receive(octets)
    with pytest.raises(PeerFault):
        drain(conversation)


@given(st.lists(st.one_of(st.binary(max_size=12), st.sampled_from([b"* ", b"1 FETCH (", b"{2}\r\n", b")", b"\r\n"]))))
def test_random_octets_raise_only_peer_fault(parts: list[bytes]) -> None:
    conversation = ClientConversation()
    try:
        for part in parts:
            conversation.receive(part)
            for event in drain(conversation):
                if isinstance(event, Untagged) and event.name == b"FETCH":
                    client.fetched(event.values)
    except PeerFault:
        pass
