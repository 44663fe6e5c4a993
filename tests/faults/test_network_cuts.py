"""Cut off from the other side, at every step of a conversation, both ways: nothing is lost, sessions end, mail goes on.

What the other side cannot know it must send again: after a lost 250 a relay sends twice (RFC 5321 section 4.5.5, RFC 1047).
Needs root, for network namespaces.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.faults.load import Conversation
from tests.faults.network import OtherHost, other_host
from tests.faults.served import ident_of

from fakes.smtp_node import ACCOUNT
from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.listen import ConnectionLimits, Listener, bind
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
from letterlock.mta.session import Patience
from letterlock.mta.transfer import transfer_over
from letterlock.store.accounts import Accounts
from letterlock.store.core import StoreSettings
from letterlock.store.engine import open_store
from letterlock.store.interface import Delivery, Queued, QueueFilter, Store, Transaction

pytestmark = pytest.mark.interop

CONTENT = b"Subject: m\r\n\r\n" + b"x" * 70 * 200 + b"\r\n"
Cut = Callable[[OtherHost], None]
CUTS: dict[str, Cut] = {"dropped": OtherHost.cut, "reset": OtherHost.reset}


class Everything:
    """Takes all recipients into one mailbox."""

    deliveries = (Delivery(ACCOUNT),)
    relays: tuple[Recipient, ...] = ()

    def is_ours(self, _domain: str) -> bool:
        return True

    async def accept(self, _reverse_path: Address | None, _recipient: Recipient) -> Everything:
        return self


class Here:
    """Our side: a listener and a store."""

    def __init__(self, store: Store, listener: Listener) -> None:
        self.store, self.listener = store, listener
        self.port = listener.endpoints[0].port

    async def idents(self) -> list[str]:
        """Return what is in the mailbox."""
        mailbox = await self.store.mailbox(ACCOUNT, "INBOX")
        if mailbox is None:
            return []
        with contextlib.closing(await self.store.open(mailbox.id)) as opened:
            return [ident_of(b"\n" + await self.store.read(content)) for content in opened.snapshot().contents]

    async def sessions_end(self) -> None:
        """Wait until nobody is connected."""
        async with asyncio.timeout(30):
            while self.listener.connections:  # noqa: ASYNC110 - there is nothing to wait on
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def serving(folder: Path, address: str, patience: Patience) -> AsyncIterator[Here]:
    """Take mail at an address of this machine."""
    before = send_to(lambda _line: None)
    store = await open_store(StoreSettings(folder / "store", reserve_octets=0))
    service = Inbound(InboundSettings("mx.test", patience=patience), store=store, recipients=Everything(), clock=SystemClock(),
                      entropy=SystemEntropy(), log=Log("mta"))  # fmt: skip
    listener = Listener(service.session, log=Log("mta"), limits=ConnectionLimits(per_network=1000))
    await listener.start([bind(address, 0)])
    try:
        yield Here(store, listener)
    finally:
        await listener.stop(grace_seconds=5)
        await store.close()
        send_to(before)


STAGES = ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "content")


def talk_until(other: OtherHost, port: int, stage: str, cut: Cut) -> socket.socket:
    """Converse from the other host up to a stage, be cut off there, and go on as if nothing had happened."""
    connection = other.connect(port)
    said: list[bytes] = [
        b"EHLO client.test\r\n",
        b"MAIL FROM:<x@client.test>\r\n",
        b"RCPT TO:<a@rosewood.test>\r\n",
        b"DATA\r\n",
    ]
    with connection.makefile("rwb") as stream:
        stream.readline()
        for name, line in zip(STAGES, said, strict=False):
            if name == stage:
                break
            stream.write(line)
            stream.flush()
            while stream.readline()[3:4] == b"-":
                pass
    if stage == "content":
        connection.sendall(CONTENT[:5000])
    cut(other)
    with contextlib.suppress(OSError):
        connection.sendall(b"NOOP\r\n" if stage != "content" else CONTENT[5000:9000])
    return connection


def deliver(other: OtherHost, port: int) -> bytes:
    """Send the whole message from the other host."""
    with other.connect(port) as connection:
        talk = Conversation(connection)
        talk.expect(b"250", b"MAIL FROM:<x@client.test>\r\n")
        talk.expect(b"250", b"RCPT TO:<a@rosewood.test>\r\n")
        talk.expect(b"354", b"DATA\r\n")
        return talk.say(CONTENT + b".\r\n")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("how", CUTS)
async def test_a_client_that_is_cut_off_leaves_nothing(tmp_path: Path, stage: str, how: str) -> None:
    """The session ends by itself, nothing of the message is kept, and when the client comes again it is taken."""
    with other_host() as other:
        async with serving(tmp_path, other.here, Patience(command_seconds=2, octets_per_second=5000)) as here:
            connection = await asyncio.to_thread(talk_until, other, here.port, stage, CUTS[how])
            with connection:
                await here.sessions_end()
                assert await here.idents() == []
            other.heal()
            assert (await asyncio.to_thread(deliver, other, here.port)).startswith(b"250")
            assert await here.idents() == ["m"]


async def test_a_lost_250_means_twice_but_never_not_at_all(tmp_path: Path) -> None:
    """The client is cut off between its final dot and our reply: the message is kept; sent again, it is there twice."""
    with other_host() as other:
        async with serving(tmp_path, other.here, Patience(command_seconds=2)) as here:

            def lose_the_reply() -> socket.socket:
                connection = other.connect(here.port)
                talk = Conversation(connection)
                talk.expect(b"250", b"MAIL FROM:<x@client.test>\r\n")
                talk.expect(b"250", b"RCPT TO:<a@rosewood.test>\r\n")
                talk.expect(b"354", b"DATA\r\n")
                other.cut_arriving()
                connection.sendall(CONTENT + b".\r\n")
                return connection

            with await asyncio.to_thread(lose_the_reply):
                await here.sessions_end()
                assert await here.idents() == ["m"]
            other.heal()
            await asyncio.to_thread(deliver, other, here.port)
            assert await here.idents() == ["m", "m"]


async def test_loss_and_slowness_are_borne(tmp_path: Path) -> None:
    """A fifth of the packets lost, and then 64 kbit a second: mail is taken."""
    with other_host() as other:
        async with serving(tmp_path, other.here, Patience(command_seconds=60)) as here:
            other.lose(20)
            assert (await asyncio.to_thread(deliver, other, here.port)).startswith(b"250")
            other.heal()
            other.slow_down(64)
            assert (await asyncio.to_thread(deliver, other, here.port)).startswith(b"250")
            assert await here.idents() == ["m", "m"]


async def test_a_storm_of_resets_disturbs_nobody(tmp_path: Path) -> None:
    """Hundreds of connections reset in the middle of whatever they do; everybody else's mail is taken meanwhile."""
    async with serving(tmp_path, "127.0.0.1", Patience(command_seconds=30)) as here:
        over = threading.Event()

        def storm(number: int) -> None:
            full = b"EHLO x\r\nMAIL FROM:<x@client.test>\r\nRCPT TO:<a@rosewood.test>\r\nDATA\r\n" + CONTENT
            for count in range(100):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", here.port)) as connection:
                    connection.sendall(full[: (number * 100 + count) * 37 % len(full)])
                    connection.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )  # close is a reset

        def send() -> int:
            taken = 0
            while not over.is_set():
                with socket.create_connection(("127.0.0.1", here.port)) as connection:
                    talk = Conversation(connection)
                    talk.expect(b"250", b"MAIL FROM:<x@client.test>\r\n")
                    talk.expect(b"250", b"RCPT TO:<a@rosewood.test>\r\n")
                    talk.expect(b"354", b"DATA\r\n")
                    talk.expect(b"250", CONTENT + b".\r\n")
                    taken += 1
            return taken

        sending = asyncio.create_task(asyncio.to_thread(send))
        await asyncio.gather(*(asyncio.to_thread(storm, number) for number in range(4)))
        over.set()
        taken = await sending
        await here.sessions_end()
        assert taken > 0
        assert await here.idents() == ["m"] * taken


