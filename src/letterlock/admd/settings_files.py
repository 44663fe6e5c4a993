"""The files that `letterlock.toml` names: whether they are there, may be read, and fit together.

`letterlock config check` asks here what a start would find out, all of it at once and without starting anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pydantic

from letterlock.admd.settings import Settings, key_pairs
from letterlock.errors import SettingsFault
from letterlock.host.tls import ServerTls

_WRITTEN = {"log.file"}  # made where it is not there


def file_problems(settings: Settings) -> tuple[str, ...]:
    """Return what is wrong with the files, a sentence each, naming setting, file and fix."""
    problems = []
    for key, path in _named(settings, ""):
        try:
            with settings.path(path).open("rb"):
                pass
        except OSError as error:
            problems.append(f"{settings.file}: {key} = {str(path)!r}: {error.strerror}; put it there, or leave it out")
    try:
        ServerTls(key_pairs(settings))
    except SettingsFault as fault:
        problems += fault.problems
    return tuple(problems)


def _named(section: pydantic.BaseModel, above: str) -> Iterator[tuple[str, Path]]:
    """Yield each setting that names a file which must be there, by its whole key."""
    for name, field in type(section).model_fields.items():
        key, value = f"{above}{name}", getattr(section, name)
        if isinstance(value, Path) and field.annotation == Path | None and key not in _WRITTEN:
            yield key, value
        for at, inner in enumerate(value if isinstance(value, list | tuple) else [value]):
            if isinstance(inner, pydantic.BaseModel):
                yield from _named(inner, f"{key}.{at}." if inner is not value else f"{key}.")
