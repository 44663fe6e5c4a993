"""The journey of the reports that a domain owes others: seen yesterday, sent by the postmaster when it is served today.

Two domains ask for them: one for what was assessed as coming from it (DMARC), one for how TLS with it went. Their names are
such that their reports leave at midnight: which second a report leaves at follows from its id.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from datetime import UTC, datetime

from tests.faults.journey import Journey
from tests.faults.served import DOMAIN as OURS
from tests.faults.served import RELAYED, REPORTED, USERS, Site

from letterlock.admd.run import LEDGER_NAME
from letterlock.admd.settings import load
from letterlock.formats.address import Address
from letterlock.formats.envelope import Envelope, Recipient
from letterlock.host.clock import SetClock
from letterlock.host.ledger import Ledger
from letterlock.host.logs import send_to
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.stream import Endpoint
from letterlock.mta.arrival import Arrival
from letterlock.mta.assess import Assessor, AssessSettings
from letterlock.mta.tls_results import AppliedPolicy, LedgerRecord, TlsResult
from letterlock.postmaster.aggregate import Reporter
from letterlock.postmaster.send import SendSettings, due_at

_DAY = 86_400
_WAIT_SECONDS = 30.0
_REPORTER = Reporter(OURS, f"postmaster@{OURS}", OURS)
_IDENT = "Report Domain: {}"  # as served.ident_of reads it in a report's subject


def leaving_first(report_id: str, end: int) -> str:
    """Return the domain, of thousands, whose report (its id with {} for the domain) leaves first after `end`."""
    names = (f"d{number}{REPORTED}" for number in range(5000))
    return min(names, key=lambda name: due_at(report_id.format(name), end, SendSettings(_REPORTER).spread_seconds))


def reported_domains() -> tuple[str, str]:
    """Return whom the reports of yesterday go to: that about mail, and that about TLS."""
    end = int(time.time()) // _DAY * _DAY
    day = datetime.fromtimestamp(end - _DAY, UTC).strftime("%Y%m%d")
    return leaving_first(f"{end - _DAY}-{end}-{{}}@{OURS}", end), leaving_first(f"tls.{day}.{{}}@{OURS}", end)


def see_yesterday(site: Site) -> None:
    """Fill the ledger with what there is to report."""
    assessed, connected = reported_domains()
    clock = SetClock(time.time() // _DAY * _DAY - _DAY / 2)
    settings = load(site.folder)
    before = send_to(lambda _line: None)
    with contextlib.closing(Ledger.open(settings.path(settings.data) / LEDGER_NAME)) as ledger:
        zone = ZoneTable.parse(f'_dmarc.{assessed}. IN TXT "v=DMARC1;p=none;rua=mailto:reports@{assessed}"\n')
        envelope = Envelope(Address("x", assessed), (Recipient(Address(USERS[0], OURS)),))
        octets = b"From: x@%b\r\n\r\ntext\r\n" % assessed.encode()
        client = Endpoint("203.0.113.9", 1)
        arrival = Arrival("t", clock.now(), client, f"mx.{assessed}", "ESMTP", None, "", envelope, (octets,))
        asyncio.run(_assess(Assessor(AssessSettings(OURS), zone, ledger), arrival))
        LedgerRecord(ledger, clock)(TlsResult(AppliedPolicy(connected), f"mx.{connected}", "192.0.2.1"))
    send_to(before)


async def _assess(assessor: Assessor, arrival: Arrival) -> None:
    await assessor(arrival)


def send(site: Site) -> None:
    """Wait until both reports are with the next host, or the server has failed at it for now; they are owed anyhow."""
    for domain in reported_domains():
        site.expected[_IDENT.format(domain)] = frozenset({RELAYED})
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        events = [json.loads(line) for line in (site.folder / "log").read_text().splitlines() if line.endswith("}")]
        names = Counter(event["event"] for event in events)
        if names["relayed"] >= len(site.expected) or names["postmaster"]:
            return
        site.connect().close()  # OSError when it is gone
        time.sleep(0.05)  # it works
    raise AssertionError("no report was sent, and nothing was said about it")


REPORTS = Journey(("smtp",), (send,), 2, prepare=see_yesterday)
