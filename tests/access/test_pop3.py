"""POP3 over a real store: what a maildrop shows, and deletions that happen at QUIT or not at all."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest

Letter = Callable[..., bytes]


class Client:
    """A POP3 client for tests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def __call__(self, command: str) -> bytes:
        """Send a command and return the first line of its answer."""
        self.writer.write(command.encode() + b"\r\n")
        return await self.line()

    async def line(self) -> bytes:
        """Return the next line."""
        return (await asyncio.wait_for(self._reader.readline(), 10)).removesuffix(b"\r\n")

    async def lines(self, command: str) -> list[bytes]:
        """Send a command and return the lines of its multi-line answer."""
        assert (await self(command)).startswith(b"+OK")
        lines = []
        while (line := await self.line()) != b".":
            lines.append(line.removeprefix(b"."))
        return lines


async def connect(served: Any, *, login: bool = True) -> Client:
    client = Client(*await asyncio.open_connection("127.0.0.1", served.pop3_port))
    served.stack.callback(client.writer.close)
    assert (await client.line()).startswith(b"+OK")
    if login:
        assert (await client("USER anna")).startswith(b"+OK")
        assert (await client("PASS correct horse")).startswith(b"+OK")
    return client


async def test_a_maildrop_is_listed_and_read(served: Any, letter: Letter) -> None:
    await served.deliver(letter(1), letter(2, ".dots\r\n..\r\nend"))
    client = await connect(served)
    sizes = [len(letter(1)), len(letter(2, ".dots\r\n..\r\nend"))]
    assert await client("STAT") == b"+OK 2 %d" % sum(sizes)
    assert await client.lines("LIST") == [b"1 %d" % sizes[0], b"2 %d" % sizes[1]]
    assert await client("LIST 2") == b"+OK 2 %d" % sizes[1]
    unique = await client.lines("UIDL")
    assert len({line.split()[1] for line in unique}) == 2
    retrieved = b"\r\n".join(await client.lines("RETR 2")) + b"\r\n"
    assert retrieved == letter(2, ".dots\r\n..\r\nend")
    assert b"Hello" not in await client.lines("TOP 1 0")
    assert (await client.lines("TOP 1 1"))[-1] == b"Hello"
    assert (await client("RETR 3")).startswith(b"-ERR")


async def test_deletions_happen_at_quit(served: Any, letter: Letter) -> None:
    await served.deliver(letter(1), letter(2), letter(3))
    client = await connect(served)
    for command in ("DELE 1", "RSET", "DELE 2"):
        assert (await client(command)).startswith(b"+OK")
    assert (await client("RETR 2")).startswith(b"-ERR")
    assert (await client("STAT")).startswith(b"+OK 2 ")
    assert (await served.store.mailbox("anna@rosewood.test", "INBOX")).messages == 3
    assert (await client("QUIT")).startswith(b"+OK")
    assert (await served.store.mailbox("anna@rosewood.test", "INBOX")).messages == 2


async def test_a_connection_that_breaks_deletes_nothing(served: Any, letter: Letter) -> None:
    await served.deliver(letter(1))
    client = await connect(served)
    await client("DELE 1")
    client.writer.write_eof()
    assert await client.line() == b""
    assert (await served.store.mailbox("anna@rosewood.test", "INBOX")).messages == 1


async def test_unique_ids_stay(served: Any, letter: Letter) -> None:
    await served.deliver(letter(1), letter(2))
    client = await connect(served)
    before = await client.lines("UIDL")
    await client("DELE 1")
    await client("QUIT")
    await served.deliver(letter(3))
    client = await connect(served)
    after = await client.lines("UIDL")
    assert after[0].split()[1] == before[1].split()[1]
    assert after[1].split()[1] not in {line.split()[1] for line in before}


async def test_passwords_wait_for_tls(tls_served: Any) -> None:
    client = await connect(tls_served, login=False)
    capabilities = await client.lines("CAPA")
    assert b"STLS" in capabilities
    assert b"USER" not in capabilities
    assert not any(line.startswith(b"SASL") for line in capabilities)
    assert (await client("USER anna")).startswith(b"-ERR")
    assert (await client("AUTH PLAIN AGFubmEAeA==")).startswith(b"-ERR")


async def test_auth_plain(served: Any) -> None:
    response = base64.b64encode(b"\0anna\0correct horse").decode()
    client = await connect(served, login=False)
    assert (await client("AUTH PLAIN")) == b"+ "
    assert (await client(response)).startswith(b"+OK")
    client = await connect(served, login=False)
    assert (await client(f"AUTH PLAIN {response}")).startswith(b"+OK")
    client = await connect(served, login=False)
    assert await client("AUTH PLAIN") == b"+ "
    assert (await client("*")).startswith(b"-ERR")


@pytest.mark.parametrize("user", ["anna", "nobody"])
async def test_wrong_passwords_are_all_answered_the_same(served: Any, user: str) -> None:
    client = await connect(served, login=False)
    assert (await client(f"USER {user}")).startswith(b"+OK")
    assert await client("PASS wrong") == b"-ERR [AUTH] wrong user or password"
    assert (await client("PASS again")).startswith(b"-ERR USER comes first")
