"""`letterlock config show|check`: what is set, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import click
import tomlkit

from letterlock.admd import settings
from letterlock.cli.output import Exit, answer, json_option
from letterlock.cli.settings_option import load, settings_option
from letterlock.errors import SettingsFault


@click.group()
def config() -> None:
    """Show and check letterlock.toml."""


@config.command()
@settings_option
@click.option("--all", "show_all", is_flag=True, help="Show defaults, too, not only what the file sets.")
@json_option
def show(settings_file: Path, show_all: bool, as_json: bool) -> None:
    """Print the settings in force."""
    loaded = load(settings_file, as_json=as_json)
    values = loaded.model_dump(mode="json", exclude_unset=not show_all, exclude_none=True, exclude={"folder"})
    answer(values, as_json=as_json, lines=[tomlkit.dumps(values).rstrip()])


@config.command()
@settings_option
@json_option
def check(settings_file: Path, as_json: bool) -> None:
    """Name every mistake in the file and the files it names; exit 0 when there is none, 78 otherwise."""
    from letterlock.admd.settings_files import file_problems

    try:
        problems = file_problems(settings.load(settings_file))
    except SettingsFault as fault:
        problems = fault.problems
    answer({"problems": problems}, as_json=as_json, lines=problems or ["The settings are right."])
    if problems:
        raise SystemExit(Exit.SETTINGS)
