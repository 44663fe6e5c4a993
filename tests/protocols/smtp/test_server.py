"""The server's conversation: whole, split at every octet, hostile, and random."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from letterlock.errors import OurFault
from letterlock.formats.envelope import Body, Notify, Return
from letterlock.protocols.smtp import event as events
from letterlock.protocols.smtp.offer import Dialect, ServerSettings
from letterlock.protocols.smtp.reply import reply
from letterlock.protocols.smtp.server import ServerConversation
from letterlock.protocols.smtp.words import State

SETTINGS = ServerSettings("mx.rosewood.test", offers_tls=True, size_limit=100_000, recipient_limit=3)
WITH_AUTH = ServerSettings("mx.rosewood.test", plain_mechanisms=("PLAIN", "LOGIN"))


def talk(
    pieces: Iterable[bytes], server: ServerConversation | None = None
) -> tuple[bytes, list[events.Event], list[bytes]]:
    """Feed `pieces` to a server whose policy says yes to all; return replies, other events, and message contents."""
    server = server or ServerConversation(SETTINGS)
    seen: list[events.Event] = []
    contents: list[bytes] = []
    out = b""
    for piece in pieces:
        server.receive(piece)
        while (event := server.next_event()) is not None:
            match event:
                case events.ContentBegun():
                    contents.append(b"")
                    seen.append(event)
                case events.ContentReceived(octets):
                    contents[-1] += octets
                case events.SenderGiven() | events.RecipientGiven() | events.ContentEnded():
                    seen.append(event)
                    server.accept()
                case events.TlsRequested(announcement):
                    seen.append(event)
                    out += server.take_output() + announcement
                    server.tls_begun()
                case events.AuthenticationBegun(_, None):
                    seen.append(event)
                    server.challenge(b"more")
                case events.AuthenticationBegun() | events.AuthenticationContinued():
                    seen.append(event)
                    server.authenticated("ada")
                case events.TransactionDropped(reason) if reason:
                    contents[-1] = b"dropped"
                    seen.append(event)
                case _:
                    seen.append(event)
        out += server.take_output()
    return out, seen, contents


def codes(out: bytes) -> list[str]:
    """The codes of the replies, one each."""
    return [line[:3].decode() for line in out.split(b"\r\n") if line[3:4] == b" "]


SESSION = (
    b"EHLO client.test\r\n"
    b"MAIL FROM:<ada@harbor.test> SIZE=20 BODY=8BITMIME RET=HDRS ENVID=a+2Bb\r\n"
    b"RCPT TO:<bob@rosewood.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;bob@old.test\r\n"
    b'RCPT TO:<"c d"@rosewood.test>\r\n'
    b"DATA\r\n"
    b"Subject: x\r\n\r\n..dot\r\n.\x31\r\n...\r\nend\r\n.\r\n"
    b"MAIL FROM:<>\r\nRCPT TO:<Postmaster>\r\nBDAT 6\r\nab\r\n.\rBDAT 5 LAST\r\n\nxyz\rRSET\r\n"
    b"MAIL FROM:<a@b.test> BODY=BINARYMIME\r\nRCPT TO:<c@d.test>\r\nBDAT 4 LAST\r\n\0\r\n\nQUIT\r\n"
)


def test_a_whole_session() -> None:
    """Commands pipelined in one group are answered in order, and the content comes out without the added dots."""
    out, seen, contents = talk([SESSION])
    assert codes(out) == ["250", "250", "250", "250", "354", "250", "250", "250", "250", "554", "250",
                          "250", "250", "250", "221"]  # fmt: skip
    assert contents[0] == b"Subject: x\r\n\r\n.dot\r\n1\r\n..\r\nend\r\n"
    assert contents[2] == b"\0\r\n\n"
    sender = next(event.sender for event in seen if isinstance(event, events.SenderGiven))
    assert (sender.size, sender.body, sender.return_content, sender.envelope_id) == (
        20, Body.EIGHT_BIT, Return.HEADERS, "a+b")  # fmt: skip
    ended = next(event for event in seen if isinstance(event, events.ContentEnded))
    assert ended.size == len(contents[0])
    assert [str(recipient.forward_path) for recipient in ended.envelope.recipients] == [
        "bob@rosewood.test", '"c d"@rosewood.test']  # fmt: skip
    assert ended.envelope.recipients[0].notify == Notify.SUCCESS | Notify.DELAY
    assert ended.envelope.recipients[0].original == "rfc822;bob@old.test"
    assert any(isinstance(event, events.TransactionDropped) and "bare" in event.reason for event in seen)


def test_split_anywhere_the_session_is_the_same() -> None:
    """Octet boundaries mean nothing: split at every place, and octet by octet, all comes out as from one piece."""
    whole = talk([SESSION])
    assert talk([SESSION[n : n + 1] for n in range(len(SESSION))]) == whole
    for split in range(1, len(SESSION)):
        assert talk([SESSION[:split], SESSION[split:]]) == whole


@pytest.mark.parametrize(
    "ending",
    [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r\n.\n", b"\r.\r\n", b"\n\n.\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n",
     b"\r\n.\r\r\n", b"\n\r\n.\r\r\n", b"\r\n.\n\r\n", b"\n.\r", b"\r\n..\r", b"\r.\n"],
)  # fmt: skip
@pytest.mark.parametrize("split", [False, True])
def test_nothing_but_crlf_dot_crlf_ends_a_message(ending: bytes, split: bool) -> None:
    """SMTP smuggling: what stands behind a false end is content, and content with bare CR, LF or NUL is refused."""
    opening = b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nfirst"
    smuggled = b"MAIL FROM:<evil@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nsecond\r\n.\r\n"
    octets = opening + ending + smuggled
    out, seen, _ = talk([octets[n : n + 1] for n in range(len(octets))] if split else [octets])
    assert sum(isinstance(event, events.SenderGiven) for event in seen) == 1
    assert not any(isinstance(event, events.ContentEnded) for event in seen)
    assert codes(out) == ["250", "250", "250", "354", "554"]
    assert b"bare" in out or b"NUL" in out


def test_an_empty_message_and_one_of_dots() -> None:
    """RFC 5321 section 4.1.1.4: the dot may follow DATA at once."""
    opening = b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"
    assert talk([opening + b".\r\n"])[2] == [b""]
    assert talk([opening + b"..\r\n.\r\n"])[2] == [b".\r\n"]
    assert talk([opening + b"....\r\n..\r\n\r\n.\r\n"])[2] == [b"...\r\n.\r\n\r\n"]


def test_nothing_pipelined_behind_starttls_survives() -> None:
    """RFC 3207 section 4.2: injected commands are never answered, and EHLO must be said anew."""
    out, seen, _ = talk([b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<evil@b.test>\r\nRSET\r\n", b"MAIL FROM:<a@b.test>\r\n"])
    assert codes(out) == ["250", "220", "503"]
    assert not any(isinstance(event, events.SenderGiven) for event in seen)


def test_half_a_line_before_starttls_does_not_join_what_comes_after() -> None:
    """An injected beginning of a command is dropped with the rest."""
    out, _, _ = talk([b"EHLO x\r\nSTARTTLS\r\nNOOP and some", b"EHLO y\r\n"])
    assert codes(out) == ["250", "220", "250"]
    assert out.count(b"STARTTLS") == 1
    assert b"REQUIRETLS" in out


def test_octets_behind_auth_end_the_session() -> None:
    """RFC 4954 section 4: AUTH is the last of its group; what follows it is not obeyed."""
    for octets in (b"AUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@b.test>\r\n", b"AUTH LOGIN\r\nYQ==\r\nYg==\r\n"):
        server = ServerConversation(WITH_AUTH)
        out, seen, _ = talk([b"EHLO x\r\n" + octets], server)
        assert codes(out) == ["250", "503"]
        assert server.state is State.ENDED
        assert isinstance(seen[-1], events.Ended)


def test_authentication() -> None:
    """Initial responses, challenges, cancelling, bad base64, unknown mechanisms, and twice."""
    server = ServerConversation(WITH_AUTH)
    pieces = [b"EHLO x\r\n", b"AUTH CRAM-MD5\r\n", b"AUTH PLAIN !\r\n", b"AUTH PLAIN\r\n", b"*\r\n", b"AUTH PLAIN\r\n",
              b"?\r\n", b"AUTH PLAIN =\r\n", b"AUTH PLAIN\r\n", b"MAIL FROM:<a@b.test> AUTH=<>\r\n"]  # fmt: skip
    out, seen, _ = talk(pieces, server)
    assert codes(out) == ["250", "504", "501", "334", "501", "334", "501", "235", "503", "250"]
    assert server.user == "ada"
    assert [event for event in seen if isinstance(event, events.AuthenticationBegun)][-1].initial == b""


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"MAIL FROM:<a@b.test> SIZE=100001", "552"),
        (b"MAIL FROM:<a@b.test> SIZE=x", "501"),
        (b"MAIL FROM:<a@b.test> FOO=1", "555"),
        (b"MAIL FROM:<a@b.test> REQUIRETLS", "555"),
        (b"MAIL FROM:<a@b.test> SIZE=1 SIZE=2", "501"),
        (b"MAIL FROM:<a@b.test> BODY=9BIT", "501"),
        (b"MAIL FROM:<a@b.test> ENVID=a+0Ab", "501"),
        (b"MAIL FROM:<a@b.test> ENVID=a+0ab", "501"),
        (b"MAIL FROM:<a@b.test> " + b"A=1 " * 30, "501"),
        (b"MAIL FROM:a@b.test", "501"),
        (b"MAIL FROM:<a@b.test", "501"),
        (b"MAIL FROM:<a@@b.test>", "501"),
        (b"MAIL TO:<a@b.test>", "501"),
        ("MAIL FROM:<grå@b.test>".encode(), "553"),
        ("MAIL FROM:<grå@b.test> SMTPUTF8".encode(), "250"),
        ("MAIL FROM:<grå@b.test>".encode("latin-1"), "500"),
        (b"MAIL FROM: <a@b.test> ", "250"),
        (b"mail from:<@x.test,@y.test:a@b.test>", "250"),
        (b"RCPT TO:<a@b.test>", "503"),
        (b"DATA", "503"),
        (b"STARTTLS now", "501"),
        (b"AUTH PLAIN", "502"),
        (b"VRFY ada", "252"),
        (b"EXPN staff", "502"),
        (b"HELP", "214"),
        (b"NOOP whatever", "250"),
        (b"RSET", "250"),
        (b"", "500"),
        (b"FROBNICATE", "500"),
        (b"NOOP \0", "500"),
        (b"NOOP a\rb", "500"),
        (b"NOOP " + b"x" * 5000, "500"),
        (b"EHLO", "501"),
        (b"EHLO a b", "501"),
        (b"LHLO a", "500"),
        (b"GET / HTTP/1.1", "421"),
        (b"BDAT 0 LAST", "503"),
        (b"BDAT x", "501"),
        (b"BDAT 18446744073709551615 LAST", "552"),
    ],
)
def test_single_commands(line: bytes, code: str) -> None:
    """Each wrong command has its code, and the conversation goes on unless it must not."""
    out, _, _ = talk([b"EHLO x\r\n" + line + b"\r\n"])
    assert codes(out) == ["250", code]


def test_parameters_of_rcpt() -> None:
    """NOTIFY and ORCPT as RFC 3461 writes them; what is wrong is refused."""
    opening = b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test> "
    for parameters, code in [
        (b"NOTIFY=NEVER", "250"), (b"NOTIFY=NEVER,DELAY", "501"), (b"NOTIFY=", "501"), (b"NOTIFY=X", "501"),
        (b"ORCPT=rfc822;a+40b", "250"), (b"ORCPT=a", "501"), (b"ORCPT=rfc822;a+0D+0A", "501"), (b"SIZE=1", "555"),
        (b"ORCPT=utf-8;gr\\x{E5}@b.test", "250"), (b"ORCPT=utf-8;\\x{0A}@b.test", "501"),
        (b"ORCPT=utf-8;\\x{D800}", "501"),
    ]:  # fmt: skip
        assert codes(talk([opening + parameters + b"\r\n"])[0])[-1] == code, parameters


def test_a_bare_lf_in_a_command_ends_the_session() -> None:
    """Nobody could say where the next command begins."""
    out, seen, _ = talk([b"EHLO x\r\nNOOP\nMAIL FROM:<a@b.test>\r\n"])
    assert codes(out) == ["250", "500"]
    assert b"bare LF" in out
    assert seen[-1] == events.Ended("a bare LF")


def test_a_line_without_end_is_not_kept() -> None:
    """A hundred megabytes without a line end cost no memory, and the conversation goes on behind them."""
    server = ServerConversation(SETTINGS)
    talk([b"EHLO x\r\n"], server)
    for _ in range(400):
        talk([b"x" * 262144], server)
    out, _, _ = talk([b"\r\nNOOP\r\n"], server)
    assert codes(out) == ["500", "250"]


def test_content_past_the_limit_is_dropped_and_answered_at_its_end() -> None:
    """RFC 5321 section 4.5.3.1.7: 552, after the client has said all it had to say; and the next message is taken."""
    opening = b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n"
    pieces = [opening, *([b"x" * 998 + b"\r\n"] * 101), b".\r\nMAIL FROM:<a@b.test>\r\n"]
    out, seen, contents = talk(pieces)
    assert codes(out) == ["250", "250", "250", "354", "552", "250"]
    assert contents == [b"dropped"]
    assert any(isinstance(event, events.TransactionDropped) for event in seen)


def test_recipients_past_the_limit_are_deferred() -> None:
    """RFC 5321 section 4.5.3.1.10: 452, not 552."""
    out, _, _ = talk([b"EHLO x\r\nMAIL FROM:<a@b.test>\r\n" + b"RCPT TO:<c@d.test>\r\n" * 5])
    assert codes(out) == ["250", "250", "250", "250", "250", "452", "452"]


def test_wrong_commands_are_counted() -> None:
    """A client that only errs is sent away."""
    out, seen, _ = talk([b"EHLO x\r\n" + b"FOO\r\n" * 100])
    assert codes(out) == ["250", *["500"] * 20, "421"]
    assert seen[-1] == events.Ended("too many wrong commands")


def test_recipients_that_are_not_taken_are_counted() -> None:
    """Who tries names until one is taken is sent away (directory harvesting)."""
    server = ServerConversation(ServerSettings("mx.rosewood.test", refusal_limit=5))
    server.receive(b"EHLO x\r\nMAIL FROM:<a@b.test>\r\n" + b"RCPT TO:<c@d.test>\r\n" * 20)
    last: events.Event | None = None
    while (event := server.next_event()) is not None:
        last = event
        if isinstance(event, events.SenderGiven):
            server.accept()
        elif isinstance(event, events.RecipientGiven):
            server.refuse(reply(550, "5.1.1", "No such user"))
    assert codes(server.take_output()) == ["250", "250", *["550"] * 5, "421"]
    assert isinstance(last, events.Ended)


def test_commands_without_mail_are_counted() -> None:
    """NOOP for ever is not a way to stay; a message sets the count back."""
    settings_here = ServerSettings("mx.rosewood.test", idle_command_limit=10)
    message = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n.\r\n"
    out, seen, _ = talk(
        [b"EHLO x\r\n" + b"NOOP\r\n" * 6 + message + b"NOOP\r\n" * 50], ServerConversation(settings_here)
    )
    assert codes(out) == ["250"] * 9 + ["354", "250"] + ["250"] * 10 + ["421"]
    assert isinstance(seen[-1], events.Ended)


def test_refusals_by_policy() -> None:
    """A refused recipient does not join the envelope; with all refused DATA has no valid recipients."""
    server = ServerConversation(SETTINGS)
    server.receive(b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nNOOP\r\n")
    while (event := server.next_event()) is not None:
        if isinstance(event, events.SenderGiven):
            server.accept(reply(250, "2.1.0", "Welcome"))
        elif isinstance(event, events.RecipientGiven):
            server.refuse(reply(550, "5.1.1", "No such user"))
    assert codes(server.take_output()) == ["250", "250", "550", "554", "250"]
    with pytest.raises(OurFault):
        server.accept()


def test_an_event_that_waits_holds_back_what_was_pipelined_behind_it() -> None:
    """Replies go out in the order of the commands."""
    server = ServerConversation(SETTINGS)
    server.receive(b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nNOOP\r\n")
    assert isinstance(server.next_event(), events.Greeted)
    assert isinstance(server.next_event(), events.SenderGiven)
    assert server.next_event() is None
    assert codes(server.take_output()) == ["250"]
    server.accept()
    assert server.next_event() is None
    assert codes(server.take_output()) == ["250", "250"]


def test_a_chunk_out_of_order_is_read_over() -> None:
    """RFC 3030 section 2: its octets are not taken for commands, and the transaction begun stays."""
    out, seen, contents = talk(
        [b"EHLO x\r\nBDAT 6\r\nRSET\r\nMAIL FROM:<a@b.test>\r\nBDAT 6 LAST\r\nQUIT\r\n"
         b"RCPT TO:<c@d.test>\r\nBDAT 2 LAST\r\nhiNOOP\r\n"]
    )  # fmt: skip
    assert codes(out) == ["250", "503", "250", "503", "250", "250", "250"]
    assert contents == [b"hi"]
    assert not any(isinstance(event, events.Ended) for event in seen)


def test_lmtp_answers_for_each_recipient() -> None:
    """RFC 2033 section 4.2: one reply a recipient behind the content, and LHLO in place of EHLO."""
    server = ServerConversation(ServerSettings("mx.rosewood.test", dialect=Dialect.LMTP))
    talk([b"EHLO x\r\nLHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nRCPT TO:<e@d.test>\r\nDATA\r\n"], server)
    server.receive(b"hello\r\n.\r\n")
    event = server.next_event()
    assert event == events.ContentReceived(b"hello\r\n")
    assert isinstance(server.next_event(), events.ContentEnded)
    server.answer_each([reply(250, "2.1.5", "Stored"), reply(452, "4.2.2", "Full")])
    assert codes(server.take_output()) == ["250", "452"]
    assert server.protocol == "LMTP"
    assert codes(talk([b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n\n\r\n.\r\n"],
                      server)[0])[-2:] == ["554", "554"]  # fmt: skip


def test_content_the_host_has_no_room_for() -> None:
    """`discard` answers content when it is whole, in the words given."""
    server = ServerConversation(SETTINGS)
    talk([b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nbegin\r\n"], server)
    server.discard(reply(452, "4.3.1", "No room now"))
    out, seen, _ = talk([b"more\r\n.\r\nNOOP\r\n"], server)
    assert codes(out) == ["452", "250"]
    assert not seen


def test_the_protocol_named_in_received() -> None:
    """RFC 3848 and RFC 6531 section 4.3: by extension, security and authentication."""
    server = ServerConversation(WITH_AUTH, tls=True)
    talk([b"HELO x\r\n"], server)
    assert server.protocol == "SMTP"
    talk([b"EHLO x\r\n"], server)
    assert server.protocol == "ESMTPS"
    talk([b"MAIL FROM:<a@b.test> SMTPUTF8\r\n"], server)
    assert server.protocol == "UTF8SMTPS"


_WORDS = st.sampled_from(
    b"EHLO x\r\n|MAIL FROM:<a@b.test>\r\n|RCPT TO:<c@d.test>\r\n|DATA\r\n|BDAT 3\r\n|BDAT 2 LAST\r\n|\r\n|\r|\n|.|\0|"
    b"STARTTLS\r\n|AUTH PLAIN\r\n|RSET\r\n|QUIT\r\n|=\r\n|ab".split(b"|")
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(_WORDS, st.binary(max_size=12)), max_size=40), st.integers(1, 7))
def test_random_octets_do_no_harm_and_splitting_changes_nothing(words: list[bytes], size: int) -> None:
    """Whatever comes, there are replies and events, the same however it is cut (TLS aside, where cutting matters)."""
    octets = b"".join(words)
    cut = [octets[n : n + size] for n in range(0, len(octets), size)]
    plain = ServerSettings("mx.rosewood.test")
    assert talk(cut, ServerConversation(plain)) == talk([octets], ServerConversation(plain))
    talk(cut, ServerConversation(SETTINGS))
    talk(cut, ServerConversation(WITH_AUTH))
