"""`letterlock queue list|show|retry|hold|drop`: what is owed to other domains, why it is not there yet, and what to do."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from letterlock.cli.output import Exit, answer, fail, json_option, safe, table
from letterlock.cli.server import ask_server
from letterlock.cli.settings_option import settings_option

P = ParamSpec("P")
R = TypeVar("R")


@click.group()
def queue() -> None:
    """Show and steer the mail that waits for other domains."""


def _choice(command: Callable[P, R]) -> Callable[P, R]:
    for option, help_line in (
        ("--destination", "Only recipients in this domain."),
        ("--recipient", "Only this recipient."),
        ("--sender", "Only mail from this sender."),
    ):
        command = click.option(option, default="", help=help_line)(command)
    return command


@queue.command("list")
@settings_option
@_choice
@json_option
def list_entries(settings_file: Path, as_json: bool, **chosen: str) -> None:
    """List waiting messages with the reason and the next attempt, oldest queue id first."""
    found = ask_server(settings_file, "queue list", chosen, as_json=as_json)
    rows = [
        (
            entry["queue_id"],
            _when(entry["arrived"]),
            str(entry["size_octets"]),
            safe(entry["sender"] or "<>"),
            safe(owed["address"]),
            "held" if owed["held"] else _when(owed["next_attempt"]),
            _reason(owed["last"]),
        )
        for entry in found["entries"]
        for owed in entry["recipients"]
    ]
    summary = f"{found['messages']} messages for {found['recipients']} recipients"
    headings = ("queue id", "arrived", "octets", "from", "to", "next attempt", "last answer")
    answer(found, as_json=as_json, lines=[*(table(headings, rows) if rows else []), summary])


@queue.command()
@click.argument("queue_id")
@settings_option
@json_option
def show(queue_id: str, settings_file: Path, as_json: bool) -> None:
    """Show one message with every attempt and each answer it got."""
    entry = ask_server(settings_file, "queue show", {"queue_id": queue_id}, as_json=as_json)
    if entry is None:
        fail(f"no message {queue_id} is in the queue", Exit.WRONG, as_json=as_json)
    lines = [
        f"{entry['queue_id']}  from {safe(entry['sender'] or '<>')}  {entry['size_octets']} octets",
        f"arrived {_when(entry['arrived'])} by {safe(entry['source'])}, given up {_when(entry['expires'])}",
    ]
    for owed in entry["recipients"]:
        state = "held" if owed["held"] else f"next attempt {_when(owed['next_attempt'])}"
        lines.append(f"to {safe(owed['address'])}: {state} after {owed['attempts']} attempts")
    for attempt in entry["history"]:
        where = safe(f"{attempt['host']} [{attempt['address']}]") if attempt["host"] else "here"
        lines.append(
            f"  {_when(attempt['instant'])}  {safe(attempt['recipient'])}  {attempt['result']} {attempt['status']}  "
            f"{where}  {attempt['security']}  {safe(attempt['reply'])}"
        )
    answer(entry, as_json=as_json, lines=lines)


def _verb(name: str, done: str, help_text: str) -> None:
    @queue.command(name, help=help_text)
    @click.argument("queue_id", required=False, default="")
    @click.option("--all", "everything", is_flag=True, help="All of the queue.")
    @settings_option
    @_choice
    @json_option
    def verb(queue_id: str, everything: bool, settings_file: Path, as_json: bool, **chosen: str) -> None:
        if not everything and not queue_id and not any(chosen.values()):
            raise click.UsageError("name a queue id, a filter, or --all")
        result = ask_server(settings_file, f"queue {name}", {"queue_id": queue_id, **chosen}, as_json=as_json)
        answer(result, as_json=as_json, lines=[f"{done} {result['recipients']} recipients"])
        if not result["recipients"]:
            raise SystemExit(Exit.WRONG)


_verb("retry", "trying again now for", "Try again now; held mail is let go first.")
_verb("hold", "holding", "Hold mail back until it is retried.")
_verb("drop", "dropped", "Forget mail without telling its sender.")


def _when(instant: float) -> str:
    return datetime.datetime.fromtimestamp(instant).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _reason(attempt: dict[str, Any] | None) -> str:
    return safe(attempt["reply"]) if attempt else "not tried yet"
