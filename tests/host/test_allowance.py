"""Allowances and back-off, by a clock that is moved."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from letterlock.host.allowance import Allowance
from letterlock.host.backoff import Backoff, BackoffSettings
from letterlock.host.clock import SetClock
from letterlock.host.notebook import Note


def test_a_bucket_empties_and_fills() -> None:
    """A burst, then a steady rate; keys do not touch each other; more than a bucket holds is never there."""
    clock = SetClock()
    allowance = Allowance(clock, burst=10, per_hour=3600)
    assert allowance.take("a", 10) == 0
    assert allowance.take("a", 2) == 2
    assert allowance.take("b", 10) == 0
    clock.move(2)
    assert allowance.take("a", 2) == 0
    assert allowance.take("a") == 1
    assert allowance.take("c", 11) == float("inf")
    clock.move(1000)
    assert allowance.take("a", 10) == 0
    assert allowance.take("a", 1) == 1


@given(
    st.lists(st.tuples(st.integers(1, 4), st.floats(0, 100), st.booleans()), min_size=1, max_size=60),
    st.integers(1, 10),
)
def test_no_more_than_the_bucket_and_what_flows_in(takes: list[tuple[int, float, bool]], burst: int) -> None:
    """In any stretch of time at most a burst and the rate, over restarts too; who waits as long as said gets what was asked."""
    clock = SetClock()
    allowance = Allowance(clock, burst=burst, per_hour=360)
    taken: list[tuple[float, int]] = []
    kept: dict[str, Note] = {}
    for tokens, pause, restarts in takes:
        clock.move(pause)
        for key, change in allowance.take_changes().items():
            kept[key] = allowance.joined(change, kept.get(key))
        if restarts:
            allowance = Allowance(clock, burst=burst, per_hour=360)
            for key, note in kept.items():
                allowance.learn(key, note)
        wait = allowance.wait_seconds("a", tokens)
        assert (allowance.take("a", tokens) > 0) == (wait > 0)
        if wait <= 0:
            taken.append((clock.now(), tokens))
        elif tokens <= burst:
            clock.move(wait + 0.001)
            assert allowance.take("a", tokens) == 0
            taken.append((clock.now(), tokens))
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            within = sum(tokens for _, tokens in taken[first : last + 1])
            assert within <= burst + (taken[last][0] - taken[first][0]) * 0.1 + 0.01


def test_failures_shut_a_key_ever_longer() -> None:
    """Free ones first, then doubled waits up to the longest; success and time wipe the slate."""
    clock = SetClock()
    backoff = Backoff(clock, BackoffSettings(free_failures=2, first_seconds=5, longest_seconds=15, forget_seconds=100))
    waits = []
    for _ in range(6):
        backoff.failed("a")
        waits.append(backoff.wait_seconds("a"))
    assert waits == [0, 0, 5, 10, 15, 15]
    assert backoff.wait_seconds("b") == 0
    assert backoff.wait_seconds("b", "a") == 15
    clock.move(15)
    assert backoff.wait_seconds("a") == 0
    backoff.failed("a")
    assert backoff.wait_seconds("a") == 15
    backoff.succeeded("a")
    assert backoff.wait_seconds("a") == 0
    for _ in range(3):
        backoff.failed("a")
    clock.move(101)
    backoff.failed("a")
    assert backoff.wait_seconds("a") == 0


def test_keys_are_bounded() -> None:
    """The least recently failed is forgotten."""
    backoff = Backoff(SetClock(), BackoffSettings(free_failures=0, most_keys=2))
    for key in "abc":
        backoff.failed(key)
    assert [backoff.wait_seconds(key) > 0 for key in "abc"] == [False, True, True]
