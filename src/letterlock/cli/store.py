"""`letterlock store check`: is all that was taken on still there, octet for octet."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from letterlock.admd.accounts import STORE_NAME
from letterlock.cli.output import Exit, answer, fail, json_option
from letterlock.cli.settings_option import load, settings_option
from letterlock.errors import Unavailable
from letterlock.store.check import check_store


@click.group()
def store() -> None:
    """Look after the message store."""


@store.command()
@settings_option
@json_option
def check(settings_file: Path, as_json: bool) -> None:
    """Read the whole log and the index and compare them; the server may go on serving meanwhile."""
    settings = load(settings_file, as_json=as_json)
    try:
        found = check_store(settings.path(settings.data) / STORE_NAME)
    except Unavailable as error:
        fail(error.problem, Exit.UNAVAILABLE, as_json=as_json)
    summary = (
        f"{found.segments} segments, {found.records} records, {found.octets} octets, {found.messages} messages: "
        + (f"{len(found.faults)} faults" if found.faults else "all is as it should be")
    )
    answer(asdict(found), as_json=as_json, lines=[*found.faults, summary])
    raise SystemExit(Exit.WRONG if found.faults else Exit.OK)
