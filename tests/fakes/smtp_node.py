"""A mail host to be killed: port 25 over the real store, and a queue that sends to one sink. Arguments: folder, port, sink.

Mail for anybody at rosewood.test is copied into one mailbox here and goes on to the same local part at harbor.test.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from letterlock.formats.address import Address
from letterlock.formats.envelope import Recipient
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log, send_to
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.smtp_client import ClientPatience
from letterlock.mda.deliver import DeliveryAgent
from letterlock.mda.resolve import Resolver, ResolveSettings
from letterlock.mta.inbound import Inbound, InboundSettings
from letterlock.mta.outbound import Outbound, OutboundSettings
from letterlock.mta.queue.runner import Runner
from letterlock.mta.queue.schedule import QueueSettings
from letterlock.mta.route import RoutingSettings
from letterlock.mta.transfer import transfer_over
from letterlock.store.accounts import Accounts
from letterlock.store.core import StoreSettings
from letterlock.store.engine import open_store
from letterlock.store.interface import Delivery

ACCOUNT = "ada@rosewood.test"


@dataclass(frozen=True)
class HereAndThere:
    """One copy here, one recipient elsewhere."""

    deliveries: tuple[Delivery, ...]
    relays: tuple[Recipient, ...]


class Everybody:
    """Takes all local parts of rosewood.test."""

    def is_ours(self, domain: str) -> bool:
        return domain == "rosewood.test"

    async def accept(self, _reverse_path: Address | None, recipient: Recipient) -> HereAndThere:
        elsewhere = Recipient(Address(recipient.forward_path.local_part, "harbor.test"))
        return HereAndThere((Delivery(ACCOUNT),), (elsewhere,))


async def serve(folder: Path, port: int, sink: int) -> None:
    """Serve until killed."""
    send_to(lambda _line: None)
    clock, entropy = SystemClock(), SystemEntropy()
    store = await open_store(StoreSettings(folder / "store", reserve_octets=0))
    accounts = Accounts(folder / "accounts")
    agent = DeliveryAgent(Resolver(ResolveSettings(("nowhere.test",)), accounts), accounts, store)
    outbound = Outbound(
        OutboundSettings("mx.rosewood.test", RoutingSettings(frozenset(), port=sink), patience=ClientPatience(5, 5, 5, 5, 5)),
        resolver=ZoneTable.parse("harbor.test. 300 IN MX 0 mx.test.\nmx.test. 300 IN A 127.0.0.1\n"),
        clock=clock, entropy=entropy, log=Log("mta"),
    )  # fmt: skip
    settings = QueueSettings("mx.rosewood.test", retry_first_seconds=0.1, retry_longest_seconds=0.2)
    runner = Runner(store=store, agent=agent, transfer=transfer_over(outbound, store), settings=settings, clock=clock,
                    entropy=entropy, log=Log("queue"))  # fmt: skip
    inbound = Inbound(InboundSettings("mx.rosewood.test"), store=store, recipients=Everybody(), clock=clock,
                      entropy=entropy, log=Log("mta"))  # fmt: skip
    listener = Listener(inbound.session, log=Log("mta"))
    await listener.start([bind("127.0.0.1", port)])
    await runner.run()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
