"""Allowances and back-off, by a clock that is moved."""

from __future__ import annotations

from letterlock.host.allowance import Allowance
from letterlock.host.backoff import Backoff, BackoffSettings
from letterlock.host.clock import SetClock


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
