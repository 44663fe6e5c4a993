"""Sendmail, the one wide-spread server that knows DELIVERBY: the hour goes through it and comes out shorter."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from bench._postfix import free_port
from tests.interop.sendmail import sendmail
from tests.mta.test_extensions_hop import Onward
from tests.mta.test_inbound import SETTINGS, Ledger
from tests.mta.test_outbound import CONTENT

from letterlock.formats.address import Address
from letterlock.formats.envelope import DeliverBy, Envelope, Late, Notify, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SeededEntropy
from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.mta.inbound import Inbound
from letterlock.mta.outbound import Outbound, OutboundSettings
from letterlock.mta.route import RoutingSettings
from letterlock.store.interface import Receipt, Store, Transaction

pytestmark = pytest.mark.interop


class Taking(Ledger):
    """Says when something was taken."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = asyncio.Event()

    def announce(self, change: int) -> None:
        """Say that messages are on their way."""

    async def commit(self, transaction: Transaction) -> Receipt:
        receipt = await super().commit(transaction)
        self.taken.set()
        return receipt


@contextlib.asynccontextmanager
async def serving(port: int) -> AsyncIterator[Taking]:
    """Our server on this port; everybody goes on to elsewhere.test."""
    ledger = Taking()
    service = Inbound(SETTINGS, store=cast(Store, ledger), recipients=Onward(), clock=SystemClock(), entropy=SeededEntropy(),
                      log=Log("mta"))  # fmt: skip
    listener = Listener(service.session, log=Log("mta"))
    await listener.start([bind("127.0.0.1", port)])
    try:
        yield ledger
    finally:
        await listener.stop(grace_seconds=5)


async def through(port: int, envelope: Envelope) -> Outcome:
    """Send to sendmail as to the exchanger of rosewood.test."""
    zone = "rosewood.test. 300 IN MX 0 mx.test.\nmx.test. 300 IN A 127.0.0.1\n"
    outbound = Outbound(
        OutboundSettings("mx.harbor.test", RoutingSettings(frozenset(), ports={"mx.test": port})),
        resolver=ZoneTable.parse(zone),
        clock=SystemClock(),
        entropy=SeededEntropy(),
        log=Log("test"),
    )
    (outcome,) = await outbound.deliver(envelope, CONTENT)
    await outbound.close()
    return outcome


async def test_the_hour_goes_through(tmp_path: Path) -> None:
    """RFC 2852 section 4.1.4: BY to it, BY from it, the same instant; NOTIFY and ORCPT with it."""
    instant = time.time() + 3600
    next_port = free_port()
    recipient = Recipient(Address("ada", "rosewood.test"), Notify.FAILURE | Notify.DELAY, "rfc822;ada@old.test")
    envelope = Envelope(
        Address("x", "harbor.test"), (recipient,), deliver_by=DeliverBy(instant, Late.RETURN, trace=True)
    )
    with sendmail(tmp_path, next_port=next_port, least_seconds=10) as port:
        async with serving(next_port) as ledger:
            outcome = await through(port, envelope)
            async with asyncio.timeout(30):
                await ledger.taken.wait()
        soon = replace(envelope, deliver_by=DeliverBy(time.time() + 5, Late.RETURN))
        refused = await through(port, soon)
    assert (outcome.result, outcome.supports_deliver_by, outcome.supports_dsn) == (Result.RELAYED, True, True)
    (queued,) = ledger.transactions[0].queued
    assert queued.envelope.deliver_by is not None
    assert abs(queued.envelope.deliver_by.instant - instant) < 30
    assert (queued.envelope.deliver_by.late, queued.envelope.deliver_by.trace) == (Late.RETURN, True)
    assert queued.envelope.recipients[0].original == recipient.original
    # Its least time is ten seconds: what has five left does not go there.
    assert (refused.result, refused.status) == (Result.FAILED, "5.3.3")
