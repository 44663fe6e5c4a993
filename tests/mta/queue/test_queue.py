"""mta/queue: attempts, retries, expiry and the reports they lead to, over the real store and a scripted network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.queue_site import ANNA, BEN, BODY, SETTINGS, Site, outcomes, relayed, to
from letterlock.errors import Unavailable
from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Notify, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.entropy import SeededEntropy
from letterlock.host.logs import Log
from letterlock.mta.queue.lanes import Errand
from letterlock.mta.queue.runner import RunnerSettings
from letterlock.mta.queue.schedule import next_attempt, wait_seconds
from letterlock.mta.queue.suppressed import Suppressions, SuppressionSettings
from letterlock.store.engine import StoreSettings, open_store
from letterlock.store.interface import Queued, QueueFilter, Transaction

# schedule


def test_waits_grow_to_a_bound_and_never_coincide() -> None:
    entropy = SeededEntropy()
    for attempts, wait in ((1, 300), (2, 600), (3, 1200), (5, 3600), (1000, 3600)):
        waits = {wait_seconds(SETTINGS, attempts, entropy) for _ in range(50)}
        assert len(waits) == 50
        assert all(wait * 0.8 <= one <= wait * 1.2 for one in waits)


def test_the_last_attempt_is_made_at_expiry() -> None:
    assert next_attempt(SETTINGS, 50, 1000.0, 1010.0, SeededEntropy()) == 1010.0
    assert next_attempt(SETTINGS, 50, 1000.0, 900.0, SeededEntropy()) > 1000.0 + 3600 * 0.8


# attempts


async def test_a_message_goes_to_each_destination_once(site: Site) -> None:
    await site.queue("q", to("a@harbor.test"), to("b@harbor.test"), to("c@example.test"))
    await site.turn()
    errands = {errand.destination: errand.entry.envelope.recipients for errand in site.errands}
    assert errands == {
        "harbor.test": (to("a@harbor.test"), to("b@harbor.test")),
        "example.test": (to("c@example.test"),),
    }
    assert await site.store.queue_size() == (0, 0)
    assert await site.reports() == []


async def test_a_route_sends_everything_one_way(site: Site) -> None:
    await site.queue("q", to("a@harbor.test"), to("c@example.test"), route="[192.0.2.1]:26")
    await site.turn()
    assert [errand.destination for errand in site.errands] == ["[192.0.2.1]:26"]


async def test_a_deferred_recipient_is_tried_again_and_its_history_kept(site: Site) -> None:
    site.answer = lambda errand: outcomes(errand, Result.DEFERRED, "4.2.1", "450 4.2.1 Later")
    await site.queue("q", to("a@harbor.test"))
    for attempt in range(1, 4):
        await site.turn()
        entry = await site.store.queue_entry("q")
        assert entry is not None
        (recipient,) = entry.recipients
        assert recipient.attempts == attempt
        assert recipient.next_attempt > site.clock.now()
        site.clock.move(recipient.next_attempt - site.clock.now())
    assert [one.outcome.reply for one in await site.store.attempts("q")] == ["450 4.2.1 Later"] * 3
    site.answer = relayed
    await site.turn()
    assert await site.store.queue_entry("q") is None


async def test_a_final_failure_is_reported_to_the_sender_at_once(site: Site) -> None:
    site.answer = lambda errand: outcomes(errand, Result.FAILED, "5.1.1", "550 5.1.1 No such user")
    await site.queue("q", to("a@harbor.test", original="rfc822;A.Old@harbor.test"))
    await site.turn()
    assert await site.store.queue_size() == (0, 0)
    (report,) = await site.reports()
    (recipient,) = report.recipients
    assert str(report.reporting_mta) == "dns; mail.rosewood.test"
    assert (recipient.action.value, recipient.status) == ("failed", "5.1.1")
    assert str(recipient.final_recipient) == "rfc822; a@harbor.test"
    assert str(recipient.original_recipient) == "rfc822; A.Old@harbor.test"
    assert str(recipient.remote_mta) == "dns; mx.harbor.test"
    assert str(recipient.diagnostic) == "smtp; 550 5.1.1 No such user"
    (octets,) = await site.inbox(ANNA)
    assert BODY in octets


async def test_failures_of_one_attempt_share_a_report(site: Site) -> None:
    site.answer = lambda errand: outcomes(errand, Result.FAILED, "5.1.1", "550 no")
    await site.queue("q", to("a@harbor.test"), to("b@harbor.test"), to("silent@harbor.test", Notify.NEVER))
    await site.turn()
    (report,) = await site.reports()
    assert [str(one.final_recipient) for one in report.recipients] == ["rfc822; a@harbor.test", "rfc822; b@harbor.test"]


async def test_nobody_is_told_where_nobody_can_be_told(site: Site) -> None:
    """RFC 5321 section 4.5.5: no report about a report; and none to an address of ours that is not there."""
    site.answer = lambda errand: outcomes(errand, Result.FAILED, "5.1.1", "550 no")
    await site.queue("q1", to("a@harbor.test"), sender=None)
    await site.queue("q2", to("a@harbor.test"), sender="gone@rosewood.test")
    await site.turn()
    assert await site.store.queue_size() == (0, 0)
    assert await site.reports() == []


async def test_a_report_for_elsewhere_is_queued_with_the_null_reverse_path(site: Site) -> None:
    site.answer = lambda errand: (
        outcomes(errand, Result.DEFERRED, "4.4.1", "no route")
        if errand.entry.envelope.reverse_path is None
        else outcomes(errand, Result.FAILED, "5.7.1", "550 no")
    )
    await site.queue("q", to("a@harbor.test"), sender="x@example.test")
    await site.turn()
    (entry,) = await site.store.queue(QueueFilter())
    assert entry.envelope.reverse_path is None
    assert entry.envelope.recipients == (to("x@example.test", Notify.NEVER),)


async def test_a_late_message_is_reported_once_then_expires_with_a_failure(site: Site) -> None:
    site.answer = lambda errand: outcomes(errand, Result.DEFERRED, "4.2.1", "450 Later")
    await site.queue("q", to("a@harbor.test"))
    actions: list[str] = []
    for _ in range(60):
        await site.turn()
        due = await site.store.next_due()
        if due is None:
            break
        site.clock.move(max(due - site.clock.now(), 0))
    actions = [one.recipients[0].action.value for one in await site.reports()]
    assert actions == ["delayed", "failed"]
    delayed, failed = await site.reports()
    assert delayed.recipients[0].will_retry_until is not None
    assert failed.recipients[0].status == "4.4.7"
    assert await site.store.queue_size() == (0, 0)


async def test_a_clock_that_jumps_ahead_returns_nothing_untried(site: Site) -> None:
    site.answer = lambda errand: outcomes(errand, Result.DEFERRED, "4.2.1", "450 Later")
    await site.queue("q", to("a@harbor.test", Notify.FAILURE))
    site.clock.move(SETTINGS.expire_after_seconds * 10)
    for attempt in range(1, 4):
        assert await site.reports() == []
        await site.turn()
        assert len(site.errands) == attempt
        site.clock.move(SETTINGS.retry_longest_seconds * 2)
    assert len(await site.reports()) == 1


async def test_success_is_reported_where_the_next_host_will_not(site: Site) -> None:
    """RFC 3461 section 5.2.2."""
    await site.queue("q1", to("a@harbor.test", Notify.SUCCESS))
    await site.turn()
    (report,) = await site.reports()
    assert report.recipients[0].action.value == "relayed"
    site.answer = lambda errand: [
        Outcome(one.recipient.forward_path, Result.RELAYED, "2.0.0", supports_dsn=True)
        for one in errand.entry.recipients
    ]
    await site.queue("q2", to("a@harbor.test", Notify.SUCCESS))
    await site.turn()
    assert len(await site.reports()) == 1


async def test_mail_that_is_forwarded_has_a_reverse_path_that_leads_here(site: Site) -> None:
    await site.queue("q1", to("x@harbor.test"), sender="cleo@example.test")
    await site.queue("q2", to("x@harbor.test"))
    await site.queue("q3", to("x@harbor.test"), sender=None)
    await site.turn()
    paths = {errand.entry.queue_id: errand.entry.envelope.reverse_path for errand in site.errands}
    rewritten = paths.pop("q1")
    assert rewritten is not None
    assert rewritten.domain == "rosewood.test"
    assert rewritten.local_part.endswith("=example.test=cleo")
    assert paths == {"q2": Address.parse(ANNA), "q3": None}


async def test_mail_that_we_stand_in_for_goes_on_with_its_own_reverse_path(site: Site) -> None:
    """A backup exchanger passes mail on as it came (RFC 5321 section 3.6.2)."""
    site.runner.adopt(replace(SETTINGS, backup_for=frozenset({"harbor.test"})))
    await site.queue("q", to("x@harbor.test"), sender="cleo@example.test")
    await site.turn()
    assert site.errands[0].entry.envelope.reverse_path == Address.parse("cleo@example.test")


# our own domain


async def test_a_queued_recipient_of_ours_is_delivered_and_reported_in_one_change(site: Site) -> None:
    await site.queue("q", to(BEN, Notify.SUCCESS))
    await site.turn()
    (octets,) = await site.inbox(BEN)
    assert octets == b"Return-Path: <anna@rosewood.test>\r\nDelivered-To: ben@rosewood.test\r\n" + BODY
    (report,) = await site.reports()
    assert report.recipients[0].action.value == "delivered"
    assert site.errands == []


async def test_what_was_found_to_be_junk_is_put_there_by_the_queue_too(site: Site) -> None:
    """The sender asked to hear of success, so the queue delivers; what goes on to others is not told."""
    await site.store.prepare_account(BEN, {"Junk": "\\Junk", "lists": ""})
    site.accounts.set_alias("team@rosewood.test", [BEN, "x@harbor.test"])
    await site.queue("q1", to(BEN, Notify.SUCCESS), details={"mailbox": "Junk"})
    await site.queue("q2", to("team@rosewood.test", Notify.SUCCESS), details={"mailbox": "Junk", "seal": "ARC: 1\r\n"})
    await site.queue("q3", to("ben+lists@rosewood.test", Notify.SUCCESS), details={"mailbox": "Junk"})
    await site.turn()
    counts = {one.name: one.messages for one in await site.store.mailboxes(BEN)}
    assert counts == {"INBOX": 0, "Junk": 2, "lists": 1}
    (errand,) = site.errands
    assert errand.entry.details == {}
    assert len(await site.reports()) == 3


async def test_an_alias_of_several_is_reported_expanded_and_passed_on_without_success(site: Site) -> None:
    """RFC 3461 section 5.2.7.3."""
    site.accounts.set_alias("team@rosewood.test", [BEN, "x@harbor.test"])
    await site.queue("q", to("team@rosewood.test", Notify.SUCCESS | Notify.FAILURE))
    await site.turn()
    assert len(await site.inbox(BEN)) == 1
    (report,) = await site.reports()
    assert report.recipients[0].action.value == "expanded"
    (errand,) = site.errands
    assert errand.entry.envelope.recipients == (to("x@harbor.test", Notify.FAILURE),)


async def test_an_alias_of_one_is_passed_on_with_all_wishes_and_no_report(site: Site) -> None:
    """RFC 3461 section 5.2.7.2."""
    site.accounts.set_alias("x@rosewood.test", ["x@harbor.test"])
    site.answer = lambda errand: [
        Outcome(one.recipient.forward_path, Result.RELAYED, "2.0.0", supports_dsn=True)
        for one in errand.entry.recipients
    ]
    await site.queue("q", to("x@rosewood.test", Notify.SUCCESS, "rfc822;x@rosewood.test"))
    await site.turn()
    (errand,) = site.errands
    assert errand.entry.envelope.recipients == (to("x@harbor.test", Notify.SUCCESS, "rfc822;x@rosewood.test"),)
    assert await site.reports() == []


# trouble


async def test_our_own_trouble_never_bounces_whatever_the_age(site: Site) -> None:
    def trouble(_errand: Errand) -> Sequence[Outcome]:
        raise Unavailable("no memory")

    site.answer = trouble
    await site.queue("q", to("a@harbor.test"))
    site.clock.move(SETTINGS.expire_after_seconds * 2)
    await site.turn()
    entry = await site.store.queue_entry("q")
    assert entry is not None
    assert entry.recipients[0].next_attempt > site.clock.now()
    assert await site.reports() == []


async def test_a_message_dropped_under_way_is_gone_without_a_word(site: Site) -> None:
    async def transfer(errand: Errand) -> Sequence[Outcome]:
        await site.store.drop(QueueFilter(queue_id=errand.entry.queue_id))
        await site.store.queue_size()
        await site.store.read(errand.entry.content)
        raise AssertionError("the octets are still there")

    site.runner._transfer = transfer
    await site.queue("q", to("a@harbor.test"))
    await site.turn()
    assert await site.store.queue_size() == (0, 0)
    assert await site.reports() == []


def broken(_errand: Errand) -> Sequence[Outcome]:
    raise ZeroDivisionError


def cancelled(_errand: Errand) -> Sequence[Outcome]:
    raise asyncio.CancelledError  # of something that was waited for: nobody cancelled the attempt


@pytest.mark.parametrize(("answer", "name"), [(broken, "ZeroDivisionError"), (cancelled, "CancelledError")])
async def test_a_fault_of_the_program_is_told_and_comes_back_and_costs_nobody_else(
    site: Site, lines: list[str], answer: Callable[[Errand], Sequence[Outcome]], name: str
) -> None:
    """The event has the queue id and where it happened; the entry waits longer each time and is never returned."""
    site.answer = lambda errand: answer(errand) if errand.entry.queue_id == "bad" else relayed(errand)
    await site.queue("bad", to("a@harbor.test"))
    await site.queue("good", to("b@harbor.test"))
    waits = []
    for _ in range(3):
        await site.turn()
        entry = await site.store.queue_entry("bad")
        assert entry is not None
        (owed,) = entry.recipients
        assert name in str(owed.last)
        waits.append(owed.next_attempt - site.clock.now())
        site.clock.move(waits[-1])
    assert [wait == pytest.approx(300 * 2**turn, rel=0.21) for turn, wait in enumerate(waits)] == [True] * 3
    assert await site.store.queue_entry("good") is None
    events = [event for event in map(json.loads, lines) if event["event"] == "attempt abandoned"]
    assert [event["queue_id"] for event in events] == ["bad"] * 3
    assert all(f"in {answer.__name__}" in event["traceback"] and name in event["traceback"] for event in events)
    site.answer = relayed
    await site.turn()
    assert await site.store.queue_size() == (0, 0)
    assert await site.reports() == []


async def test_a_fault_with_one_recipient_of_ours_does_not_keep_the_next(
    site: Site, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a change of its own."""
    deliver = site.runner._agent.deliver

    async def deliver_but_to_anna(sender: Address | None, recipient: Recipient) -> object:
        if str(recipient.forward_path) == ANNA:
            raise KeyError("anna")
        return await deliver(sender, recipient)

    monkeypatch.setattr(site.runner._agent, "deliver", deliver_but_to_anna)
    await site.queue("q", to(ANNA), to(BEN), sender="x@harbor.test")
    await site.turn()
    assert len(await site.inbox(BEN)) == 1
    entry = await site.store.queue_entry("q")
    assert entry is not None
    assert [str(owed.recipient.forward_path) for owed in entry.recipients] == [ANNA]
    assert [event["queue_id"] for event in map(json.loads, lines) if event["event"] == "attempt abandoned"] == ["q"]


