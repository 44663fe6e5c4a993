"""Commands and answers that were put where they do not belong."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator

import pytest
from tests.admd.test_serve import Server, unverified
from tests.hostile.sequences import COMMANDS, INJECTED_ANSWERS, INJECTED_COMMANDS, RECIPIENTS
from tests.mta.test_outbound import Host, deliver, network
from tests.protocols.smtp.test_client import offering, run
from tests.protocols.smtp.test_server import codes, talk

from letterlock.errors import PeerFault
from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.host.entropy import SeededEntropy
from letterlock.host.tls import KeyPair, ServerTls
from letterlock.mua.read import MailReader
from letterlock.mua.settings import MailServer, UserAgentSettings
from letterlock.protocols.smtp import event as events


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_one_or_none(name: str) -> None:
    """Refused with its code; no event comes of it, and what follows is answered in its turn."""
    line, code = COMMANDS[name]
    out, seen, _ = talk([b"EHLO x\r\n" + line + b"\r\nNOOP\r\n"])
    expected = ["250", code, *([] if code == "421" else ["250"])]
    # "BDAT without end" is the last word too: nobody could wait for its octets.
    assert codes(out) == (expected[:2] if name == "BDAT without end" else expected)
    assert not any(isinstance(event, events.SenderGiven) for event in seen)


@pytest.mark.parametrize("name", RECIPIENTS)
def test_a_parameter_is_one_or_none(name: str) -> None:
    """What would break a line in a report, a log or the next host's session is refused when it comes."""
    parameter, code = RECIPIENTS[name]
    out, seen, _ = talk(
        [b"EHLO x\r\nMAIL FROM:<a@b.test> SMTPUTF8\r\nRCPT TO:<c@d.test> " + parameter + b"\r\nNOOP\r\n"]
    )
    assert codes(out) == ["250", "250", code, "250"]
    assert not any(isinstance(event, events.RecipientGiven) for event in seen)


UNSAYABLE = ["a\r\nDATA", "a\nDATA", "a\rDATA", "a\0b", "a\x0bb", "a\x85b", "a\u2028b", "a\u2029b"]


@pytest.mark.parametrize("text", UNSAYABLE)
def test_no_envelope_makes_two_commands(text: str) -> None:
    """However it came about (addresses made here are not parsed again): nothing is sent."""
    bad, good = Address(text, "d.test"), Address("c", "d.test")
    keywords = ("PIPELINING", "DSN", "SMTPUTF8", "8BITMIME", "NO-SOLICITING")
    for envelope in (
        Envelope(good, (Recipient(bad),)),
        Envelope(bad, (Recipient(good),)),
        Envelope(good, (Recipient(good, original=f"{text};x"),)),
        Envelope(good, (Recipient(good),), solicitation=(text,)),
        Envelope(good, (Recipient(Address("a", text)),)),
    ):
        replies, sent = run(offering(*keywords).transfer(envelope, b"x"), [])
        assert [answer.status for answer in replies] == ["5.6.0"]
        assert sent == []


@pytest.mark.parametrize("text", [one for one in UNSAYABLE if one.isascii()])
def test_what_goes_in_xtext_is_encoded(text: str) -> None:
    """ENVID and ORCPT: a line end there is three characters."""
    envelope = Envelope(None, (Recipient(Address("c", "d.test"), original=f"rfc822;{text}"),), envelope_id=text)
    _, sent = run(offering("PIPELINING", "DSN").transfer(envelope, b""), [b"250 a\r\n250 b\r\n354 c\r\n", b"250 d\r\n"])
    assert sent[0].count(b"\r\n") == sent[0].count(b"\n") == sent[0].count(b"\r") == 3
    assert re.sub(rb"[\r\n -~]", b"", sent[0]) == b""


@pytest.mark.parametrize("name", INJECTED_ANSWERS)
@pytest.mark.parametrize("cut", [False, True])
async def test_answers_behind_the_go_ahead_end_the_attempt(name: str, cut: bool, key_pair: KeyPair) -> None:
    """SMTP client: octets behind 220 are in plain text; whoever put them there hears nothing of the message."""
    replies = "220-a\r\n220 go" if cut else "220 go"
    octets = INJECTED_ANSWERS[name].decode()
    host = Host(ServerTls([key_pair]), STARTTLS=replies + "\r\n" + octets.removesuffix("\r\n"))
    async with network(host, Host()) as (outbound, _):
        outcome = await deliver(outbound)
    assert outcome.host == "b.test"
    assert not [line for line in host.seen if line.startswith("MAIL")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("site"))
    with made.running():
        yield made


