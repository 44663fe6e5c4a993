"""The postmaster on a real store: reports are queued once, those that come are read once, failures go out if wanted."""

import functools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.mime.build import Binary, build
from letterlock.formats.reports.dmarc_aggregate import AggregateReport, PolicyPublished, Record, write
from letterlock.host.clock import SetClock
from letterlock.host.ledger import Ledger
from letterlock.host.logs import Log, send_to
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.stream import Endpoint
from letterlock.mta.arrival import Arrival
from letterlock.mta.assess import Assessor, AssessSettings
from letterlock.postmaster.aggregate import Reporter
from letterlock.postmaster.failures import FailureSettings
from letterlock.postmaster.receive import receive_path
from letterlock.postmaster.report_store import ReportStore
from letterlock.postmaster.send import SendSettings
from letterlock.postmaster.service import READ_KEYWORD, Postmaster, PostmasterSettings
from letterlock.store.core import StoreSettings
from letterlock.store.engine import LogStore, open_store
from letterlock.store.interface import Delivery, QueueFilter, Transaction
from letterlock.trust import dkim
from letterlock.trust.primitives import eddsa

DAY = 1_800_000_000 - 1_800_000_000 % 86_400
REPORTER = Reporter("Garden", "postmaster@garden.test", "garden.test")
ZONE = """
rosewood.test. IN TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.rosewood.test. IN TXT "v=DMARC1; p=reject; rua=mailto:d@rosewood.test; ruf=mailto:f@rosewood.test"
"""
REPORT = write(
    AggregateReport(
        "Alpha",
        "d@alpha.test",
        "1",
        DAY,
        DAY + 86_400,
        PolicyPublished("garden.test"),
        (Record("192.0.2.9", 4, "none", "pass", "pass", "garden.test"),),
    )
)

REPORT_MAIL = build(
    Binary(REPORT, "text/xml", "r.xml"), [("From", "d@alpha.test"), ("Subject", "Report Domain: x")], token="t"
)


@functools.cache
def _key() -> dkim.SigningKey:
    return dkim.SigningKey("garden.test", "k", eddsa.generate_ed25519())


class Site:
    """A store, a ledger, a database of reports and their postmaster."""

    def __init__(self, folder: Path, store: LogStore, clock: SetClock, *, failures: bool) -> None:
        self.store = store
        self.clock = clock
        self.ledger = Ledger.open(folder / "ledger.sqlite")
        self.reports = ReportStore(folder / "reports.sqlite")
        table = ZoneTable.parse(ZONE)
        settings = PostmasterSettings(
            SendSettings(REPORTER, spread_seconds=0), failures=FailureSettings(REPORTER, is_on=failures), account="post"
        )
        self.postmaster = Postmaster(
            settings,
            store=store,
            ledger=self.ledger,
            resolver=table,
            reports=self.reports,
            keys=lambda: (_key(),),
            clock=clock,
            log=Log("postmaster"),
        )
        self.assessor = Assessor(AssessSettings("mx.garden.test"), table, self.ledger, observe=self.postmaster.observe)

    async def forge(self) -> None:
        """Let a stranger claim to be rosewood.test."""
        envelope = Envelope(Address.parse("x@evil.test"), (Recipient(Address.parse("ada@garden.test")),))
        content = b"From: rose@rosewood.test\r\nTo: ada@garden.test\r\n\r\nPay!\r\n"
        now = self.clock.now()
        await self.assessor(
            Arrival("t", now, Endpoint("203.0.113.9", 1), "mx.evil.test", "ESMTP", None, "", envelope, (content,))
        )
        self.ledger.flush()

    async def queued(self) -> list[tuple[str, ...]]:
        """The recipients of what waits to be transferred."""
        entries = await self.store.queue(QueueFilter())
        return [tuple(str(one.recipient.forward_path) for one in entry.recipients) for entry in entries]


