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
from typing import NoReturn, ParamSpec, TypeVar

import click
import msgspec

P = ParamSpec("P")
R = TypeVar("R")


class Exit(enum.IntEnum):
    """What a command's exit code means; docs/commands.md lists them."""

    OK = 0  # done, or: checked and right
    WRONG = 1  # checked and wrong; or the thing asked for could not be done
    UNKNOWN = 2  # could not tell: a look-up failed for now
    USAGE = 64  # the command line is wrong
    UNAVAILABLE = 69  # the server or service is not there
    SETTINGS = 78  # letterlock.toml is wrong


# click's own code for a wrong command line would say "could not tell" here.
click.UsageError.exit_code = Exit.USAGE


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


def safe(text: str) -> str:
    """Return text of a stranger with control, format and surrogate characters made visible."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if unicodedata.category(character)[0] != "C" else f"\\u{{{ord(character):x}}}" for character in text
    )
