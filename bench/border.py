"""What the border defence adds to a message: CPU microseconds with all of it on, beside the same server without.

Client and server are one process over loopback; the difference is the defence's. Rounds with and without take turns; medians,
and the least of all rounds, for on a busy machine the difference is smaller than the noise. The first row is the defence by
itself. All look-ups are answered from memory, as they are for a client that is known.
"""

from __future__ import annotations

import asyncio
import ipaddress
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log, send_to
from letterlock.host.notebook import Notebook
from letterlock.host.resolver.cache import CachingResolver
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.stream import Endpoint
from letterlock.mta.arrival import Arrival, Assessment, Destination
from letterlock.mta.assess import Assessor, AssessSettings
from letterlock.mta.border.border import Border, BorderSettings
from letterlock.mta.border.greylist import Greylist
from letterlock.mta.border.lists import ListSettings
from letterlock.mta.inbound import Inbound, InboundSettings
from letterlock.store.interface import Delivery, Receipt, Store, Transaction

ZONE = """
1.0.0.127.in-addr.arpa. IN PTR mx.harbor.test.
mx.harbor.test. IN A 127.0.0.1
2.0.0.127.bad.test. IN A 127.0.0.2
2.0.0.127.worse.test. IN A 127.0.0.2
2.0.0.127.good.test. IN A 127.0.0.2
harbor.test. IN TXT "v=spf1 ip4:127.0.0.1 -all"
_dmarc.harbor.test. IN TXT "v=DMARC1; p=none"
"""
MESSAGES, ROUNDS, CONNECTIONS, CALLS = 600, 9, 100, 10_000
BODY = b"Date: Fri, 15 Jan 2027 08:00:00 +0000\r\nSubject: x\r\n\r\n" + b"The hedge needs cutting.\r\n" * 40


class Here:
    """Takes every recipient, and every transaction at once."""

    deliveries = (Delivery("ada"),)
    relays: tuple[Recipient, ...] = ()

    def is_ours(self, _domain: str) -> bool:
        return True

    def accept(self, _reverse_path: object, _recipient: Recipient) -> Destination:
        return self

    def announce(self, change: int) -> None:
        """Say that messages are on their way."""

    async def commit(self, _transaction: Transaction) -> Receipt:
        return Receipt(1)


def border_of(resolver: CachingResolver, clock: SystemClock) -> Border:
    """All of it: three lists, points, rates, greylisting."""
    lists = (ListSettings("bad.test"), ListSettings("worse.test", 4), ListSettings("good.test", -3))
    settings = BorderSettings(
        frozenset({"mx.rosewood.test"}), frozenset({ipaddress.ip_network("10.0.0.0/8")}), lists,
        messages_per_hour=1e9, recipients_per_hour=1e9, unknown_recipients_per_hour=1e9,
    )  # fmt: skip
    return Border(settings, resolver=resolver, clock=clock, log=Log("mta"), greylist=Greylist(clock))


async def converse(port: int, messages: int, sender: bytes) -> None:
    """Send messages over one connection, each as one burst, waiting for the reply to its content."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(b"EHLO mx.harbor.test\r\n")
    while not (await reader.readline()).startswith(b"250 "):
        pass
    burst = (
        b"MAIL FROM:<"
        + sender
        + b">\r\nRCPT TO:<ada@rosewood.test>\r\nBDAT %d LAST\r\nFrom: <"
        + sender
        + b">\r\n"
        + BODY
    ) % (len(BODY) + len(sender) + 10)
    for _ in range(messages):
        writer.write(burst)
        for _ in range(3):
            answer = await reader.readline()
            assert answer.startswith(b"250 "), answer
    writer.write(b"QUIT\r\n")
    await reader.read()
    writer.close()
    await writer.wait_closed()


async def measure(*, defended: bool, assessed: bool, connections: int, messages: int) -> float:
    """Return the CPU microseconds of a message, with or without the defence, and with or without SPF, DKIM and DMARC."""
    clock, resolver = SystemClock(), CachingResolver(ZoneTable.parse(ZONE))
    border = border_of(resolver, clock) if defended else None
    with tempfile.TemporaryDirectory() as folder:
        notebook = Notebook.open(Path(folder) / "notes", clock=clock, log=Log("border"))
        if border is not None:
            await border.check_lists()
            notebook.keep(*border.books)
        keeping = asyncio.create_task(notebook.run())
        assessor = Assessor(AssessSettings("mx.rosewood.test"), resolver, border=border)
        hooks = {"assess": assessor, "judge_sender": assessor.sender, "examine": assessor.examine} if assessed else {}
        service = Inbound(
            InboundSettings("mx.rosewood.test"), store=cast(Store, Here()), recipients=Here(), clock=clock,
            entropy=SystemEntropy(), log=Log("mta"), border=border, **hooks,
        )  # type: ignore[arg-type]  # fmt: skip
        listener = Listener(service.session, log=Log("mta"))
        await listener.start([bind("127.0.0.1", 0)])
        port = listener.endpoints[0].port
        await converse(port, 50, b"rose@harbor.test")
        begin = time.process_time()
        for _ in range(connections):
            await converse(port, messages, b"rose@harbor.test")
        spent = time.process_time() - begin
        await listener.stop(grace_seconds=2)
        keeping.cancel()
        await notebook.close()
    return spent / (connections * messages) * 1e6


def rows(what: str, *, assessed: bool, connections: int, messages: int) -> None:
    """Measure in turns and print a row."""
    run: Callable[[bool], float] = lambda defended: asyncio.run(  # noqa: E731
        measure(defended=defended, assessed=assessed, connections=connections, messages=messages)
    )
    pairs = [(run(True), run(False)) for _ in range(ROUNDS)]
    ours, without = (statistics.median(column) for column in zip(*pairs, strict=True))
    least = " and ".join(f"{min(column):.0f}" for column in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    print(f"{what} | {ours:.0f} us | {without:.0f} us | {ratio:.2f} | {least} us")


async def steps() -> None:
    """Print what the steps of one message cost by themselves, for a client that is known, in its session's order."""
    clock = SystemClock()
    border = border_of(CachingResolver(ZoneTable.parse(ZONE)), clock)
    await border.check_lists()
    host, recipient = "127.0.0.1", Address("ada", "rosewood.test")
    envelope = Envelope(Address("rose", "harbor.test"), (Recipient(recipient),))
    standing = await border.standing(host, "mx.harbor.test")
    arrival = Arrival(
        "1", 0.0, Endpoint(host, 1), "mx.harbor.test", "ESMTP", None, "", envelope, (BODY,), None, standing
    )
    samples = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(CALLS):
            border.message_begun(host)
            found = await border.standing(host, "mx.harbor.test")
            border.judge(found, recipient)
            border.recipient_given(host)
            found.results()
            border.conclude(arrival, Assessment(), is_authentic=True)
        samples.append((time.process_time() - begin) / CALLS * 1e6)
    print(f"the steps of the defence alone | {statistics.median(samples):.1f} us | | | ")


def main() -> None:
    """Print what is added to a message."""
    before = send_to(lambda _line: None)
    print("what | with the defence | without | ratio | least of the rounds\n---|---|---|---|---")
    asyncio.run(steps())
    rows("1 KB, one connection", assessed=False, connections=1, messages=MESSAGES)
    rows("1 KB, one connection, SPF, DKIM, DMARC", assessed=True, connections=1, messages=MESSAGES // 2)
    rows("1 KB, a connection a message, SPF, DKIM, DMARC", assessed=True, connections=CONNECTIONS, messages=1)
    send_to(before)
