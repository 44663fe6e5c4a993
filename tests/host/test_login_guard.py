"""Who guesses waits ever longer, at every door; nobody else does."""

from __future__ import annotations

from letterlock.host.backoff import BackoffSettings
from letterlock.host.clock import SetClock
from letterlock.host.login_guard import LoginGuard, LoginGuardSettings

GUESSER, ADA_HOME = "192.0.2.7", "2001:db8:1:2::9"


class Held:
    """Remembers how long answers were held."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def test_answers_come_later_and_later() -> None:
    """The tarpit is the network's: another address of it waits as long, another network as if nothing had been."""
    held = Held()
    guard = LoginGuard(SetClock(), hold=held)
    for host in ("192.0.2.7", "192.0.2.8", "::ffff:192.0.2.9", "192.0.2.7", "192.0.2.7", "192.0.2.7", "203.0.113.1"):
        await guard.failed(host, "ada@rosewood.test")
    assert held.seconds == [0.5, 1, 2, 4, 8, 10, 0.5]
    guard.succeeded("192.0.2.7", "ada@rosewood.test")
    await guard.failed("192.0.2.7", "")
    assert held.seconds[-1] == 0.5


async def test_a_name_is_shut_for_strangers_only() -> None:
    """From everywhere guessed at, and still free for the network that used it with its password."""
    clock, held = SetClock(), Held()
    guard = LoginGuard(clock, LoginGuardSettings(user=BackoffSettings(free_failures=2, first_seconds=30)), hold=held)
    guard.succeeded(ADA_HOME, "Ada@rosewood.test")
    for number in range(3):
        await guard.failed(f"198.51.{number}.1", "ada@rosewood.test")
    assert guard.user_wait("ada@rosewood.test", GUESSER) == 30
    assert guard.user_wait("ADA@rosewood.test", "2001:db8:1:2::1") == 0
    assert guard.user_wait("bob@rosewood.test", GUESSER) == 0
    assert guard.network_wait("198.51.1.200") == 0
    clock.move(30)
    assert guard.user_wait("ada@rosewood.test", GUESSER) == 0


async def test_the_network_is_shut_at_every_door() -> None:
    """After the free failures, for twice as long each time."""
    held = Held()
    guard = LoginGuard(SetClock(), hold=held)
    for _ in range(5):
        await guard.failed(GUESSER, "x")
    assert guard.network_wait(GUESSER) == 0
    waits = []
    for _ in range(3):
        await guard.failed(GUESSER, "x")
        waits.append(guard.network_wait("192.0.2.250"))
    assert waits == [5, 10, 20]
    assert guard.network_wait("192.0.3.7") == 0


async def test_few_answers_are_held_at_a_time() -> None:
    """What is beyond comes at once: a tarpit must not hold us."""
    guard: LoginGuard
    depth = 0

    async def hold(_seconds: float) -> None:
        nonlocal depth
        depth += 1
        await guard.failed("203.0.113.1", "x")  # while this one is held

    guard = LoginGuard(SetClock(), LoginGuardSettings(most_held=3), hold=hold)
    await guard.failed(GUESSER, "x")
    assert depth == 3
