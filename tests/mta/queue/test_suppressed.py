"""Addresses nothing is sent to: what hosts said, what an operator listed, and that both outlive a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from letterlock.errors import Malformed
from letterlock.formats.address import Address
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import SetClock
from letterlock.host.logs import Log, send_to
from letterlock.mta.queue.suppressed import Suppressions, SuppressionSettings, outcome_of

ANNA, BEN = Address.parse("anna@rosewood.test"), Address.parse("ben@other.test")
GONE = Address.parse("gone@harbor.test")
DAY = 86_400.0


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = send_to(lambda _line: None)
    yield
    send_to(before)


def answer(result: Result = Result.FAILED, status: str = "5.1.1", host: str = "mx.harbor.test") -> list[Outcome]:
    return [Outcome(GONE, result, status, f"550 {status} no", host=host)]


def made(clock: SetClock, file: Path | None = None, **settings: float) -> Suppressions:
    return Suppressions(clock, Log("test"), file=file, settings=SuppressionSettings(**settings))  # type: ignore[arg-type]


async def test_an_address_that_is_not_there_is_suppressed_at_the_third_answer(tmp_path: Path) -> None:
    """For a while, for everybody, over restarts; and the reason is what its host said."""
    clock = SetClock()
    known = made(clock, tmp_path / "s", bounces=3, seconds=DAY)
    for _ in range(2):
        await known.learn(answer())
        assert known.find(ANNA, GONE) is None
    known = made(clock, tmp_path / "s", bounces=3, seconds=DAY)
    await known.learn(answer())
    for again in (known, made(clock, tmp_path / "s", bounces=3, seconds=DAY)):
        for sender in (ANNA, BEN, None):
            entry = again.find(sender, GONE)
            assert entry is not None
            assert (entry.reason, entry.bounces) == ("550 5.1.1 no", 3)
        assert again.find(ANNA, Address.parse("other@harbor.test")) is None
    clock.move(DAY + 1)
    assert known.find(ANNA, GONE) is None
    assert made(clock, tmp_path / "s").entries() == ()


async def test_a_success_between_clears_the_count() -> None:
    known = made(SetClock(), bounces=2)
    for _ in range(3):
        await known.learn(answer())
        await known.learn(answer(Result.RELAYED, "2.0.0"))
    assert known.find(ANNA, GONE) is None


@pytest.mark.parametrize(
    "said",
    [
        answer(status="5.7.1"),
        answer(status="5.2.2"),
        answer(Result.DEFERRED, "4.1.1"),
        answer(host=""),
    ],
)
async def test_other_refusals_do_not_count(said: list[Outcome]) -> None:
    """A policy, a full mailbox, a delay, and what no host said but we."""
    known = made(SetClock(), bounces=1)
    await known.learn(said)
    assert known.find(ANNA, GONE) is None


async def test_an_operator_lists_addresses_and_domains_for_all_or_some_senders(tmp_path: Path) -> None:
    clock = SetClock()
    known = made(clock, tmp_path / "s")
    await known.add("GONE@harbor.test", sender="rosewood.test", reason="complained")
    await known.add("dead.test", seconds=DAY)
    known = made(clock, tmp_path / "s")
    found = known.find(ANNA, GONE)
    assert found is not None
    assert outcome_of(found, GONE).status == "5.7.1"
    assert "complained" in outcome_of(found, GONE).reply
    assert known.find(BEN, GONE) is None
    assert known.find(None, GONE) is None
    assert known.find(BEN, Address.parse("x@dead.test")) is not None
    assert [entry.recipient for entry in known.entries()] == ["dead.test", "gone@harbor.test"]
    clock.move(DAY)
    assert known.find(BEN, Address.parse("x@dead.test")) is None
    assert not await known.remove("gone@harbor.test")
    assert await known.remove("gone@harbor.test", sender="rosewood.test")
    assert made(clock, tmp_path / "s").entries() == ()


async def test_an_operator_s_entry_is_not_changed_by_answers() -> None:
    known = made(SetClock(), bounces=1)
    await known.add(str(GONE))
    await known.learn(answer(Result.RELAYED, "2.0.0"))
    assert known.find(ANNA, GONE) is not None


async def test_what_is_no_address_is_refused() -> None:
    known = made(SetClock())
    for text in ("", "@", "a b@c.test", "x@", "no such\r\nthing"):
        with pytest.raises(Malformed):
            await known.add(text)


async def test_a_damaged_file_keeps_no_mail_back(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"rubbish" * 1000)
    known = made(SetClock(), tmp_path / "s")
    await known.add(str(GONE))
    assert known.find(ANNA, GONE) is not None
