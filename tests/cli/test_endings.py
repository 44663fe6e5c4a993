"""How commands end when something other than their work ends them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from letterlock.cli import main, output, root
from letterlock.errors import Malformed, OurFault, SettingsFault, Unavailable

PROGRAM = (sys.executable, "-m", "letterlock")


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (FileNotFoundError(2, "No such file or directory", "a/b"), 69, "a/b: No such file or directory"),
        (OSError(28, "No space left on device"), 69, "No space left on device"),
        (Unavailable("the store is gone"), 69, "the store is gone"),
        (SettingsFault(("one", "two")), 78, "one\ntwo"),
        (OurFault("not so"), 1, "not so"),
        (Malformed("garbage \x1b[31m", offset=3), 1, "garbage \\u{1b}[31m at octet 3"),
    ],
)
def test_every_error_is_a_sentence_and_a_code(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, sentence: str
) -> None:
    """Whatever a command does not catch itself is told without a traceback, in JSON where that was asked for."""

    def fails() -> None:
        raise error

    command = click.Command(
        "fails", callback=fails, params=[click.Option(["--json"], is_flag=True, expose_value=False)]
    )
    monkeypatch.setattr(root.LazyGroup, "get_command", lambda *_: command)
    told = CliRunner().invoke(root.letterlock, ["fails"])
    assert (told.exit_code, told.output) == (code, sentence + "\n")
    told = CliRunner().invoke(root.letterlock, ["fails", "--json"])
    assert (told.exit_code, json.loads(told.output)) == (code, {"error": sentence})


def test_a_group_of_errors_is_told_line_by_line() -> None:
    """Two tasks that failed are two lines."""
    group = ExceptionGroup("", [OurFault("one"), ExceptionGroup("", [OSError(5, "Input/output error", b"disk")])])
    assert output.sentence_of(group) == "one\ndisk: Input/output error"
    assert output.code_of(group) is output.Exit.WRONG


def test_whoever_stops_reading_hears_nothing() -> None:
    """`letterlock ... | head -1` ends quietly, with the code of a closed pipe and not one that means a verdict."""
    reading, writing = os.pipe()
    os.close(reading)
    told = subprocess.run([*PROGRAM, "dmarc", "build"], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writing)
    assert (told.returncode, told.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_no_success() -> None:
    """A full disk behind standard output is said, once."""
    with Path("/dev/full").open("wb") as full:
        told = subprocess.run(
            [*PROGRAM, "dmarc", "build"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert (told.returncode, told.stderr) == (69, b"No space left on device\n")


def test_an_interrupt_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends a command without a word, with a code of its own."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(root.LazyGroup, "get_command", lambda *_: click.Command("waits", callback=interrupted))
    told = CliRunner().invoke(root.letterlock, ["waits"])
    assert (told.exit_code, told.output) == (130, "")


def test_an_interrupt_while_it_starts_is_told_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a command that is still being imported shows a traceback."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(root, "letterlock", interrupted)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130


def test_a_command_that_is_none_is_a_wrong_command_line() -> None:
    """Not the code for a look-up that failed; what was meant is named."""
    told = CliRunner().invoke(root.letterlock, ["serv"])
    assert told.exit_code == 64
    assert "No such command 'serv'" in told.output