class Fickle:
    """A next host that the first time it gets to a stage is cut off, or resets the connection, and later serves."""

    def __init__(self, other: OtherHost, stage: str, *, resets: bool) -> None:
        self._other, self._stage, self._resets = other, stage, resets
        self._server = other.listen()
        self.port = self._server.getsockname()[1]
        self.taken: Counter[str] = Counter()
        self.was_cut = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _reach(self, stage: str, connection: socket.socket) -> None:
        if stage != self._stage or self.was_cut.is_set():
            return
        if not self._resets:
            self._other.cut()
        self.was_cut.set()
        if self._resets:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise ConnectionResetError

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            self._reach("greeting", connection)
            connection.sendall(b"220 sink.test\r\n")
            while line := stream.readline():
                verb = line[:4].decode().strip().upper()
                self._reach(verb, connection)
                if verb == "DATA":
                    connection.sendall(b"354 go on\r\n")
                    content = bytearray()
                    while (line := stream.readline()) != b".\r\n":
                        if not line:
                            return
                        content += line
                        if len(content) > 6000:
                            self._reach("content", connection)
                    self.taken[ident_of(b"\n" + bytes(content[:100]))] += 1
                    self._reach("end of data", connection)
                connection.sendall(b"250-sink.test\r\n250 PIPELINING\r\n" if verb == "EHLO" else b"250 2.0.0 fine\r\n")

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()


