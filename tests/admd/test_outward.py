"""The way out of a running domain: what is posted where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from letterlock.admd import outward, settings
from letterlock.host.logs import Log, send_to
from letterlock.host.resolver.zone_file import ZoneTable

ZONE = """
inner.test. IN A 127.0.0.1
inner.test. IN AAAA ::1
inner.test. IN A 192.168.0.1
$SERVFAIL sick.test
$TIMEOUT slow.test
"""


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("https://inner.test/in", "no address that may be asked"),
        ("https://none.test/in", "no address that may be asked"),
        ("https://sick.test/in", "no address that may be asked"),
        ("https://slow.test/in", "no address that may be asked"),
        ("https://a..b/in", "no address that may be asked"),
        ("https://" + "a" * 70 + ".test/in", "no address that may be asked"),
        ("https://127.0.0.1/in", "no address that may be asked"),
        ("http://inner.test/in", "no https URI"),
        ("https://b\u00fccher.test/in", "no https URI"),
    ],
)
async def test_a_report_that_cannot_be_posted(tmp_path: Path, uri: str, problem: str) -> None:
    """It is not taken, which the log tells, and nothing inside our network is ever asked."""
    lines: list[str] = []
    before = send_to(lines.append)
    try:
        values = settings.parse({"domain": "rosewood.test"}, tmp_path / "letterlock.toml")
        post = outward.poster(values, ZoneTable.parse(ZONE), Log("postmaster"))
        assert not await post(uri, b"\x1f\x8b", "application/gzip")
    finally:
        send_to(before)
    (line,) = map(json.loads, lines)
    assert line["event"] == "report not posted"
    assert line["uri"] == uri
    assert problem in line["problem"]
