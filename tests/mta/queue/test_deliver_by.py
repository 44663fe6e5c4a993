"""BY in the queue: returned in time, told in time, and reported where a host does not keep time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from fakes.queue_site import ANNA, BODY, SETTINGS, Site, outcomes, to
from letterlock.formats.address import Address
from letterlock.formats.envelope import DeliverBy, Envelope, Late, Notify, ValidSince
from letterlock.formats.outcome import Outcome, Result
from letterlock.formats.reports.dsn import Action
from letterlock.mta.queue.runner import Errand
from letterlock.store.interface import Queued, Transaction


async def queue(site: Site, by: DeliverBy, notify: Notify = Notify.FAILURE | Notify.DELAY) -> None:
    """Queue a message for one recipient elsewhere."""
    now = site.clock.now()
    envelope = Envelope(Address.parse(ANNA), (to("sam@harbor.test", notify),), deliver_by=by)
    owed = Queued("Q1", envelope, now, now + SETTINGS.expire_after_seconds)
    await site.store.commit(Transaction("Q1", now, (BODY,), (), (owed,)))


def deferred(errand: Errand) -> Sequence[Outcome]:
    return outcomes(errand, Result.DEFERRED, "4.2.1", "450 4.2.1 Later")


async def test_a_message_is_returned_when_its_time_is_over(site: Site) -> None:
    """RFC 2852 section 4.1.3: no attempt after it, a report with 5.4.7 at once and its Deliver-By-Date."""
    site.answer = deferred
    await queue(site, DeliverBy(site.clock.now() + 400, Late.RETURN))
    await site.turn()
    site.clock.move(399)
    await site.turn()
    attempts = len(site.errands)
    assert await site.store.next_due() == site.clock.now() + 1
    assert await site.reports() == []
    site.clock.move(1)
    await site.turn()
    assert len(site.errands) == attempts
    (report,) = await site.reports()
    assert [(one.action, one.status) for one in report.recipients] == [(Action.FAILED, "5.4.7")]
    assert "450 4.2.1 Later" in str(report.recipients[0].diagnostic)
    assert dict(report.extensions)["Deliver-By-Date"] == "Fri, 15 Jan 2027 08:06:40 +0000"
    assert await site.store.queue_size() == (0, 0)


async def test_a_sender_is_told_when_the_time_is_over(site: Site) -> None:
    """With N the attempts go on, and one report of the delay is sent at the hour, whatever was reported before."""
    site.answer = deferred
    await queue(site, DeliverBy(site.clock.now() + 10_000, Late.NOTIFY))
    for _ in range(10):
        await site.turn()
        site.clock.move(1200)
    # One after 7,200 seconds, as every late message has, and one at 10,000.
    first, second = await site.reports()
    assert [one.recipients[0].action for one in (first, second)] == [Action.DELAYED, Action.DELAYED]
    assert second.recipients[0].status == "4.4.7"
    site.clock.move(7200)
    await site.turn()
    assert len(await site.reports()) == 2
    assert await site.store.queue_size() == (1, 1)


@pytest.mark.parametrize(
    ("by", "notify", "supports", "action"),
    [
        (DeliverBy(2e9, Late.NOTIFY), Notify.FAILURE | Notify.DELAY, False, Action.RELAYED),
        (DeliverBy(2e9, Late.NOTIFY), Notify.FAILURE | Notify.DELAY, True, None),
        (DeliverBy(2e9, Late.RETURN, trace=True), Notify.FAILURE, True, Action.RELAYED),
        (DeliverBy(2e9, Late.RETURN, trace=True), Notify.NEVER, True, None),
    ],
)
async def test_relaying_is_reported(
    site: Site, by: DeliverBy, notify: Notify, supports: bool, action: Action | None
) -> None:
    """RFC 2852 section 4.1.4: with T always, and with N where the next host does not know of the hour."""

    def relayed(errand: Errand) -> list[Outcome]:
        made = outcomes(errand, Result.RELAYED, "2.0.0", "250 2.0.0 Ok")
        return [dataclasses.replace(one, supports_dsn=True, supports_deliver_by=supports) for one in made]

    site.answer = relayed
    await queue(site, by, notify)
    await site.turn()
    found = [report.recipients[0].action for report in await site.reports()]
    assert found == ([action] if action else [])


async def test_wishes_outlive_the_store_that_took_them(site: Site) -> None:
    """The queue gives back what it was given: the hour, the classes, the owner's instant."""
    now = site.clock.now()
    recipient = dataclasses.replace(to("sam@harbor.test"), valid_since=ValidSince(1_396_566_060, is_optional=True))
    by = DeliverBy(now + 3600, Late.RETURN, trace=True)
    envelope = Envelope(Address.parse(ANNA), (recipient,), deliver_by=by, solicitation=("a:b", "c:d"))
    await site.store.commit(Transaction("Q1", now, (BODY,), (), (Queued("Q1", envelope, now, now + 9e4),)))
    entry = await site.store.queue_entry("Q1")
    assert entry is not None
    assert entry.envelope == envelope
