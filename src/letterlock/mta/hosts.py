"""What is known of other hosts' addresses: how many connections each bears, which do not answer, which are slow.

Promises: a host that refused or did not answer is not asked again by each message that is for it, but after a while; what
it said then is the answer meanwhile. A host that refuses one more connection while others serve is not down: it is used
over as many as it bore. What a host says of a message or a recipient is never remembered here.

Limits: 10,000 addresses; those nobody uses and of which nothing bad is known are forgotten first.
See also: mta/outbound.py, which asks and tells; RFC 5321 section 4.5.4.1 (hosts that are down).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType

from letterlock.host.smtp_client import Follower
from letterlock.host.stream import Endpoint
from letterlock.mta.pool import Connection, Key
from letterlock.protocols.smtp.client import Transfer

_MOST_HOSTS = 10_000
_MOST_LOOKED_AT = 5  # of those that wait, for one that can be taken along


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an address is not used before `until` (seconds of the event loop's clock), as an outcome says it."""

    until: float
    status: str
    reason: str


@dataclass(slots=True)
class KnownHost:
    """One address of a host. `failures` are by what was demanded of its TLS, "" for any demand."""

    endpoint: Endpoint
    limit: int
    active: int = 0
    failures: dict[str, Failure] = field(default_factory=dict)
    slow_until: float = 0.0
    limited_until: float = 0.0
    waiting: deque[Place] = field(default_factory=deque)

    def failure(self, label: str, now: float) -> Failure | None:
        """Return why it cannot be used under a demand now, if so."""
        if not self.failures:
            return None
        for known in ("", label):
            found = self.failures.get(known)
            if found is not None and found.until > now:
                return found
        return None

    def served(self) -> None:
        """Take note that it answered as it should."""
        self.failures.clear()

    def leave(self) -> None:
        """Give a connection's place back."""
        self.active -= 1
        while self.waiting and self.active < self.limit:
            turn = self.waiting.popleft().turn
            if turn is not None and not turn.done():
                turn.set_result(None)
                break


