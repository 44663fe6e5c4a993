"""Reports that come in: every container and kind, kept once, broken ones named; who sends as us, and what follows."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from letterlock.cli.root import letterlock
from letterlock.formats.reports import tlsrpt
from letterlock.formats.reports.dmarc_aggregate import (
    AggregateReport,
    DkimResult,
    PolicyPublished,
    Reason,
    Record,
    SpfResult,
    write,
)

DAY = 1_800_000_000 - 1_800_000_000 % 86_400
OURS = Record(
    "192.0.2.10",
    100,
    "none",
    "pass",
    "pass",
    "rosewood.test",
    "rosewood.test",
    dkim_results=(DkimResult("rosewood.test", "s", "pass"),),
    spf_results=(SpfResult("rosewood.test", "pass"),),
)
PRINTER = OURS._replace(
    source_ip="192.0.2.77",
    messages=4,
    dkim="fail",
    spf="fail",
    dkim_results=(),
    spf_results=(SpfResult("x.test", "fail"),),
)
PROVIDER = OURS._replace(
    source_ip="198.51.100.5",
    messages=6,
    dkim="fail",
    spf="fail",
    envelope_from="bounce.provider.test",
    dkim_results=(DkimResult("provider.test", "p", "pass"),),
    spf_results=(SpfResult("bounce.provider.test", "pass"),),
)
FORWARDED = OURS._replace(
    source_ip="203.0.113.20",
    messages=5,
    spf="fail",
    envelope_from="alumni.test",
    spf_results=(SpfResult("alumni.test", "pass"),),
)
LIST = OURS._replace(
    source_ip="203.0.113.30",
    messages=3,
    dkim="fail",
    spf="fail",
    envelope_from="lists.test",
    dkim_results=(DkimResult("rosewood.test", "s", "fail"),),
    spf_results=(SpfResult("lists.test", "pass"),),
    reasons=(Reason("mailing_list"),),
)
FORGED = OURS._replace(
    source_ip="203.0.113.99",
    messages=50,
    disposition="reject",
    dkim="fail",
    spf="fail",
    dkim_results=(),
    spf_results=(),
)


def _report(organization: str, day: int, *records: Record) -> bytes:
    policy = PolicyPublished("rosewood.test", "none")
    begin = DAY + day * 86_400
    return write(AggregateReport(organization, "x@y.test", f"{day}", begin, begin + 86_400, policy, records))


def _run(*arguments: object, expect: int = 0) -> Any:
    result = CliRunner().invoke(letterlock, ["report", *map(str, arguments), "--json"])
    assert result.exit_code == expect, result.output
    return json.loads(result.stdout)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with a month of reports of three receivers."""
    folder = tmp_path / "in"
    folder.mkdir()
    records = (OURS, PRINTER, PROVIDER, FORWARDED, LIST, FORGED)
    for day in range(30):
        for receiver in ("Alpha", "Beta", "Gamma"):
            (folder / f"{day}{receiver}.xml.gz").write_bytes(gzip.compress(_report(receiver, day, *records)))
    path = tmp_path / "reports.sqlite"
    results = _run("import", folder, "--database", path)
    assert len(results) == 90
    assert all(one["new"] for one in results)
    return path


def test_the_senders_view(database: Path) -> None:
    """Six kinds of senders, sorted as a person would."""
    value = _run("senders", "rosewood.test", "--database", database)
    groups = {address: one["group"] for one in value["senders"] for address in one["addresses"]}
    assert groups == {
        "192.0.2.10": "right",
        "192.0.2.77": "misconfigured",
        "198.51.100.5": "misconfigured",
        "203.0.113.20": "forwarder",
        "203.0.113.30": "forwarder",
        "203.0.113.99": "stranger",
    }
    assert (value["days"], value["reporters"], value["groups"]["right"]) == (30, 3, 9000)


def test_advice_has_figures_and_says_what_to_fix(database: Path) -> None:
    """900 of 9,900 messages of ours fail: neither policy is safe, and the worst comes first."""
    value = _run("advise", "rosewood.test", "--database", database)
    assert (value["recommended"], value["ours"], value["ours_failing"], value["strangers"]) == ("none", 9900, 900, 4500)
    assert "900 of 9900" in value["policies"][1]["obstacles"][0]
    assert value["fixes"][0].startswith("provider.test (540 messages")


def test_a_domain_in_order_may_reject(tmp_path: Path) -> None:
    """Enough days, receivers and mail, nothing of ours failing: reject is safe; with fewer days it is not."""
    path = tmp_path / "reports.sqlite"
    for day in range(30):
        for receiver in ("Alpha", "Beta", "Gamma"):
            file = tmp_path / "r.xml"
            file.write_bytes(_report(receiver, day, OURS, FORWARDED, FORGED))
            _run("import", file, "--database", path)
        if day == 9:
            assert _run("advise", "rosewood.test", "--database", path)["recommended"] == "none"
        if day == 20:
            assert _run("advise", "rosewood.test", "--database", path)["recommended"] == "quarantine"
    assert _run("advise", "rosewood.test", "--database", path)["recommended"] == "reject"


def test_duplicates_broken_ones_and_bombs(tmp_path: Path) -> None:
    """A second copy changes nothing; what cannot be read is kept, named, and stops nothing."""
    path = tmp_path / "reports.sqlite"
    (tmp_path / "in").mkdir()
    report = tlsrpt.TlsReport("Alpha", "1", DAY, DAY + 86_400, (tlsrpt.PolicyReport("sts", "rosewood.test", 5, 1),))
    (tmp_path / "in" / "a.xml").write_bytes(_report("Alpha", 0, OURS))
    (tmp_path / "in" / "b.xml.gz").write_bytes(gzip.compress(_report("Alpha", 0, OURS)))
    (tmp_path / "in" / "bomb.gz").write_bytes(gzip.compress(b"\0" * 60_000_000))
    (tmp_path / "in" / "broken.xml").write_bytes(_report("Beta", 0, OURS)[:-30])
    (tmp_path / "in" / "junk").write_bytes(b"\xff\xfe\x00junk")
    (tmp_path / "in" / "tls.json").write_bytes(tlsrpt.write(report))
    results = _run("import", tmp_path / "in", "--database", path, expect=1)
    kinds = [(Path(one["source"]).name, one["kind"], one["new"]) for one in results]
    assert kinds == [
        ("a.xml", "aggregate", True),
        ("b.xml.gz", "aggregate", False),
        ("bomb.gz", "broken", True),
        ("broken.xml", "aggregate", True),
        ("junk", "broken", True),
        ("tls.json", "tls", True),
    ]
    listed = _run("list", "--database", path)
    assert len(listed) == 5
    assert {one["kind"] for one in _run("list", "--kind", "broken", "--database", path)} == {"broken"}
    tls = next(one for one in listed if one["kind"] == "tls")
    assert _run("show", tls["number"], "--database", path)["policies"][0]["failed"] == 1
    shown = _run("show", listed[-1]["number"], "--database", path)
    assert shown["kind"] in ("aggregate", "broken", "tls")
