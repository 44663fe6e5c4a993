"""The way out of a running domain as one thing: what sends, the queue's runner, the list of suppressed addresses.

    sending = begin_sending(settings, store, agent, resolver, ledger, clock, entropy)
    ... sending.prepare(settings)() ... await sending.stop(grace_seconds)

See also: admd/outward.py (what the settings say of it), admd/queue_operations.py (what is asked of it).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from letterlock.admd import outward
from letterlock.admd.settings import Settings
from letterlock.host.clock import Clock
from letterlock.host.entropy import Entropy
from letterlock.host.ledger import Ledger
from letterlock.host.logs import Log
from letterlock.host.metrics import Metric, Sample
from letterlock.host.resolver.interface import Resolver
from letterlock.mda.deliver import DeliveryAgent
from letterlock.mta.arrival import Recipients
from letterlock.mta.backup import Backup
from letterlock.mta.outbound import Outbound
from letterlock.mta.queue.local import Programs
from letterlock.mta.queue.runner import Runner
from letterlock.mta.queue.schedule import QueueSettings
from letterlock.mta.queue.suppressed import Suppressions, SuppressionSettings
from letterlock.mta.transfer import transfer_over
from letterlock.store.interface import Store

_LIST_NAME = "suppressed.sqlite"


@dataclass(frozen=True, slots=True)
class Sending:
    """The way out, running. `task` ends only where it is stopped or fails."""

    outbound: Outbound
    runner: Runner
    suppressions: Suppressions
    resolver: Resolver
    task: asyncio.Task[None]

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """Return what lets us go by other settings. Raises SettingsFault."""
        queue, sending, suppression = (
            queue_settings(settings),
            outward.outbound_settings(settings),
            _suppression(settings),
        )

        def take_up() -> None:
            self.suppressions.settings = suppression
            self.runner.adopt(queue)
            self.outbound.adopt(sending, self.resolver)

        return take_up

    def forget_failures(self) -> None:
        """Ask hosts again that did not answer."""
        self.outbound.forget_failures()
        self.runner.forget_failures()

    def metrics(self) -> list[Metric]:
        """Return the figures of this moment."""
        used, idle = self.outbound.connections
        known, failing = self.runner.destinations()
        results = sorted(self.runner.results.items())
        return [
            Metric("letterlock_queue_under_way", "gauge", "Messages taken from the queue: being sent, or next.",
                   (Sample(self.runner.under_way),)),
            Metric("letterlock_queue_destinations", "gauge", "Domains with mail under way or a failure just now.",
                   (Sample(known),)),
            Metric("letterlock_queue_destinations_failing", "gauge", "Those that do not answer and are left in peace.",
                   (Sample(failing),)),
            Metric("letterlock_outbound_connections", "gauge", "Connections to other hosts.",
                   (Sample(used, state="used"), Sample(idle, state="idle"))),
            Metric("letterlock_attempts_total", "counter", "Attempts by result and the first two numbers of the status.",
                   tuple(Sample(count, result=result, status=status) for (result, status), count in results)),
            self.runner.delays.metric("letterlock_delivery_delay_seconds", "From a message's arrival to its last outcome."),
            Metric("letterlock_suppressed", "gauge", "Addresses and domains nothing is sent to.",
                   (Sample(len(self.suppressions.entries())),)),
        ]  # fmt: skip

    def recipients(self, settings: Settings, inner: Recipients, clock: Clock) -> Recipients:
        """Return whom mail from outside is taken for: those of `inner`, and those we stand in for."""
        domains = settings.transfer.backup_for
        return Backup(inner, domains, self.outbound.ask, clock) if domains else inner

    async def stop(self, grace_seconds: float) -> None:
        """Let what is under way end within the grace, and take leave."""
        await self.runner.stop(grace_seconds)
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        await self.outbound.close()


def begin_sending(
    settings: Settings,
    store: Store,
    agent: DeliveryAgent,
    resolver: Resolver,
    ledger: Ledger,
    clock: Clock,
    entropy: Entropy,
    programs: Programs | None = None,
) -> Sending:
    """Begin to send what is queued. Raises SettingsFault."""
    outbound = outward.outbound(settings, resolver, ledger, clock, entropy)
    log = Log("queue")
    suppressions = Suppressions(
        clock, log, file=settings.path(settings.data) / _LIST_NAME, settings=_suppression(settings)
    )
    runner = Runner(
        store=store,
        agent=agent,
        transfer=transfer_over(outbound, store),
        settings=queue_settings(settings),
        clock=clock,
        entropy=entropy,
        log=log,
        suppressions=suppressions,
        programs=programs,
    )
    return Sending(outbound, runner, suppressions, resolver, asyncio.create_task(runner.run()))


def queue_settings(settings: Settings) -> QueueSettings:
    """Return how long mail is owed, and what is held."""
    transfer = settings.transfer
    return QueueSettings(
        settings.host_name,
        retry_first_seconds=transfer.retry_first_seconds,
        retry_longest_seconds=transfer.retry_longest_seconds,
        warn_after_seconds=transfer.warn_after_seconds,
        expire_after_seconds=transfer.expire_after_seconds,
        peace_seconds=outward.peace_seconds(settings),
        held_senders=frozenset(transfer.hold_senders),
        held_recipients=frozenset(transfer.hold_recipients),
        backup_for=frozenset(transfer.backup_for),
    )


def _suppression(settings: Settings) -> SuppressionSettings:
    return SuppressionSettings(settings.transfer.suppress_after, settings.transfer.suppress_days * 86_400)
