"""kill -9 of a whole mail host under load: what it answered 250 is in its mailbox once, and reaches the next host."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections import Counter
from pathlib import Path
from typing import cast

import pytest
from tests.mta.test_inbound import Becomes

from fakes import smtp_node
from letterlock.errors import PeerFault
from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log, send_to
from letterlock.host.smtp_client import SmtpClient
from letterlock.host.stream import Endpoint
from letterlock.mta.inbound import Inbound, InboundSettings
from letterlock.store.core import StoreSettings
from letterlock.store.engine import open_store
from letterlock.store.interface import Receipt, Store, Transaction


class Sink:
    """The next host: remembers the id of each message it took."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def is_ours(self, _domain: str) -> bool:
        return True

    async def accept(self, _reverse_path: Address | None, _recipient: Recipient) -> Becomes:
        return Becomes()

    def announce(self, change: int) -> None:
        """Say that messages are on their way."""

    async def commit(self, transaction: Transaction) -> Receipt:
        self.seen[name_in(b"".join(transaction.octets))] += 1
        return Receipt(0)


def name_in(octets: bytes) -> str:
    """The id that a message carries."""
    return octets.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode()


async def load(endpoint: Endpoint, client_name: str, acknowledged: set[str], sent: set[str]) -> None:
    """Send one message after another until the host is gone."""
    with contextlib.suppress(PeerFault):
        client = await SmtpClient.open(endpoint, name="client.test")
        try:
            await client.greet()
            await client.hello()
            for number in range(1_000_000):
                name = f"{client_name}.{number}"
                sent.add(name)
                envelope = Envelope(Address("x", "client.test"), (Recipient(Address("a", "rosewood.test")),))
                (answer,) = await client.transfer(envelope, f"Subject: {name}\r\n\r\n".encode() + b"x" * 3000 + b"\r\n")
                if answer.is_positive:
                    acknowledged.add(name)
        finally:
            client.stream.abort()


async def up(endpoint: Endpoint) -> None:
    """Return when the host answers."""
    for _ in range(400):
        with contextlib.suppress(PeerFault):
            client = await SmtpClient.open(endpoint, name="client.test")
            try:
                await client.greet()
                return
            finally:
                client.stream.abort()
        await asyncio.sleep(0.025)
    raise AssertionError("the host does not come up")


async def rounds(folder: Path, count: int, seed: int) -> tuple[set[str], set[str], Counter[str]]:
    """Run and kill; return what was acknowledged, what was sent, and what the sink took in the end."""
    chance, before = random.Random(seed), send_to(lambda _line: None)
    sink = Sink()
    service = Inbound(InboundSettings("mx.test"), store=cast(Store, sink), recipients=sink, clock=SystemClock(),
                      entropy=SystemEntropy(), log=Log("sink"))  # fmt: skip
    listener = Listener(service.session, log=Log("sink"))
    await listener.start([bind("127.0.0.1", 0)])
    free = bind("127.0.0.1", 0)
    endpoint = Endpoint("127.0.0.1", free.getsockname()[1])
    free.close()
    acknowledged: set[str] = set()
    sent: set[str] = set()
    arguments = (smtp_node.__file__, str(folder), str(endpoint.port), str(listener.endpoints[0].port))
    for number in range(count + 1):
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
        try:
            await up(endpoint)
            if number < count:
                clients = [load(endpoint, f"{number}.{one}", acknowledged, sent) for one in range(4)]
                running = asyncio.gather(*clients)
                await asyncio.wait([running], timeout=chance.uniform(0.02, 0.5))
                process.kill()
                await running
            else:  # the last time it may finish what it owes
                async with asyncio.timeout(60):
                    while not acknowledged <= sink.seen.keys():  # noqa: ASYNC110 - another process works
                        await asyncio.sleep(0.05)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    await listener.stop(grace_seconds=2)
    send_to(before)
    return acknowledged, sent, sink.seen


async def stored(folder: Path) -> Counter[str]:
    """The ids in the mailbox."""
    store = await open_store(StoreSettings(folder / "store", reserve_octets=0))
    mailbox = await store.mailbox(smtp_node.ACCOUNT, "INBOX")
    assert mailbox is not None
    opened = await store.open(mailbox.id)
    names = Counter([name_in(await store.read(content)) for content in opened.snapshot().contents])
    opened.close()
    await store.close()
    return names


async def check(folder: Path, count: int, seed: int) -> int:
    """Run the rounds and hold the mailbox and the sink against the acknowledgements."""
    acknowledged, sent, relayed = await rounds(folder, count, seed)
    mailbox = await stored(folder)
    assert acknowledged - mailbox.keys() == set(), "acknowledged and lost"
    assert [name for name, times in mailbox.items() if times > 1] == [], "doubled in the mailbox"
    assert mailbox.keys() <= sent
    assert acknowledged - relayed.keys() == set(), "acknowledged and never sent on"
    return len(acknowledged)


async def test_a_killed_host_keeps_its_word(tmp_path: Path) -> None:
    """Four clients, four kills at random instants, local copies and queue alike."""
    assert await check(tmp_path, 4, 1) > 0


@pytest.mark.slow
async def test_a_host_killed_two_hundred_times(tmp_path: Path) -> None:
    """The long form."""
    for number in range(10):
        assert await check(tmp_path / str(number), 20, number) > 200
