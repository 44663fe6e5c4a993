"""The runner: takes what is due, has it transferred or delivered, and records what became of it.

An entry's recipients are grouped by destination (their domain, or the entry's route) into errands. Each destination
has a lane (lanes.py): its errands wait there in order, and how many run at once follows how the destination bears it. A
lane is free for the next errand when the other side has answered; what it answered is recorded behind it.

Before its first attempt a recipient may be held by a rule; one that is suppressed is returned untried.

Promises:
- An outcome is recorded together with what it leads to (reports, local copies), errand by errand.
- Trouble of our own (Unavailable, a fault in the program) defers and never bounces, whatever the message's age; a fault
  is logged with its trace, comes back on the usual schedule, and costs nobody else anything.
- What cannot be recorded for lack of room is tried again until it can.

Limits: `most_taken` entries are taken at once; of one destination at most `most_waiting` wait here, and no more than half of
what may be taken yet. Further ones are parked in the store and fetched by their lane as it empties, so that a crowd for
one domain, or a few that hang, cost the others nothing. Mail more urgent than what waits is not parked.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial

from letterlock.errors import Unavailable
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import Clock
from letterlock.host.drive_work import Faulty, contain
from letterlock.host.entropy import Entropy
from letterlock.host.logs import Log, follow
from letterlock.host.metrics import Histogram
from letterlock.mda.deliver import DeliveryAgent
from letterlock.mta.identifier import trace_of
from letterlock.mta.queue import deliver_by
from letterlock.mta.queue.conclude import conclude, told_nothing
from letterlock.mta.queue.lanes import Errand, Lane, Lanes
from letterlock.mta.queue.local import LocalDelivery, Programs
from letterlock.mta.queue.reports import Reporter
from letterlock.mta.queue.schedule import OUR_TROUBLE_SECONDS, QueueSettings, wait_seconds
from letterlock.mta.queue.suppressed import Suppressions
from letterlock.store.interface import (
    Instant,
    QueuedRecipient,
    QueueEntry,
    QueueFilter,
    Refused,
    Settlement,
    Store,
    Transaction,
)

_LONGEST_SLEEP_SECONDS = 60.0
_SET_SECONDS = 1.0  # by which a clock that was set differs from one that goes
_DELAYS_SECONDS = (1, 10, 60, 300, 1800, 3600, 14_400, 86_400, 432_000)
_RECORD_AGAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """How much is under way at once. `most_unrecorded` answers of other hosts wait for the disk, so that a crash, after
    which they are sent again, costs no more than these; `most_octets` of content are being sent, or one message."""

    most_taken: int = 4000
    most_waiting: int = 1000
    first_concurrency: int = 4
    most_concurrency: int = 40
    most_unrecorded: int = 400
    most_octets: int = 256 << 20


Transfer = Callable[[Errand], Awaitable[Sequence[Outcome]]]


class Runner:
    """Runs the queue of one store. `transfer` gives one outcome for each recipient of an errand, in their order.

    `programs` treat mail for addresses of ours (local.py).
    """

    def __init__(
        self,
        *,
        store: Store,
        agent: DeliveryAgent,
        transfer: Transfer,
        settings: QueueSettings,
        clock: Clock,
        entropy: Entropy,
        log: Log,
        limits: RunnerSettings | None = None,
        programs: Programs | None = None,
        suppressions: Suppressions | None = None,
    ) -> None:
        self._store = store
        self._agent = agent
        self._transfer = transfer
        self._clock = clock
        self._entropy = entropy
        self._log = log
        self._limits = limits or RunnerSettings()
        self._programs = programs
        self._suppressions = suppressions
        self.delays = Histogram(_DELAYS_SECONDS)  # from arrival to the final outcome
        self.results: Counter[tuple[str, str]] = Counter()  # attempts by result and status class
        self._lanes = Lanes()
        self._open: Counter[str] = Counter()  # queue id: errands not finished
        self._unsettled: set[str] = set()  # queue ids of errands that ended in a fault, to be given back with the last
        self._octets = 0  # of what is being sent
        self._crowded: set[str] = set()  # destinations that wait for less of it
        self._unrecorded = asyncio.Semaphore(self._limits.most_unrecorded)
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._stopping = asyncio.Event()
        self._resting = False
        self._ahead: float | None = None  # of the seconds that only grow, when the clock was last looked at
        self._looking = asyncio.Lock()
        self.adopt(settings)

    def adopt(self, settings: QueueSettings) -> None:
        """Go by these settings from now on."""
        self._settings = settings
        self._reporter = Reporter(settings, self._store, self._agent, self._entropy)
        self._local = LocalDelivery(self._agent, settings, self._programs)

    def forget_failures(self) -> None:
        """Try destinations again that did not answer: somebody says that they are back."""
        for lane in self._lanes:
            lane.failing_until = 0.0

    @property
    def under_way(self) -> int:
        """How many messages are taken from the queue: being sent, or waiting for their turn."""
        return len(self._open)

    def destinations(self) -> tuple[int, int]:
        """Return how many destinations have mail under way or failed just now, and how many of them are left in peace."""
        elapsed = self._clock.elapsed()
        return len(self._lanes), sum(lane.hindrance(elapsed) is not None for lane in self._lanes)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being taken or is under way."""
        return self._resting and not self._open and not self._tasks

    async def run(self) -> None:
        """Run until `stop` is called."""
        while not self._stopping.is_set():
            try:
                await contain(self._turn())
            except Unavailable as trouble:
                self._log_trouble("queue unavailable", trouble)
                await self._pause(_RECORD_AGAIN_SECONDS)

    async def _turn(self) -> None:
        """Take what is due and begin with it, or wait until something may be."""
        await self._mind_the_clock()
        self._lanes.tidy(self._clock.elapsed())
        wanted = self._limits.most_taken - len(self._open)
        entries = await self._store.take_due(self._clock.now(), min(wanted, 100)) if wanted > 0 else ()
        for entry in entries:
            await self._begin_safely(entry)
        if not entries:
            await self._rest(full=wanted <= 0)

    async def _mind_the_clock(self) -> None:
        """See whether the clock was set: nothing waits longer for it, and nothing expires by time that has not passed.

        What came while a clock was ahead expires later than it should: kept too long rather than returned too early.
        """
        async with self._looking:
            now, elapsed = self._clock.now(), self._clock.elapsed()
            before = self._ahead
            if before is None or now - elapsed < before - _SET_SECONDS:
                count = await self._store.bring_forward(now, self._settings.most_wait_seconds)
                if count:
                    self._log.warning("clock was ahead", recipients_made_due=count)
            elif now - elapsed > before + _SET_SECONDS:
                await self._store.prolong(now - elapsed - before, before + elapsed)
                self._log.warning("clock was set ahead", seconds=round(now - elapsed - before))
            self._ahead = now - elapsed

    async def stop(self, grace_seconds: float = 10.0) -> None:
        """Take nothing more, let attempts under way end within the grace, and give up the rest."""
        self._stopping.set()
        for lane in self._lanes:
            lane.waiting.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _rest(self, *, full: bool) -> None:
        """Wait until there may be something to do."""
        self._room.clear()
        seconds = _LONGEST_SLEEP_SECONDS
        due = None if full else await self._store.next_due()
        if due is not None:
            seconds = min(max(due - self._clock.now(), 0.0), seconds)
        # Made only now: what is made and never awaited, because we were cancelled before, is complained of.
        waits: list[Awaitable[object]] = [self._stopping.wait(), self._room.wait()]
        if not full:
            waits.append(self._store.queue_changed())
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        self._resting = True
        try:
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._resting = False
            for task in tasks:
                task.cancel()

    async def _pause(self, seconds: float) -> None:
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([stopping], timeout=seconds)
        stopping.cancel()

    # errands

    async def _begin_safely(self, entry: QueueEntry) -> None:
        try:
            await contain(self._begin(entry))
        except Unavailable as trouble:  # not the trouble of those that were taken with it
            self._spawn(self._give_back(entry.queue_id, trouble))

    async def _begin(self, entry: QueueEntry) -> None:
        groups: dict[str, list[QueuedRecipient]] = {}
        for recipient in entry.recipients:
            groups.setdefault(entry.route or recipient.recipient.forward_path.domain, []).append(recipient)
        for destination in groups:
            lane = self._lane(destination)
            if lane.is_full(entry.priority, self._most_waiting):
                await self._store.park(entry.queue_id, destination)
                self._lane(destination).has_parked = True
                self._fetch_if_room(destination)  # nothing may be left in the lane that would, later
                return
        self._open[entry.queue_id] += len(groups)
        for destination, recipients in groups.items():
            part = entry
            if len(groups) > 1:
                envelope = replace(entry.envelope, recipients=tuple(one.recipient for one in recipients))
                part = replace(entry, recipients=tuple(recipients), envelope=envelope)
            self._lane(destination).add(Errand(destination, part))
            self._pump(destination)

    @property
    def _most_waiting(self) -> int:
        """How many may wait for one destination: half of the room that is left, so that slow ones never take all of it."""
        room = self._limits.most_taken - len(self._open)
        return min(self._limits.most_waiting, max(room // 2, 1))

    def _lane(self, destination: str) -> Lane:
        limits = self._limits
        widest = self._agent.is_ours(destination)  # nothing here has to be got used to us
        return self._lanes.obtain(destination, limits.most_concurrency if widest else limits.first_concurrency)

    def _pump(self, destination: str) -> None:
        """Start what the lane lets run."""
        lane = self._lanes[destination]
        while lane.waiting and lane.has_room and not self._stopping.is_set():
            if self._octets and self._octets + lane.first.entry.size > self._limits.most_octets:
                self._crowded.add(destination)
                return
            errand = lane.next()
            lane.running += 1
            self._octets += errand.entry.size
            task = asyncio.create_task(self._run(lane, errand))
            self._tasks.add(task)
            task.add_done_callback(partial(self._ended, errand))

    def _ended(self, errand: Errand, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        queue_id = errand.entry.queue_id
        fault = None if task.cancelled() else task.exception()
        if fault:
            self._unsettled.add(queue_id)
        self._open[queue_id] -= 1
        if not self._open[queue_id]:
            del self._open[queue_id]
            if queue_id in self._unsettled:
                self._unsettled.discard(queue_id)
                self._spawn(self._give_back(queue_id, fault))
        self._octets -= errand.entry.size
        if self._crowded:
            crowded, self._crowded = self._crowded, set()
            for destination in crowded:
                if destination in self._lanes:
                    self._pump(destination)
        self._room.set()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(contain(work))
        self._tasks.add(task)
        task.add_done_callback(self._ended_aside)

    def _ended_aside(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        fault = None if task.cancelled() else task.exception()
        if isinstance(fault, Unavailable):
            self._log_trouble("queue unavailable", fault)

    def _free(self, lane: Lane, destination: str) -> None:
        """Take note that an errand runs no more, and let the next one."""
        lane.running -= 1
        self._pump(destination)
        self._fetch_if_room(destination)
        self._lanes.drop_if_spare(destination, self._clock.elapsed())

    def _fetch_if_room(self, destination: str) -> None:
        lane = self._lanes[destination]
        if lane.has_parked and not lane.is_fetching and len(lane.waiting) <= self._most_waiting // 2:
            lane.is_fetching = True
            self._spawn(self._fetch(destination, lane))

    async def _fetch(self, destination: str, lane: Lane) -> None:
        """Fetch what was parked for a lane that has room again."""
        while lane.has_parked and len(lane.waiting) <= self._most_waiting // 2 and not self._stopping.is_set():
            limit = max(self._most_waiting // 2, 1)
            lane.has_parked = False  # unless it is found, or more is parked meanwhile
            try:
                entries = await contain(self._store.take_parked(destination, self._clock.now(), limit))
            except Unavailable as trouble:
                lane.has_parked = True
                self._log_trouble("queue unavailable", trouble)
                await self._pause(_RECORD_AGAIN_SECONDS)
                continue
            if len(entries) == limit:
                lane.has_parked = True
            for entry in entries:
                await self._begin_safely(entry)
        lane.is_fetching = False
        self._lanes.drop_if_spare(destination, self._clock.elapsed())

    async def _run(self, lane: Lane, errand: Errand) -> None:
        follow(trace_of(errand.entry.queue_id))
        try:
            await contain(self._run_errand(lane, errand), Refused)
        except Refused as refused:  # an operator dropped the message while it was under way, and its octets are gone
            self._log.event("dropped under way", queue_id=errand.entry.queue_id, reason=str(refused))
            self._unsettled.add(errand.entry.queue_id)  # or nobody did: then it is still owed
        except Unavailable as trouble:  # nobody's mail bounces because our program is wrong
            await contain(self._defer_for_us(errand.entry, trouble), Refused)

    async def _run_errand(self, lane: Lane, errand: Errand) -> None:
        entry = errand.entry
        try:
            if deliver_by.is_over(entry.envelope, self._clock.now()):
                await self._conclude(entry, [(one, deliver_by.returned(one)) for one in entry.recipients])
                return
            if not entry.route and self._agent.is_ours(errand.destination):
                await self._deliver(entry)
                return
            entry = await self._screened(entry)
            if not entry.recipients:
                return
            outcomes = await self._attempt(lane, errand.destination, entry)
            await self._unrecorded.acquire()  # while the lane is ours: a slow disk slows sending down
        except Unavailable as trouble:
            await self._defer_for_us(entry, trouble)
            return
        finally:
            self._free(lane, errand.destination)
        try:
            await self._conclude(entry, list(zip(entry.recipients, outcomes, strict=True)))
        finally:
            self._unrecorded.release()
        if self._suppressions is not None:
            await self._suppressions.learn(outcomes)

    async def _attempt(self, lane: Lane, destination: str, entry: QueueEntry) -> Sequence[Outcome]:
        """Return the outcomes of an attempt, which a destination that does not answer makes short. Raises Unavailable."""
        if (failure := lane.hindrance(self._clock.elapsed())) is not None:
            return [replace(failure, recipient=one.recipient.forward_path) for one in entry.recipients]
        outcomes = await self._transfer(Errand(destination, self._forwarded(entry, self._clock.now())))
        lane.learn(
            outcomes,
            self._clock.elapsed(),
            widest=self._limits.most_concurrency,
            peace_seconds=self._settings.peace_seconds,
        )
        return outcomes

    async def _screened(self, entry: QueueEntry) -> QueueEntry:
        """Return an entry without those recipients that are suppressed or held, and conclude with these."""
        sender = entry.envelope.reverse_path
        decided: list[tuple[QueuedRecipient, Outcome]] = []
        for owed in entry.recipients:
            address = owed.recipient.forward_path
            refusal = self._suppressions.refusal(sender, address) if self._suppressions is not None else None
            if refusal is not None:
                decided.append((owed, refusal))
            elif owed.attempts == 0 and (rule := self._settings.hold_rule(sender, address)):
                await self._store.hold(QueueFilter(queue_id=entry.queue_id, recipient=str(address)), held=True)
                reason = f"Held by the rule for {rule}, until it is retried"
                decided.append((owed, Outcome(address, Result.DEFERRED, "4.7.0", reason)))
        if not decided:
            return entry
        await self._conclude(entry, decided)
        gone = {owed.number for owed, _ in decided}
        left = tuple(owed for owed in entry.recipients if owed.number not in gone)
        envelope = replace(entry.envelope, recipients=tuple(owed.recipient for owed in left))
        return replace(entry, recipients=left, envelope=envelope)

    def _forwarded(self, entry: QueueEntry, now: Instant) -> QueueEntry:
        """Return an entry as it goes out: mail of others that we pass on has a reverse path that leads here."""
        sender = entry.envelope.reverse_path
        is_backup = entry.recipients[0].recipient.forward_path.domain in self._settings.backup_for
        if sender is None or is_backup or self._agent.is_ours(sender.domain):
            return entry
        rewritten = self._agent.resolver.rewriting.outward(sender, now)
        return replace(entry, envelope=replace(entry.envelope, reverse_path=rewritten))

    async def _deliver(self, entry: QueueEntry) -> None:
        """Deliver recipients of ours, each in a change of its own with its report."""
        for recipient in entry.recipients:
            try:
                await contain(self._deliver_to(entry, recipient), Refused)
            except Unavailable as trouble:
                await self._defer_for_us(replace(entry, recipients=(recipient,)), trouble)

    async def _deliver_to(self, entry: QueueEntry, recipient: QueuedRecipient) -> None:
        outcome, transactions = await self._local.deliver(entry, recipient, self._clock.now())
        await self._conclude(entry, [(recipient, outcome)], transactions)

    async def _conclude(
        self,
        entry: QueueEntry,
        attempted: Sequence[tuple[QueuedRecipient, Outcome]],
        transactions: Sequence[Transaction] = (),
    ) -> None:
        now = self._clock.now()
        if now >= entry.expires:
            entry = await self._as_it_expires(entry)
        conclusion = conclude(entry, attempted, self._settings, now, self._entropy)
        try:
            reports = await self._reporter.reports(entry, conclusion.notes, now)
        except Unavailable as trouble:  # a failure must not go without its report: come back to it
            settlements, unreported = told_nothing(conclusion)
            reports = ()
            if unreported:
                await self._defer_for_us(replace(entry, recipients=unreported), trouble)
            if not settlements:
                return
        else:
            settlements = conclusion.settlements
        await self._settle(entry, settlements, (*transactions, *reports))
        for settlement in settlements:
            self._note(entry, settlement, now)

    def _note(self, entry: QueueEntry, settlement: Settlement, now: Instant) -> None:
        """Count and log what became of an attempt."""
        outcome = settlement.outcome
        self.results[outcome.result.value, outcome.status[:3]] += 1
        if outcome.result.final:
            self.delays.count(max(now - entry.arrived, 0.0))
        self._log.event(
            outcome.result.value,
            queue_id=entry.queue_id,
            sender=str(entry.envelope.reverse_path or ""),
            recipient=str(outcome.recipient),
            status=outcome.status,
            reply=outcome.reply,
            host=outcome.host,
            security=outcome.security,
            delay_seconds=round(now - entry.arrived, 3),
            next_attempt=settlement.next_attempt,
        )

    async def _as_it_expires(self, entry: QueueEntry) -> QueueEntry:
        """Return an entry with the time of its expiry, which may lie later since the clock was set ahead."""
        try:
            await self._mind_the_clock()
            current = await self._store.queue_entry(entry.queue_id)
        except Unavailable:  # nothing expires while we cannot tell
            return replace(entry, expires=self._clock.now() + self._settings.most_wait_seconds)
        return replace(entry, expires=current.expires) if current is not None else entry

    async def _defer_for_us(self, entry: QueueEntry, trouble: Unavailable) -> None:
        """Come back later without counting the message's age: the trouble is ours."""
        self._log_trouble("attempt abandoned", trouble, queue_id=entry.queue_id)
        now = self._clock.now()
        settlements = [
            Settlement(
                recipient.number,
                Outcome(recipient.recipient.forward_path, Result.DEFERRED, "4.3.0", trouble.problem),
                now + self._wait_seconds(recipient, trouble),
            )
            for recipient in entry.recipients
        ]
        await self._settle(entry, settlements, ())

    def _wait_seconds(self, recipient: QueuedRecipient, trouble: Unavailable) -> float:
        if isinstance(trouble, Faulty):  # it will hardly be mended by the next minute
            return wait_seconds(self._settings, recipient.attempts + 1, self._entropy)
        return OUR_TROUBLE_SECONDS

    async def _give_back(self, queue_id: str, fault: BaseException | None) -> None:
        """Let an entry be taken again later though nothing could be recorded of the attempt."""
        if isinstance(fault, Unavailable):
            self._log_trouble("attempt abandoned", fault, queue_id=queue_id)
        while not self._stopping.is_set():  # after a start nothing is taken
            try:
                await contain(self._store.release(queue_id, self._clock.now() + self._settings.retry_first_seconds))
            except Unavailable as trouble:
                self._log_trouble("queue unavailable", trouble)
                await self._pause(_RECORD_AGAIN_SECONDS)
            else:
                return

    def _log_trouble(self, name: str, trouble: Unavailable, **fields: str) -> None:
        if isinstance(trouble, Faulty):
            fields["traceback"] = trouble.trace
        self._log.error(name, problem=trouble.problem, **fields)

    async def _settle(
        self, entry: QueueEntry, settlements: Sequence[Settlement], transactions: Sequence[Transaction]
    ) -> None:
        """Record an attempt, again and again if there is no room for it now."""
        while True:
            try:
                await self._store.settle(entry.queue_id, self._clock.now(), settlements, transactions)
            except Unavailable as trouble:
                self._log.error("attempt not recorded", queue_id=entry.queue_id, problem=trouble.problem)
                await self._pause(_RECORD_AGAIN_SECONDS)
                if self._stopping.is_set():
                    return
            else:
                return
