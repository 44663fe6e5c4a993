"""The control socket."""

import asyncio
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from letterlock.admd.control import Control, request
from letterlock.errors import LetterlockError, Unavailable
from letterlock.host.logs import Log


async def _double(arguments: Mapping[str, Any]) -> object:
    return {"doubled": arguments["number"] * 2}


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    control = Control(tmp_path / "control", {"double": _double}, Log("admd"))
    await control.start()
    yield tmp_path / "control"
    await control.stop()
    assert not (tmp_path / "control").exists()


async def test_an_operation_is_carried_out(path: Path) -> None:
    """Arguments go in, the result comes out; the socket is its owner's alone."""
    assert await asyncio.to_thread(request, path, "double", {"number": 21}) == {"doubled": 42}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("operation", "arguments", "told"), [("triple", {}, "knows no operation 'triple'"), ("double", {}, "number")]
)
async def test_what_cannot_be_done_is_said(path: Path, operation: str, arguments: dict[str, int], told: str) -> None:
    """Unknown operations and missing arguments are answers, not hang-ups."""
    with pytest.raises(LetterlockError, match=told):
        await asyncio.to_thread(request, path, operation, arguments)


async def test_garbage_is_answered(path: Path) -> None:
    """Octets that are no request get an error and a closed connection."""

    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b"\x00\xff garbage\n")
            return connection.recv(1000)

    assert b"not a request" in await asyncio.to_thread(ask)


def test_no_server_is_said(tmp_path: Path) -> None:
    """The message says how to start one."""
    with pytest.raises(Unavailable, match="letterlock serve"):
        request(tmp_path / "control", "double", {})
