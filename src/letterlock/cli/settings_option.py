"""The option `--config`, which every command that works on an installation takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from letterlock.admd import settings
from letterlock.cli.output import Exit, fail
from letterlock.errors import SettingsFault

P = ParamSpec("P")
R = TypeVar("R")


def settings_option(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command `--config FILE` (or $LETTERLOCK_CONFIG), as its parameter `settings_file`."""
    return click.option(
        "--config",
        "settings_file",
        type=click.Path(path_type=Path),
        default=settings.FILE_NAME,
        envvar="LETTERLOCK_CONFIG",
        show_default=True,
        help="The settings file, or the folder that holds it.",
    )(command)


def load(file: Path, *, as_json: bool = False) -> settings.Settings:
    """Load the settings, or print every problem and exit."""
    try:
        return settings.load(file)
    except SettingsFault as fault:
        fail("\n".join(fault.problems), Exit.SETTINGS, as_json=as_json)
