"""`letterlock message fetch`: content that lies elsewhere, over a real TLS server on loopback."""

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.conftest import self_signed

from letterlock.cli.message import message
from letterlock.formats.mime.entity import parse
from letterlock.formats.mime.external import read_external_body
from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log, send_to
from letterlock.host.stream import Stream
from letterlock.host.tls import ServerTls
from letterlock.mua.fetch_external import location

CONTENT = b"\x00\x01 the content " * 10


async def _serve(stream: Stream) -> None:
    await stream.start_tls(_tls[0].context)
    stream.expect_within(5)
    asked = await stream.read()
    body = base64.b64encode(CONTENT) if asked.startswith(b"GET /files/a.png?x=1 HTTP/1.1\r\n") else b""
    status = b"200 OK" if body else b"404 Not Found"
    await stream.send(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))


_tls: list[ServerTls] = []


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[int, Path, Path]]:
    """Run a web server in a thread; yield its port, its certificate and the zone that leads to it."""
    pair = self_signed(tmp_path, "files.harbor.test")
    zone = tmp_path / "zone"
    zone.write_text("files.harbor.test. 300 IN A 127.0.0.1\n")
    before = send_to(lambda _line: None)
    _tls[:] = [ServerTls([pair])]
    ready, done = threading.Event(), asyncio.Event()
    ports: list[int] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        listener = Listener(_serve, log=Log("web"))
        await listener.start([bind("127.0.0.1", 0)])
        ports.append(listener.endpoints[0].port)
        loops.append(asyncio.get_running_loop())
        ready.set()
        await done.wait()
        await listener.stop(grace_seconds=1)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert ready.wait(10)
    yield ports[0], pair.chain, zone
    loops[0].call_soon_threadsafe(done.set)
    thread.join(10)
    send_to(before)


def _message(tmp_path: Path, parameters: str) -> Path:
    path = tmp_path / "message.eml"
    path.write_text(
        f"Content-Type: message/external-body; {parameters}\n\nContent-Type: image/png\n"
        "Content-Transfer-Encoding: base64\n\n"
    )
    return path


def test_fetches_over_https_after_asking(web: tuple[int, Path, Path], tmp_path: Path) -> None:
    """The content is decoded as the phantom header says, and written under a safe name; nothing without a yes."""
    port, roots, zone = web
    file = _message(tmp_path, f'access-type=URL; URL="https://files.harbor.test:{port}/files/a.png?x=1"; size=3')
    arguments = ["fetch", str(file), "--to", str(tmp_path / "out"), "--trusted", str(roots), "--zone", str(zone)]
    refused = CliRunner().invoke(message, arguments, input="n\n")
    assert refused.exit_code == 1
    assert not (tmp_path / "out").exists()
    done = CliRunner().invoke(message, [*arguments, "--yes", "--json"])
    assert done.exit_code == 0, done.output
    written = json.loads(done.output)
    assert (written["type"], written["octets"]) == ("image/png", len(CONTENT))
    assert Path(written["file"]) == tmp_path / "out" / "a.png"
    assert (tmp_path / "out" / "a.png").read_bytes() == CONTENT
    assert "the message says 3" in CliRunner().invoke(message, [*arguments, "--yes"]).output


def test_what_the_server_does_not_have(web: tuple[int, Path, Path], tmp_path: Path) -> None:
    """Could not be told, and nothing is written."""
    port, roots, zone = web
    file = _message(tmp_path, f'access-type=URL; URL="https://files.harbor.test:{port}/other"')
    arguments = [
        "fetch",
        str(file),
        "--to",
        str(tmp_path / "out"),
        "--trusted",
        str(roots),
        "--zone",
        str(zone),
        "--yes",
    ]
    assert CliRunner().invoke(message, arguments).exit_code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "parameters",
    ['access-type=URL; URL="http://x.test/"', 'access-type=URL; URL="file:///etc/passwd"', "access-type=ftp; name=a; site=b",
     'access-type=URL; URL="https://u:p@x.test/"', 'access-type=URL; URL="https://x.test:99999/"', "access-type=URL",
     'access-type=URL; URL="https://[::1"', 'access-type=local-file; name="/etc/passwd"', 'access-type=URL; URL="https://x.test/ü"'],
)  # fmt: skip
def test_only_plain_https_is_fetched(tmp_path: Path, parameters: str) -> None:
    """Other schemes, user names and odd characters are refused before anything is asked."""
    result = CliRunner().invoke(message, ["fetch", str(_message(tmp_path, parameters)), "--yes"])
    assert result.exit_code == 1, result.output


def test_a_location_is_host_port_and_path() -> None:
    """Names become A-labels; the query belongs to the path, a fragment to nobody."""
    external = read_external_body(
        parse('Content-Type: message/external-body; access-type=url; URL="https://Bücher.test/a?b#c"\n\n'.encode())
    )
    assert external is not None
    where = location(external)
    assert (where.host, where.port, where.path) == ("xn--bcher-kva.test", 443, "/a?b")
