"""The way out of a running domain: what is posted where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from letterlock.admd import outward, settings
from letterlock.errors import SettingsFault
from letterlock.host.logs import Log, send_to
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.stream import Endpoint
from letterlock.mta.route import Exchangers, Refusal, Relay

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


def parsed(tmp_path: Path, **more: object) -> settings.Settings:
    return settings.parse({"domain": "rosewood.test", **more}, tmp_path / "letterlock.toml")


def test_ways_as_the_settings_say_them(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("secret\n")
    routes = [
        {"domains": ["A.test", "*.b.test"], "to": "smtp:[2001:db8::1]:26"},
        {"domains": ["c.test"], "to": "smtps:relay.test", "user": "us", "password": "word"},
        {"domains": ["d.test"], "to": "lmtp:unix:/run/lmtp"},
        {"domains": ["e.test"], "to": "lmtp:[::1]:24"},
        {"domains": ["f.test"], "to": "mx"},
        {"domains": ["g.test"], "to": "refuse: gone "},
        {"domains": ["h.test"], "to": "smtp:[192.0.2.1]"},
    ]
    values = parsed(tmp_path, transfer={"routes": routes, "relay": "all.test:465"})
    assert outward.routing_settings(values).ways == {
        "a.test": Relay("2001:db8::1", 26),
        "*.b.test": Relay("2001:db8::1", 26),
        "c.test": Relay("relay.test", 465, "us", "secret", implicit_tls=True),
        "d.test": Relay("/run/lmtp", 0, is_lmtp=True),
        "e.test": Relay("::1", 24, is_lmtp=True),
        "f.test": Exchangers(),
        "g.test": Refusal("gone"),
        "h.test": Relay("192.0.2.1", 25),
        "*": Relay("all.test", 465, implicit_tls=True),
    }


@pytest.mark.parametrize(
    "to",
    ["", "relay.test", "smtp:", "smtp:host:99999", "smtp:host:x", "lmtp:host", "lmtp:unix:here", "refuse:", "drop"],
)
def test_a_target_that_is_none_is_said(tmp_path: Path, to: str) -> None:
    with pytest.raises(SettingsFault, match=r"transfer.routes.0.to = .*refuse:REASON"):
        parsed(tmp_path, transfer={"routes": [{"domains": ["a.test"], "to": to}]})


def test_what_leads_back_to_us_is_ours(tmp_path: Path) -> None:
    """Where we listen, our public addresses, and loopback, where nobody else's mail can be meant."""
    public = parsed(
        tmp_path, listen={"smtp": ["0.0.0.0:25", "192.0.2.25:2525"]}, publish={"addresses": ["203.0.113.7"]}
    )
    is_ours = outward.routing_settings(public).is_ours
    for address, port, expected in (
        ("127.0.0.1", 25, True),
        ("127.8.8.8", 2525, True),
        ("::1", 25, True),
        ("::ffff:127.0.0.1", 25, True),
        ("0.0.0.0", 25, True),
        ("203.0.113.7", 25, True),
        ("192.0.2.25", 2525, True),
        ("192.0.2.25", 25, False),
        ("198.51.100.1", 25, False),
        ("10.255.255.254", 25, False),
    ):
        assert is_ours(Endpoint(address, port)) is expected, address
    laboratory = parsed(tmp_path, listen={"smtp": ["127.0.1.1:25"]})
    is_ours = outward.routing_settings(laboratory).is_ours
    assert [is_ours(Endpoint(address, 25)) for address in ("127.0.1.1", "127.0.2.1")] == [True, False]