# After TLS has begun: what to say, and how the only answer to it begins.
_QUESTIONS = {"smtp": (b"HELP\r\n", b"214"), "submission": (b"HELP\r\n", b"214"), "imap": (b"z NOOP\r\n", b"z OK"),
              "pop3": (b"CAPA\r\n", b"+OK")}  # fmt: skip


@pytest.mark.parametrize("name", INJECTED_COMMANDS)
def test_commands_behind_starttls_are_not_obeyed(name: str, server: Server) -> None:
    """Servers, over real connections: in one packet with STARTTLS; under TLS only what came under TLS is answered."""
    service, before, octets = INJECTED_COMMANDS[name]
    with socket.create_connection(("127.0.0.1", server.port(service)), 20) as plain:
        lines = plain.makefile("rb")
        lines.readline()
        if before:
            plain.sendall(before)
            while lines.readline()[3:4] == b"-":
                pass
        plain.sendall(octets)
        assert re.match(rb"220 |a OK|\+OK", lines.readline())
        lines.close()
        with unverified().wrap_socket(plain) as protected:
            question, answer = _QUESTIONS[service]
            protected.sendall(question)
            assert protected.recv(4096).startswith(answer)


class Liar(threading.Thread):
    """An IMAP server of one connection that says `greeting`, and `answer` to what it hears first."""

    def __init__(self, greeting: bytes, answer: bytes, key_pair: KeyPair) -> None:
        super().__init__(daemon=True)
        self.greeting, self.answer = greeting, answer
        self.context = ServerTls([key_pair]).context
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.heard: list[bytes] = []
        self.start()

    def run(self) -> None:
        connection, _ = self.listening.accept()
        with connection:
            connection.settimeout(20)
            connection.sendall(self.greeting)
            self.heard.append(connection.recv(1000))
            connection.sendall(self.answer)
            try:
                with self.context.wrap_socket(connection, server_side=True) as protected:
                    while octets := protected.recv(1000):
                        self.heard.append(octets)
                        tag = octets.split()[0]
                        protected.sendall(tag + b" BAD not now\r\n")
            except OSError:
                pass
        self.listening.close()


@pytest.mark.parametrize(
    "injected", [b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nc2 OK done\r\n", b"c2 OK done\r\n", b"* BYE", b"c2 O"]
)
async def test_answers_behind_imap_starttls_are_not_believed(injected: bytes, key_pair: KeyPair) -> None:
    """IMAP client: what was said in plain text is forgotten; the first answer that counts came under TLS."""
    liar = Liar(b"* OK hello\r\n", b"c1 OK begin\r\n" + injected, key_pair)
    with pytest.raises(PeerFault, match="not now"):
        async with reader_of(liar, key_pair):
            raise AssertionError("a lie was believed")
    liar.join(20)
    assert liar.heard[0] == b"c1 STARTTLS\r\n"
    assert liar.heard[1] == b"c2 CAPABILITY\r\n"


async def test_a_server_that_lets_everybody_in_is_left(key_pair: KeyPair) -> None:
    """PREAUTH before TLS would keep STARTTLS from being said (RFC 9051 section 6.2.1): nothing is said at all."""
    liar = Liar(b"* PREAUTH welcome\r\n", b"", key_pair)
    with pytest.raises(PeerFault):
        async with reader_of(liar, key_pair):
            raise AssertionError("a lie was believed")
    liar.join(20)
    assert liar.heard in ([], [b""])


def reader_of(liar: Liar, key_pair: KeyPair) -> MailReader:
    """A user agent told to use this server with STARTTLS."""
    place = MailServer("127.0.0.1", liar.port, implicit_tls=False, name="localhost")
    settings = UserAgentSettings("ada@rosewood.test", "x", imap=place, roots=key_pair.chain, timeout_seconds=20)
    return MailReader(settings, SeededEntropy())