async def test_an_entry_whose_attempt_cannot_be_recorded_for_a_fault_is_given_back(
    site: Site, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again: twice at the next host rather than never."""
    settle = site.store.settle

    async def broken_settle(*_anything: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(site.store, "settle", broken_settle)
    await site.queue("q", to("a@harbor.test"))
    await site.turn()
    assert [event["queue_id"] for event in map(json.loads, lines) if event["event"] == "attempt abandoned"] == ["q"] * 2
    assert site.runner.under_way == 0
    monkeypatch.setattr(site.store, "settle", settle)
    site.clock.move(SETTINGS.retry_first_seconds)
    await site.turn()
    assert await site.store.queue_size() == (0, 0)
    assert len(site.errands) == 2


def break_first(site: Site, monkeypatch: pytest.MonkeyPatch, name: str, *raised: Exception) -> None:
    """Let the first calls of the store fail."""
    call = getattr(site.store, name)
    faults = iter(raised)

    async def broken_first(*arguments: object) -> object:
        for fault in faults:
            raise fault
        return await call(*arguments)

    monkeypatch.setattr(site.store, name, broken_first)


async def all_sent(site: Site, count: int) -> None:
    """Run the queue until nothing is left after as many errands; where an entry stays behind, this ends in a timeout."""
    task = asyncio.create_task(site.runner.run())
    async with asyncio.timeout(60):
        while len(site.errands) < count or await site.store.queue_size() != (0, 0):  # noqa: ASYNC110 - a task works
            await asyncio.sleep(0.001)
    await site.runner.stop()
    await task
    assert len(site.errands) == count


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("call", ["take_due", "take_parked"])
async def test_a_fault_in_taking_is_told_and_tried_again(
    site: Site, lines: list[str], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The queue goes on by itself, with what was parked, too."""
    break_first(site, monkeypatch, call, ZeroDivisionError())
    for number in range(30):
        await site.queue(f"q{number}", to("a@harbor.test"))
    await all_sent(site, 30)
    (event,) = (event for event in map(json.loads, lines) if event["severity"] == "error")
    assert event["event"] == "queue unavailable"
    assert "in broken_first" in event["traceback"]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("fault", [ZeroDivisionError(), Unavailable("no room")])
async def test_what_cannot_be_parked_hinders_nothing_that_was_taken_with_it(
    site: Site, lines: list[str], monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    break_first(site, monkeypatch, "park", fault)
    for number in range(30):
        await site.queue(f"q{number}", to("a@harbor.test"))
    await site.turn()
    (abandoned,) = (event["queue_id"] for event in map(json.loads, lines) if event["event"] == "attempt abandoned")
    assert [entry.queue_id for entry in await site.store.queue(QueueFilter())] == [abandoned]
    site.clock.move(SETTINGS.retry_first_seconds)
    await all_sent(site, 30)


@pytest.mark.usefixtures("hasty")
async def test_what_cannot_be_given_back_at_once_is_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    break_first(site, monkeypatch, "settle", ZeroDivisionError(), ZeroDivisionError())
    break_first(site, monkeypatch, "release", Unavailable("no room"))
    await site.queue("q", to("a@harbor.test"))
    await site.turn()
    site.clock.move(SETTINGS.retry_first_seconds)
    await all_sent(site, 2)


async def test_what_is_parked_while_what_was_parked_is_fetched_is_fetched_too(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store looked before, and answers after."""
    take_parked = site.store.take_parked
    late, stay = [True], asyncio.Event()

    async def slow_take(*arguments: object) -> object:
        entries = await take_parked(*arguments)  # type: ignore[arg-type]
        if late and not entries:
            late.clear()
            for number in range(20):
                await site.queue(f"late{number}", to("a@harbor.test"))
            while await site.store.next_due() is not None:  # noqa: ASYNC110 - the runner takes them
                await asyncio.sleep(0.001)
            assert len(site.runner._lanes["harbor.test"].waiting) == 3
            stay.set()
        return entries

    monkeypatch.setattr(site.store, "take_parked", slow_take)

    async def transfer(errand: Errand) -> Sequence[Outcome]:
        site.errands.append(errand)
        if errand.entry.queue_id.startswith("late"):
            await stay.wait()
        return relayed(errand)

    monkeypatch.setattr(site, "transfer", transfer)
    for number in range(10):
        await site.queue(f"q{number}", to("a@harbor.test"))
    await all_sent(site, 30)


async def test_a_dead_destination_is_tried_once_and_the_rest_deferred(site: Site) -> None:
    site.answer = lambda errand: outcomes(errand, Result.DEFERRED, "4.4.1", "connection refused", about_host=True)
    for number in range(40):
        await site.queue(f"q{number}", to("a@harbor.test"))
    await site.queue("other", to("a@example.test"))
    await site.turn()
    tried = [errand.destination for errand in site.errands]
    assert tried.count("harbor.test") <= 8
    assert tried.count("example.test") == 1
    site.clock.move(120)
    assert await site.store.queue_size() == (41, 41)


async def test_a_crowded_destination_does_not_keep_others_waiting(site: Site) -> None:
    """Beyond what may wait here, entries are given back to come later; another domain's message passes them."""
    gate = asyncio.Event()
    started: list[str] = []
    other = asyncio.Event()

    async def transfer(errand: Errand) -> Sequence[Outcome]:
        started.append(errand.destination)
        if errand.destination == "example.test":
            other.set()
        if errand.destination == "harbor.test":
            await gate.wait()
        return relayed(errand)

    site.runner._transfer = transfer
    for number in range(30):
        await site.queue(f"q{number:02}", to("a@harbor.test"))
    await site.queue("z", to("a@example.test"))
    task = asyncio.create_task(site.runner.run())
    await other.wait()
    assert started.count("harbor.test") == 4
    gate.set()
    while (await site.store.queue_size())[0]:
        await asyncio.sleep(0.001)
        site.clock.move(1)
        site.runner._room.set()
    await site.runner.stop()
    await task
    assert started.count("harbor.test") == 30


# rules and lists


async def test_mail_is_held_by_a_rule_until_it_is_retried(site: Site) -> None:
    """Before the first attempt, by sender or recipient, address or domain; the reason is in the history."""
    rules: list[tuple[dict[str, frozenset[str]], bool]] = [
        ({"held_senders": frozenset({ANNA})}, True),
        ({"held_senders": frozenset({"rosewood.test"})}, True),
        ({"held_recipients": frozenset({"harbor.test"})}, True),
        ({"held_recipients": frozenset({"a@harbor.test"})}, True),
        ({"held_recipients": frozenset({"example.test", "b@harbor.test"}), "held_senders": frozenset({BEN})}, False),
    ]
    for number, (rule, is_held) in enumerate(rules):
        queue_id = f"q{number}"
        site.errands.clear()
        site.runner.adopt(replace(SETTINGS, **rule))  # type: ignore[arg-type]
        await site.queue(queue_id, to("a@harbor.test"))
        await site.turn()
        assert bool(site.errands) is not is_held, rule
        if not is_held:
            continue
        entry = await site.store.queue_entry(queue_id)
        assert entry is not None
        assert entry.recipients[0].held
        assert "Held by the rule" in str(entry.recipients[0].last)
        await site.store.hold(QueueFilter(queue_id=queue_id), held=False)
        await site.store.retry(QueueFilter(queue_id=queue_id), site.clock.now())
        await site.turn()
        assert len(site.errands) == 1, "what was let go is not held again"
    assert await site.store.queue_size() == (0, 0)
    assert await site.reports() == []


async def test_a_suppressed_recipient_is_returned_untried_and_the_others_go(site: Site) -> None:
    suppressions = site.runner._suppressions = Suppressions(site.clock, Log("queue"))
    await suppressions.add("a@harbor.test", reason="complained")
    await site.queue("q", to("a@harbor.test"), to("b@harbor.test"))
    await site.turn()
    (errand,) = site.errands
    assert errand.entry.envelope.recipients == (to("b@harbor.test"),)
    (report,) = await site.reports()
    assert (report.recipients[0].action.value, report.recipients[0].status) == ("failed", "5.7.1")
    assert "suppression list): complained" in str(report.recipients[0].diagnostic)


async def test_addresses_that_are_not_there_get_onto_the_list(site: Site) -> None:
    site.runner._suppressions = Suppressions(site.clock, Log("queue"), settings=SuppressionSettings(2))
    site.answer = lambda errand: outcomes(errand, Result.FAILED, "5.1.1", "550 5.1.1 no")
    for number in range(4):
        await site.queue(f"q{number}", to("a@harbor.test"))
        await site.turn()
    assert len(site.errands) == 2
    assert [one.recipients[0].status for one in await site.reports()] == ["5.1.1", "5.1.1", "5.7.1", "5.7.1"]


async def test_urgent_mail_goes_first(site: Site) -> None:
    """RFC 6710: of what is due the higher priority, then what is due longest."""
    for number, priority in enumerate((0, -4, 6, 3, 0)):
        await site.queue(f"q{number}", to("a@harbor.test"), priority=priority)
        site.clock.move(1)
    await site.turn()
    assert [errand.entry.queue_id for errand in site.errands] == ["q2", "q3", "q0", "q4", "q1"]


@pytest.mark.parametrize(("most_unrecorded", "sent"), [(100, 30), (5, 9)])
async def test_a_lane_is_free_when_the_host_has_answered(site: Site, most_unrecorded: int, sent: int) -> None:
    """While answers wait for a slow disk, the next messages are sent; but no more than a crash may cost twice.

    With five that may wait, the four of the lane hold their answers: nine are sent and no more.
    """
    gate, all_sent, recorded = asyncio.Event(), asyncio.Event(), asyncio.Semaphore(0)
    settle = site.store.settle

    async def slow(*arguments: object, **named: object) -> None:
        await gate.wait()
        await settle(*arguments, **named)  # type: ignore[arg-type]
        recorded.release()

    def answer(errand: Errand) -> Sequence[Outcome]:
        if len(site.errands) == sent:
            all_sent.set()
        return relayed(errand)

    site.runner._limits = RunnerSettings(most_waiting=3, most_concurrency=4)
    site.runner._unrecorded = asyncio.Semaphore(most_unrecorded)
    site.store.settle = slow  # type: ignore[method-assign]
    site.answer = answer
    for number in range(30):
        await site.queue(f"q{number}", to("a@harbor.test", Notify.NEVER))
    task = asyncio.create_task(site.runner.run())
    async with asyncio.timeout(60):
        await all_sent.wait()
        for _ in range(100):
            await site.store.queue_size()
        assert len(site.errands) == sent
        gate.set()
        for _ in range(30):
            await recorded.acquire()
    await site.runner.stop()
    await task
    assert await site.store.queue_size() == (0, 0)


async def test_what_is_being_sent_is_bounded_in_octets(site: Site) -> None:
    """One message at a time where each is more than the bound, to whatever destination, and all are sent."""
    running = most = 0

    async def transfer(errand: Errand) -> Sequence[Outcome]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await site.store.queue_size()
        running -= 1
        return relayed(errand)

    site.runner._transfer = transfer
    site.runner._limits = RunnerSettings(most_octets=1)
    for number in range(12):
        await site.queue(f"q{number}", to(f"a@d{number % 4}.test", Notify.NEVER))
    task = asyncio.create_task(site.runner.run())
    async with asyncio.timeout(60):
        while (await site.store.queue_size())[0]:
            await site.store.next_due()
    await site.runner.stop()
    await task
    assert most == 1


async def test_urgent_mail_passes_a_crowd_for_its_destination(site: Site) -> None:
    """The lane is full and more is parked: what is urgent waits before all of them."""
    gate, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def transfer(errand: Errand) -> Sequence[Outcome]:
        site.errands.append(errand)
        begun.release()
        await gate.wait()
        return relayed(errand)

    site.runner._transfer = transfer
    for number in range(20):
        await site.queue(f"q{number:02}", to("a@harbor.test"))
    task = asyncio.create_task(site.runner.run())
    async with asyncio.timeout(60):
        for _ in range(4):
            await begun.acquire()
        await site.queue("urgent", to("a@harbor.test"), priority=4)
        while not any(errand.entry.queue_id == "urgent" for _, _, errand in site.runner._lanes["harbor.test"].waiting):
            await site.store.queue_size()
        gate.set()
        for _ in range(17):
            await begun.acquire()
    await site.runner.stop()
    await task
    assert [errand.entry.queue_id for errand in site.errands].index("urgent") == 4


async def test_what_was_under_way_at_a_crash_is_tried_again(site: Site, tmp_path: Path) -> None:
    await site.queue("q", to("a@harbor.test"))
    (entry,) = await site.store.take_due(site.clock.now(), 10)
    await site.store.close()
    site.store = await open_store(StoreSettings(tmp_path / "store", reserve_octets=0), clock=site.clock)
    assert await site.store.take_due(site.clock.now(), 10) == (entry,)
    await site.store.close()


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_clock_that_was_hours_ahead_leaves_nothing_waiting(site: Site, is_restarted: bool) -> None:
    """Queued or deferred meanwhile, noticed at a start and while it runs; a release the sender asked for stays."""
    site.answer = lambda errand: outcomes(errand, Result.DEFERRED, "4.2.0", "450 4.2.0 not now")
    await site.queue("before", to("a@harbor.test"))
    if not is_restarted:
        await site.turn()
    site.clock.jump(9 * 3600)
    if not is_restarted:
        await site.turn()  # tried again, and put off by the clock that is ahead
        await site.queue("tried ahead", to("b@harbor.test"))
        await site.turn()
    await site.queue("queued ahead", to("c@harbor.test"))
    now = site.clock.now()
    envelope = Envelope(None, (to("d@harbor.test"),))
    await site.store.commit(Transaction("r", now, (BODY,), (), (Queued("release", envelope, now + 60, now + 999),)))
    site.clock.jump(-9 * 3600)
    site.errands.clear()
    await site.turn()
    expected = {"before", "queued ahead"} if is_restarted else {"before", "tried ahead", "queued ahead"}
    assert {errand.entry.queue_id for errand in site.errands} == expected
    due = await site.store.next_due()
    assert due is not None
    assert due - site.clock.now() <= SETTINGS.most_wait_seconds
    release = await site.store.queue_entry("release")
    assert release is not None
    assert release.recipients[0].next_attempt == now + 60


async def test_a_destination_in_peace_is_tried_again_though_the_clock_was_set_back(site: Site) -> None:
    site.answer = lambda errand: outcomes(errand, Result.DEFERRED, "4.4.1", "", about_host=True)
    for number in range(12):
        await site.queue(f"q{number}", to("a@harbor.test"))
    await site.turn()
    assert site.runner.destinations() == (1, 1)
    site.clock.jump(-9 * 3600)
    site.clock.move(SETTINGS.peace_seconds + 1)
    assert site.runner.destinations()[1] == 0


async def test_a_clock_that_is_set_ahead_returns_nothing(site: Site) -> None:
    """However often it was tried: time that has not passed is not counted; what has passed is."""
    site.answer = lambda errand: outcomes(errand, Result.DEFERRED, "4.2.0", "450 4.2.0 not now")
    await site.queue("q", to("a@harbor.test", Notify.FAILURE))
    for _ in range(4):
        await site.turn()
        site.clock.move(SETTINGS.retry_longest_seconds * 2)
    site.clock.jump(2 * SETTINGS.expire_after_seconds)
    await site.turn()
    await site.queue("after", to("b@harbor.test", Notify.FAILURE))
    for _ in range(3):
        await site.turn()
        site.clock.move(SETTINGS.retry_longest_seconds * 2)
    assert (await site.store.queue_size())[0] == 2
    assert await site.reports() == []
    site.clock.move(SETTINGS.expire_after_seconds)
    await site.turn()
    assert await site.store.queue_size() == (0, 0)
    assert len(await site.reports()) == 2


async def test_a_clock_set_ahead_during_an_attempt_returns_nothing(site: Site) -> None:
    def answer(errand: Errand) -> Sequence[Outcome]:
        if len(site.errands) == 4:
            site.clock.jump(2 * SETTINGS.expire_after_seconds)
        return outcomes(errand, Result.DEFERRED, "4.2.0", "450 4.2.0 not now")

    site.answer = answer
    await site.queue("q", to("a@harbor.test", Notify.FAILURE))
    for _ in range(4):
        await site.turn()
        site.clock.move(SETTINGS.retry_longest_seconds * 2)
    await site.turn()
    assert (await site.store.queue_size())[0] == 1
    assert await site.reports() == []


@pytest.mark.parametrize("result", [Result.DEFERRED, Result.RELAYED])
async def test_nothing_expires_while_the_store_cannot_say_when(
    site: Site, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was taken by another host is recorded all the same, and not sent again."""
    site.answer = lambda errand: outcomes(errand, Result.DEFERRED, "4.2.0", "450 4.2.0 not now")
    await site.queue("q", to("a@harbor.test", Notify.FAILURE))
    for _ in range(4):
        await site.turn()
        site.clock.move(SETTINGS.retry_longest_seconds * 2)
    site.clock.move(SETTINGS.expire_after_seconds)
    site.answer = lambda errand: outcomes(errand, result, "2.0.0", "250 2.0.0 Ok")

    async def unreadable(_queue_id: str) -> None:
        raise Unavailable("the disk cannot be read")

    monkeypatch.setattr(site.store, "queue_entry", unreadable)
    await site.turn()
    assert len(site.errands) == 5
    assert (await site.store.queue_size())[0] == (1 if result is Result.DEFERRED else 0)
    assert await site.reports() == []
