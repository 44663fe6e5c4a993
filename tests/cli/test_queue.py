"""`letterlock queue` against a running server whose mail for elsewhere waits."""

from __future__ import annotations

import json
import smtplib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.admd.test_serve import Server, unverified

from letterlock.cli.queue import queue

ADA = "ada@rosewood.test"


class Site:
    """The server, and the commands as its operator gives them."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command and return what it says; it must end with this exit code."""
        result = CliRunner().invoke(queue, [*arguments, "--config", str(self.server.folder)])
        assert result.exit_code == code, result.output
        return result.output

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run a command and return its JSON."""
        return json.loads(self.run(*arguments, "--json", code=code))

    def names(self, *arguments: str) -> list[str]:
        """Return the recipients that `list` lists."""
        entries = self.json("list", *arguments)["entries"]
        return sorted(owed["address"] for entry in entries for owed in entry["recipients"])

    def submit(self, *recipients: str) -> dict[str, tuple[int, bytes]]:
        """Submit a message; return who was refused."""
        with smtplib.SMTP_SSL("127.0.0.1", self.server.port("submissions"), context=unverified()) as smtp:
            smtp.login(ADA, "a long enough secret")
            try:
                return smtp.sendmail(ADA, recipients, f"From: {ADA}\r\nSubject: hello\r\n\r\n.a dot\r\n")
            except smtplib.SMTPRecipientsRefused as refused:
                return refused.recipients

    def wait_until_tried(self, count: int) -> None:
        """Wait until so many recipients have an answer."""
        while True:
            entries = self.json("list")["entries"]
            if sum(owed["last"] is not None for entry in entries for owed in entry["recipients"]) >= count:
                return


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    transfer = {
        "hold_recipients": ["held.test"],
        "routes": [{"domains": ["refused.test"], "to": "refuse:we do not write there"}],
    }
    server = Server(tmp_path / "site", transfer=transfer)
    with server.running():
        yield Site(server)


def test_the_queue_is_steered(site: Site, tmp_path: Path) -> None:
    """List, choose, export, hold, retry by another way, drop."""
    assert site.submit("a@one.test", "b@two.test", "c@held.test") == {}
    site.wait_until_tried(3)
    assert site.names() == ["a@one.test", "b@two.test", "c@held.test"]
    assert site.names("--destination", "one.test") == ["a@one.test"]
    assert site.names("--held") == ["c@held.test"]
    assert site.names("--not-held", "--sender", "rosewood.test") == ["a@one.test", "b@two.test"]
    assert site.names("--reason", "Held by the rule for held.test") == ["c@held.test"]
    assert site.names("--older", "1h") == []
    assert len(site.names("--limit", "2")) == 2
    shown = site.run("list", "--reason", "4.4.3")
    assert "one.test" in shown
    assert "3 messages for 3 recipients; 2 messages listed" in shown

    folder = tmp_path / "out"
    names = site.json("export", str(folder), "--held")
    assert [path.name for path in sorted(folder.iterdir())] == [f"{names[0]}.eml", f"{names[0]}.json"]
    octets = (folder / f"{names[0]}.eml").read_bytes()
    assert octets.endswith(b"\r\n\r\n.a dot\r\n")
    assert b"\r\nSubject: hello\r\n" in octets
    envelope = json.loads((folder / f"{names[0]}.json").read_text())
    assert (envelope["sender"], envelope["recipients"][0]["address"]) == (ADA, "c@held.test")
    assert envelope["history"][0]["status"] == "4.7.0"
    assert "File exists" in site.run("export", str(folder), "--held", code=1)
    assert "name a queue id" in site.run("export", str(folder), code=64)
    site.run("export", str(folder), "nobody", code=1)

    assert "holding 1 recipients" in site.run("hold", "--recipient", "a@one.test")
    assert site.names("--held") == ["a@one.test", "c@held.test"]
    assert "trying again now for 2" in site.run("retry", "--held", "--route", "127.0.0.1:9")
    assert site.names("--held") == []
    while not site.names("--reason", "refused the connection"):
        pass
    entry = site.json("list", "--recipient", "c@held.test")["entries"][0]
    assert entry["route"] == "127.0.0.1:9"
    assert "goes by 127.0.0.1:9" in site.run("show", entry["queue_id"])
    site.run("drop", "--older", "1h", code=1)
    assert "dropped 3 recipients" in site.run("drop", "--sender", ADA)
    assert "0 messages for 0 recipients" in site.run("list")


def test_what_is_suppressed_is_refused_to_who_submits(site: Site) -> None:
    """At RCPT, with the reason; a refused domain is returned by a report; taken from the list, it is sent again."""
    assert "Nothing is suppressed." in site.run("suppressed")
    site.run("suppress", "Gone@one.test", "--reason", "left the company", "--for", "30d")
    site.run("suppress", "two.test", "--sender", "nobody@rosewood.test")
    refused = site.submit("gone@one.test", "b@two.test")
    assert list(refused) == ["gone@one.test"]
    code, text = refused["gone@one.test"]
    assert code == 550
    assert text.startswith(b"5.7.1 Nothing is sent to gone@one.test")
    assert text.endswith(b"left the company")
    table = site.run("suppressed")
    assert "gone@one.test" in table
    assert "nobody@rosewood.test" in table
    assert site.run("allow", "gone@one.test") == "mail to gone@one.test is sent again\n"
    site.run("allow", "gone@one.test", code=1)
    site.run("suppress", "no address @", code=1)
    assert site.submit("gone@one.test") == {}
    site.submit("x@refused.test")
    while not any(event["event"] == "failed" for event in site.server.log):
        pass
    (failed,) = [event for event in site.server.log if event["event"] == "failed"]
    assert (failed["status"], failed["reply"]) == ("5.7.1", "we do not write there")
