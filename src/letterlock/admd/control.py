"""Talk to a running server: one JSON line asked, one JSON line answered, over a Unix socket that only its owner can open.

The server answers from a table of named operations (`serve_control`); commands ask (`request`). Nothing else reaches the
store of a running server, so there is one writer.

Limits: a line of at most 1 MiB each way; one request a connection.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from letterlock.errors import LetterlockError, PeerFault, Unavailable
from letterlock.host.listen import Listener, bind_unix
from letterlock.host.logs import Log
from letterlock.host.stream import Stream

SOCKET_NAME = "control"
_LONGEST_LINE = 1 << 20
_PATIENCE_SECONDS = 10.0

# Arguments and results are JSON values; their shapes are each operation's own.
Operation = Callable[[Mapping[str, Any]], Awaitable[object]]


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    operation: str
    arguments: dict[str, Any]


class _Response(msgspec.Struct, omit_defaults=True):
    result: Any = None  # a JSON value, the operation's own
    error: str | None = None


class Control:
    """The server's end of the control socket."""

    def __init__(self, path: Path, operations: Mapping[str, Operation], log: Log) -> None:
        self._path = path
        self._operations = dict(operations)
        self._log = log
        self._listener = Listener(self._session, log=log)

    async def start(self) -> None:
        """Bind the socket (mode 0600) and begin to answer."""
        await self._listener.start([bind_unix(self._path, mode=0o600)])

    async def stop(self) -> None:
        """Finish what is being answered and remove the socket."""
        await self._listener.stop(grace_seconds=_PATIENCE_SECONDS)
        self._path.unlink(missing_ok=True)

    async def _session(self, stream: Stream) -> None:
        stream.expect_within(_PATIENCE_SECONDS)
        line = bytearray()
        while not line.endswith(b"\n"):
            octets = await stream.read(idle=True)
            line += octets
            if not octets or len(line) > _LONGEST_LINE:
                raise PeerFault("no whole request on the control socket")
        response = await self._answer(bytes(line))
        stream.expect_within(_PATIENCE_SECONDS)
        await stream.send(msgspec.json.encode(response) + b"\n")

    async def _answer(self, line: bytes) -> _Response:
        try:
            asked = msgspec.json.decode(line, type=_Request)
        except msgspec.DecodeError as error:
            return _Response(error=f"not a request: {error}")
        operation = self._operations.get(asked.operation)
        if operation is None:
            return _Response(error=f"the server knows no operation {asked.operation!r}; is it of another version?")
        self._log.event("control", operation=asked.operation)
        try:
            return _Response(result=msgspec.to_builtins(await operation(asked.arguments)))
        except (LetterlockError, KeyError, TypeError, ValueError) as error:
            return _Response(error=str(error))


def request(path: Path, operation: str, arguments: Mapping[str, Any]) -> Any:  # a JSON value, the operation's own
    """Ask the running server and return its result. Raises Unavailable where none runs, LetterlockError as it says."""
    line = msgspec.json.encode(_Request(operation, dict(arguments))) + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE_SECONDS * 3)
        try:
            connection.connect(str(path))
            connection.sendall(line)
            with connection.makefile("rb") as answers:
                answered = answers.readline(64 * _LONGEST_LINE)
        except OSError as error:
            problem = f"no server answers at {path} ({error.strerror or error}); start it with `letterlock serve`"
            raise Unavailable(problem) from error
    if not answered:
        raise Unavailable(f"the server at {path} closed without an answer")
    response = msgspec.json.decode(answered, type=_Response)
    if response.error is not None:
        raise LetterlockError(response.error)
    return response.result
