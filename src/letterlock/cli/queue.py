"""`letterlock queue`: what is owed to other domains, why it is not there yet, and what to do about it."""

from __future__ import annotations

import base64
import datetime
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
import msgspec

from letterlock.cli.output import COUNT, Exit, answer, fail, json_option, safe, shortened, table
from letterlock.cli.server import ask_server
from letterlock.cli.settings_option import settings_option

P = ParamSpec("P")
R = TypeVar("R")

_PAGE = 500
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Age(click.ParamType[float]):
    """A time such as 90s, 15m, 2h or 3d, in seconds."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([0-9]{1,9})([smhd])", str(value))
        if match is None:
            self.fail(f"{value}: write a number and s, m, h or d, such as 2h", param, ctx)
        return float(int(match[1]) * _SECONDS[match[2]])


@click.group()
def queue() -> None:
    """Show and steer the mail that waits for other domains."""


def _choice(command: Callable[P, R]) -> Callable[P, R]:
    for option, kind, help_line in (
        ("--reason", str, "Only where the last answer, its status or its host contains this text."),
        ("--older", Age(), "Only messages older than this: 30m, 2h, 3d."),
        ("--destination", str, "Only recipients in this domain."),
        ("--recipient", str, "Only this recipient."),
        ("--sender", str, "Only mail from this address or domain; <> for reports."),
    ):
        command = click.option(option, type=kind, help=help_line)(command)
    return command


_STATE = click.option("--held/--not-held", "held", default=None, help="Only held mail, or only mail that is not.")


def _filter(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the filter that options mean, as the server takes it."""
    older = chosen.pop("older", None)
    given = {name: value for name, value in chosen.items() if value not in (None, "")}
    return given if older is None else {**given, "arrived_before": time.time() - older}


@queue.command("list")
@settings_option
@_choice
@_STATE
@click.option("--limit", type=COUNT, default=1000, show_default=True, help="At most so many messages.")
@json_option
def list_entries(settings_file: Path, as_json: bool, limit: int, **chosen: Any) -> None:
    """List waiting messages with the reason and the next attempt, oldest queue id first."""
    found: dict[str, Any] = {"messages": 0, "recipients": 0}
    entries: list[dict[str, Any]] = []
    for page in _pages(settings_file, _filter(chosen), limit, as_json=as_json):
        found = page
        entries += page["entries"]
    rows = [
        (
            entry["queue_id"],
            _when(entry["arrived"]),
            str(entry["size_octets"]),
            safe(entry["sender"] or "<>"),
            safe(owed["address"]),
            "held" if owed["held"] else _when(owed["next_attempt"]),
            shortened(_reason(owed["last"])),
        )
        for entry in entries
        for owed in entry["recipients"]
    ]
    unreadable = [f"{entry['queue_id']} is held: {safe(entry['problem'])}" for entry in entries if entry["problem"]]
    summary = f"{found['messages']} messages for {found['recipients']} recipients"
    if len(entries) < found["messages"]:
        summary += f"; {len(entries)} messages listed"
    headings = ("queue id", "arrived", "octets", "from", "to", "next attempt", "last answer")
    lines = [*(table(headings, rows) if rows else []), *unreadable, summary]
    answer({**found, "entries": entries}, as_json=as_json, lines=lines)


def _pages(settings_file: Path, chosen: dict[str, Any], limit: int, *, as_json: bool) -> Iterator[dict[str, Any]]:
    """Yield what the server lists, page by page."""
    after = ""
    while limit > 0:
        asked = {**chosen, "after": after, "limit": min(limit, _PAGE)}
        page: dict[str, Any] = ask_server(settings_file, "queue list", asked, as_json=as_json)
        yield page
        entries = page["entries"]
        if len(entries) < asked["limit"]:
            return
        limit -= len(entries)
        after = entries[-1]["queue_id"]


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
    if entry["route"]:
        lines.append(f"goes by {safe(entry['route'])}")
    if entry["problem"]:
        lines.append(f"held: {safe(entry['problem'])}")
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


