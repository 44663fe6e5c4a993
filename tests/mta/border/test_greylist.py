"""Greylisting, by a clock that is moved."""

from __future__ import annotations

from pathlib import Path

from letterlock.host.clock import SetClock
from letterlock.host.logs import Log
from letterlock.host.notebook import Notebook
from letterlock.mta.border.greylist import Greylist, GreylistSettings

ROSE, ADA = "rose@harbor.test", "ada@rosewood.test"


def test_who_comes_again_is_taken_and_known() -> None:
    """From another host of the network too, and then for every sender and recipient."""
    clock = SetClock()
    greylist = Greylist(clock)
    assert greylist.wait_seconds("192.0.2.1", ROSE, ADA) == 300
    clock.move(100)
    assert greylist.wait_seconds("192.0.2.1", ROSE, ADA) == 200
    assert greylist.wait_seconds("192.0.2.1", "x@harbor.test", ADA) == 300
    assert greylist.wait_seconds("192.0.3.1", ROSE, ADA) == 300
    clock.move(200)
    assert greylist.wait_seconds("192.0.2.77", ROSE.upper(), ADA) == 0
    assert greylist.wait_seconds("192.0.2.78", "new@harbor.test", "bob@rosewood.test") == 0
    assert greylist.wait_seconds("2001:db8:0:1::1", ROSE, ADA) == 300
    clock.move(300)
    assert greylist.wait_seconds("2001:db8:0:1:ffff::1", ROSE, ADA) == 0
    assert greylist.wait_seconds("2001:db8:0:2::1", ROSE, ADA) == 300


def test_who_comes_too_late_is_new_again() -> None:
    """After the window, and a network that was silent for long."""
    clock = SetClock()
    greylist = Greylist(clock, GreylistSettings(wait_seconds=10, window_seconds=100, known_seconds=1000))
    assert greylist.wait_seconds("192.0.2.1", ROSE, ADA) == 10
    clock.move(100)
    assert greylist.wait_seconds("192.0.2.1", ROSE, ADA) == 10
    clock.move(10)
    assert greylist.wait_seconds("192.0.2.1", ROSE, ADA) == 0
    clock.move(1000)
    assert greylist.wait_seconds("192.0.2.1", ROSE, ADA) == 10


def test_who_writes_all_the_time_stays_known() -> None:
    """What is known is known for so long after it was last seen."""
    clock = SetClock()
    greylist = Greylist(clock, GreylistSettings(wait_seconds=10, known_seconds=10_000))
    greylist.wait_seconds("192.0.2.1", ROSE, ADA)
    clock.move(10)
    for _ in range(5):
        assert greylist.wait_seconds("192.0.2.1", ROSE, ADA) == 0
        clock.move(8_000)


async def test_it_outlives_a_restart(tmp_path: Path) -> None:
    """Who was asked to come again finds that remembered, and who is known stays so."""
    clock = SetClock()
    for expected in (300, 0, 0):
        notebook = Notebook.open(tmp_path / "notes", clock=clock, log=Log("border"))
        greylist = Greylist(clock)
        notebook.keep(*greylist.books)
        assert greylist.wait_seconds("192.0.2.1", ROSE, ADA) == expected
        await notebook.close()
        clock.move(400)


def test_a_clock_set_back_asks_once_more() -> None:
    """Never longer than one wait."""
    clock = SetClock()
    greylist = Greylist(clock)
    greylist.wait_seconds("192.0.2.1", ROSE, ADA)
    clock.move(-86_400)
    assert greylist.wait_seconds("192.0.2.1", ROSE, ADA) == 300
    clock.move(300)
    assert greylist.wait_seconds("192.0.2.1", ROSE, ADA) == 0
