"""Nothing is left behind: whatever goes wrong beside an entry, it is tried again, and what was done is not done twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import apsw
import pytest

from fakes.queue_site import BEN, SETTINGS, Site, opened_site, outcomes, relayed, to
from letterlock.errors import Unavailable
from letterlock.formats.envelope import Envelope
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.logs import send_to
from letterlock.mta.outbound import Outbound
from letterlock.mta.queue.lanes import Errand
from letterlock.mta.queue.runner import RunnerSettings
from letterlock.mta.transfer import transfer_over
from letterlock.store import queue_rows
from letterlock.store.index import INDEX_NAME
from letterlock.store.interface import QueueFilter, Refusal, Refused


async def left(site: Site) -> list[str]:
    """Return the addresses that are still owed something."""
    entries = await site.store.queue(QueueFilter())
    return [str(owed.recipient.forward_path) for entry in entries for owed in entry.recipients]


async def test_what_a_host_took_is_not_sent_again_for_want_of_a_report_on_the_rest(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure comes back to be reported; those that were served are done with."""

    def answer(errand: Errand) -> Sequence[Outcome]:
        first, *rest = outcomes(errand, Result.RELAYED, "2.0.0", "250 Ok")
        failed = [replace(one, result=Result.FAILED, status="5.1.1", reply="550 no") for one in rest]
        return [first, *failed] if errand.entry.recipients[0].number == 0 else [replace(first, result=Result.FAILED)]

    site.answer = answer
    await site.queue("q", to("served@harbor.test"), to("gone@harbor.test"))

    async def unreadable(*_anything: object) -> bytes:
        raise Unavailable("reading failed")

    with monkeypatch.context() as patch:
        patch.setattr(site.store, "read", unreadable)
        await site.turn()
    assert await left(site) == ["gone@harbor.test"]
    assert await site.reports() == []
    site.clock.move(SETTINGS.retry_first_seconds)
    await site.turn()
    assert [len(errand.entry.recipients) for errand in site.errands] == [2, 1]
    (report,) = await site.reports()
    assert [str(one.final_recipient) for one in report.recipients] == ["rfc822; gone@harbor.test"]


