"""`letterlock delivery test`: what it shows of hosts that take, refuse, hide their TLS, or are not there."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from tests.mta.test_outbound import Host

from letterlock.cli.delivery import delivery
from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log, send_to
from letterlock.host.tls import KeyPair, ServerTls


class Server:
    """A scripted host in a thread of its own, since the command runs a loop of its own."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._before = send_to(lambda _line: None)
        self.port = 0

    def __enter__(self) -> Server:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(5)
        return self

    async def _start(self) -> None:
        self._listener = Listener(self._host, log=Log("test"))
        await self._listener.start([bind("127.0.0.1", 0)])
        self.port = self._listener.endpoints[0].port

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._listener.stop(grace_seconds=2), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        send_to(self._before)


def run(tmp_path: Path, port: int, zone: str, *arguments: str) -> Result:
    """Run the command with names from zone text."""
    file = tmp_path / "zone"
    file.write_text(zone)
    return CliRunner().invoke(
        delivery, ["test", "ada@harbor.test", "--zone", str(file), "--smtp-port", str(port), *arguments]
    )


ZONE = "harbor.test. 300 IN MX 0 a.test.\na.test. 300 IN A 127.0.0.1\n"


def test_a_host_that_would_take_the_mail(tmp_path: Path, key_pair: KeyPair) -> None:
    """Every step is shown; nothing but MAIL, RCPT and RSET is said."""
    host = Host(ServerTls([key_pair]))
    with Server(host) as server:
        result = run(tmp_path, server.port, ZONE, "--json")
    assert result.exit_code == 0, result.output
    steps = json.loads(result.stdout)
    assert [step["what"] for step in steps] == [
        "MX",
        "AAAA",
        "A",
        "route",
        "MTA-STS",
        "DANE",
        "TCP",
        "banner",
        "EHLO",
        "TLS",
        "certificate",
        "RCPT",
    ]
    assert [line.split()[0] for line in host.seen] == ["EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "RSET", "QUIT"]


def test_a_host_that_refuses(tmp_path: Path) -> None:
    """Exit code 1, and its words."""
    with Server(Host(RCPT="550 5.1.1 no such user")) as server:
        result = run(tmp_path, server.port, ZONE)
    assert result.exit_code == 1
    assert "550 5.1.1 no such user" in result.output
    assert "STARTTLS is not offered" in result.output


@pytest.mark.parametrize("wrong", [False, True])
def test_dane(tmp_path: Path, key_pair: KeyPair, wrong: bool) -> None:
    """A certificate that the TLSA records name, and one that they do not."""
    certificate = x509.load_pem_x509_certificate(key_pair.chain.read_bytes())
    digest = "00" * 32 if wrong else certificate.fingerprint(hashes.SHA256()).hex()
    host = Host(ServerTls([key_pair]))
    with Server(host) as server:
        zone = ZONE + f"_{server.port}._tcp.a.test. 300 IN TLSA 3 0 1 {digest}\n$SECURE test\n"
        result = run(tmp_path, server.port, zone)
    assert result.exit_code == (2 if wrong else 0)
    assert ("does not match its TLSA records" if wrong else "accepted under dane") in result.output
    assert any(line.startswith("MAIL") for line in host.seen) is not wrong


@pytest.mark.parametrize(
    ("zone", "code", "words"),
    [("x.test. 300 IN A 127.0.0.1\n", 1, "5.1.2"), ("harbor.test. 300 IN MX 0 .\n", 1, "5.1.10"),
     ("$TIMEOUT harbor.test\n", 2, "4.4.3"), (ZONE, 2, "refused the connection")],
)  # fmt: skip
def test_nowhere_to_go(tmp_path: Path, zone: str, code: int, words: str) -> None:
    """For good, for now, and a port where nobody listens."""
    free = bind("127.0.0.1", 0)
    port = free.getsockname()[1]
    free.close()
    result = run(tmp_path, port, zone)
    assert (result.exit_code, words in result.output) == (code, True), result.output


def test_a_domain_of_ones_own_is_not_tried(tmp_path: Path) -> None:
    """Its mail never leaves this server, so that no exchanger is asked."""
    (tmp_path / "letterlock.toml").write_text('domain = "rosewood.test"\n', encoding="utf-8")
    told = CliRunner().invoke(delivery, ["test", "ada@rosewood.test", "--config", str(tmp_path)])
    assert told.exit_code == 1
    assert told.output.startswith("rosewood.test is served here")
