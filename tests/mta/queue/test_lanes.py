"""How wide a lane is, by how its destination bears it."""

from __future__ import annotations

from letterlock.formats.address import Address
from letterlock.formats.outcome import Outcome, Result
from letterlock.mta.queue.lanes import Lane

ADA = Address("ada", "harbor.test")
GOOD = [Outcome(ADA, Result.RELAYED, "2.0.0")]
LATER = [Outcome(ADA, Result.DEFERRED, "4.7.1", "451 4.7.1 greylisted")]
NO_USER = [Outcome(ADA, Result.FAILED, "5.1.1", "550 5.1.1 no")]
DOWN = [Outcome(ADA, Result.DEFERRED, "4.4.1", "no answer", about_host=True)]


def learn(lane: Lane, *ends: list[Outcome], now: float = 0.0) -> Lane:
    for outcomes in ends:
        lane.learn(outcomes, now, widest=20, peace_seconds=60)
    return lane


def test_a_lane_doubles_with_each_round_that_succeeds() -> None:
    """Slow start: four at first, one more for each success, up to the bound."""
    lane = Lane(4)
    widths = []
    for _ in range(4):
        learn(lane, *[GOOD] * int(lane.limit))
        widths.append(int(lane.limit))
    assert widths == [8, 16, 20, 20]


def test_what_is_said_of_a_message_is_no_failure_of_the_destination() -> None:
    for answer in (LATER, NO_USER):
        assert learn(Lane(4), *[answer] * 30).limit == 20


def test_a_failure_halves_and_the_first_of_an_unknown_destination_stops() -> None:
    lane = learn(Lane(4), DOWN)
    assert lane.limit == 2
    assert lane.hindrance(59) == DOWN[0]
    assert lane.hindrance(60) is None


def test_a_few_failures_among_successes_narrow_and_do_not_stop() -> None:
    lane = learn(Lane(4), *[GOOD] * 16, DOWN, DOWN)
    assert (lane.limit, lane.hindrance(0)) == (5, None)
    learn(lane, GOOD)
    assert lane.limit == 6
    learn(lane, *[DOWN] * 7)
    assert (lane.limit, lane.hindrance(0)) == (1, DOWN[0])


def test_a_success_ends_the_peace() -> None:
    assert learn(Lane(4), DOWN, GOOD).hindrance(0) is None
