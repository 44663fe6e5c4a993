"""A small site of one domain for tests against foreign programs: our SMTP services over the real store, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import smtplib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.listen import Listener, bind
from letterlock.host.login_guard import LoginGuard
from letterlock.host.logs import Log, send_to
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.tls import KeyPair, ServerTls
from letterlock.mda.deliver import DeliveryAgent
from letterlock.mda.resolve import Resolver, ResolveSettings
from letterlock.msa.inbound import Submission, SubmissionSettings
from letterlock.mta.arrival import take_as_it_is
from letterlock.mta.filters import FilterChain, Filtered
from letterlock.mta.inbound import Inbound, InboundSettings
from letterlock.mta.outbound import Outbound, OutboundSettings
from letterlock.mta.queue.runner import Runner
from letterlock.mta.queue.schedule import QueueSettings
from letterlock.mta.route import RoutingSettings
from letterlock.mta.transfer import transfer_over
from letterlock.protocols.smtp.offer import Dialect
from letterlock.store.accounts import Accounts
from letterlock.store.core import StoreSettings
from letterlock.store.engine import open_store
from letterlock.store.interface import Store

ADA, PASSWORD = "ada@rosewood.test", "correct horse"
HOST = "mx.rosewood.test"
MESSAGE = (
    "From: Ada <ada@rosewood.test>\r\nTo: bob@harbor.test\r\nSubject: {subject}\r\n"
    "Date: Mon, 23 Nov 2026 13:15:15 +0000\r\nMessage-ID: <{subject}@x>\r\nMIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    "Grüße\r\n.\r\n..two dots\r\n.one\r\n" + "x" * 900 + "\r\n\r\nFrom here\r\n"
)


async def run(*command: str, given: bytes = b"", expected: int = 0) -> bytes:
    """Run a program to its end and return all it said."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(given), 60)
    assert process.returncode == expected, said.decode(errors="replace")
    return said


def body_of(octets: bytes) -> bytes:
    """Return what stands behind the header."""
    return octets.partition(b"\r\n\r\n")[2]


def files_in(folder: Path, count: int = 1) -> list[bytes]:
    """Wait for so many files in a folder and return their octets."""
    for _ in range(200):
        files = list(folder.iterdir()) if folder.exists() else []
        if len(files) >= count:
            return [path.read_bytes() for path in files]
        time.sleep(0.05)
    raise AssertionError(f"{folder} has not {count} files")


async def send(port: int, count: int, *, sender: str = "bob@harbor.test", recipients: tuple[str, ...] = (ADA,),
                 options: tuple[str, ...] = ("BODY=8BITMIME",), for_each: tuple[str, ...] = ()) -> None:  # fmt: skip
    """Hand messages to a program by Python's client."""

    def hand_over() -> None:
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
            for number in range(count):
                client.sendmail(sender, recipients, MESSAGE.format(subject=f"n{number}").encode(), options, for_each)

    await asyncio.to_thread(hand_over)


@dataclass
class Site:
    """A running site; ports of 127.0.0.1."""

    smtp: int
    submissions: int
    submission: int
    lmtp: int
    store: Store
    log: list[dict[str, Any]]

    async def inbox(
        self, count: int = 1, *, account: str = ADA, within_seconds: float = 20, name: str = "INBOX"
    ) -> list[bytes]:
        """Wait for so many messages in the INBOX, or another mailbox, and return their octets."""
        mailbox = await self.store.mailbox(account, name)
        assert mailbox is not None
        opened = await self.store.open(mailbox.id)
        try:
            async with asyncio.timeout(within_seconds):
                snapshot = opened.snapshot()
                while len(snapshot) < count:
                    snapshot = await opened.changed(snapshot)
                return [await self.store.read(content) for content in snapshot.contents]
        finally:
            opened.close()


@contextlib.asynccontextmanager
async def site(
    folder: Path,
    key_pair: KeyPair,
    *,
    exchangers: dict[str, int] | None = None,
    filters: FilterChain | None = None,
    submission_filters: FilterChain | None = None,
) -> AsyncIterator[Site]:
    """Run a site; `exchangers` are other domains and the port of 127.0.0.1 where each takes mail."""
    log: list[dict[str, Any]] = []
    before = send_to(lambda line: log.append(json.loads(line)))
    clock, entropy = SystemClock(), SystemEntropy()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(send_to, before)
        store = await open_store(StoreSettings(folder / "store", reserve_octets=0))
        stack.push_async_callback(store.close)
        accounts = Accounts(folder / "accounts", default_domain="rosewood.test", digests=("sha256", "sha1"))
        stack.callback(accounts.close)
        accounts.add(ADA, PASSWORD)
        await store.prepare_account(ADA, {})
        agent = DeliveryAgent(Resolver(ResolveSettings(("rosewood.test",)), accounts), accounts, store)
        tls = ServerTls([key_pair])
        inbound = Inbound(InboundSettings(HOST), store=store, recipients=agent, clock=clock, entropy=entropy,
                          log=Log("mta"), tls=tls,
                          assess=Filtered(take_as_it_is, filters) if filters else take_as_it_is)  # fmt: skip
        lmtp = Inbound(InboundSettings(HOST, dialect=Dialect.LMTP), store=store, recipients=agent, clock=clock,
                       entropy=entropy, log=Log("mta"))  # fmt: skip
        submission = Submission(SubmissionSettings(HOST), store=store, accounts=accounts, recipients=agent, tls=tls,
                                guard=LoginGuard(clock), clock=clock, entropy=entropy, log=Log("msa"),
                                filters=submission_filters)  # fmt: skip
        ports = []
        for session, implicit in (
            (inbound.session, False),
            (submission.session, True),
            (submission.session, False),
            (lmtp.session, False),
        ):
            listener = Listener(session, log=Log("host"), tls=tls if implicit else None)
            await listener.start([bind("127.0.0.1", 0)])
            stack.push_async_callback(listener.stop, grace_seconds=2)
            ports.append(listener.endpoints[0].port)
        zone, named = "", {}
        for domain, port in (exchangers or {}).items():
            zone += f"{domain}. 300 IN MX 0 mx.{domain}.\nmx.{domain}. 300 IN A 127.0.0.1\n"
            named[f"mx.{domain}"] = port
        outbound = Outbound(
            OutboundSettings(HOST, RoutingSettings(frozenset({HOST}), ports=named)),
            resolver=ZoneTable.parse(zone), clock=clock, entropy=entropy, log=Log("mta"),
        )  # fmt: skip
        stack.push_async_callback(outbound.close)
        runner = Runner(
            store=store, agent=agent, transfer=transfer_over(outbound, store), settings=QueueSettings(HOST), clock=clock,
            entropy=entropy, log=Log("queue"),
        )  # fmt: skip
        running = asyncio.create_task(runner.run())
        stack.push_async_callback(_stop, runner, running)
        yield Site(*ports, store, log)


async def _stop(runner: Runner, running: asyncio.Task[None]) -> None:
    await runner.stop(2)
    await running
