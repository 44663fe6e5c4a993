"""Connections that served and may serve again, each for a moment, under the demand it was opened for.

See also: mta/outbound.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from letterlock.host.smtp_client import SmtpClient
from letterlock.host.stream import Endpoint

_CLOSING_SECONDS = 2.0

Key = tuple[str, Endpoint, str]  # the host's name, its address, and the label of what was demanded of its TLS


class Connection:
    """A connection to `key`; `messages` have gone over it."""

    def __init__(self, client: SmtpClient, key: Key) -> None:
        self.client = client
        self.key = key
        self.messages = 0
        self.timer: asyncio.TimerHandle | None = None


class Pool:
    """The connections that wait. Close it when done."""

    def __init__(self, *, messages: int, idle_seconds: float) -> None:
        self.messages = messages
        self.idle_seconds = idle_seconds
        self._idle: dict[Key, list[Connection]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """How many connections wait."""
        return sum(map(len, self._idle.values()))

    def take(self, name: str, endpoints: Iterable[Endpoint], label: str) -> Connection | None:
        """Return a connection to one of a host's addresses, the one used last, or None."""
        for endpoint in endpoints:
            waiting = self._idle.get((name, endpoint, label))
            while waiting:
                connection = waiting.pop()
                if not waiting:
                    self._idle.pop(connection.key, None)
                if connection.timer is not None:
                    connection.timer.cancel()
                stream = connection.client.stream
                if not (stream.is_lost or stream.has_input):
                    return connection
                stream.abort()
        return None

    def keep(self, connection: Connection) -> None:
        """Let a connection wait for its next message, or take leave if it has served enough."""
        connection.messages += 1
        if connection.messages >= self._most(connection) or self.idle_seconds <= 0:
            self.leave(connection.client)
            return
        loop = asyncio.get_running_loop()
        connection.timer = loop.call_later(self.idle_seconds, self._expire, connection)
        self._idle.setdefault(connection.key, []).append(connection)

    def bears_another(self, connection: Connection) -> bool:
        """Tell whether a connection may carry a message more behind the one that is under way."""
        return connection.messages + 1 < self._most(connection) and self.idle_seconds > 0

    def _most(self, connection: Connection) -> int:
        return min(connection.client.offer.message_limit or self.messages, self.messages)  # RFC 9422: MAILMAX

    async def close(self) -> None:
        """Take leave on every connection that waits; hosts that do not answer that soon are left without."""
        for connections in list(self._idle.values()):
            for connection in connections:
                if connection.timer is not None:
                    connection.timer.cancel()
                self.leave(connection.client)
        self._idle.clear()
        if self._leaving:  # RFC 5321 section 4.1.1.10: the answer to QUIT should be waited for, not for ever
            await asyncio.wait(self._leaving, timeout=_CLOSING_SECONDS)
        rest = set(self._leaving)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def _expire(self, connection: Connection) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._idle[connection.key].remove(connection)
        if not self._idle.get(connection.key):
            self._idle.pop(connection.key, None)
        self.leave(connection.client)

    def leave(self, client: SmtpClient) -> None:
        """Say QUIT, in the background: nobody waits for that."""
        task = asyncio.get_running_loop().create_task(client.quit())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
