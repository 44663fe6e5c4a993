"""spf, dkim, dmarc, arc and explain from the command line, offline, with the JSON they promise."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from letterlock.cli.root import letterlock

MESSAGE = (
    b"From: Rose <rose@rosewood.test>\nTo: a@b.test\nSubject: Hedge\nDate: Fri, 15 Jan 2027 08:00:00 +0000\n\nCut.\n"
)
ZONE = """\
rosewood.test. IN TXT "v=spf1 ip4:192.0.2.0/24 include:dead.test -all"
helo.test. IN TXT "v=spf1 -all exp=why.test"
why.test. IN TXT "%{c} may not"
_dmarc.rosewood.test. IN TXT "v=DMARC1; p=reject; sp=none; t=y"
$TIMEOUT dead.test
"""


def _run(*arguments: object, expect: int = 0) -> str:
    result = CliRunner().invoke(letterlock, [str(argument) for argument in arguments])
    assert result.exit_code == expect, result.output
    return result.stdout


def _json(*arguments: object, expect: int = 0) -> Any:
    return json.loads(_run(*arguments, "--json", expect=expect))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a message, a zone and its keys."""
    lines = [
        _run(
            "dkim", "keygen", "--domain", "rosewood.test", "--selector", kind, "--type", kind, "--out", tmp_path / kind
        )
        for kind in ("rsa", "ed25519")
    ]
    (tmp_path / "zone").write_text(ZONE + "".join(lines))
    (tmp_path / "plain.eml").write_bytes(MESSAGE)
    (tmp_path / "signed.eml").write_text(_sign(tmp_path))
    return tmp_path


def _sign(folder: Path) -> str:
    keys = [part for kind in ("rsa", "ed25519") for part in ("--selector", kind, "--key", folder / kind)]
    return _run(
        "dkim", "sign", folder / "plain.eml", "--domain", "rosewood.test", *keys, "--at", "2027-01-15T08:00:00Z"
    )


def test_spf_check(folder: Path) -> None:
    """The keys are a promise; a dead include is temperror and exit code 2."""
    value = _json(
        "spf",
        "check",
        "--ip",
        "192.0.2.7",
        "--helo",
        "mx.test",
        "--mail-from",
        "r@rosewood.test",
        "--zone",
        folder / "zone",
    )
    assert {"result", "identity", "domain", "reason", "explanation", "lookups", "trace"} <= set(value)
    assert (value["result"], value["identity"], value["domain"]) == ("pass", "mailfrom", "rosewood.test")
    value = _json("spf", "check", "--ip", "2001:db8::1", "--helo", "helo.test", "--zone", folder / "zone", expect=1)
    found = (value["result"], value["identity"], value["explanation"])
    assert found == ("fail", "helo", "2001:db8::1 may not")
    value = _json(
        "spf", "check", "--ip", "198.51.100.1", "--mail-from", "r@rosewood.test", "--zone", folder / "zone", expect=2
    )
    assert (value["result"], value["blamed"]) == ("temperror", ["rosewood.test", "dead.test"])


def test_zone_text_with_origin_and_relative_names(tmp_path: Path) -> None:
    """Zone files as servers have them: $ORIGIN, $TTL, @, relative names, a SOA, comments."""
    (tmp_path / "zone").write_text(
        '$ORIGIN rosewood.test.\n$TTL 300 ; short\n@ IN SOA ns h 1 2 3 4 5\n@ IN TXT "v=spf1 mx -all"\n'
        '@ IN MX 10 mx\nmx IN A 192.0.2.7\n$ORIGIN sub.rosewood.test.\n@ IN TXT "v=spf1 -all"\n'
    )
    zone = ("--zone", tmp_path / "zone")
    assert _json("spf", "check", "--ip", "192.0.2.7", "--mail-from", "a@rosewood.test", *zone)["result"] == "pass"
    value = _json("spf", "check", "--ip", "192.0.2.7", "--mail-from", "a@sub.rosewood.test", *zone, expect=1)
    assert value["result"] == "fail"
    assert "--ip" in _json("spf", "check", "--ip", "999", "--mail-from", "a@b.test", *zone, expect=64)["error"]


def test_dkim_sign_and_verify(folder: Path) -> None:
    """Both signatures pass; after a change of the body both fail, their header signatures still right."""
    at = ("--at", "1800000100")
    value = _json("dkim", "verify", folder / "signed.eml", "--zone", folder / "zone", *at)
    wanted = {
        "result",
        "domain",
        "selector",
        "algorithm",
        "body_hash",
        "header_signature",
        "reason",
        "warnings",
    }
    assert all(wanted <= set(one) for one in value["signatures"])
    assert [one["result"] for one in value["signatures"]] == ["pass", "pass"]
    (folder / "changed.eml").write_bytes((folder / "signed.eml").read_bytes().replace(b"Cut.", b"Burn."))
    value = _json("dkim", "verify", folder / "changed.eml", "--zone", folder / "zone", *at, expect=1)
    assert {(one["result"], one["body_hash"], one["header_signature"]) for one in value["signatures"]} == {
        ("fail", "fail", "pass")
    }


