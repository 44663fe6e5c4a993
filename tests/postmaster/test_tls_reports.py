"""TLS reports from the ledger to a domain that reads them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from tests.postmaster.test_service import DAY, REPORTER, Site, site

from letterlock.formats.envelope import Envelope
from letterlock.formats.reports import tlsrpt
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.mta.demand import Wish, wish_of
from letterlock.mta.tls_results import AppliedPolicy, LedgerRecord, TlsResult
from letterlock.postmaster.receive import receive
from letterlock.postmaster.send import due_at
from letterlock.postmaster.tls_reports import SENT, TlsReportSender
from letterlock.store.interface import QueueFilter

__all__ = ["site"]

STS = AppliedPolicy("rosewood.test", "sts", ("version: STSv1", "mode: enforce"), ("mx.rosewood.test",))
RECORD = '_smtp._tls.rosewood.test. IN TXT "v=TLSRPTv1; rua=mailto:tls@rosewood.test,mailto:{},ftp://x"\n'


def remember(site: Site) -> None:
    """Five sessions in one day, and one of the day after."""
    record = LedgerRecord(site.ledger, site.clock)
    for kind in ("", "", "certificate-expired"):
        record(TlsResult(STS, "mx.rosewood.test", "192.0.2.1", "198.51.100.1", kind, "old" if kind else ""))
    record(TlsResult(AppliedPolicy("rosewood.test"), "mx.rosewood.test", "192.0.2.1", "198.51.100.1"))
    record(TlsResult(AppliedPolicy("silent.test"), "mx.silent.test", "192.0.2.2"))
    site.clock.move(86_400)
    record(TlsResult(STS, "mx.rosewood.test", "192.0.2.1", "198.51.100.1"))
    site.ledger.flush()


def publish(site: Site, zone: str) -> None:
    """What the DNS says from now on."""
    site.postmaster._tls_sender._resolver = ZoneTable.parse(zone)


async def test_a_day_is_reported_once(site: Site) -> None:
    """Counted by policy and by kind of failure, signed, to the mailto URIs; read as we read others'."""
    remember(site)
    publish(site, RECORD.format("TLS%40rosewood.test?x=y"))
    for _ in range(3):
        await site.postmaster.turn()
    (entry,) = await site.store.queue(QueueFilter())
    assert [str(one.recipient.forward_path) for one in entry.recipients] == ["tls@rosewood.test", "TLS@rosewood.test"]
    octets = await site.store.read(entry.content)
    assert octets.startswith(b"DKIM-Signature:")
    assert wish_of(Envelope(None, ()), octets) is Wish.OPTIONAL
    assert b'report-type="tlsrpt"' in octets or b"report-type=tlsrpt" in octets
    (received,) = receive(site.reports, octets, "test", int(site.clock.now()))
    assert (received.kind, received.domain, received.problems) == ("tls", "rosewood.test", ())
    (stored,) = site.reports.reports()
    found = site.reports.report(stored.number)
    assert found is not None
    report = tlsrpt.parse(found[1])
    assert (report.begin, report.end, report.contact) == (DAY, DAY + 86_399, REPORTER.email)
    plain, sts = report.policies
    assert (plain.policy_type, plain.successful, plain.failed) == ("no-policy-found", 1, 0)
    assert (sts.policy_type, sts.successful, sts.failed) == ("sts", 2, 1)
    assert (sts.policy_strings, sts.mx_hosts) == (STS.strings, STS.mx_hosts)
    (failure,) = sts.failures
    assert (failure.result_type, failure.sessions, failure.receiving_mx) == (
        "certificate-expired",
        1,
        "mx.rosewood.test",
    )
    assert {entry.domain for entry in site.ledger.read(kind=SENT)} == {"rosewood.test", "silent.test"}


async def test_a_look_up_that_failed_is_tried_again(site: Site) -> None:
    """Nothing is known of the record now; later the report goes out."""
    remember(site)
    publish(site, "$TIMEOUT _smtp._tls.rosewood.test\n")
    await site.postmaster.turn()
    assert await site.queued() == []
    publish(site, RECORD.format("x@x.test"))
    await site.postmaster.turn()
    assert await site.queued() == []  # not at once
    site.clock.move(901)
    await site.postmaster.turn()
    assert await site.queued() != []


async def test_an_https_uri_is_posted_to(site: Site) -> None:
    """RFC 8460 section 5.4 and 5.5: one that is not taken is posted again, at growing intervals, and once it was, no more."""
    remember(site)
    posted: list[tuple[str, str]] = []

    async def post(uri: str, octets: bytes, media_type: str) -> bool:
        posted.append((uri, media_type))
        return octets[:2] == b"\x1f\x8b" and len(posted) > 2

    table = ZoneTable.parse('_smtp._tls.rosewood.test. IN TXT "v=TLSRPTv1; rua=https://r.test/in"\n')
    sender = TlsReportSender(
        replace(REPORTER),
        ledger=site.ledger,
        resolver=table,
        submit=site.postmaster.submit,
        keys=lambda: (),
        log=site.postmaster._log,
        post=post,
        spread_seconds=0,
    )
    tries = []
    for minute in range(0, 120, 5):
        before = len(posted)
        await sender.run(int(site.clock.now()) + minute * 60)
        tries += [minute] * (len(posted) - before)
    assert tries == [0, 15, 45]
    assert set(posted) == {("https://r.test/in", "application/tlsrpt+gzip")}


async def test_a_report_waits_for_its_time(site: Site) -> None:
    """Spread over hours, so that not all leave at midnight."""
    remember(site)
    publish(site, RECORD.format("x@x.test"))
    site.postmaster._tls_sender._spread_seconds = 86_400
    due = due_at(f"tls.{datetime.fromtimestamp(DAY, UTC):%Y%m%d}.rosewood.test@garden.test", DAY + 86_400, 86_400)
    site.clock.move(due - site.clock.now() - 1)
    await site.postmaster.turn()
    assert await site.queued() == []
    site.clock.move(2)
    await site.postmaster.turn()
    assert await site.queued() != []
