"""The guard of every door where passwords are shown: SMTP submission, IMAP and POP3 ask the same one.

    guard = LoginGuard(clock)
    if (wait := guard.network_wait(host)): ...         the whole network has to wait
    if (wait := guard.user_wait(user, host)): ...      this name was guessed at too often, by strangers
    await guard.failed(host, user)                     counts, and returns only when the answer may be given
    guard.succeeded(host, user)
    if guard.enter(account): ... guard.leave(account)   how many sessions an account has at a time

Three things slow a guesser, and nobody else. Answers to wrong passwords come late, each of a network later than the one
before (a tarpit: it costs us a timer). From some failure on the network is shut for a while, at every door. A name that is
guessed at from many networks is shut for strangers, never for the networks from which it was used with its password. An
unknown name is treated as a known one is, so nobody learns which names there are.

What it knows is kept over restarts (host/notebook.py); it keeps names as they were tried, so its file is the server's own.

Standards: RFC 4954 section 9, RFC 9051 section 11.7 (slowing down and limiting attempts).
Limits: a network is an IPv4 /24 or an IPv6 /64; at most `most_held` answers are held back at a time, what is beyond comes
at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from letterlock.host.backoff import Backoff, BackoffSettings
from letterlock.host.clock import Clock
from letterlock.host.familiar import Familiar
from letterlock.host.listen import ConnectionLimits
from letterlock.host.notebook import Book

_NETWORKS = ConnectionLimits(ipv4_prefix=24, ipv6_prefix=64)  # who guesses rarely has one address only
_LONGEST_NAME = 320


@dataclass(frozen=True, slots=True)
class LoginGuardSettings:
    """`first_delay_seconds` is how late the answer to a network's first wrong password is; it doubles up to the longest.

    `most_sessions` is how many one account may have at a time, all doors of a process together.
    """

    network: BackoffSettings = field(default_factory=BackoffSettings)
    user: BackoffSettings = field(default_factory=lambda: BackoffSettings(free_failures=20, first_seconds=30))
    first_delay_seconds: float = 0.5
    longest_delay_seconds: float = 10
    most_held: int = 500
    most_sessions: int = 100


class LoginGuard:
    """One guard for all doors. `hold` is how it waits: asyncio.sleep, or whatever a test puts in its place."""

    def __init__(
        self,
        clock: Clock,
        settings: LoginGuardSettings | None = None,
        *,
        hold: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings or LoginGuardSettings()
        self._hold = hold
        self._held = 0
        self._sessions: Counter[str] = Counter()
        self.networks = Backoff(clock, self._settings.network, name="login networks")
        self.users = Backoff(clock, self._settings.user, name="login users")
        self._familiar = Familiar(clock, name="login familiar")

    @property
    def books(self) -> tuple[Book, ...]:
        """What is to be kept."""
        return (self.networks, self.users, self._familiar)

    def network_wait(self, host: str) -> float:
        """Return how many seconds the client's network has to wait before the next try, 0 for none."""
        return self.networks.wait_seconds(_NETWORKS.network(host))

    def user_wait(self, user: str, host: str) -> float:
        """Return how many seconds a name is shut for this client, 0 for none."""
        name = _name(user)
        wait = self.users.wait_seconds(name)
        return 0.0 if wait <= 0 or self._familiar.knows(_pair(name, host)) else wait

    def succeeded(self, host: str, user: str) -> None:
        """Clean the network's slate, and remember that it and the name belong together."""
        self.networks.succeeded(_NETWORKS.network(host))
        self._familiar.seen(_pair(_name(user), host))

    def forgive(self, who: str) -> bool:
        """Clean the slate of a user name, or of the network of an IP address; tell whether there was anything on it."""
        network = _NETWORKS.network(who.partition("/")[0])
        backoff, key = (self.networks, network) if network else (self.users, _name(who))
        had_failures = backoff.failures(key) > 0
        backoff.succeeded(key)
        return had_failures

    def enter(self, account: str) -> bool:
        """Count a session of an account, unless it has too many."""
        if self._sessions[account] >= self._settings.most_sessions:
            return False
        self._sessions[account] += 1
        return True

    def leave(self, account: str) -> None:
        """Forget a session that was counted."""
        self._sessions[account] -= 1
        if self._sessions[account] <= 0:
            del self._sessions[account]

    async def failed(self, host: str, user: str) -> None:
        """Count a failure, and return when it may be answered. `user` is empty where no name was given."""
        network = _NETWORKS.network(host)
        self.networks.failed(network)
        if user:
            self.users.failed(_name(user))
        settings = self._settings
        if self._held >= settings.most_held:
            return
        doublings = min(self.networks.failures(network) - 1, 30)
        seconds = min(settings.first_delay_seconds * 2.0**doublings, settings.longest_delay_seconds)
        if seconds > 0:
            self._held += 1
            try:
                await self._hold(seconds)
            finally:
                self._held -= 1


def _name(user: str) -> str:
    return user.lower()[:_LONGEST_NAME]


def _pair(name: str, host: str) -> str:
    return f"{_NETWORKS.network(host)} {name}"
