"""BIND, NSD and Knot take our zones by AXFR and IXFR with TSIG; BIND and Knot take our updates."""

import asyncio
import shutil
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from letterlock.errors import PeerFault
from letterlock.formats.dns import message as messages
from letterlock.formats.dns import name as names
from letterlock.formats.dns.nsec3 import Hashing
from letterlock.formats.dns.question import Question
from letterlock.formats.dns.zone import Zone
from letterlock.host.drive_decisions import drive
from letterlock.host.resolver.exchange import Exchange, Server
from letterlock.host.resolver.forward import ForwardingResolver
from letterlock.host.resolver.upstream import Upstream
from letterlock.hostmaster.check import Standing, compare
from letterlock.hostmaster.name_server import NameServer
from letterlock.hostmaster.publish import notify, publish
from letterlock.hostmaster.records import DomainFacts, wanted_records
from letterlock.protocols.dns.server import Access
from letterlock.protocols.dns.transfer import AXFR, IXFR
from letterlock.protocols.dns.tsig import TsigKey
from letterlock.trust.dnssec.sign import Denial, SigningKey, sign_zone

pytestmark = pytest.mark.interop

SECRET = "c2hhcmVkIHNlY3JldCBvZiB0d28gc2VydmVycyBoZXJl"
KEY = TsigKey.parse(f"transfer.test:{SECRET}")
ORIGIN = "rosewood.test"
SIGNING_KEY = SigningKey.generate()


def _zone(serial: int, extra: str = "") -> Zone:
    hosts = "".join(f"host{number} IN A 127.0.2.{number}\n" for number in range(200))
    text = f"@ IN SOA ns hostmaster {serial} 3600 600 86400 300\n@ IN NS ns\nns IN A 127.0.0.1\n{hosts}{extra}"
    now = int(time.time())
    return sign_zone(Zone.parse(text, ORIGIN), [SIGNING_KEY], now - 3600, now + 86400, Denial(Hashing()))


class _Watched(NameServer):
    """Remembers which transfers were asked for and answered."""

    transfers: list[int]

    def respond(self, octets: bytes, address: str, *, tcp: bool) -> Iterator[bytes]:
        answered = list(super().respond(octets, address, tcp=tcp))
        number = messages.read(octets).question[0][1]
        if number in (AXFR, IXFR) and tcp and answered:
            self.transfers.append(number)
        return iter(answered)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/bin")
    assert found, f"{name} is not installed"
    return found


def _bind(folder: Path, port: int, primary: int) -> list[str]:
    folder.joinpath("named.conf").write_text(
        f"""
options {{ directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none;
  recursion no; dnssec-validation no; session-keyfile none; notify no; }};
controls {{ }};
key "transfer.test" {{ algorithm hmac-sha256; secret "{SECRET}"; }};
zone "{ORIGIN}" {{ type secondary; primaries port {primary} {{ 127.0.0.1 key transfer.test; }}; file "zone"; }};
"""
    )
    return [_program("named"), "-g", "-c", str(folder / "named.conf")]


def _nsd(folder: Path, port: int, primary: int) -> list[str]:
    folder.joinpath("nsd.conf").write_text(
        f"""
server:
  ip-address: 127.0.0.1@{port}
  username: ""
  chroot: ""
  pidfile: ""
  database: ""
  zonesdir: "{folder}"
  xfrdfile: "{folder}/xfrd.state"
  xfrdir: "{folder}"
  zonelistfile: "{folder}/zone.list"
  server-count: 1
  verbosity: 1
remote-control:
  control-enable: no
key:
  name: "transfer.test"
  algorithm: hmac-sha256
  secret: "{SECRET}"
zone:
  name: "{ORIGIN}"
  zonefile: "zone"
  request-xfr: 127.0.0.1@{primary} transfer.test
  allow-notify: 127.0.0.1 NOKEY
"""
    )
    return [_program("nsd"), "-d", "-c", str(folder / "nsd.conf")]


def _knot(folder: Path, port: int, primary: int) -> list[str]:
    folder.joinpath("knot.conf").write_text(
        f"""
server:
  listen: 127.0.0.1@{port}
  rundir: "{folder}"
database:
  storage: "{folder}"
log:
  - target: stderr
    any: info
key:
  - id: transfer.test
    algorithm: hmac-sha256
    secret: {SECRET}
remote:
  - id: primary
    address: 127.0.0.1@{primary}
    key: transfer.test
acl:
  - id: notify
    address: 127.0.0.1
    action: notify
template:
  - id: default
    storage: "{folder}"
zone:
  - domain: {ORIGIN}
    master: primary
    acl: notify
"""
    )
    return [_program("knotd"), "-c", str(folder / "knot.conf")]


@asynccontextmanager
async def _running(command: list[str], port: int) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *command, stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    assert process.returncode is None, command
                    await asyncio.sleep(0.05)
        yield
    finally:
        process.terminate()
        await process.wait()


