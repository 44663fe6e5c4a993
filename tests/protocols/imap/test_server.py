"""The server's conversation: whole, split at every octet, with bad octets, at its limits, and across STARTTLS."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letterlock.errors import OurFault
from letterlock.protocols.imap import command as c
from letterlock.protocols.imap.server import (
    Event,
    Limits,
    LineReceived,
    LiteralAwaited,
    Received,
    Refused,
    ServerConversation,
    State,
)

SESSION = (
    b"a1 CAPABILITY\r\n"
    b"a2 LOGIN {5}\r\nhello {3+}\r\nabc\r\n"
    b'a3 APPEND "Sent &- b" (\\Seen $x) " 1-Feb-1994 21:52:25 -0800" {12+}\r\nhello\r\nworld\r\n'
    b"a4 UID FETCH 1:*,3 (FLAGS BODY.PEEK[1.2.HEADER.FIELDS (From To)]<0.100>)\r\n"
    b"bad\r\n"
    b"a5 SEARCH CHARSET utf-8 TEXT {8}\r\n\xd0\xbc\xd0\xb0\xd1\x82\xd1\x8c NOT SEEN\r\n"
    b"a6 LOGOUT\r\n"
)


def drain(conversation: ServerConversation) -> list[Event]:
    events = []
    while (event := conversation.next_event()) is not None:
        events.append(event)
        if isinstance(event, Received) and isinstance(event.command, c.Login):
            conversation.authenticated()
            conversation.selected()
    return events


def selected() -> ServerConversation:
    conversation = ServerConversation(Limits(line_octets=1000, message_octets=5000, faults=5))
    conversation.authenticated()
    conversation.selected()
    return conversation


def one(conversation: ServerConversation, octets: bytes) -> Event:
    conversation.receive(octets)
    (event,) = drain(conversation)
    return event


def test_a_session_gives_its_commands_in_order() -> None:
    conversation = ServerConversation()
    conversation.receive(SESSION)
    events = drain(conversation)
    received = [(event.tag, type(event.command)) for event in events if isinstance(event, Received)]
    assert received == [
        (b"a1", c.Capability),
        (b"a2", c.Login),
        (b"a3", c.Append),
        (b"a4", c.Fetch),
        (b"a5", c.Search),
        (b"a6", c.Logout),
    ]
    assert sum(isinstance(event, LiteralAwaited) for event in events) == 2


def test_the_same_events_come_however_the_octets_are_split() -> None:
    """The claim holds for every pair of places where the octets can be cut."""
    whole = ServerConversation()
    whole.receive(SESSION)
    expected = drain(whole)
    for cut in range(1, len(SESSION)):
        conversation = ServerConversation()
        conversation.receive(SESSION[:cut])
        events = drain(conversation)
        conversation.receive(SESSION[cut:])
        assert events + drain(conversation) == expected, cut


def test_the_same_events_come_octet_by_octet() -> None:
    whole, slow = ServerConversation(), ServerConversation()
    whole.receive(SESSION)
    events = []
    for octet in SESSION:
        slow.receive(bytes([octet]))
        events += drain(slow)
    assert events == drain(whole)


@pytest.mark.parametrize(
    ("octets", "answer"),
    [
        (b"a FOO\r\n", b"a BAD an unknown command"),
        (b"a UID NOOP\r\n", b"a BAD an unknown command"),
        (b"a\r\n", b"a BAD expected a space"),
        (b"\r\n", b"* BAD expected a tag"),
        (b"+ NOOP\r\n", b"* BAD expected a tag"),
        (b"a NOOP \r\n", b"a BAD expected the end"),
        (b"a  NOOP\r\n", b"a BAD expected an atom"),
        (b"a NOOP\n", b"a BAD the line does not end in CRLF"),
        (b"a NOOP\0\r\n", b"a BAD expected the end"),
        (b"a FETCH 0 FLAGS\r\n", b"a BAD a sequence set holds something else"),
        (b"a FETCH 1:4294967296 FLAGS\r\n", b"a BAD a sequence set holds something else"),
        (b"a FETCH 1,,2 FLAGS\r\n", b"a BAD a sequence set holds something else"),
        (b"a FETCH 1 BODY[MIME]\r\n", b"a BAD expected HEADER"),
        (b"a FETCH 1 BODY[1.]\r\n", b"a BAD expected something after the dot"),
        (b"a FETCH 1 BODY[]<0.0>\r\n", b"a BAD expected a partial range"),
        (b"a FETCH 1 BINARY[1.HEADER]\r\n", b"a BAD expected nothing but a part number"),
        (b"a FETCH 1 (FLAGS UID\r\n", b"a BAD expected a space"),
        (b"a SEARCH ALL)\r\n", b"a BAD expected a space"),
        (b"a SEARCH SINCE 31-Feb-2020\r\n", b"a BAD expected a date that exists"),
        (b'a SEARCH SINCE "1-Feb-2020\r\n', b"a BAD expected a date with both"),
        (b"a STORE 1 FLAG \\Seen\r\n", b"a BAD expected FLAGS"),
        (b"a SELECT &AAA-\r\n", b"a BAD a control character"),
        (b"a SELECT &AA\r\n", b"a BAD modified UTF-7 that does not end"),
        (b"a SELECT &AA-\r\n", b"a BAD modified UTF-7 that is no UTF-16"),
        (b'a SELECT "\xc3\xa9"\r\n', b"a BAD 8-bit octets in a mailbox name"),
        (b'a SELECT "x\r\n', b"a BAD expected a quoted string that ends"),
        (b'a LIST (RECURSIVEMATCH) "" *\r\n', b"a BAD expected an option beside"),
        (b"a LOGIN x y\r\n", b"a BAD LOGIN is not allowed while selected"),
        (b"a STARTTLS\r\n", b"a BAD STARTTLS is not allowed"),
        (b"a LOGIN {9999}\r\n", b"a BAD a literal of 9999 octets is too large"),
        (b"a APPEND x {99999}\r\n", b"a NO [TOOBIG]"),
        (b"a SELECT x (QRESYNC (1))\r\n", b"a BAD expected a space"),
        (b"a SELECT x (QRESYNC (1 2 x))\r\n", b"a BAD expected a sequence set"),
        (b"a SELECT x (ODD)\r\n", b"a BAD expected no SELECT parameter but"),
        (b"a FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)\r\n", b"a BAD expected the end of the modifiers"),
        (b"a ENABLE\r\n", b"a BAD expected a capability"),
        (b"a STATUS x (NOTHING)\r\n", b"a BAD expected a STATUS item"),
        (b"a FETCH 1 " + b"(" * 500 + b"\r\n", b"a BAD expected a"),
        (b"a SEARCH " + b"NOT " * 60 + b"ALL\r\n", b"a BAD search criteria too long"),
        (b"a SEARCH " + b"(" * 60 + b"ALL" + b")" * 60 + b"\r\n", b"a BAD search criteria too long"),
    ],
)
def test_bad_commands_get_one_clear_answer_and_the_next_is_understood(octets: bytes, answer: bytes) -> None:
    conversation = selected()
    conversation.receive(octets + b"b NOOP\r\n")
    refused, following = drain(conversation)
    assert isinstance(refused, Refused)
    assert refused.octets.startswith(answer)
    assert refused.octets.endswith(b"\r\n")
    assert following == Received(b"b", c.Noop())


def test_a_line_without_end_is_refused_at_its_limit_and_skipped() -> None:
    conversation = selected()
    event = one(conversation, b"a SEARCH " + b"x" * 2000)
    assert event == Refused(b"a BAD a line of more than 1000 octets (RFC 9051 section 4)\r\n")
    conversation.receive(b"x" * 500 + b"\r\nb NOOP\r\n")
    assert drain(conversation) == [Received(b"b", c.Noop())]


def test_a_line_that_never_ends_ends_the_connection() -> None:
    conversation = selected()
    one(conversation, b"a " + b"x" * 2000)
    event = one(conversation, b"x" * (1 << 20))
    assert isinstance(event, Refused)
    assert event.closes
    assert conversation.state is State.LOGOUT


def test_an_unasked_literal_that_is_too_large_is_read_and_dropped() -> None:
    """What is dropped is not taken for commands (RFC 7888 section 4)."""
    conversation = selected()
    message = b"x LOGOUT\r\n" * 600
    conversation.receive(b"a APPEND INBOX {%d+}\r\n" % len(message) + message[:100])
    (refused,) = drain(conversation)
    assert isinstance(refused, Refused)
    assert refused.octets.startswith(b"a NO [TOOBIG]")
    conversation.receive(message[100:] + b" {10+}\r\nx LOGOUT\r\n\r\nb NOOP\r\n")
    assert drain(conversation) == [Received(b"b", c.Noop())]


def test_before_authentication_little_is_taken() -> None:
    conversation = ServerConversation()
    event = one(conversation, b"a LOGIN {100000}\r\n")
    assert isinstance(event, Refused)
    assert not event.closes
    event = one(ServerConversation(), b"a APPEND x {100000+}\r\n")
    assert isinstance(event, Refused)
    assert event.closes


def test_too_many_faults_end_the_connection() -> None:
    conversation = selected()
    conversation.receive(b"a FOO\r\n" * 7)
    events = drain(conversation)
    assert [event.closes for event in events if isinstance(event, Refused)] == [False] * 5 + [True]


def test_what_is_pipelined_behind_starttls_is_never_heard() -> None:
    conversation = ServerConversation()
    conversation.receive(b"a STARTTLS\r\nb LOGIN x y\r\nc LOGIN {3}\r\n")
    assert conversation.next_event() == Received(b"a", c.StartTls())
    conversation.begin_tls()
    assert conversation.next_event() is None
    assert one(conversation, b"d NOOP\r\n") == Received(b"d", c.Noop())


def test_a_literal_half_read_before_starttls_is_forgotten() -> None:
    conversation = ServerConversation()
    conversation.receive(b"a STARTTLS\r\nb LOGIN {10+}\r\nxx")
    assert conversation.next_event() == Received(b"a", c.StartTls())
    assert conversation.next_event() is None
    conversation.begin_tls()
    assert one(conversation, b"d NOOP\r\n") == Received(b"d", c.Noop())


def test_lines_of_an_exchange_are_handed_out_raw() -> None:
    conversation = ServerConversation()
    conversation.await_line()
    assert one(conversation, b"AGEAYg==\r\n") == LineReceived(b"AGEAYg==")
    assert one(conversation, b"a NOOP\r\n") == Received(b"a", c.Noop())


def test_transitions_that_are_not_in_the_table_are_our_fault() -> None:
    with pytest.raises(OurFault):
        ServerConversation().selected()


def test_rev2_clients_write_mailbox_names_in_utf8() -> None:
    conversation = selected()
    conversation.utf8 = True
    assert one(conversation, 'a DELETE "é&"\r\n'.encode()) == Received(b"a", c.Delete("é&"))


def test_nul_may_stand_in_literal8_only() -> None:
    conversation = selected()
    event = one(conversation, b"a APPEND x ~{3+}\r\na\0b\r\n")
    assert isinstance(event, Received)
    assert event.command == c.Append("x", (), None, b"a\0b")
    refused = one(conversation, b"a APPEND x {3+}\r\na\0b\r\n")
    assert isinstance(refused, Refused)


words = st.sampled_from(
    [b"a ", b"UID ", b"FETCH ", b"SEARCH ", b"STORE ", b"LIST ", b"APPEND ", b"1:*", b" ", b"(", b")", b"BODY[", b"]",
     b"<0.1>", b"{3}", b"{3+}", b"\r\n", b'"', b"\\", b"&", b"*", b"NOT ", b"OR ", b"\0", b"\xff", b"RETURN (", b"~{1+}"]
)  # fmt: skip


@given(st.lists(st.one_of(words, st.binary(max_size=8)), max_size=60), st.booleans())
def test_random_octets_are_answered_and_never_raise(parts: list[bytes], utf8: bool) -> None:
    conversation = selected()
    conversation.utf8 = utf8
    for part in parts:
        conversation.receive(part)
        for event in drain(conversation):
            if isinstance(event, Refused | LiteralAwaited):
                assert event.octets.endswith(b"\r\n")
                assert event.octets.count(b"\n") == 1
