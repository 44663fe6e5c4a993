"""`letterlock border`, offline: what is found of a client, and which lists must not be believed."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from letterlock.cli.explain_ledger import ledger_lines, written_down
from letterlock.cli.root import letterlock
from letterlock.formats.imf.header import read_header
from letterlock.host.ledger import Entry, Ledger

SETTINGS = """
domain = "rosewood.test"
[[border.lists]]
zone = "bad.test"
codes = [{ code = "127.0.0.4", meaning = "open relay", points = 12 }]
[[border.lists]]
zone = "dead.test"
"""
ZONE = """
2.0.0.127.bad.test. IN A 127.0.0.2
66.2.0.192.bad.test. IN A 127.0.0.4
1.2.0.192.in-addr.arpa. IN PTR mx.harbor.test.
mx.harbor.test. IN A 192.0.2.1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A settings file and a zone."""
    (tmp_path / "letterlock.toml").write_text(SETTINGS)
    (tmp_path / "zone").write_text(ZONE)
    return tmp_path


def run(folder: Path, *arguments: str) -> tuple[int, Any]:
    """Run a command offline; return its exit code and its JSON."""
    options = ["--config", str(folder), "--zone", str(folder / "zone"), "--json"]
    result = CliRunner().invoke(letterlock, ["border", *arguments, *options])
    return result.exit_code, json.loads(result.output)


def test_what_becomes_of_a_client(folder: Path) -> None:
    """Taken, put into Junk, refused; each finding with its points, and the list that is dead by name."""
    code, value = run(folder, "client", "192.0.2.1", "--ehlo", "mx.harbor.test")
    assert (code, value["outcome"], value["standing"]["name"]) == (0, "its mail is taken", "mx.harbor.test")
    assert "127.0.0.2 is not on it" in value["lists_not_used"]["dead.test"]
    code, value = run(folder, "client", "2001:db8::1", "--ehlo", "mail.rosewood.test")
    assert (code, value["standing"]["points"]) == (1, 6)
    assert value["outcome"].startswith("its mail is put into Junk")
    code, value = run(folder, "client", "192.0.2.66")
    assert code == 1
    assert value["outcome"].startswith(
        "550 5.7.1 Mail from you is not taken: 192.0.2.66 is listed by bad.test (127.0.0.4, open"
    )
    assert [finding["points"] for finding in value["standing"]["findings"]] == [12, 2]


def test_lists_are_tested(folder: Path) -> None:
    """The exit code tells whether all of them may be believed."""
    code, value = run(folder, "lists")
    assert code == 1
    assert value["bad.test"] == ""
    assert value["dead.test"]
    (folder / "letterlock.toml").write_text(SETTINGS.partition('[[border.lists]]\nzone = "dead')[0])
    assert run(folder, "lists") == (0, {"bad.test": ""})


def test_for_people(folder: Path) -> None:
    """The same in sentences; what is no address is a wrong use, and without a server there is nobody to ask."""
    options = ["--config", str(folder), "--zone", str(folder / "zone")]
    shown = CliRunner().invoke(letterlock, ["border", "client", "192.0.2.66", *options]).output
    assert "+12 192.0.2.66 is listed by bad.test (127.0.0.4, open relay)" in shown
    assert "14 points: 550 5.7.1" in shown
    shown = CliRunner().invoke(letterlock, ["border", "client", "127.0.0.66", *options]).output
    assert shown == "the client is not looked at (limits.exempt)\n0 points: its mail is taken\n"
    assert CliRunner().invoke(letterlock, ["border", "client", "nonsense", *options]).exit_code == 64
    result = CliRunner().invoke(letterlock, ["border", "shut", "--config", str(folder)])
    assert result.exit_code == 69


def test_explain_tells_what_was_found_of_the_client_when_it_came(tmp_path: Path) -> None:
    """From the ledger of the server, not from what the DNS says now."""
    (tmp_path / "letterlock.toml").write_text('domain = "rosewood.test"\n')
    (tmp_path / "data").mkdir()
    facts: dict[str, Any] = {
        "dmarc": {"result": "none"}, "disposition": "junk", "client_findings": ["+2 192.0.2.4 has no name in the DNS"]
    }  # fmt: skip
    with contextlib.closing(Ledger.open(tmp_path / "data" / "ledger.sqlite")) as ledger:
        ledger.append(Entry(1_800_000_000.0, "assessed", "4f1", facts=facts))
    message = b"Received: from x by mail.rosewood.test with ESMTP id 4f1; now\r\nFrom: a@b.test\r\n\r\n"
    lines = list(ledger_lines(written_down(tmp_path, read_header(message))))
    assert lines[1] == "  of its client: +2 192.0.2.4 has no name in the DNS"
