"""Ask the running server of an installation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from letterlock.admd.control import SOCKET_NAME, request
from letterlock.cli.output import Exit, fail
from letterlock.cli.settings_option import load
from letterlock.errors import LetterlockError, Unavailable


def ask_server(file: Path, operation: str, arguments: Mapping[str, Any], *, as_json: bool = False) -> Any:
    """Return the server's result (a JSON value), or say why there is none and exit."""
    settings = load(file, as_json=as_json)
    try:
        return request(settings.path(settings.data) / SOCKET_NAME, operation, arguments)
    except Unavailable as error:
        fail(error.problem, Exit.UNAVAILABLE, as_json=as_json)
    except LetterlockError as error:
        fail(str(error), Exit.WRONG, as_json=as_json)
