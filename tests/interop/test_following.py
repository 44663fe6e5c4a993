"""Messages begun behind the content of others (RFC 2920 section 3.1), as other servers take them: once, each with its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bench._exim import exim
from bench._opensmtpd import opensmtpd
from bench._postfix import free_port, postfix
from tests.interop.smtp_site import MESSAGE, files_in
from tests.interop.test_exim import HERE as EXIM_HERE
from tests.interop.test_exim import KNOWN_ONLY, MAILDIR, OFFERS
from tests.interop.test_opensmtpd import HERE as OPENSMTPD_HERE
from tests.interop.test_opensmtpd import PEOPLE, USER, maildir

from letterlock.formats.address import Address
from letterlock.formats.envelope import Body, Envelope, Recipient
from letterlock.formats.outcome import Outcome, Result
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.logs import Log, send_to
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.smtp_client import Follower, SmtpClient
from letterlock.mta.outbound import Outbound, OutboundSettings
from letterlock.mta.route import RoutingSettings
from letterlock.protocols.smtp.client import Transfer

pytestmark = pytest.mark.interop

COUNT = 40
HOLDING = """
mydestination = harbor.test
local_recipient_maps = inline:{ bob@harbor.test=x }
smtpd_recipient_restrictions = permit
smtpd_sender_restrictions = static:hold
"""


@asynccontextmanager
async def sending(port: int) -> AsyncIterator[Outbound]:
    """What sends to a server over two connections at most."""
    before = send_to(lambda _line: None)
    outbound = Outbound(
        OutboundSettings("mx.rosewood.test", RoutingSettings(frozenset(), port=port), connections_per_host=2),
        resolver=ZoneTable.parse("harbor.test. 300 IN MX 0 mx.test.\nmx.test. 300 IN A 127.0.0.1\n"),
        clock=SystemClock(),
        entropy=SystemEntropy(),
        log=Log("mta"),
    )
    try:
        yield outbound
    finally:
        await outbound.close()
        send_to(before)


async def send_all(port: int) -> list[Outcome]:
    """Send all at once; every tenth is for nobody."""

    async def one(number: int) -> Outcome:
        recipient = Recipient(Address("nobody" if number % 10 == 5 else "bob", "harbor.test"))
        envelope = Envelope(Address("ada", "rosewood.test"), (recipient,), body=Body.EIGHT_BIT)
        (outcome,) = await outbound.deliver(envelope, MESSAGE.format(subject=f"n{number:03}").encode())
        return outcome

    async with sending(port) as outbound:
        return await asyncio.gather(*map(one, range(COUNT)))


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> list[Transfer]:
    """The messages that were begun behind others."""
    begun: list[Transfer] = []
    begin_behind = SmtpClient.begin_behind

    def noted(client: SmtpClient, transfer: Transfer) -> Follower | None:
        follower = begin_behind(client, transfer)
        if follower is not None:
            begun.append(transfer)
        return follower

    monkeypatch.setattr(SmtpClient, "begin_behind", noted)
    return begun


def judge(outcomes: list[Outcome], stored: list[bytes]) -> None:
    """Every message that was taken is there once; every answer is its own."""
    unknown = [outcome for number, outcome in enumerate(outcomes) if number % 10 == 5]
    taken = [outcome for number, outcome in enumerate(outcomes) if number % 10 != 5]
    assert {one.result for one in taken} == {Result.RELAYED}, outcomes
    assert {one.result for one in unknown} == {Result.FAILED}, outcomes
    assert len({one.reply for one in taken}) == len(taken)
    for number in range(COUNT):
        holding = [octets for octets in stored if f"Subject: n{number:03}".encode() in octets]
        assert len(holding) == (number % 10 != 5), number


async def test_postfix(common: Path, followed: list[Transfer]) -> None:
    """Into its hold queue."""
    with postfix(common / "postfix", HOLDING) as port:
        outcomes = await send_all(port)
        stored = await asyncio.to_thread(files_in, common / "postfix" / "queue" / "hold", COUNT - COUNT // 10)
    judge(outcomes, stored)
    assert len(followed) > COUNT // 2


async def test_exim(common: Path, followed: list[Transfer]) -> None:
    """Which looks for input that came too soon (smtp_enforce_sync)."""
    with exim(common / "exim", OFFERS, acl=KNOWN_ONLY, routers=EXIM_HERE, port=free_port(),
              transports=MAILDIR.format(folder=common / "exim")) as port:  # fmt: skip
        outcomes = await send_all(port)
        stored = await asyncio.to_thread(files_in, common / "exim" / "mail" / "new", COUNT - COUNT // 10)
    judge(outcomes, stored)
    assert len(followed) > COUNT // 2


async def test_opensmtpd(common: Path, followed: list[Transfer]) -> None:
    """It offers no PIPELINING, so nothing goes behind."""
    folder = maildir(common)
    with opensmtpd(common / "opensmtpd", OPENSMTPD_HERE.format(mail=folder), more=PEOPLE.format(user=USER)) as port:
        outcomes = await send_all(port)
        stored = await asyncio.to_thread(files_in, folder / "new", COUNT - COUNT // 10)
    judge(outcomes, stored)
    assert followed == []
