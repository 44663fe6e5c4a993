"""The store in another process, as far as taking mail on needs it.

    async with RemoteStore(path) as store:
        receipt = await store.commit(transaction)

Promises: a connection that breaks is made again, and what was asked and not answered is asked again; a transaction
carries its id, so that one that became durable before the break is known (`repeated`) and not stored twice. Where the
other process stays away, whoever waits hears Unavailable: the client is told 451 and comes again.

See also: store/service.py (the other end), store/wire.py.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import cast

import msgspec

from letterlock.errors import Unavailable
from letterlock.store.directory import normalise
from letterlock.store.entries import pack, pack_transaction
from letterlock.store.interface import Mailbox, Receipt, Transaction, Usage
from letterlock.store.wire import ANSWER, REQUEST, Kind, unpack_answer

_PATIENCE_SECONDS = 30.0
_PAUSE_SECONDS = 0.1

_Asked = tuple[asyncio.Future[bytes], list[bytes]]


class RemoteStore:
    """A store behind the Unix socket at `path` (Intake of store/interface.py)."""

    def __init__(self, path: Path, *, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._path = path
        self._patience = patience_seconds
        self._waiting: dict[int, _Asked] = {}
        self._last = 0
        self._coming = 0
        self._channel: _Channel | None = None
        self._given_up = False
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> RemoteStore:
        """Connect, and stay connected. Raises Unavailable where nobody answers in time."""
        lost = await self._connect()
        self._keeping = asyncio.create_task(self._keep(lost), name="connection to the store")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        self._fail("the connection to the store was closed")
        if self._channel is not None:
            self._channel.close()

    def announce(self, change: int) -> None:
        """Say that so many more messages are on their way to `commit`, or fewer; told with the next request."""
        self._coming += change

    async def commit(self, transaction: Transaction) -> Receipt:
        """Take responsibility for a message."""
        for delivery in transaction.deliveries:
            normalise(delivery.mailbox)
        entry, octets = pack_transaction(transaction)
        receipt = unpack_answer(await self._ask(Kind.COMMIT, pack(entry), octets))
        assert isinstance(receipt, Receipt)
        return receipt

    async def usage(self, account: str) -> Usage:
        """Return what the account holds."""
        usage = unpack_answer(await self._ask(Kind.USAGE, msgspec.msgpack.encode([account])))
        assert isinstance(usage, Usage)
        return usage

    async def mailbox(self, account: str, name: str) -> Mailbox | None:
        """Return one mailbox with its counts, or None."""
        mailbox = unpack_answer(await self._ask(Kind.MAILBOX, msgspec.msgpack.encode([account, name])))
        assert mailbox is None or isinstance(mailbox, Mailbox)
        return mailbox

    async def _ask(self, kind: Kind, description: bytes, octets: tuple[bytes, ...] = ()) -> bytes:
        if self._given_up:
            raise Unavailable("the process with the store does not answer")
        number = self._last = self._last + 1
        header = REQUEST.pack(kind, len(description), sum(map(len, octets)), number, self._coming)
        request = [header + description, *octets]
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future, request
        if self._channel is not None:
            self._channel.send(request)
        try:
            return await future
        finally:
            self._waiting.pop(number, None)

    def _answered(self, number: int, description: bytes) -> None:
        asked = self._waiting.get(number)
        if asked is not None and not asked[0].done():
            asked[0].set_result(description)

    async def _connect(self) -> asyncio.Future[None]:
        """Connect, and ask again what was not answered; return what is done when the connection is lost."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._patience
        while True:
            try:
                _, channel = await loop.create_unix_connection(lambda: _Channel(self), str(self._path))
                break
            except OSError as error:
                if loop.time() > give_up and not self._given_up:
                    self._given_up = True
                    self._fail(f"the process with the store does not answer: {error.strerror}")
                    if self._keeping is None:
                        raise Unavailable(f"no store at {self._path}: {error.strerror}") from None
                await asyncio.sleep(_PAUSE_SECONDS)
        self._given_up = False
        self._channel = channel
        for _, request in self._waiting.values():
            channel.send(request)
        return channel.lost

    async def _keep(self, lost: asyncio.Future[None]) -> None:
        while True:
            await lost
            self._channel = None
            lost = await self._connect()

    def _fail(self, problem: str) -> None:
        for future, _ in self._waiting.values():
            if not future.done():
                future.set_exception(Unavailable(problem))


class _Channel(asyncio.Protocol):
    """One connection to the store."""

    def __init__(self, store: RemoteStore) -> None:
        self._store = store
        self._input = b""
        self._transport: asyncio.WriteTransport | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        octets, at = self._input + data, 0
        while len(octets) - at >= ANSWER.size:
            length, number = ANSWER.unpack_from(octets, at)
            end = at + ANSWER.size + length
            if len(octets) < end:
                break
            self._store._answered(number, octets[at + ANSWER.size : end])
            at = end
        self._input = octets[at:]

    def send(self, request: list[bytes]) -> None:
        """Send a request."""
        if self._transport is not None:
            self._transport.writelines(request)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()