async def test_an_entry_whose_octets_are_gone_though_it_is_owed_stays_in_sight(
    site: Site, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody dropped it: it is not forgotten in the middle of an attempt, but tried again, and the log says why."""
    await site.queue("q", to(BEN), to("x@harbor.test"), sender="a@example.test")
    agent = site.runner._agent
    deliver = agent.deliver

    async def gone(*_anything: object) -> object:
        raise Refused(Refusal.EXPUNGEISSUED)

    with monkeypatch.context() as patch:
        patch.setattr(agent, "deliver", gone)
        await site.turn()
    assert await left(site) == [BEN]
    assert agent.deliver == deliver
    assert [event["queue_id"] for event in map(json.loads, lines) if event["event"] == "dropped under way"] == ["q"]
    site.clock.move(SETTINGS.retry_first_seconds)
    await site.turn()
    assert await left(site) == []
    assert len(await site.inbox(BEN)) == 1


@pytest.mark.parametrize("seconds", [1, 100])
async def test_what_is_parked_is_fetched_though_the_clock_was_set_back(site: Site, seconds: float) -> None:
    """Not so far that anything would wait longer than usual: what was due when it was parked is due."""
    stay = asyncio.Event()

    async def transfer(errand: Errand) -> Sequence[Outcome]:
        site.errands.append(errand)
        await stay.wait()
        return relayed(errand)

    site.runner._transfer = transfer
    for number in range(30):  # mail its senders wished to be sent at this moment, and no sooner
        await site.queue(f"q{number}", to("a@harbor.test"))
    site.clock.move(10)
    await site.store.retry(QueueFilter(), site.clock.now())
    site.clock.move(10)
    task = asyncio.create_task(site.runner.run())
    async with asyncio.timeout(60):
        while await site.store.next_due() is not None:  # noqa: ASYNC110 - the runner takes and parks them
            await asyncio.sleep(0.001)
        site.clock.jump(-10 - seconds)
        stay.set()
        while await site.store.queue_size() != (0, 0):  # noqa: ASYNC110 - a task works
            await asyncio.sleep(0.001)
    await site.runner.stop()
    await task
    assert len(site.errands) == 30


async def test_a_destination_that_is_needed_no_more_is_forgotten(site: Site) -> None:
    """Also one that failed last: a server that meets a million dead domains does not remember them all."""
    site.answer = lambda errand: outcomes(errand, Result.DEFERRED, "4.4.1", "refused", about_host=True)
    for number in range(50):
        await site.queue(f"q{number}", to(f"a@d{number}.test"))
    for _ in range(4):
        await site.turn()
        site.clock.move(SETTINGS.retry_longest_seconds)
    assert site.runner.destinations()[1] == 0
    await site.store.drop(QueueFilter())
    site.clock.move(SETTINGS.peace_seconds + 1)
    await site.turn()
    assert site.runner.destinations() == (0, 0)


async def test_a_lane_as_narrow_as_can_be_gets_all_its_mail(tmp_path: Path) -> None:
    """One may wait: what is parked is fetched when that one has gone, and not looked for meanwhile."""
    async with opened_site(tmp_path, RunnerSettings(most_waiting=1, first_concurrency=1)) as site:
        asked = 0
        take_parked, gate = site.store.take_parked, asyncio.Event()

        async def counted(lane: str, now: float, limit: int) -> tuple[object, ...]:
            nonlocal asked
            asked += 1
            return await take_parked(lane, now, limit)

        async def transfer(errand: Errand) -> Sequence[Outcome]:
            site.errands.append(errand)
            if len(site.errands) > 1:
                await gate.wait()
            return relayed(errand)

        site.store.take_parked = counted  # type: ignore[method-assign,assignment]
        site.runner._transfer = transfer
        for number in range(10):
            await site.queue(f"q{number}", to("a@harbor.test"))
        task = asyncio.create_task(site.runner.run())
        async with asyncio.timeout(60):
            while await site.store.next_due() is not None or len(site.errands) < 2:  # noqa: ASYNC110 - so it does
                await asyncio.sleep(0.001)
            for _ in range(50):
                await site.store.queue_size()
            assert asked <= 5
            gate.set()
            while await site.store.queue_size() != (0, 0):  # noqa: ASYNC110 - a task works
                await asyncio.sleep(0.001)
        await site.runner.stop()
        await task
        assert len(site.errands) == 10


async def test_dropping_one_recipient_as_an_entry_is_taken_keeps_the_others_going(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator's command falls between the index's choice and our hearing of it."""
    await site.queue("q", to("a@harbor.test"), to("b@harbor.test"))
    ask = site.store._indexer.ask
    dropping: list[asyncio.Task[int]] = []

    async def slow_ask(question: object) -> object:
        answer = await ask(question)  # type: ignore[arg-type]
        if getattr(question, "func", None) is queue_rows.take_due and not dropping:
            dropping.append(asyncio.create_task(site.store.drop(QueueFilter(recipient="a@harbor.test"))))
            await dropping[0]
        return answer

    monkeypatch.setattr(site.store._indexer, "ask", slow_ask)
    await site.turn()
    assert await dropping[0] == 1
    assert await left(site) == []
    assert [str(one.recipient.forward_path) for e in site.errands for one in e.entry.recipients] == ["b@harbor.test"]


BROKEN = {
    "envelope": "UPDATE queue_entries SET envelope = x'00' WHERE queue_id = 'bad'",
    "details": "UPDATE queue_entries SET details = '[' WHERE queue_id = 'bad'",
    "no details": "UPDATE queue_entries SET details = '[]' WHERE queue_id = 'bad'",
    "demand": "UPDATE queue_recipients SET valid_since = 'x' WHERE domain = 'broken.test'",
    "wish": "UPDATE queue_recipients SET notify = 'x' WHERE domain = 'broken.test'",
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_one_row_that_cannot_be_read_keeps_nobody_waiting(tmp_path: Path, broken: str, site: Site) -> None:
    """It is said in the log and in the list, held until somebody lets it go, and then all of it goes."""
    logged: list[str] = []
    before = send_to(logged.append)
    await site.queue("bad", to("a@broken.test"), to("b@harbor.test"))
    for number in range(3):
        await site.queue(f"good{number}", to("a@example.test"))
    await site.store.queue_size()
    with closing(apsw.Connection(str(tmp_path / "store" / INDEX_NAME))) as connection:
        whole = connection.execute("SELECT envelope, details FROM queue_entries WHERE queue_id = 'bad'").fetchone()
        connection.execute(BROKEN[broken])
    await site.turn()
    send_to(before)
    sent = [str(one.recipient.forward_path) for errand in site.errands for one in errand.entry.recipients]
    partly = broken in ("demand", "wish")
    assert sorted(sent) == ["a@example.test"] * 3 + (["b@harbor.test"] if partly else [])
    (event,) = (event for event in map(json.loads, logged) if event["severity"] == "error")
    assert (event["event"], event["queue_id"]) == ("queue entry set aside", "bad")
    (entry,) = await site.store.queue(QueueFilter())
    assert entry.problem
    assert await site.store.queue_entry("bad") == entry
    assert await site.store.queue(QueueFilter(held=True)) == (entry,)
    assert await site.store.next_due() is None

    with closing(apsw.Connection(str(tmp_path / "store" / INDEX_NAME))) as connection:
        connection.execute("UPDATE queue_entries SET envelope = ?, details = ?", whole)
        connection.execute("UPDATE queue_recipients SET valid_since = '', notify = 6 WHERE number = 0")
    assert await site.store.hold(QueueFilter(queue_id="bad"), held=False) == (1 if partly else 2)
    await site.turn()
    assert await site.store.queue_size() == (0, 0)
    assert sorted(errand.destination for errand in site.errands) == ["broken.test"] + ["example.test"] * 3 + [
        "harbor.test"
    ]


async def test_a_past_answer_that_cannot_be_read_hinders_nothing(tmp_path: Path, site: Site) -> None:
    site.answer = lambda errand: outcomes(errand, Result.DEFERRED, "4.2.1", "450 Later")
    await site.queue("q", to("a@harbor.test"))
    await site.turn()
    await site.store.queue_size()
    with closing(apsw.Connection(str(tmp_path / "store" / INDEX_NAME))) as connection:
        connection.execute("UPDATE queue_recipients SET last = x'00'")
        connection.execute("UPDATE queue_attempts SET attempt = x'00'")
    assert await site.store.attempts("q") == ()
    site.answer = relayed
    site.clock.move(SETTINGS.retry_longest_seconds)
    await site.turn()
    assert await site.store.queue_size() == (0, 0)


async def test_a_few_destinations_that_hang_leave_room_for_all_others(tmp_path: Path) -> None:
    """However many messages wait for them; and all of these go when they are back."""
    async with opened_site(tmp_path, RunnerSettings(most_taken=100, most_waiting=10)) as site:
        stay, other = asyncio.Event(), asyncio.Event()

        async def transfer(errand: Errand) -> Sequence[Outcome]:
            site.errands.append(errand)
            if errand.destination == "example.test":
                other.set()
            else:
                await stay.wait()
            return relayed(errand)

        site.runner._transfer = transfer
        for number in range(20):
            for slow in range(8):
                await site.queue(f"q{number}-{slow}", to(f"a@hangs{slow}.test"))
        await site.queue("z", to("a@example.test"))
        task = asyncio.create_task(site.runner.run())
        async with asyncio.timeout(60):
            await other.wait()
            stay.set()
            while await site.store.queue_size() != (0, 0):  # noqa: ASYNC110 - a task works
                await asyncio.sleep(0.001)
        await site.runner.stop()
        await task
        assert len(site.errands) == 161


class Takes:
    """A way out that takes everything."""

    async def deliver(self, envelope: Envelope, _content: bytes, **_more: object) -> Sequence[Outcome]:
        return [Outcome(one.forward_path, Result.RELAYED, "2.0.0") for one in envelope.recipients]


async def test_a_message_dropped_before_its_turn_is_no_trouble_and_one_whose_octets_are_gone_is(
    site: Site, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads the log is not alarmed by what an operator wished."""
    transfer = transfer_over(cast(Outbound, Takes()), site.store)
    is_dropping = True

    async def late(errand: Errand) -> Sequence[Outcome]:
        if is_dropping:
            await site.store.drop(QueueFilter(queue_id=errand.entry.queue_id))
            await site.store.queue_size()
        return await transfer(errand)

    site.runner._transfer = late
    await site.queue("dropped", to("a@harbor.test"))
    await site.turn()
    assert await site.store.queue_size() == (0, 0)
    assert [json.loads(line)["event"] for line in lines] == ["dropped under way"]
    assert site.store._state.taken == {}

    is_dropping = False
    await site.queue("gone", to("a@harbor.test"))

    async def gone(*_anything: object) -> bytes:
        raise Refused(Refusal.EXPUNGEISSUED)

    monkeypatch.setattr(site.store, "read", gone)
    await site.turn()
    assert await left(site) == ["a@harbor.test"]
    (event,) = (event for event in map(json.loads, lines) if event["severity"] == "error")
    assert (event["event"], event["queue_id"]) == ("attempt abandoned", "gone")
