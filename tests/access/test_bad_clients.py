"""Clients that stall, vanish, never read or never log in: bounded work, a clear end, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

Letter = Callable[..., bytes]
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 60_000


async def connection(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def test_who_does_not_log_in_is_sent_away(hasty: Any) -> None:
    """Trickling octets does not stretch the time."""
    reader, writer = await connection(hasty.imap_port)
    assert (await reader.readline()).startswith(b"* OK")
    for _ in range(20):
        if reader.at_eof():
            break
        writer.write(b"a")
        await asyncio.wait([asyncio.ensure_future(reader.read(0))], timeout=0.02)
    assert await asyncio.wait_for(reader.readline(), 30) == b"* BYE nothing was heard for too long\r\n"
    writer.close()
    reader, writer = await connection(hasty.pop3_port)
    assert (await reader.readline()).startswith(b"+OK")
    assert await asyncio.wait_for(reader.read(), 30) == b""
    writer.close()


async def test_a_client_that_does_not_read_costs_little_and_stops_nobody(served: Any, letter: Letter) -> None:
    """20 MB are asked for; what waits for the client stays within a few chunks, and others are answered."""
    await served.deliver(*[LARGE] * 20)
    stuck = await served.login("SELECT INBOX")
    stuck.write(b"f FETCH 1:20 (BODY.PEEK[])\r\n")
    other = await served.login()
    await other.ok("SELECT INBOX")
    streams = [guest.stream for guest in served.listeners[0]._sessions.values()]
    (stream,) = [stream for stream in streams if stream._writing_paused]
    assert stream._transport.get_write_buffer_size() < 3 << 20
    received = await stuck.until(b"f")
    assert len(received) == 21
    assert received[19].endswith(b"%d}\r\n%b)" % (len(LARGE), LARGE))


async def test_a_client_that_never_reads_is_dropped(hasty: Any) -> None:
    await hasty.deliver(*[LARGE] * 20)
    stuck = await hasty.login("SELECT INBOX")
    stuck.write(b"f FETCH 1:20 (BODY.PEEK[])\r\n")
    for _ in range(500):
        if not hasty.listeners[0].connections:
            break
        await asyncio.sleep(0.02)
    assert not hasty.listeners[0].connections


@pytest.mark.parametrize(
    "octets",
    [
        b"a FETCH 1:* (BODY.PEEK[])\r\n",
        b"a IDLE\r\n",
        b"a APPEND INBOX {1000}\r\nhalf",
        b"a SEARCH TEXT hello\r\nb FETCH 1:* (ENVELOPE BODYSTRUCTURE)\r\n",
        b"a UID STORE 1:* +FLAGS (\\Seen)\r\nb EXPUNGE\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_a_client_that_vanishes_ends_its_own_session_only(served: Any, letter: Letter, octets: bytes) -> None:
    """The fixture fails if a session fails."""
    await served.deliver(LARGE, letter(1))
    for abort in (False, True):
        client = await served.login("SELECT INBOX")
        client.write(octets)
        if abort:
            client._writer.transport.abort()
        else:
            client.close()
    for _ in range(500):
        if not served.listeners[0].connections:
            break
        await asyncio.sleep(0.01)
    assert not served.listeners[0].connections
    (line,) = await (await served.login()).ok("STATUS INBOX (MESSAGES)")
    assert line == b"* STATUS INBOX (MESSAGES 2)"


async def test_half_an_append_stores_nothing(served: Any) -> None:
    client = await served.login()
    client.write(b"a APPEND INBOX {100}\r\n")
    assert (await client.line()).startswith(b"+ ")
    client.write(b"Subject: half")
    client._writer.write_eof()
    assert await client.line() == b""
    assert (await served.store.mailbox("anna@rosewood.test", "INBOX")).messages == 0
