"""XCLIENT: what a trusted proxy may say of its client, and what nobody may."""

from __future__ import annotations

import pytest
from tests.protocols.smtp.test_server import codes

from letterlock.protocols.smtp import event as events
from letterlock.protocols.smtp.offer import ServerSettings
from letterlock.protocols.smtp.reply import reply
from letterlock.protocols.smtp.server import ServerConversation
from letterlock.protocols.smtp.words import State
from letterlock.protocols.smtp.xclient import CLIENT_ATTRIBUTES, LOGIN, Introduction

TRUSTED = ServerSettings("mx.rosewood.test", client_attributes=(*CLIENT_ATTRIBUTES, LOGIN))
HELLO = b"EHLO proxy.test\r\n"


def say(
    octets: bytes, settings: ServerSettings = TRUSTED, user: str = ""
) -> tuple[list[str], list[Introduction], ServerConversation]:
    """Feed octets; introduced clients are let in as `user`. Return the codes, the introductions, the conversation."""
    server = ServerConversation(settings)
    server.receive(octets)
    found = []
    while (event := server.next_event()) is not None:
        match event:
            case events.ClientIntroduced(introduction):
                found.append(introduction)
                server.introduced(user)
            case events.SenderGiven():
                server.accept()
            case _:
                pass
    return codes(server.take_output()), found, server


@pytest.mark.parametrize(
    ("words", "who"),
    [
        (b"NAME=mx.harbor.test ADDR=192.0.2.1 PORT=4711 PROTO=ESMTP HELO=mx.harbor.test",
         Introduction("mx.harbor.test", "192.0.2.1", 4711, "mx.harbor.test", True)),
        (b"addr=IPV6:2001:DB8::1", Introduction(address="2001:db8::1")),
        (b"ADDR=2001:db8::1 PROTO=SMTP", Introduction(address="2001:db8::1")),
        (b"NAME=[UNAVAILABLE] ADDR=192.0.2.1 HELO=[tempunavail] LOGIN=[UNAVAILABLE]",
         Introduction(address="192.0.2.1", login="")),
        (b"ADDR=192.0.2.1 LOGIN=a+2Bb+40rosewood.test", Introduction(address="192.0.2.1", login="a+b@rosewood.test")),
    ],
)  # fmt: skip
def test_a_client_is_introduced(words: bytes, who: Introduction) -> None:
    """The answer is a greeting, and the conversation begins anew."""
    answers, found, server = say(HELLO + b"XCLIENT " + words + b"\r\n")
    assert (answers, found) == (["250", "220"], [who])
    assert server.state is (State.GREETED if who.hello else State.CONNECTED)


@pytest.mark.parametrize(
    "words",
    [b"", b"ADDR", b"ADDR=1.2.3", b"ADDR=evil.test", b"ADDR=IPV6:1.2.3.4", b"PORT=99999999", b"PORT=-1", b"PROTO=HTTP",
     b"ADDR=192.0.2.1 ADDR=192.0.2.2", b"DESTADDR=192.0.2.1", b"NAME=a+0Db", b"HELO=a+0AMAIL", b"NAME=a+20b", b"NAME=a+00b",
     b"LOGIN=\xc3\xa9", b"NAME=" + b"x" * 256, b"HELO=+E2+80+A8", b"NAME=+zz"],
)  # fmt: skip
def test_what_is_not_understood_changes_nothing(words: bytes) -> None:
    """Line ends and controls in xtext above all: 501, and the client stays who it was."""
    answers, found, server = say(HELLO + b"XCLIENT " + words + b"\r\n")
    assert (answers, found, server.name) == (["250", "501"], [], "proxy.test")


def test_strangers_may_not() -> None:
    """Nothing is offered to who is not trusted, and nothing taken."""
    answers, found, _ = say(HELLO + b"XCLIENT ADDR=192.0.2.1\r\n", ServerSettings("mx.rosewood.test"))
    assert (answers, found) == (["250", "550"], [])


def test_not_within_a_transaction() -> None:
    """What was begun by one client is not ended by another."""
    answers, found, _ = say(HELLO + b"MAIL FROM:<a@b.test>\r\nXCLIENT ADDR=192.0.2.1\r\n")
    assert (answers, found) == (["250", "250", "503"], [])


def test_the_next_client_is_not_the_last() -> None:
    """What one client proved is not the next one's."""
    demanding = ServerSettings("x.test", client_attributes=(LOGIN,), demands_authentication=True)
    octets = HELLO + b"XCLIENT LOGIN=anna\r\n" + HELLO + b"MAIL FROM:<a@b.test>\r\nRSET\r\n"
    assert say(octets, demanding, user="anna")[0] == ["250", "220", "250", "250", "250"]
    assert say(octets, demanding)[0] == ["250", "220", "250", "530", "250"]


def test_a_client_may_be_turned_away() -> None:
    """The refusal is the last word."""
    server = ServerConversation(TRUSTED)
    server.receive(HELLO + b"XCLIENT ADDR=192.0.2.1\r\nNOOP\r\n")
    events_seen = [server.next_event(), server.next_event()]
    assert isinstance(events_seen[1], events.ClientIntroduced)
    server.end(reply(421, "4.7.0", "Not now"))
    assert server.next_event() is None
    assert codes(server.take_output()) == ["250", "421"]