def test_a_key_is_private_and_never_overwritten(folder: Path) -> None:
    """Mode 600, and a second keygen to the same file changes nothing."""
    before = (folder / "rsa").read_bytes()
    assert (folder / "rsa").stat().st_mode & 0o777 == 0o600
    _run("dkim", "keygen", "--domain", "x.test", "--selector", "s", "--out", folder / "rsa", expect=1)
    assert (folder / "rsa").read_bytes() == before


def test_dmarc_check(folder: Path) -> None:
    """Published policy, policy after t=y, disposition."""
    zone = ("--zone", folder / "zone")
    value = _json("dmarc", "check", "--from", "rosewood.test", "--spf", "fail:rosewood.test", *zone, expect=1)
    assert (value["result"], value["policy"], value["applied_policy"], value["disposition"]) == (
        "fail",
        "reject",
        "quarantine",
        "quarantine",
    )
    value = _json("dmarc", "check", "--from", "rosewood.test", "--dkim", "pass:m.rosewood.test", *zone)
    assert value["alignment"] == {"spf": False, "dkim": True}
    value = _json("dmarc", "check", "--from", "stranger.test", *zone, expect=1)
    assert (value["result"], value["record_domain"]) == ("none", None)


def test_explain(folder: Path) -> None:
    """One command tells the whole story, with the field that reports it."""
    value = _json(
        "explain",
        folder / "signed.eml",
        *("--ip", "203.0.113.9", "--helo", "helo.test", "--mail-from", "r@rosewood.test"),
        *("--zone", folder / "zone", "--at", "1800000100", "--authserv-id", "mx.test"),
    )
    assert {"spf", "dkim", "arc", "dmarc", "authentication_results"} <= set(value)
    assert (value["spf"]["result"], value["helo"]["result"], value["dmarc"]["result"]) == ("temperror", "fail", "pass")
    assert value["authentication_results"].startswith("mx.test;")


def test_explain_takes_the_client_from_the_trace(folder: Path) -> None:
    """Without --ip, the topmost Received field says who handed the message over; the answer says so."""
    trace = "Return-Path: <r@rosewood.test>\nReceived: from mx.test (mx.test [192.0.2.7])\n\tby a.test; now\n"
    (folder / "traced.eml").write_text(trace + (folder / "plain.eml").read_text())
    value = _json("explain", folder / "traced.eml", "--zone", folder / "zone")
    assert value["client"] == {
        "address": "192.0.2.7",
        "helo": "mx.test",
        "mail_from": "r@rosewood.test",
        "source": "Received",
    }
    assert (value["spf"]["result"], value["dmarc"]["result"]) == ("pass", "pass")


def test_a_failure_report_is_shown_before_it_is_sent(folder: Path) -> None:
    """Redacted, to the addresses of ruf; without a request there is none."""
    zone = folder / "zone"
    client = ("--ip", "203.0.113.9", "--helo", "helo.test", "--mail-from", "r@stranger.test", "--failure-report")
    _run("explain", folder / "plain.eml", *client, "--zone", zone, expect=1)
    zone.write_text(zone.read_text().replace("p=reject;", "p=reject; ruf=mailto:f@rosewood.test;"))
    shown = _run("explain", folder / "plain.eml", *client, "--zone", zone)
    assert "To: f@rosewood.test" in shown
    assert "Reported-Domain: rosewood.test" in shown
    assert "a@b.test" not in shown
    assert "Cut." not in shown


def test_arc_seal_and_verify(folder: Path) -> None:
    """A sealed message passes; an unsealed one has no chain."""
    key = ("--domain", "rosewood.test", "--selector", "rsa", "--key", folder / "rsa")
    zone = ("--zone", folder / "zone", "--at", "1800000100")
    sealed = _run("arc", "seal", folder / "signed.eml", *key, "--authserv-id", "mx.test", *zone)
    (folder / "sealed.eml").write_text(sealed)
    assert _json("arc", "verify", folder / "sealed.eml", *zone)["result"] == "pass"
    assert _json("arc", "verify", folder / "signed.eml", *zone, expect=1)["result"] == "none"


def test_lint_and_build(folder: Path) -> None:
    """What build writes, lint finds right; faults and their severity are named."""
    record = _run("spf", "build", "--ip", "192.0.2.1").strip()
    assert record == "v=spf1 ip4:192.0.2.1 -all"
    assert _json("spf", "lint", "x.test", "--record", record, "--zone", folder / "zone")["ipv4_addresses"] == 1
    report = _json(
        "spf", "lint", "x.test", "--record", "v=spf1 ip4:10.0.0.0/8 +all", "--zone", folder / "zone", expect=1
    )
    assert any("everybody" in one["message"] for one in report["findings"])
    assert any("16,777,216" in one["message"] for one in report["findings"])
    record = _run("dmarc", "build", "--policy", "reject", "--reports-to", "d@x.test").strip()
    assert _json("dmarc", "lint", "x.test", "--record", record, "--zone", folder / "zone", expect=1)["errors"]
    assert _json("dkim", "lint", "rosewood.test", "ed25519", "--zone", folder / "zone")["bits"] == 256
    _json("dkim", "lint", "dead.test", "x", "--zone", folder / "zone", expect=1)