def _demand_choice(queue_id: str, everything: bool, chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the filter, unless it would be all of the queue by oversight."""
    wanted = _filter(chosen)
    if not everything and not queue_id and not wanted:
        raise click.UsageError("name a queue id, a filter, or --all")
    return {"queue_id": queue_id, **wanted}


def _verb(name: str, done: str, help_text: str, *extra: Callable[..., Any]) -> None:
    def verb(queue_id: str, everything: bool, settings_file: Path, as_json: bool, **chosen: Any) -> None:
        more = {"route": route} if (route := chosen.pop("route", None)) is not None else {}
        asked = _demand_choice(queue_id, everything, chosen) | more
        result = ask_server(settings_file, f"queue {name}", asked, as_json=as_json)
        answer(result, as_json=as_json, lines=[f"{done} {result['recipients']} recipients"])
        if not result["recipients"]:
            raise SystemExit(Exit.WRONG)

    command: Any = verb
    decorators: tuple[Callable[..., Any], ...] = (json_option, *extra, _STATE, _choice, settings_option)
    for decorate in decorators:
        command = decorate(command)
    command = click.option("--all", "everything", is_flag=True, help="All of the queue.")(command)
    queue.command(name, help=help_text)(click.argument("queue_id", required=False, default="")(command))


_ROUTE = click.option(
    "--route", metavar="HOST[:PORT]", help='Send it there from now on; "" for its own way again.', default=None
)
_verb("retry", "trying again now for", "Try again now, by another way if given; held mail is let go first.", _ROUTE)
_verb("hold", "holding", "Hold mail back until it is retried.")
_verb("drop", "dropped", "Forget mail without telling its sender.")


@queue.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("queue_id", required=False, default="")
@click.option("--all", "everything", is_flag=True, help="All of the queue.")
@settings_option
@_choice
@_STATE
@json_option
def export(folder: Path, queue_id: str, everything: bool, settings_file: Path, as_json: bool, **chosen: Any) -> None:
    """Copy messages into FOLDER: QUEUE-ID.eml as it would be sent, QUEUE-ID.json with its envelope and every attempt.

    The messages stay in the queue. Files that are there already are left alone, and the command fails.
    """
    wanted = _demand_choice(queue_id, everything, chosen)
    written: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for page in _pages(settings_file, wanted, 1 << 62, as_json=as_json):
            for entry in page["entries"]:
                written += _export(settings_file, folder, entry["queue_id"], as_json=as_json)
    except OSError as error:
        fail(f"cannot write {error.filename or folder}: {error.strerror}", Exit.WRONG, as_json=as_json)
    answer(written, as_json=as_json, lines=[f"{len(written)} messages copied to {folder}"])
    if not written:
        raise SystemExit(Exit.WRONG)


def _export(settings_file: Path, folder: Path, queue_id: str, *, as_json: bool) -> list[str]:
    """Copy one message; return its name, or nothing where it has left. Raises OSError."""
    entry = ask_server(settings_file, "queue show", {"queue_id": queue_id}, as_json=as_json)
    if entry is None:
        return []
    path = folder / f"{queue_id}.eml"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as message:
        while message.tell() < entry["size_octets"]:
            asked = {"queue_id": queue_id, "offset": message.tell()}
            piece = ask_server(settings_file, "queue read", asked, as_json=as_json)
            if not piece:
                path.unlink()
                return []
            message.write(base64.b64decode(piece["octets"]))
    with os.fdopen(os.open(folder / f"{queue_id}.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as envelope:
        envelope.write(msgspec.json.format(msgspec.json.encode(entry), indent=2) + b"\n")
    return [queue_id]


@queue.command()
@settings_option
@json_option
def suppressed(settings_file: Path, as_json: bool) -> None:
    """List the addresses that nothing is sent to."""
    entries = ask_server(settings_file, "queue suppressed", {}, as_json=as_json)
    rows = [
        (
            safe(entry["address"]),
            safe(entry["sender"] or "everybody"),
            _when(entry["until"]) if entry["until"] else "for ever",
            str(entry["bounces"] or "listed"),
            safe(entry["reason"]),
        )
        for entry in entries
    ]
    headings = ("address", "from", "until", "answers", "reason")
    answer(entries, as_json=as_json, lines=table(headings, rows) if rows else ["Nothing is suppressed."])


_SENDER = click.option("--sender", default="", help="Only for mail from this address or domain.")


@queue.command()
@click.argument("address")
@_SENDER
@click.option("--reason", default="", help="What senders are told.")
@click.option("--for", "seconds", type=Age(), default=0.0, help="For how long: 12h, 30d; without it for ever.")
@settings_option
@json_option
def suppress(address: str, sender: str, reason: str, seconds: float, settings_file: Path, as_json: bool) -> None:
    """Send nothing to ADDRESS, which may be a whole domain: submission refuses it, what waits is returned."""
    arguments = {"address": address, "sender": sender, "reason": reason, "seconds": seconds}
    entry = ask_server(settings_file, "queue suppress", arguments, as_json=as_json)
    answer(entry, as_json=as_json, lines=[f"nothing is sent to {safe(entry['address'])} any more"])


@queue.command()
@click.argument("address")
@_SENDER
@settings_option
@json_option
def allow(address: str, sender: str, settings_file: Path, as_json: bool) -> None:
    """Take ADDRESS from the list of those that nothing is sent to."""
    result = ask_server(settings_file, "queue allow", {"address": address, "sender": sender}, as_json=as_json)
    if not result["removed"]:
        fail(f"{address} is not on the list", Exit.WRONG, as_json=as_json)
    answer(result, as_json=as_json, lines=[f"mail to {safe(address)} is sent again"])


def _when(instant: float) -> str:
    return datetime.datetime.fromtimestamp(instant).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _reason(attempt: dict[str, Any] | None) -> str:
    return safe(attempt["reply"]) if attempt else "not tried yet"
