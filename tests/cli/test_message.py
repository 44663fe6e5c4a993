"""`letterlock message`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from letterlock.cli.message import message
from letterlock.formats.mime.partial import split

MESSAGE = (
    b"From: Ada <a@b.test>\r\nTo: bob@x.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe_=1B[31m?=\r\n"
    b"Date: Mon, 23 Nov 2026 13:15:15 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    b"--x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello \xc3\xa9\r\n"
    b"--x\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n"
    b"Content-Disposition: attachment; filename=../a.png\r\n\r\nAAEC\r\n"
    b"--x\r\nContent-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAED\r\n--x--\r\n"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "message.eml"
    path.write_bytes(MESSAGE)
    return path


def _run(*arguments: object, code: int = 0, octets: bytes | None = None) -> str:
    result = CliRunner().invoke(message, [str(one) for one in arguments], input=octets)
    assert result.exit_code == code, result.output
    return result.output


def test_show(file: Path) -> None:
    """The text, the people, the attachments; nothing that acts on the terminal."""
    shown = _run("show", file)
    assert "Subject: Grüße \\x1b[31m" in shown
    assert "hello é" in shown
    assert "a.png" in shown
    assert "unsafe-name" in shown
    assert "\x1b[31m" not in shown
    document = json.loads(_run("show", file, "--json"))
    assert document["from"] == ["Ada <a@b.test>"]
    assert [one["name"] for one in document["attachments"]] == ["a.png", "a.png"]
    assert document["ambiguous"] is False


_REPORTS = {
    "delivery-status": (
        "Reporting-MTA: dns; a\n\nFinal-Recipient: rfc822; b@x.test\nAction: failed\nStatus: 5.1.1\n",
        "b@x.test: failed, 5.1.1 (there is no such mailbox)",
    ),
    "disposition-notification": (
        "Final-Recipient: rfc822; b@x.test\nDisposition: manual-action/MDN-sent-manually; displayed\n",
        "b@x.test: displayed, notified by hand",
    ),
    "feedback-report": (
        "Feedback-Type: auth-failure\nUser-Agent: x\nVersion: 1\nAuth-Failure: spf\nReported-Domain: x.test\n",
        "x.test: auth-failure (spf)",
    ),
}


@pytest.mark.parametrize("subtype", _REPORTS)
def test_reports_are_shown_in_words(tmp_path: Path, subtype: str) -> None:
    """What a machine reported."""
    content, said = _REPORTS[subtype]
    path = tmp_path / "report.eml"
    head = "Content-Type: multipart/report; boundary=x\n\n--x\n\ntext\n"
    path.write_text(f"{head}--x\nContent-Type: message/{subtype}\n\n{content}\n--x--\n")
    assert said in _run("show", path)
    assert json.loads(_run("show", path, "--json"))["report"] == [said]


def test_a_wish_for_a_notification_is_shown_not_fulfilled(tmp_path: Path) -> None:
    """RFC 8098 section 2.1."""
    path = tmp_path / "asking.eml"
    path.write_text("Return-Path: <a@b.test>\nFrom: a@b.test\nDisposition-Notification-To: spy@c.test\n\ntext\n")
    assert "asks for a notification: to spy@c.test (the address differs from the return path)" in _run("show", path)
    assert json.loads(_run("show", path, "--json"))["notification"]["needs_consent"] is True


def test_structure(file: Path) -> None:
    """Part numbers as IMAP counts them, offsets into the file."""
    assert [line.split()[0] for line in _run("structure", file).splitlines()] == ["part", "whole", "1", "2", "3"]
    document = json.loads(_run("structure", file, "--json"))
    assert [one["type"] for one in document] == ["multipart/mixed", "text/plain", "image/png", "image/png"]
    assert MESSAGE[document[2]["body_start"] : document[2]["end"]] == b"AAEC"


def test_extract(file: Path, tmp_path: Path) -> None:
    """Names stay inside the folder, are distinct, and overwrite nothing."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "A.PNG").write_bytes(b"mine")
    _run("extract", file, "--to", folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "A.PNG": b"mine", "a-2.png": b"\0\1\2", "a-3.png": b"\0\1\3",
    }  # fmt: skip
    document = json.loads(_run("extract", file, "--to", folder, "--part", "3", "--json"))
    assert [Path(one["file"]).name for one in document] == ["a-4.png"]
    assert "part number 9" in _run("extract", file, "--to", folder, "--part", "9", code=1)


def test_rebuild(file: Path, tmp_path: Path) -> None:
    """Octets in are octets out, whatever they are; fragments become the message."""
    assert json.loads(_run("rebuild", file, "--json")) == {"octets": len(MESSAGE), "identical": True}
    result = CliRunner().invoke(message, ["rebuild", "-"], input=b"\xff\x00\r--\nnonsense")
    assert result.stdout_bytes == b"\xff\x00\r--\nnonsense"
    whole = b"Subject: x\r\nFrom: a@b.test\r\nContent-Type: text/plain\r\n\r\n" + b"line\r\n" * 2000
    paths = []
    for number, octets in enumerate(
        split(whole, most_octets=5000, identifier="i", message_ids=["1@x", "2@x", "3@x", "4@x"])
    ):
        paths.append(tmp_path / f"{number}.eml")
        paths[-1].write_bytes(octets)
    _run("rebuild", *reversed(paths), "--output", tmp_path / "whole.eml")
    assert (tmp_path / "whole.eml").read_bytes().endswith(b"\r\n\r\n" + b"line\r\n" * 2000)
    assert "fragments 2 are missing" in _run("rebuild", paths[0], paths[2], code=1)


def test_a_file_that_is_not_there() -> None:
    """What happened, to what."""
    assert "Cannot read /nonexistent" in _run("show", "/nonexistent", code=1)


def test_limits_are_the_users_to_set(tmp_path: Path) -> None:
    """Beyond a limit stands a defect, and the rest is still shown; a limit that is none is a wrong command line."""
    parts = b"".join(b"--x\r\n\r\npart\r\n" for _ in range(5))
    file = tmp_path / "m.eml"
    file.write_bytes(b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="x"\r\n\r\n' + parts + b"--x--\r\n")
    runner = CliRunner()
    whole = json.loads(runner.invoke(message, ["structure", str(file), "--json"]).output)
    bounded = runner.invoke(message, ["structure", str(file), "--json", "--limit", "parts=3"])
    assert len(whole) == 6
    assert len(json.loads(bounded.output)) < 6
    assert "too many parts" in bounded.output.replace("-", " ")
    wrong = runner.invoke(message, ["structure", str(file), "--limit", "depth=3"])
    assert wrong.exit_code == 64
    assert "nesting" in wrong.output
