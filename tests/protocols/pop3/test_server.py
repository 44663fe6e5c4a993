"""The POP3 conversation: split at every octet, bad lines, limits, STLS, and the forms of answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.protocols.pop3 import server as pop3
from letterlock.protocols.pop3.server import Event, LineReceived, Received, Refused, ServerConversation, Verb

SESSION = b"CAPA\r\nuser anna\r\nPASS two words \r\nLIST\r\nlist 2\r\nTOP 1 0\r\nBAD\r\nRETR\r\nQUIT\r\n"


def drain(conversation: ServerConversation) -> list[Event]:
    events = []
    while (event := conversation.next_event()) is not None:
        events.append(event)
        if isinstance(event, Received) and event.verb is Verb.PASS:
            conversation.authenticated()
    return events


def test_a_session_split_anywhere_gives_the_same_events() -> None:
    whole = ServerConversation()
    whole.receive(SESSION)
    expected = drain(whole)
    assert expected[2] == Received(Verb.PASS, text=b"two words ")
    assert expected[4] == Received(Verb.LIST, numbers=(2,))
    assert [isinstance(event, Refused) for event in expected] == [False] * 6 + [True, True, False]
    for cut in range(1, len(SESSION)):
        conversation = ServerConversation()
        conversation.receive(SESSION[:cut])
        events = drain(conversation)
        conversation.receive(SESSION[cut:])
        assert events + drain(conversation) == expected


@pytest.mark.parametrize(
    "line", [b"RETR 1\r\n", b"STAT\r\n", b"QUIT now\r\n", b"NOOP\n", b"\r\n", b"TOP 1\r\n", b"DELE x\r\n", b"\0\r\n"]
)
def test_wrong_lines_are_refused(line: bytes) -> None:
    conversation = ServerConversation()
    conversation.receive(line)
    (event,) = drain(conversation)
    assert isinstance(event, Refused)
    assert event.octets.startswith(b"-ERR ")
    assert not event.closes


def test_a_line_without_end_ends_the_connection() -> None:
    conversation = ServerConversation()
    conversation.receive(b"USER " + b"x" * pop3.LINE_OCTETS)
    (event,) = drain(conversation)
    assert isinstance(event, Refused)
    assert event.closes


def test_what_is_pipelined_behind_stls_is_never_heard() -> None:
    conversation = ServerConversation()
    conversation.receive(b"STLS\r\nUSER eve\r\nPA")
    assert conversation.next_event() == Received(Verb.STLS)
    conversation.begin_tls()
    assert conversation.next_event() is None
    conversation.receive(b"CAPA\r\n")
    assert conversation.next_event() == Received(Verb.CAPA)


def test_a_line_of_auth_is_handed_out_raw() -> None:
    conversation = ServerConversation()
    conversation.await_line()
    conversation.receive(b"A" * 5000 + b"\r\n")
    assert conversation.next_event() == LineReceived(b"A" * 5000)


@pytest.mark.parametrize(
    ("octets", "sent"),
    [
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b".\r\n..\r\nx\r\n.", b"..\r\n...\r\nx\r\n..\r\n.\r\n"),
        (b"", b".\r\n"),
    ],
)
def test_dots_are_stuffed(octets: bytes, sent: bytes) -> None:
    assert pop3.multiline(octets) == sent


def test_top_is_the_header_and_some_lines() -> None:
    message = b"A: b\r\nC: d\r\n\r\none\r\ntwo\r\nthree"
    assert pop3.top(message, 0) == b"A: b\r\nC: d\r\n\r\n"
    assert pop3.top(message, 2) == b"A: b\r\nC: d\r\n\r\none\r\ntwo\r\n"
    assert pop3.top(message, 9) == message
    assert pop3.top(b"A: b\r\n", 3) == b"A: b\r\n"


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_random_octets_are_answered_and_never_raise(parts: list[bytes]) -> None:
    conversation = ServerConversation()
    for part in parts:
        conversation.receive(part)
        for event in drain(conversation):
            if isinstance(event, Refused):
                assert event.octets.endswith(b"\r\n")
                assert event.octets.count(b"\n") == 1