async def _wait_for_serial(exchange: Exchange, server: Server, serial: int) -> bool:
    resolver = ForwardingResolver(Upstream((server,), exchange))
    for _ in range(200):
        answer = await resolver.ask(Question(ORIGIN, "SOA"))
        if answer.records and getattr(answer.records[0], "serial", 0) == serial:
            return True
        await asyncio.sleep(0.05)
    return False


@pytest.mark.parametrize("program", [_bind, _nsd, _knot])
async def test_secondaries_take_our_zone(program, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The whole zone first; after NOTIFY only what changed; both signed, and the secondary answers with them."""
    server = _Watched([_zone(1)], Access({KEY.name: KEY}))
    server.transfers = []
    primary = await server.listen("127.0.0.1")
    port = _free_port()
    exchange = Exchange()
    secondary = Server("127.0.0.1", port)
    async with _running(program(tmp_path, port, primary), port):
        assert await notify(server.catalog.zones[names.to_wire(ORIGIN)], [secondary], exchange) == {}
        assert await _wait_for_serial(exchange, secondary, 1)
        server.put(_zone(2, "new IN A 127.0.3.1\n"))
        assert await notify(server.catalog.zones[names.to_wire(ORIGIN)], [secondary], exchange) == {}
        assert await _wait_for_serial(exchange, secondary, 2)
        resolver = ForwardingResolver(Upstream((secondary,), exchange))
        for name in ("new", "host7", "host199"):
            assert (await resolver.ask(Question(f"{name}.{ORIGIN}", "A"))).records
    assert server.transfers[-1] == IXFR
    await exchange.aclose()
    await server.aclose()


async def test_dig_transfers_only_with_the_key(tmp_path: Path) -> None:
    """dig reads our transfer and its signatures over several messages; without the key there is none."""
    server = NameServer([_zone(1)], Access({KEY.name: KEY}))
    port = await server.listen("127.0.0.1")
    command = [_program("dig"), "@127.0.0.1", "-p", str(port), ORIGIN, "AXFR", "+nocomments"]
    signed = await _output([*command, "-y", f"hmac-sha256:transfer.test:{SECRET}"])
    assert len([line for line in signed.splitlines() if line.startswith("host")]) == 400
    assert "Transfer failed" in await _output(command)
    wrong = SECRET.replace("c", "d")
    assert "Transfer failed" in await _output([*command, "-y", f"hmac-sha256:transfer.test:{wrong}"])
    await server.aclose()


async def _output(command: list[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return output.decode()


def _updated_bind(folder: Path, port: int) -> list[str]:
    folder.joinpath("named.conf").write_text(
        f"""
options {{ directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none;
  recursion no; dnssec-validation no; session-keyfile none; notify no; }};
controls {{ }};
key "transfer.test" {{ algorithm hmac-sha256; secret "{SECRET}"; }};
zone "{ORIGIN}" {{ type primary; file "zone"; allow-update {{ key transfer.test; }}; }};
"""
    )
    return [_program("named"), "-g", "-c", str(folder / "named.conf")]


def _updated_knot(folder: Path, port: int) -> list[str]:
    folder.joinpath("knot.conf").write_text(
        f"""
server:
  listen: 127.0.0.1@{port}
  rundir: "{folder}"
database:
  storage: "{folder}"
key:
  - id: transfer.test
    algorithm: hmac-sha256
    secret: {SECRET}
acl:
  - id: update
    key: transfer.test
    action: update
template:
  - id: default
    storage: "{folder}"
zone:
  - domain: {ORIGIN}
    file: zone
    acl: update
"""
    )
    return [_program("knotd"), "-c", str(folder / "knot.conf")]


@pytest.mark.parametrize("program", [_updated_bind, _updated_knot])
async def test_servers_take_our_updates(program, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """What the check finds missing or wrong is right after publishing; without the key nothing changes."""
    (tmp_path / "zone").write_text(
        f"$ORIGIN {ORIGIN}.\n$TTL 300\n@ IN SOA ns hostmaster 1 3600 600 86400 300\n@ IN NS ns\nns IN A 127.0.0.1\n"
        '@ IN MX 10 old\n@ IN TXT "v=spf1 +all"\n'
    )
    port = _free_port()
    exchange = Exchange()
    server = Server("127.0.0.1", port)
    wanted = wanted_records(DomainFacts(ORIGIN, f"mail.{ORIGIN}", ("127.0.1.1",), ports={"imaps": 993}))
    async with _running(program(tmp_path, port), port):
        resolver = ForwardingResolver(Upstream((server,), exchange))
        # A server that has only just begun may leave a question unanswered; what is not known is not published.
        for _ in range(5):
            findings = await drive(compare(wanted), resolver)
            if Standing.UNKNOWN not in {found.standing for found in findings}:
                break
        assert Standing.RIGHT not in {found.standing for found in findings}
        wrong = TsigKey(KEY.name, b"another secret")
        with pytest.raises(PeerFault):
            await publish(ORIGIN, findings, server, wrong, exchange, int(time.time()))
        assert await publish(ORIGIN, findings, server, KEY, exchange, int(time.time())) == len(wanted) + 2
        assert {found.standing for found in await drive(compare(wanted), resolver)} == {Standing.RIGHT}
    await exchange.aclose()
