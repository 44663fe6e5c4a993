"""Reports we send: from assessed mail, by way of the ledger, to a message that passes DMARC itself."""

import functools
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest

from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.formats.imf.header import read_header
from letterlock.formats.reports import containers, failure
from letterlock.formats.reports.dmarc_aggregate import parse
from letterlock.host.ledger import Ledger
from letterlock.host.logs import Log, send_to
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.stream import Endpoint
from letterlock.mta.arrival import Arrival
from letterlock.mta.assess import Assessor, AssessSettings
from letterlock.postmaster import failures
from letterlock.postmaster.aggregate import Reporter
from letterlock.postmaster.send import AggregateSender, SendSettings, due_at
from letterlock.trust import dkim, dmarc
from letterlock.trust.ask import decide
from letterlock.trust.authenticate import Authentication, Client
from letterlock.trust.primitives import eddsa

DAY = 1_800_000_000 - 1_800_000_000 % 86_400
REPORTER = Reporter("Garden", "dmarc@garden.test", "garden.test")
ZONE = """
rosewood.test. IN TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.rosewood.test. IN TXT "v=DMARC1; p=reject; rua=mailto:d@rosewood.test,mailto:x@victim.test; ruf=mailto:f@rosewood.test"
shop.rosewood.test. IN TXT "v=spf1 ip4:192.0.2.1 -all"
quiet.test. IN TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.quiet.test. IN TXT "v=DMARC1; p=reject"
spam.test. IN TXT "v=spf1 ip4:203.0.113.9 -all"
_dmarc.spam.test. IN TXT "v=DMARC1; p=none; rua=mailto:d@spam.test"
garden.test. IN TXT "v=spf1 -all"
_dmarc.garden.test. IN TXT "v=DMARC1; p=reject"
"""


@functools.cache
def _key() -> dkim.SigningKey:
    return dkim.SigningKey("garden.test", "k", eddsa.generate_ed25519())