@contextlib.asynccontextmanager
async def sending(folder: Path, other: OtherHost, port: int) -> AsyncIterator[Store]:
    """Run a queue whose mail for harbor.test goes to a port of the other host."""
    before = send_to(lambda _line: None)
    clock, entropy = SystemClock(), SystemEntropy()
    store = await open_store(StoreSettings(folder / "store", reserve_octets=0))
    accounts = Accounts(folder / "accounts")
    agent = DeliveryAgent(Resolver(ResolveSettings(("client.test",)), accounts), accounts, store)
    outbound = Outbound(
        OutboundSettings("mx.test", RoutingSettings(frozenset(), port=port),
                         patience=ClientPatience(2, 2, 2, 2, 2, 2), memory_seconds=0.2),
        resolver=ZoneTable.parse(f"harbor.test. 300 IN MX 0 mx.harbor.test.\nmx.harbor.test. 300 IN A {other.there}\n"),
        clock=clock, entropy=entropy, log=Log("mta"),
    )  # fmt: skip
    settings = QueueSettings("mx.test", retry_first_seconds=0.2, retry_longest_seconds=0.4, peace_seconds=0.2)
    runner = Runner(store=store, agent=agent, transfer=transfer_over(outbound, store), settings=settings, clock=clock,
                    entropy=entropy, log=Log("queue"))  # fmt: skip
    running = asyncio.create_task(runner.run())
    try:
        yield store
    finally:
        await runner.stop(2)
        await running
        await outbound.close()
        await store.close()
        accounts.close()
        send_to(before)


OUTWARD = ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "content", "end of data")


@pytest.mark.parametrize("stage", OUTWARD)
@pytest.mark.parametrize("resets", [False, True])
async def test_what_a_cut_off_host_did_not_get_waits_for_it(tmp_path: Path, stage: str, resets: bool) -> None:
    """Nothing bounces; when the host can be reached again it gets the message, twice only if its 250 was lost."""
    with other_host() as other:
        fickle = Fickle(other, stage, resets=resets)
        with contextlib.closing(fickle):
            async with sending(tmp_path, other, fickle.port) as store:
                recipient = Recipient(Address.parse("a@harbor.test"))
                now = SystemClock().now()
                queued = Queued("q1", Envelope(Address.parse("x@client.test"), (recipient,)), now, now + 3600)
                await store.commit(Transaction("t1", now, (CONTENT * 50,), (), (queued,)))
                async with asyncio.timeout(60):
                    await asyncio.to_thread(fickle.was_cut.wait, 30)
                    while not (await store.queue(QueueFilter()))[0].recipients[0].attempts:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                    other.heal()
                    while await store.queue(QueueFilter()):  # noqa: ASYNC110 - another task works
                        await asyncio.sleep(0.05)
    assert fickle.taken["m"] == (2 if stage == "end of data" else 1)
