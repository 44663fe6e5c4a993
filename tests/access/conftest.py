"""IMAP and POP3 served over a real store on loopback, and a small client that speaks IMAP line by line."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from letterlock.access.service import AccessService
from letterlock.access.settings import AccessSettings
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SeededEntropy
from letterlock.host.listen import Listener, bind
from letterlock.host.login_guard import LoginGuard, LoginGuardSettings
from letterlock.host.logs import Log, send_to
from letterlock.host.tls import KeyPair, ServerTls
from letterlock.store.accounts import Accounts
from letterlock.store.core import StoreSettings
from letterlock.store.engine import open_store
from letterlock.store.interface import Delivery, Store, Transaction

ACCOUNT = "anna@rosewood.test"
PASSWORD = "correct horse"
LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")


class Client:
    """An IMAP client for tests: sends octets, returns the lines (literals included) up to the tagged answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._number = 0

    def write(self, octets: bytes) -> None:
        """Send octets as they are."""
        self._writer.write(octets)

    async def line(self) -> bytes:
        """Return one response with its literals, without the last CRLF."""
        line = await self._reader.readline()
        while match := LITERAL.search(line):
            line += await self._reader.readexactly(int(match[1]))
            line += await self._reader.readline()
        return line.removesuffix(b"\r\n")

    async def __call__(self, command: str | bytes) -> list[bytes]:
        """Send a command and return every line up to its answer, without the tag."""
        self._number += 1
        tag = b"t%d" % self._number
        octets = command.encode() if isinstance(command, str) else command
        self.write(tag + b" " + octets + b"\r\n")
        return await self.until(tag)

    async def until(self, tag: bytes) -> list[bytes]:
        """Return the lines up to the answer with this tag, without the tag."""
        lines = []
        while True:
            line = await asyncio.wait_for(self.line(), 10)
            assert line, lines
            if line.startswith(tag + b" "):
                return [*lines, line.removeprefix(tag + b" ")]
            lines.append(line)

    async def ok(self, command: str | bytes) -> list[bytes]:
        """Send a command that succeeds and return its untagged lines."""
        *lines, answer = await self(command)
        assert answer.startswith(b"OK"), answer
        return lines

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


@dataclass
class Served:
    """A running service. `imap_port` and `pop3_port` begin in plain text."""

    store: Store
    imap_port: int
    pop3_port: int
    imaps_port: int
    stack: AsyncExitStack
    listeners: list[Listener]
    guard: LoginGuard
    delivered: int = 0

    async def connect(self) -> Client:
        """Return a client that has read the greeting."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.imap_port)
        client = Client(reader, writer)
        self.stack.callback(client.close)
        assert (await client.line()).startswith(b"* OK [CAPABILITY IMAP4rev1 IMAP4rev2")
        return client

    async def login(self, *commands: str) -> Client:
        """Return a client that is logged in and has carried out `commands`."""
        client = await self.connect()
        await client.ok(f'LOGIN anna "{PASSWORD}"')
        for command in commands:
            await client.ok(command)
        return client

    async def deliver(self, *messages: bytes, mailbox: str = "INBOX") -> None:
        """Put messages into a mailbox, as the transfer agent does."""
        for message in messages:
            self.delivered += 1
            delivery = Delivery(ACCOUNT, mailbox)
            await self.store.commit(Transaction(f"q{self.delivered}", 1_700_000_000.0, (message,), (delivery,)))


@asynccontextmanager
async def serve(
    folder: Path, accounts: Accounts, *, tls: ServerTls | None = None, plain: bool = True, **changed: float
) -> AsyncIterator[Served]:
    """Serve a new store in `folder` until the end of the block; no session may fail."""
    lines: list[str] = []
    before = send_to(lines.append)
    store = await open_store(StoreSettings(folder))
    await store.prepare_account(ACCOUNT, {"Sent": "\\Sent", "Drafts": "\\Drafts", "Trash": "\\Trash"})
    settings = dataclasses.replace(AccessSettings("mx.rosewood.test", plain_text_login=plain), **changed)
    log = Log("access")
    guard = LoginGuard(SystemClock(), LoginGuardSettings(first_delay_seconds=0))
    service = AccessService(settings, store, accounts, tls=tls, guard=guard, entropy=SeededEntropy(), log=log)
    listeners = [Listener(service.imap, log=log), Listener(service.pop3, log=log)]
    if tls is not None:
        listeners.append(Listener(service.imap, log=log, tls=tls))
    for listener in listeners:
        await listener.start([bind("127.0.0.1", 0)])
    ports = [listener.endpoints[0].port for listener in listeners]
    async with AsyncExitStack() as stack:
        yield Served(store, ports[0], ports[1], ports[2] if tls else 0, stack, listeners, guard)
    for listener in listeners:
        await listener.stop(grace_seconds=5)
    await store.close()
    send_to(before)
    assert not [line for line in lines if "session failed" in line], lines


@pytest.fixture(scope="session")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    """One account, anna's."""
    accounts = Accounts(tmp_path_factory.mktemp("accounts") / "accounts.db", default_domain="rosewood.test")
    accounts.add(ACCOUNT, PASSWORD)
    yield accounts
    accounts.close()


@pytest.fixture
async def served(tmp_path: Path, accounts: Accounts) -> AsyncIterator[Served]:
    """A service without TLS that takes passwords in plain text."""
    async with serve(tmp_path / "store", accounts) as running:
        yield running


@pytest.fixture
async def hasty(tmp_path: Path, accounts: Accounts) -> AsyncIterator[Served]:
    """A service that waits a quarter of a second for a login, and for a client to read."""
    async with serve(tmp_path / "store", accounts, login_seconds=0.25, send_seconds=0.25) as running:
        yield running


@pytest.fixture
async def tls_served(tmp_path: Path, accounts: Accounts, key_pair: KeyPair) -> AsyncIterator[Served]:
    """A service that takes passwords under TLS only."""
    async with serve(tmp_path / "store", accounts, tls=ServerTls([key_pair]), plain=False) as running:
        yield running


@pytest.fixture
def letter() -> Callable[..., bytes]:
    """A maker of small messages: `letter(number, body)`."""
    return _letter


def _letter(number: int = 1, body: str = "Hello") -> bytes:
    """Return a small message."""
    return (
        f"From: Bertram <bertram@harbor.test>\r\nTo: anna@rosewood.test\r\nSubject: Letter {number}\r\n"
        f"Date: Mon, 23 Nov 2026 10:{number % 60:02d}:00 +0100\r\nMessage-ID: <{number}@harbor.test>\r\n\r\n{body}\r\n"
    ).encode()