def _table(more: str = "") -> ZoneTable:
    return ZoneTable.parse(f'{ZONE}k._domainkey.garden.test. IN TXT "{_key().record()}"\n{more}')


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of its own; the log is kept quiet."""
    before = send_to(lambda _line: None)
    opened = Ledger.open(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()
    send_to(before)


async def _assess(ledger: Ledger, author: str, mail_from: str, ip: str, *, times: int = 1, at: int = DAY + 100) -> None:
    network = ipaddress.ip_network("198.51.100.0/24")
    assessor = Assessor(AssessSettings("mx.garden.test", trusted_forwarders=(network,)), _table(), ledger)
    for number in range(times):
        envelope = Envelope(Address.parse(mail_from), (Recipient(Address.parse("ada@garden.test")),))
        content = f"From: {author}\r\nMessage-ID: <{number}@x>\r\n\r\nHi\r\n".encode()
        await assessor(Arrival(f"t{number}", at, Endpoint(ip, 1), "mx.test", "ESMTP", None, "", envelope, (content,)))


class Outbox:
    """Takes what is submitted."""

    def __init__(self) -> None:
        self.messages: list[tuple[Envelope, bytes]] = []

    async def submit(self, envelope: Envelope, octets: bytes) -> None:
        """Keep a message."""
        self.messages.append((envelope, octets))


def _sender(ledger: Ledger, outbox: Outbox, table: ZoneTable, spread: int = 0) -> AggregateSender:
    settings = SendSettings(REPORTER, spread_seconds=spread)
    return AggregateSender(
        settings, ledger=ledger, resolver=table, submit=outbox.submit, keys=lambda: (_key(),), log=Log("postmaster")
    )


async def test_a_day_of_mail_becomes_one_report(ledger: Ledger) -> None:
    """Counts, identifiers, alignment, disposition, overrides and totals stand in the report, one for each domain."""
    await _assess(ledger, "rose@rosewood.test", "rose@rosewood.test", "192.0.2.1", times=3)
    await _assess(ledger, "rose@shop.rosewood.test", "rose@shop.rosewood.test", "192.0.2.1")
    await _assess(ledger, "rose@rosewood.test", "x@evil.test", "203.0.113.66", times=2)
    await _assess(ledger, "rose@rosewood.test", "x@list.test", "198.51.100.7")
    await _assess(ledger, "q@quiet.test", "q@quiet.test", "192.0.2.1")
    await _assess(ledger, "rose@rosewood.test", "rose@rosewood.test", "192.0.2.1", at=DAY + 90_000)  # the day after
    ledger.flush()
    outbox = Outbox()
    sender = _sender(ledger, outbox, _table())
    assert await sender.run(DAY + 86_400) == 1
    ((envelope, octets),) = outbox.messages
    assert [str(one.forward_path) for one in envelope.recipients] == ["d@rosewood.test"]
    (document,) = containers.unpack(octets)
    report = parse(document.octets)
    assert (report.policy.domain, report.policy.p, report.begin, report.end) == (
        "rosewood.test",
        "reject",
        DAY,
        DAY + 86_400,
    )
    seen = {
        (one.header_from, one.source_ip): (
            one.messages,
            one.disposition,
            one.spf,
            one.dkim,
            [r.type for r in one.reasons],
        )
        for one in report.records
    }
    assert seen == {
        ("rosewood.test", "192.0.2.1"): (3, "pass", "pass", "fail", []),
        ("shop.rosewood.test", "192.0.2.1"): (1, "pass", "pass", "fail", []),
        ("rosewood.test", "203.0.113.66"): (2, "reject", "fail", "fail", []),
        ("rosewood.test", "198.51.100.7"): (1, "none", "fail", "fail", ["trusted_forwarder"]),
    }
    assert report.messages == 7
    assert {one.envelope_to for one in report.records} == {"garden.test"}
    assert await sender.run(DAY + 90_000) == 0  # nothing is sent twice


async def test_reports_pass_dmarc_themselves(ledger: Ledger) -> None:
    """RFC 9990: a report that does not pass DMARC is no report."""
    await _assess(ledger, "rose@rosewood.test", "rose@rosewood.test", "192.0.2.1")
    ledger.flush()
    outbox = Outbox()
    await _sender(ledger, outbox, _table()).run(DAY + 86_400)
    octets = outbox.messages[0][1]
    header = read_header(octets)
    checks = Authentication(header, None)
    checks.feed(octets[header.body_start :])
    findings = decide(checks.judge(DAY + 86_500), _table().answer)
    assert findings.dmarc.result is dmarc.Result.PASS
    subject = header.text("Subject")
    assert subject.startswith("Report Domain: rosewood.test Submitter: garden.test Report-ID: <")


async def test_times_are_spread_and_failures_wait(ledger: Ledger) -> None:
    """Each report has its own time; a destination that could not be looked up is tried again, not forgotten."""
    await _assess(ledger, "rose@rosewood.test", "rose@rosewood.test", "192.0.2.1")
    ledger.flush()
    outbox = Outbox()
    end = DAY + 86_400
    report_id = f"{DAY}-{end}-rosewood.test@garden.test"
    due = due_at(report_id, end, 14_400)
    assert end <= due < end + 14_400
    late = _sender(ledger, outbox, _table(), 14_400)
    assert await late.run(max(end, due - 1)) == (1 if due == end else 0)
    dead = _sender(ledger, outbox, _table("$SERVFAIL _dmarc.test\n$SERVFAIL _dmarc.rosewood.test\n"), 14_400)
    assert await dead.run(due) == 0
    assert await late.run(due + 1) == 1


async def test_domains_that_only_abuse_us_hear_nothing(ledger: Ledger) -> None:
    """A domain whose authenticated mail was all unwanted gets no report."""
    await _assess(ledger, "s@spam.test", "s@spam.test", "203.0.113.9")
    ledger.flush()
    (entry,) = ledger.read()
    import dataclasses

    ledger.forget(DAY * 2)
    ledger.append(dataclasses.replace(entry, facts={**entry.facts, "disposition": "junk"}))
    ledger.flush()
    outbox = Outbox()
    assert await _sender(ledger, outbox, _table()).run(DAY + 86_400) == 0


def test_failure_reports_are_redacted_and_rare() -> None:
    """RFC 9991 and RFC 6590: who wrote to whom stays here, the failure goes out, seldom."""
    message = (
        b"From: Rose <rose@rosewood.test>\r\nTo: ada@garden.test\r\nSubject: for ada@garden.test\r\n\r\nSecret\r\n"
    )
    header = read_header(message)
    client = Client("203.0.113.66", "mx.evil.test", "x@evil.test")
    checks = Authentication(header, client)
    checks.feed(message[header.body_start :])
    findings = decide(checks.judge(DAY), _table().answer)
    assert failures.is_wanted(findings.dmarc, findings)
    assert findings.dmarc.record is not None
    envelope, octets = failures.compose(
        header, findings, client, findings.dmarc.record.ruf, REPORTER, disposition="refused", incidents=1, now=DAY
    )
    assert [str(one.forward_path) for one in envelope.recipients] == ["f@rosewood.test"]
    assert b"Secret" not in octets
    assert b"ada" not in octets
    assert b"rose@" not in octets
    report = failure.parse(octets)
    assert (report.auth_failure, report.source_ip, report.identity_alignment) == ("dmarc", "203.0.113.66", "dkim, spf")
    settings = failures.FailureSettings(REPORTER, most_a_day=2)
    assert not settings.is_on
    limits = failures.FailureLimits(settings)
    assert [limits.admit(findings, client, DAY + at) for at in (0, 10, 20, 3700, 7400)] == [1, 0, 0, 3, 0]
