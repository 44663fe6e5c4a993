"""How every command answers: text for people by default, JSON with `--json`, and one set of exit codes.

    @click.command()
    @json_option
    def check(as_json: bool) -> None:
        answer({"result": "pass"}, as_json=as_json, lines=["The signature is good."])

Colour is used on a terminal only, and never when NO_COLOR is set. What a peer wrote is shown through `safe`, so that no
control character of a message reaches the terminal.
"""

from __future__ import annotations

import enum
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn, ParamSpec, TypeGuard, TypeVar

import click
import msgspec

from letterlock.errors import SettingsFault, Unavailable

P = ParamSpec("P")
R = TypeVar("R")


_MAX_COLUMN = 100
COUNT = click.IntRange(1, (1 << 63) - 1)  # what a database can count to
PORT = click.IntRange(1, 65535)
DAYS = click.IntRange(0, 36500)


class Exit(enum.IntEnum):
    """What a command's exit code means; docs/commands.md lists them. `meaning` says it in a sentence."""

    meaning: str

    OK = 0, "done; or checked, and right"
    WRONG = 1, "checked, and wrong; or what was asked for could not be done"
    UNKNOWN = 2, "could not tell: a look-up failed for now"
    USAGE = 64, "the command line is wrong"
    UNAVAILABLE = 69, "a server, a service or a file is not there or cannot be used"
    SETTINGS = 78, "letterlock.toml is wrong"
    INTERRUPTED = 130, "stopped by Ctrl-C"
    UNREAD = 141, "whoever read the output went away before its end"

    def __new__(cls, code: int, meaning: str) -> Exit:
        """Make the member of this code and meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member


click.UsageError.exit_code = Exit.USAGE  # click's own code for it means "could not tell" here


def json_option(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command the option `--json`, as its parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(command)


def answer(value: object, *, as_json: bool, lines: Iterable[str]) -> None:
    """Print `value` as one JSON document, or `lines` for people."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))
    else:
        for line in lines:
            click.echo(line, color=uses_color())


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay rows out in columns under headings, for `answer`."""
    widths = [max(_columns(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    laid_out = [
        "  ".join(cell + " " * (width - _columns(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *rows)
    ]
    return [click.style(laid_out[0], bold=True), *laid_out[1:]]


def _columns(text: str) -> int:
    """Return how many columns a terminal gives to text: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def shortened(text: str) -> str:
    """Return text for a column at the end of a table, cut where it would fill lines; all of it stands elsewhere."""
    return text if len(text) <= _MAX_COLUMN else f"{text[: _MAX_COLUMN - 1]}…"


def uses_color() -> bool:
    """Whether colour is welcome: a terminal, and no NO_COLOR in the environment."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def fail(sentence: str, code: Exit, *, as_json: bool = False) -> NoReturn:
    """Say on standard error (or, with `as_json`, as JSON) why the command cannot go on, and exit."""
    if as_json:
        click.echo(msgspec.json.encode({"error": sentence}).decode())
    else:
        click.echo(sentence, err=True)
    raise SystemExit(code)


def sentence_of(error: BaseException, about: object = "") -> str:
    """Return what an error says, for people, with what it is about in front where that is not named by itself.

    Of a group, what each in it says, a line each.
    """
    sentence = _plain(error)
    return sentence if sentence.startswith(f"{about}") else f"{about}: {sentence}"


def _plain(error: BaseException) -> str:
    match error:
        case BaseExceptionGroup():
            return "\n".join(sentence_of(one) for one in error.exceptions)
        case OSError(strerror=str() as problem):
            return f"{os.fsdecode(error.filename)}: {problem}" if _is_path(error.filename) else problem
        case _:
            return str(error) or type(error).__name__


def code_of(error: BaseException) -> Exit:
    """Return the exit code for an error that ended a command; of a group, that of its first."""
    match error:
        case BaseExceptionGroup():
            return code_of(error.exceptions[0])
        case BrokenPipeError():
            return Exit.UNREAD
        case SettingsFault():
            return Exit.SETTINGS
        case OSError() | Unavailable():
            return Exit.UNAVAILABLE
        case _:
            return Exit.WRONG


def _is_path(name: object) -> TypeGuard[str | bytes]:
    return isinstance(name, str | bytes) and bool(name)


def end(error: BaseException, *, as_json: bool = False) -> NoReturn:
    """Say why an error ended the command, and exit with its code; whoever stopped reading hears nothing."""
    code = code_of(error)
    if code is Exit.UNREAD:
        raise SystemExit(code)
    fail(safe_lines(sentence_of(error)), code, as_json=as_json)


def safe_lines(text: str) -> str:
    """Return `safe` of each line."""
    return "\n".join(safe(line) for line in text.splitlines())


def safe(text: str) -> str:
    """Return text of a stranger with control, format and surrogate characters made visible."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if unicodedata.category(character)[0] != "C" else f"\\u{{{ord(character):x}}}" for character in text
    )
