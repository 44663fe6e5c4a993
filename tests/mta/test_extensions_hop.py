"""One hop, from our client to our server over real connections: what a sender wished is in the next queue as it was in ours."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.mta.test_inbound import SETTINGS, Becomes, People, inbound

from letterlock.formats.address import Address
from letterlock.formats.envelope import Body, DeliverBy, Envelope, Late, Notify, Recipient, Return, ValidSince
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SeededEntropy
from letterlock.host.logs import Log
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.smtp_client import ClientPatience
from letterlock.host.tls import KeyPair, ServerTls, authenticated_client
from letterlock.mta.demand import Demands
from letterlock.mta.outbound import Outbound, OutboundSettings
from letterlock.mta.route import RoutingSettings


class Onward(People):
    """Everybody goes on to elsewhere.test under the same wishes."""

    async def accept(self, _reverse_path: Address | None, recipient: Recipient) -> Becomes | Outcome:
        return Becomes(
            relays=(replace(recipient, forward_path=Address(recipient.forward_path.local_part, "elsewhere.test")),)
        )


async def hop(
    envelope: Envelope, content: bytes, key_pair: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> tuple[Outcome, Envelope, int]:
    """Send to a server that queues; return our outcome, the envelope in its queue, and the priority there."""
    monkeypatch.setattr("tests.mta.test_inbound.People", Onward)
    monkeypatch.setattr("tests.mta.test_inbound.SetClock", SystemClock)
    async with inbound(SETTINGS, tls=ServerTls([key_pair])) as (endpoint, ledger, _):
        zone = "$SECURE test\nrosewood.test. 300 IN MX 0 mx.rosewood.test.\nmx.rosewood.test. 300 IN A 127.0.0.1\n"
        outbound = Outbound(
            OutboundSettings("mx.harbor.test", RoutingSettings(frozenset(), ports={"mx.rosewood.test": endpoint.port}),
                             patience=ClientPatience(5, 10, 10, 10, 10, 10)),
            resolver=ZoneTable.parse(zone),
            clock=SystemClock(),
            entropy=SeededEntropy(),
            log=Log("test"),
            demand=Demands(clock=SystemClock(), authenticated=authenticated_client(key_pair.chain)),
        )  # fmt: skip
        (outcome,) = await outbound.deliver(envelope, content, priority=4)
        await outbound.close()
    (transaction,) = ledger.transactions
    (queued,) = transaction.queued
    return outcome, queued.envelope, queued.priority


async def test_every_wish_survives_a_hop(key_pair: KeyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """DSN, BODY, SMTPUTF8, REQUIRETLS, BY, RRVS, SOLICIT in one envelope."""
    now = SystemClock().now()
    recipient = Recipient(
        Address("grå", "rosewood.test"),
        Notify.SUCCESS | Notify.DELAY,
        "rfc822;a+b=c@old.test",
        ValidSince(1_396_566_060, is_optional=True),
    )
    envelope = Envelope(
        Address("x", "harbor.test"), (recipient,), Body.BINARY, smtputf8=True, require_tls=True,
        return_content=Return.HEADERS, envelope_id="id + = x", deliver_by=DeliverBy(now + 3600, Late.NOTIFY, trace=True),
        solicitation=("net.example:ADV", "org.example:X"),
    )  # fmt: skip
    outcome, queued, priority = await hop(envelope, b"Subject: x\r\n\r\n\0\n\r", key_pair, monkeypatch)
    assert (outcome.result, outcome.supports_dsn, outcome.supports_deliver_by) == (Result.RELAYED, True, True)
    assert queued.deliver_by is not None
    assert abs(queued.deliver_by.instant - (now + 3600)) < 30
    onward = replace(recipient, forward_path=Address("grå", "elsewhere.test"))
    assert replace(queued, deliver_by=envelope.deliver_by) == replace(envelope, recipients=(onward,))
    assert priority == 0  # port 25 takes nobody's word for how urgent it is (RFC 6710 section 5)


@pytest.mark.parametrize("body", [Body.SEVEN_BIT, Body.EIGHT_BIT])
async def test_a_plain_envelope_stays_plain(body: Body, key_pair: KeyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked for that nobody asked for."""
    envelope = Envelope(None, (Recipient(Address("bob", "rosewood.test")),), body)
    _, queued, _ = await hop(envelope, b"x\r\n", key_pair, monkeypatch)
    assert queued == replace(envelope, recipients=(Recipient(Address("bob", "elsewhere.test")),))