@pytest.fixture
async def site(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A site; with the parameter "failures" it sends failure reports."""
    before = send_to(lambda _line: None)
    clock = SetClock(DAY + 100.0)
    store = await open_store(StoreSettings(tmp_path / "store"), clock=clock)
    opened = Site(tmp_path, store, clock, failures=getattr(request, "param", "") == "failures")
    yield opened
    opened.reports.close()
    opened.ledger.close()
    await store.close()
    send_to(before)


async def test_a_report_is_queued_once(site: Site) -> None:
    """However many turns there are, and before its interval ended not at all."""
    await site.forge()
    await site.postmaster.turn()
    assert await site.queued() == []
    site.clock.move(86_400)
    for _ in range(3):
        await site.postmaster.turn()
    assert await site.queued() == [("d@rosewood.test",)]


async def test_the_ledger_forgets(site: Site) -> None:
    """After ninety days, and not before."""
    await site.forge()
    site.clock.move(89 * 86_400)
    await site.postmaster.turn()
    assert len(list(site.ledger.read(kind="assessed"))) == 1
    site.clock.move(3 * 86_400)
    await site.postmaster.turn()
    assert list(site.ledger.read(kind="assessed")) == []


@pytest.mark.parametrize("site", ["failures"], indirect=True)
async def test_a_failure_is_reported_where_that_is_on(site: Site) -> None:
    """One report for like failures, to the address of ruf."""
    await site.forge()
    await site.forge()
    while site.postmaster._reporting:
        await next(iter(site.postmaster._reporting))
    assert await site.queued() == [("f@rosewood.test",)]


async def test_failure_reports_are_off_by_default(site: Site) -> None:
    """Nothing leaves unless a site turned it on."""
    await site.forge()
    assert not site.postmaster._reporting
    assert await site.queued() == []


async def test_reports_in_a_mailbox_are_read_once(site: Site) -> None:
    """Reports are kept, ordinary mail is left alone, and every message is looked at once."""
    await site.store.prepare_account("post", {})
    report = build(
        Binary(REPORT, "text/xml", "r.xml"), [("From", "d@alpha.test"), ("Subject", "Report Domain: x")], token="t"
    )
    plain = b"From: a@b.test\r\nSubject: no report\r\n\r\nHello\r\n"
    for number, octets in enumerate((report, plain, report)):
        await site.store.commit(Transaction(f"t{number}", DAY, (octets,), (Delivery("post"),)))
    assert await site.postmaster.read_mailbox("post") == 3
    assert await site.postmaster.read_mailbox("post") == 0
    (kept,) = site.reports.reports()
    assert (kept.kind, kept.domain, kept.messages) == ("aggregate", "garden.test", 4)
    mailbox = await site.store.mailbox("post", "INBOX")
    assert mailbox is not None
    opened = await site.store.open(mailbox.id)
    assert len(opened.snapshot().where(READ_KEYWORD)) == 3
    opened.close()


def test_a_mailbox_file(tmp_path: Path) -> None:
    """Each message of an mbox file is read for itself."""
    report = build(Binary(REPORT, "text/xml", "r.xml"), [("From", "d@alpha.test"), ("Subject", "Report")], token="t")
    (tmp_path / "box").write_bytes(b"From a Fri\n" + report + b"\nFrom b Sat\nSubject: x\n\nHello\n\nFrom c\n" + report)
    store = ReportStore(tmp_path / "reports.sqlite")
    kinds = [(one.kind, one.is_new) for one in receive_path(store, tmp_path / "box", DAY)]
    assert kinds == [("aggregate", True), ("broken", True), ("aggregate", False)]
    store.close()


async def test_what_goes_wrong_with_one_part_costs_no_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn ends, its other work is done, and the loop goes on."""
    await site.store.prepare_account("post", {})
    await site.store.commit(Transaction("m", DAY, (REPORT_MAIL,), (Delivery("post"),)))
    await site.forge()
    site.clock.move(86_400)

    async def broken(_now: int) -> int:
        raise ZeroDivisionError

    lines: list[str] = []
    send_to(lines.append)
    with monkeypatch.context() as patch:
        patch.setattr(site.postmaster._sender, "run", broken)
        patch.setattr(site.postmaster._tls_sender, "run", broken)
        await site.postmaster.turn()
    assert sum("ZeroDivisionError" in line for line in lines) == 2
    assert len(list(site.reports.reports())) == 1
    await site.postmaster.turn()
    assert await site.queued() == [("d@rosewood.test",)]


async def test_a_message_that_cannot_be_read_keeps_none_behind_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.store.prepare_account("post", {})
    for name in ("first", "second"):
        await site.store.commit(Transaction(name, DAY, (REPORT_MAIL,), (Delivery("post"),)))
    keep, met = site.postmaster._keep, list[str]()

    def broken_first(octets: bytes, source: str) -> None:
        met.append(source)
        if len(met) == 1:
            raise ZeroDivisionError
        keep(octets, source)

    monkeypatch.setattr(site.postmaster, "_keep", broken_first)
    assert await site.postmaster.read_mailbox("post") == 2
    assert await site.postmaster.read_mailbox("post") == 0
    assert len(list(site.reports.reports())) == 1


async def test_a_report_that_cannot_be_sent_keeps_none_behind_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.forge()
    site.clock.move(86_400)
    tried: list[object] = []

    async def broken(drafted: object, *_anything: object) -> bool:
        tried.append(drafted)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(site.postmaster._sender, "_send", broken)
        patch.setattr(site.postmaster._sender, "_sent", lambda _since: set())
        assert await site.postmaster._sender.run(int(site.clock.now())) == 0
    assert len(tried) == 1
    await site.postmaster.turn()
    assert await site.queued() == [("d@rosewood.test",)]
