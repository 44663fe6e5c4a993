"""A client and hosts that take less than the message is: converted, or refused before anything is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.formats.mime.test_downgrade import MULTIPART, TEXT
from tests.mta.test_outbound import TO_ADA

from letterlock.formats.envelope import Body
from letterlock.formats.mime.entity import parse
from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log
from letterlock.host.smtp_client import SmtpClient
from letterlock.host.stream import Endpoint, Stream
from letterlock.protocols.smtp import event as events
from letterlock.protocols.smtp.offer import ServerSettings
from letterlock.protocols.smtp.server import ServerConversation


class Poor(ServerSettings):
    """A server that does not know the extensions named."""

    missing: tuple[str, ...] = ()

    def keywords(self, *, tls: bool, authenticated: bool, certified: bool = False) -> tuple[str, ...]:
        return tuple(
            word for word in super().keywords(tls=tls, authenticated=authenticated) if word not in self.missing
        )


async def converse(missing: tuple[str, ...], body: Body, content: bytes) -> tuple[int, str, bytes, Body | None]:
    """Transfer to such a server; return code and status of the answer, the content it got, and the body it was told of."""
    got: list[bytes] = []
    told: list[Body] = []

    async def session(stream: Stream) -> None:
        settings = Poor("mx.test")
        object.__setattr__(settings, "missing", missing)
        server = ServerConversation(settings)
        server.greet()
        stream.expect_within(10)
        await stream.send(server.take_output())
        while octets := await stream.read():
            server.receive(octets)
            while (event := server.next_event()) is not None:
                match event:
                    case events.ContentReceived(piece):
                        got.append(piece)
                    case events.SenderGiven(sender):
                        told.append(sender.body)
                        server.accept()
                    case events.RecipientGiven() | events.ContentEnded():
                        server.accept()
                    case events.Ended():
                        await stream.send(server.take_output())
                        return
            await stream.send(server.take_output())

    listener = Listener(session, log=Log("test"))
    await listener.start([bind("127.0.0.1", 0)])
    client = await SmtpClient.open(Endpoint("127.0.0.1", listener.endpoints[0].port), name="x.test")
    await client.greet()
    await client.hello()
    (answer,) = await client.transfer(replace(TO_ADA, body=body), content)
    await client.quit()
    await listener.stop(grace_seconds=2)
    return answer.code, answer.status, b"".join(got), told[0] if told else None


@pytest.mark.parametrize("missing", [(), ("BINARYMIME",), ("CHUNKING",), ("8BITMIME", "BINARYMIME", "CHUNKING")])
async def test_a_binary_message(missing: tuple[str, ...]) -> None:
    """RFC 3030 section 3: as it is where both extensions are offered, else in seven bits, and read as the same."""
    code, _, got, told = await converse(missing, Body.BINARY, MULTIPART)
    assert code == 250
    assert (got == MULTIPART, told) == ((True, Body.BINARY) if not missing else (False, Body.SEVEN_BIT))
    leaves = [entity.content() for entity in parse(got).entities() if not entity.children]
    assert leaves == [TEXT[:-2], b"\x89PNG\r\n\x1a\n\0\0", TEXT[:-2], b"plain"]


@pytest.mark.parametrize("missing", [(), ("8BITMIME",)])
async def test_an_8_bit_message(missing: tuple[str, ...]) -> None:
    """RFC 6152 section 3."""
    content = (
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + TEXT
    )
    code, _, got, told = await converse(missing, Body.EIGHT_BIT, content)
    assert code == 250
    assert (got == content, told) == ((True, Body.EIGHT_BIT) if not missing else (False, Body.SEVEN_BIT))
    assert parse(got).content() == TEXT


async def test_what_is_signed_is_not_touched() -> None:
    """It fails with 5.6.3, and nothing was sent."""
    content = (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n"
        + TEXT
        + b"--b\r\n\r\ns\r\n--b--\r\n"
    )
    assert await converse(("8BITMIME",), Body.EIGHT_BIT, content) == (554, "5.6.3", b"", None)
