"""The queue's runner over a store and one sink, for measurements."""

from __future__ import annotations

from pathlib import Path

from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.logs import Log
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.mda.deliver import DeliveryAgent
from letterlock.mda.resolve import Resolver, ResolveSettings
from letterlock.mta.outbound import Outbound, OutboundSettings
from letterlock.mta.queue.runner import Runner
from letterlock.mta.queue.schedule import QueueSettings
from letterlock.mta.route import RoutingSettings
from letterlock.mta.transfer import transfer_over
from letterlock.store.accounts import Accounts
from letterlock.store.interface import Store

_ZONE = "harbor.test. 300 IN MX 0 mx.test.\nmx.test. 300 IN A 127.0.0.1\n"


def sending(folder: Path, store: Store, sink: int) -> tuple[Runner, Outbound]:
    """Return a runner, not yet running, that sends what is for harbor.test to the port of a sink on this machine."""
    clock, entropy = SystemClock(), SystemEntropy()
    accounts = Accounts(folder / "accounts")
    agent = DeliveryAgent(Resolver(ResolveSettings(("rosewood.test",)), accounts), accounts, store)
    outbound = Outbound(
        OutboundSettings("mx.rosewood.test", RoutingSettings(frozenset(), port=sink)),
        resolver=ZoneTable.parse(_ZONE),
        clock=clock,
        entropy=entropy,
        log=Log("mta"),
    )
    runner = Runner(
        store=store,
        agent=agent,
        transfer=transfer_over(outbound, store),
        settings=QueueSettings("mx.rosewood.test"),
        clock=clock,
        entropy=entropy,
        log=Log("queue"),
    )
    return runner, outbound
