"""A queue to be tested: the runner over the real store, accounts, and a network that answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Notify, Recipient
from letterlock.formats.mime.entity import parse
from letterlock.formats.outcome import Outcome, Result
from letterlock.formats.reports.dsn import DeliveryStatus, read_dsn
from letterlock.host.clock import SetClock
from letterlock.host.entropy import SeededEntropy
from letterlock.host.logs import Log, send_to
from letterlock.mda.deliver import DeliveryAgent
from letterlock.mda.resolve import Resolver, ResolveSettings
from letterlock.mta.queue.lanes import Errand
from letterlock.mta.queue.runner import Runner, RunnerSettings
from letterlock.mta.queue.schedule import QueueSettings
from letterlock.store.accounts import Accounts
from letterlock.store.engine import LogStore, StoreSettings, open_store
from letterlock.store.interface import Queued, Transaction

ANNA, BEN = "anna@rosewood.test", "ben@rosewood.test"
SETTINGS = QueueSettings("mail.rosewood.test", 300, 3600, 7200, 86_400)
BODY = b"From: anna@rosewood.test\r\nSubject: Hello\r\n\r\nBody\r\n"


@dataclass
class Site:
    """A store, accounts and a queue runner whose network is `answer`."""

    store: LogStore
    accounts: Accounts
    clock: SetClock
    runner: Runner
    errands: list[Errand] = field(default_factory=list)
    answer: Callable[[Errand], Sequence[Outcome]] = lambda errand: relayed(errand)
    task: asyncio.Task[None] | None = None

    async def transfer(self, errand: Errand) -> Sequence[Outcome]:
        self.errands.append(errand)
        return self.answer(errand)

    async def queue(self, queue_id: str, *recipients: Recipient, sender: str | None = ANNA, **more: object) -> None:
        envelope = Envelope(Address.parse(sender) if sender else None, recipients)
        now = self.clock.now()
        owed = Queued(queue_id, envelope, now, now + SETTINGS.expire_after_seconds, **more)  # type: ignore[arg-type]
        await self.store.commit(Transaction(queue_id, now, (BODY,), (), (owed,)))

    async def turn(self) -> None:
        """Run the queue until nothing is due and nothing is under way."""
        task = asyncio.create_task(self.runner.run())
        for _ in range(2000):
            await asyncio.sleep(0.001)
            due = await self.store.next_due()
            if self.runner.is_idle and (due is None or due > self.clock.now()):
                break
        await self.runner.stop()
        await task
        self.runner._stopping.clear()

    async def inbox(self, account: str) -> list[bytes]:
        found = await self.store.mailbox(account, "INBOX")
        assert found is not None
        handle = await self.store.open(found.id)
        octets = [await self.store.read(content) for content in handle.snapshot().contents]
        handle.close()
        return octets

    async def reports(self) -> list[DeliveryStatus]:
        """Return the status notifications in Anna's INBOX, and check what every one must have."""
        found = []
        for octets in await self.inbox(ANNA):
            assert octets.startswith(b"Return-Path: <>\r\n")
            assert b"\r\nAuto-Submitted: auto-replied\r\n" in octets
            status = read_dsn(parse(octets))
            assert status is not None
            assert status.defects == ()
            found.append(status)
        return found


def relayed(errand: Errand) -> list[Outcome]:
    return outcomes(errand, Result.RELAYED, "2.0.0", "250 2.0.0 Ok")


def outcomes(errand: Errand, result: Result, status: str, reply: str, *, about_host: bool = False) -> list[Outcome]:
    return [
        Outcome(one.recipient.forward_path, result, status, reply, host="mx.harbor.test", about_host=about_host)
        for one in errand.entry.recipients
    ]


def to(address: str, notify: Notify = Notify.FAILURE | Notify.DELAY, original: str = "") -> Recipient:
    return Recipient(Address.parse(address), notify, original)


@asynccontextmanager
async def opened_site(folder: Path, limits: RunnerSettings) -> AsyncIterator[Site]:
    """Open a site in a folder; nothing is logged anywhere meanwhile."""
    before = send_to(lambda _line: None)
    clock = SetClock()
    store = await open_store(StoreSettings(folder / "store", reserve_octets=0), clock=clock)
    accounts = Accounts(folder / "accounts.sqlite", digests=(), clock=clock, entropy=SeededEntropy())
    for name in (ANNA, BEN):
        accounts.add(name, "x")
        await store.prepare_account(name, {})
    agent = DeliveryAgent(Resolver(ResolveSettings(("rosewood.test",)), accounts), accounts, store)
    made: list[Site] = []
    runner = Runner(
        store=store,
        agent=agent,
        transfer=lambda errand: made[0].transfer(errand),
        settings=SETTINGS,
        clock=clock,
        entropy=SeededEntropy(),
        log=Log("mta"),
        limits=limits,
    )
    made.append(Site(store, accounts, clock, runner))
    yield made[0]
    await runner.stop()
    await store.close()
    accounts.close()
    send_to(before)
