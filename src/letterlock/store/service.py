"""The store's door for front processes: a Unix socket at which they commit what they took.

    service = StoreService(store)
    await service.start(bound)        # a Unix socket from host/listen.py bind_unix

Whatever came in one read becomes one group in the log. A front that dies takes nothing with it: what it committed
stands, what it had not sent whole never was.

See also: store/remote.py (the other end), store/wire.py.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import cast

import msgspec

from letterlock.errors import Malformed, Unavailable
from letterlock.store.engine import LogStore
from letterlock.store.entries import Accepted, unpack
from letterlock.store.wire import REQUEST, Kind, pack_answer


class StoreService:
    """Serves one store to the processes that may open its socket."""

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self._server: asyncio.Server | None = None
        self._fronts: set[_Front] = set()

    async def start(self, bound: socket.socket) -> None:
        """Begin to serve on a bound Unix socket."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Front(self._store, self._fronts), sock=bound)

    async def stop(self) -> None:
        """Answer what was asked, and end. Fronts have stopped before."""
        if self._server is not None:
            self._server.close()
        for front in tuple(self._fronts):
            await front.end()


class _Front(asyncio.Protocol):
    """One front's connection."""

    def __init__(self, store: LogStore, fronts: set[_Front]) -> None:
        self._store = store
        self._fronts = fronts
        self._transport: asyncio.WriteTransport | None = None
        self._input = bytearray()
        self._under_way: set[asyncio.Future[object]] = set()
        self._coming = 0  # messages on their way here, as last heard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._fronts.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fronts.discard(self)
        self._expect(0)

    def data_received(self, data: bytes) -> None:
        self._input += data
        whole, at = memoryview(self._input), 0
        while len(whole) - at >= REQUEST.size:
            kind, description_length, length, number, coming = REQUEST.unpack_from(whole, at)
            start = at + REQUEST.size + description_length
            if len(whole) < start + length:
                break
            description = bytes(whole[at + REQUEST.size : start])
            at = start + length
            self._expect(coming)
            self._begin(kind, number, description, bytes(whole[start:at]))
        whole.release()
        del self._input[:at]

    def _expect(self, coming: int) -> None:
        self._store.announce(coming - self._coming)
        self._coming = coming

    def _begin(self, kind: int, number: int, description: bytes, octets: bytes) -> None:
        try:
            if kind == Kind.COMMIT:
                entry = unpack(description)
                if not isinstance(entry, Accepted):
                    raise Malformed("no transaction")
                future = self._store.begin(entry, description, (octets,))
            else:
                future = asyncio.ensure_future(self._ask(kind, *msgspec.msgpack.decode(description, type=list[str])))
        except Exception as problem:  # the border: whatever is wrong with one request is its answer
            self._say(number, problem)
            return
        self._under_way.add(future)
        future.add_done_callback(partial(self._done, number))

    async def _ask(self, kind: int, account: str, name: str = "") -> object:
        if kind == Kind.USAGE:
            return await self._store.usage(account)
        return await self._store.mailbox(account, name)

    def _done(self, number: int, future: asyncio.Future[object]) -> None:
        self._under_way.discard(future)
        if future.cancelled():
            self._say(number, Unavailable("the store is closing"))
        else:
            self._say(number, future.exception() or future.result())

    def _say(self, number: int, result: object) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(pack_answer(number, result))

    async def end(self) -> None:
        """Answer what is under way, and hang up."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        if self._transport is not None:
            self._transport.close()