class Place:
    """One connection's place at a host: `async with Place(hosts, host) as place`. It may move to another address.

    With `key` and `transfer`, a message that waits for a place may be taken along instead: then `passed` is the connection
    to `key` and what was begun on it, and the place comes with it when the message before has its answer.
    """

    def __init__(
        self, hosts: Hosts, host: KnownHost, *, key: Key | None = None, transfer: Transfer | None = None
    ) -> None:
        self.host = host
        self.key = key
        self.transfer = transfer
        self.turn: asyncio.Future[None] | None = None
        self.passed: tuple[Connection, Follower] | None = None
        self.heir: Place | None = None
        self._hosts = hosts
        self._is_taken = False
        self._is_over = False

    async def __aenter__(self) -> Place:
        """Wait until the host has a place free, or another message takes this one along."""
        try:
            await self._hosts.enter(self)
        except asyncio.CancelledError:
            self._is_over = True
            if self.passed is not None:
                self.passed[0].client.stream.abort()  # nobody would go on with what was begun
            if self._is_taken:
                self.host.leave()
            raise
        if self.passed is None:  # else the place comes with the answer to the one before, and may be ours by now
            self._is_taken = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the place back, or on to the message that was taken along."""
        self._is_over = True
        if not self._is_taken:
            return
        if self.heir is None or not self.heir._inherit(self.host):
            self.host.leave()

    def _inherit(self, host: KnownHost) -> bool:
        """Take the place of the message before at a host; tell whether there is use for it."""
        if (
            self._is_over or self._is_taken or self.host is not host
        ):  # where that one went on elsewhere, so did its place
            return False
        self._is_taken = True
        return True

    def next_for(self, key: Key) -> Place | None:
        """Return the place of a message that waits and may go over a connection to `key`, or None."""
        for place in itertools.islice(self.host.waiting, _MOST_LOOKED_AT):
            if place.key == key and place.transfer is not None and place.turn is not None and not place.turn.done():
                return place
        return None

    def take_along(self, other: Place, connection: Connection, follower: Follower) -> None:
        """Let the message of a place that waits follow ours on its connection."""
        assert other.turn is not None
        self.host.waiting.remove(other)
        self.heir = other
        other.passed = connection, follower
        other.turn.set_result(None)

    def has_passed_on(self, connection: Connection) -> bool:
        """Tell whether another message goes on over our connection."""
        return self.heir is not None and self.heir.passed is not None and self.heir.passed[0] is connection

    def move_to(self, other: KnownHost) -> None:
        """Take a place at another address in place of this one, without waiting."""
        if other is not self.host:
            if self._is_taken:
                self.host.leave()
            other.active += 1
            self.host, self._is_taken = other, True


class Hosts:
    """The addresses known. `elapsed` gives seconds that only grow."""

    def __init__(self, elapsed: Callable[[], float], *, connections: int, memory_seconds: float) -> None:
        self.connections = connections
        self.memory_seconds = memory_seconds
        self._elapsed = elapsed
        self._known: dict[Endpoint, KnownHost] = {}

    @property
    def active(self) -> int:
        """How many connections are in use, to all of them."""
        return sum(host.active for host in self._known.values())

    def known(self, endpoint: Endpoint) -> KnownHost:
        """Return what is known of an address."""
        host = self._known.get(endpoint)
        if host is None:
            if len(self._known) >= _MOST_HOSTS:
                self._make_way()
            host = self._known[endpoint] = KnownHost(endpoint, self.connections)
        return host

    def usable(self, endpoints: Iterable[Endpoint], label: str) -> tuple[list[KnownHost], Failure | None]:
        """Return the addresses to try under a demand, slow ones last, and the last failure of those left out."""
        now = self._elapsed()
        usable: list[KnownHost] = []
        failure = None
        for endpoint in endpoints:
            host = self.known(endpoint)
            failed = host.failure(label, now)
            if failed is None:
                usable.append(host)
            failure = failed or failure
        if len(usable) > 1:
            usable.sort(key=lambda host: host.slow_until > now)
        return usable, failure

    def failed(self, host: KnownHost, label: str, status: str, reason: str) -> None:
        """Remember that an address cannot be used under a demand, "" for any."""
        host.failures[label] = Failure(self._elapsed() + self.memory_seconds, status, reason)

    def slow(self, host: KnownHost) -> None:
        """Remember that another address of the same host was faster."""
        host.slow_until = self._elapsed() + self.memory_seconds

    def bears_no_more(self, host: KnownHost) -> bool:
        """Take note that a connection beside others was refused; tell whether it is worth waiting for one of them."""
        others = host.active - 1
        if others < 1:
            return False
        host.limit = min(host.limit, others)
        host.limited_until = self._elapsed() + self.memory_seconds
        return True

    async def enter(self, place: Place) -> None:
        """Wait until a connection more may be used, or the message was taken along."""
        host = place.host
        if host.limited_until and host.limited_until <= self._elapsed():
            host.limit, host.limited_until = self.connections, 0.0
        while host.active >= host.limit:
            place.turn = asyncio.get_running_loop().create_future()
            host.waiting.append(place)
            try:
                await place.turn
            except asyncio.CancelledError:
                if place.passed is None:
                    host.active += 1  # it may have been our turn: pass it on
                    host.leave()
                raise
            if place.passed is not None:
                return
        host.active += 1

    def forget_failures(self) -> None:
        """Forget what went wrong: somebody says that it is right again."""
        for host in self._known.values():
            host.failures.clear()
            host.limit, host.limited_until = self.connections, 0.0

    def _make_way(self) -> None:
        """Forget a tenth, those without a failure that counts first, so that this happens seldom."""
        now = self._elapsed()
        idle = [host for host in self._known.values() if not host.active and not host.waiting]
        idle.sort(key=lambda host: any(one.until > now for one in host.failures.values()))
        for host in idle[: _MOST_HOSTS // 10]:
            del self._known[host.endpoint]
