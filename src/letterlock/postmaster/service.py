"""The postmaster at work: sends the reports that are due, takes in those that came by mail, reports failures if told to.

One loop for a domain, woken every few minutes. Whatever fails for now is tried at the next turn: a report's transaction
has its report's id, so that it is queued once however often it is tried; a message that was read carries a keyword. What
goes wrong with one report or message is logged and costs no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from letterlock.errors import SettingsFault, Unavailable
from letterlock.formats.envelope import Envelope
from letterlock.formats.imf.header import Header
from letterlock.host.clock import Clock
from letterlock.host.drive_decisions import drive
from letterlock.host.drive_work import Faulty, contain
from letterlock.host.ledger import Ledger
from letterlock.host.logs import Log
from letterlock.host.resolver.interface import Resolver
from letterlock.mta.inbound import queue_entries
from letterlock.postmaster import failures
from letterlock.postmaster.failures import FailureLimits, FailureSettings
from letterlock.postmaster.receive import receive
from letterlock.postmaster.report_store import ReportStore
from letterlock.postmaster.send import AggregateSender, Keys, Post, SendSettings
from letterlock.postmaster.tls_reports import TlsReportSender
from letterlock.store.interface import FlagChange, Refused, Store, Transaction
from letterlock.trust import dkim
from letterlock.trust.authenticate import Client, Findings
from letterlock.trust.dmarc import destination
from letterlock.trust.dmarc.record import ReportUri

READ_KEYWORD = "$ReportRead"
_TURN_SECONDS = 300.0
_EXPIRE_SECONDS = 172_800.0
_LARGEST_MESSAGE = 30_000_000

# Waits so many seconds; a parameter, so that tests need not.
Wait = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class PostmasterSettings:
    """What is sent, the account whose INBOX reports come to ("" for none), and how long the ledger remembers."""

    send: SendSettings
    sends_aggregate: bool = True
    sends_tls: bool = True
    failures: FailureSettings | None = None
    account: str = ""
    ledger_days: int = 90


class Postmaster:
    """One domain's postmaster."""

    def __init__(
        self,
        settings: PostmasterSettings,
        *,
        store: Store,
        ledger: Ledger,
        resolver: Resolver,
        reports: ReportStore,
        keys: Keys,
        clock: Clock,
        log: Log,
        post: Post | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._ledger = ledger
        self._resolver = resolver
        self._reports = reports
        self._keys = keys
        self._clock = clock
        self._log = log
        self._sender = AggregateSender(
            settings.send, ledger=ledger, resolver=resolver, submit=self.submit, keys=keys, log=log, post=post
        )
        self._tls_sender = TlsReportSender(
            settings.send.reporter,
            ledger=ledger,
            resolver=resolver,
            submit=self.submit,
            keys=keys,
            log=log,
            post=post,
            spread_seconds=settings.send.spread_seconds,
        )
        self._limits = FailureLimits(settings.failures) if settings.failures and settings.failures.is_on else None
        self._reporting: set[asyncio.Task[None]] = set()
        self._forgotten_on = 0

    async def run(self, wait: Wait = asyncio.sleep) -> None:
        """Work until cancelled."""
        while True:
            await self.turn()
            await wait(_TURN_SECONDS)

    async def turn(self) -> None:
        """Do what is due now."""
        settings, now = self._settings, int(self._clock.now())
        due: list[Callable[[], Awaitable[object]]] = [self._forget]
        if settings.sends_aggregate:
            due.append(partial(self._sender.run, now))
        if settings.sends_tls:
            due.append(partial(self._tls_sender.run, now))
        if settings.account:
            due.append(partial(self.read_mailbox, settings.account))
        for work in due:
            try:
                await contain(work(), Refused, SettingsFault)
            except Faulty as fault:
                self._log.error("postmaster", problem=fault.problem, traceback=fault.trace)
            except (Unavailable, Refused, SettingsFault) as problem:
                self._log.warning("postmaster", problem=str(problem))

    async def _forget(self) -> None:
        """Remove what the ledger has held long enough, once a day."""
        today = int(self._clock.now()) // 86_400
        if today != self._forgotten_on:
            self._forgotten_on = today
            await asyncio.to_thread(self._ledger.forget, (today - self._settings.ledger_days) * 86_400)

    async def submit(self, envelope: Envelope, octets: bytes) -> None:
        """Queue a report; the same octets for the same recipients are queued once."""
        now = self._clock.now()
        recipients = " ".join(str(one.forward_path) for one in envelope.recipients)
        message_id = octets[: octets.find(b"\r\n\r\n")].lower().partition(b"\r\nmessage-id:")[2].partition(b"\r\n")[0]
        name = f"report-{zlib.crc32(message_id):08x}{zlib.crc32(recipients.encode()):08x}"
        entries = queue_entries(
            name, envelope, list(envelope.recipients), now=now, expires=now + _EXPIRE_SECONDS, source="postmaster"
        )
        await self._store.commit(Transaction(name, now, (octets,), queued=entries))

    async def read_mailbox(self, account: str) -> int:
        """Keep the reports in an account's INBOX that were not read yet; return how many messages were looked at."""
        mailbox = await self._store.mailbox(account, "INBOX")
        if mailbox is None:
            return 0
        with contextlib.closing(await self._store.open(mailbox.id)) as opened:
            snapshot = opened.snapshot()
            read = 0
            for uid in snapshot.where(READ_KEYWORD, set=False):
                slot = snapshot.slot(uid)
                if snapshot.sizes[slot] <= _LARGEST_MESSAGE:
                    octets = await self._store.read(snapshot.contents[slot])
                    try:
                        await contain(asyncio.to_thread(self._keep, octets, f"{account}/INBOX {uid}"))
                    except Faulty as fault:  # it stays in the mailbox, and those behind it are read
                        self._log.error("report not read", uid=uid, problem=fault.problem, traceback=fault.trace)
                await self._store.store_flags(mailbox.id, ((uid, uid),), FlagChange.ADD, (READ_KEYWORD,))
                read += 1
        return read

    def _keep(self, octets: bytes, source: str) -> None:
        """Keep the reports in a message; ordinary mail in the same mailbox is none of ours."""
        if b"report" not in octets.lower() and b"dmarc" not in octets.lower():
            return
        for received in receive(self._reports, octets, source, int(self._clock.now()), keeps_broken=False):
            self._log.event(
                "report", kind=received.kind, domain=received.domain, new=received.is_new, problems=received.problems
            )

    def observe(self, header: Header, findings: Findings, client: Client, disposition: str) -> None:
        """Hear of an assessed message; where failure reports are on and wanted, one is sent in the background."""
        if self._limits is None or not failures.is_wanted(findings.dmarc, findings):
            return
        incidents = self._limits.admit(findings, client, int(self._clock.now()))
        if incidents:
            work = contain(self._report_failure(header, findings, client, disposition, incidents), SettingsFault)
            task = asyncio.create_task(self._finish(work))
            self._reporting.add(task)
            task.add_done_callback(self._reporting.discard)

    async def _finish(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Faulty as fault:
            self._log.error("failure report not sent", problem=fault.problem, traceback=fault.trace)
        except (Unavailable, SettingsFault) as problem:
            self._log.warning("failure report not sent", problem=str(problem))

    async def _report_failure(
        self, header: Header, findings: Findings, client: Client, disposition: str, incidents: int
    ) -> None:
        record = findings.dmarc.record
        assert record is not None
        uris: list[ReportUri] = []
        for uri in record.ruf[:4]:
            uris += (await drive(destination.verify(findings.dmarc.record_domain, uri, "ruf"), self._resolver)).uris
        if not any(uri.scheme == "mailto" for uri in uris):
            return
        now = int(self._clock.now())
        envelope, octets = failures.compose(
            header,
            findings,
            client,
            tuple(uris),
            self._settings.send.reporter,
            disposition=disposition,
            incidents=incidents,
            now=now,
        )
        await self.submit(envelope, dkim.sign(octets, self._keys(), now) + octets)
