"""Certificates that are renewed, and two algorithms served together, seen by clients that connect."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import shutil
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.conftest import self_signed

from letterlock.admd.settings import parse
from letterlock.admd.sockets import Sockets
from letterlock.admd.watch import Watched, keep_certificates_current
from letterlock.admd.workers import Workers
from letterlock.errors import Unavailable
from letterlock.host import logs
from letterlock.host.clock import SetClock, SystemClock
from letterlock.host.ledger import Ledger
from letterlock.host.listen import Listener, bind
from letterlock.host.logs import Log
from letterlock.host.stream import Stream
from letterlock.host.tls import KeyPair, ServerTls
from letterlock.store.core import StoreSettings
from letterlock.store.engine import open_store


def rsa_pair(folder: Path) -> KeyPair:
    """A self-signed RSA certificate."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "rsa.test")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    certificate = (
        builder.serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=9))
        .sign(key, hashes.SHA256())
    )
    pair = KeyPair(folder / "rsa.pem", folder / "rsa.key")
    pair.chain.write_bytes(certificate.public_bytes(Encoding.PEM))
    pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return pair


@contextlib.asynccontextmanager
async def served(tls: ServerTls) -> AsyncIterator[int]:
    """Serve TLS; yield the port."""

    async def session(stream: Stream) -> None:
        stream.expect_within(5)
        await stream.read()

    listener = Listener(session, log=Log("test"), tls=tls)
    await listener.start([bind("127.0.0.1", 0)])
    try:
        yield listener.endpoints[0].port
    finally:
        await listener.stop(grace_seconds=1)


async def shown(port: int, ciphers: str = "") -> bytes:
    """The certificate a client is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if ciphers:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    connection = writer.get_extra_info("ssl_object")
    certificate: bytes = connection.getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
    return certificate


def der(pair: KeyPair) -> bytes:
    """The certificate in a file."""
    return ssl.PEM_cert_to_DER_cert(pair.chain.read_text())


async def test_each_client_gets_a_certificate_it_can_verify(tmp_path: Path) -> None:
    """ECDSA and RSA side by side."""
    ecdsa, other = self_signed(tmp_path, "ecdsa.test"), rsa_pair(tmp_path)
    async with served(ServerTls([ecdsa, other])) as port:
        assert await shown(port, "ECDHE-ECDSA-AES128-GCM-SHA256") == der(ecdsa)
        assert await shown(port, "ECDHE-RSA-AES128-GCM-SHA256") == der(other)


async def test_a_fault_in_taking_files_up_does_not_end_the_watching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next files are taken up."""
    lines: list[str] = []
    before = logs.send_to(lines.append)
    pair = rsa_pair(tmp_path)
    tls, reloaded, again = ServerTls([pair]), 0, asyncio.Event()

    def broken_first() -> None:
        nonlocal reloaded
        reloaded += 1
        if reloaded == 1:
            raise ZeroDivisionError
        again.set()

    monkeypatch.setattr(tls, "reload", broken_first)
    files = (pair.chain, pair.key)
    keeping = asyncio.create_task(keep_certificates_current(tls, files, Log("admd"), look_seconds=0.001))
    async with asyncio.timeout(30):
        while not again.is_set():
            pair.chain.write_bytes(pair.chain.read_bytes() + b"\n")
            await asyncio.sleep(0.005)
    keeping.cancel()
    await asyncio.wait([keeping])
    logs.send_to(before)
    assert json.loads(lines[0])["event"] == "certificates not reloaded"
    assert "ZeroDivisionError" in lines[0]


async def test_renewed_files_are_taken_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A certificate without its key changes nothing; with it, the next client sees it, and old sessions stand."""
    seen: asyncio.Queue[str] = asyncio.Queue()
    before = logs.send_to(seen.put_nowait)
    pair = self_signed(tmp_path, "mail.test")
    first = der(pair)
    new = tmp_path / "new"
    new.mkdir()
    renewed = self_signed(new, "mail.test")
    tls = ServerTls([pair])
    keeping = asyncio.create_task(
        keep_certificates_current(tls, (pair.chain, pair.key), Log("admd"), look_seconds=0.01)
    )
    try:
        async with served(tls) as port:
            _, old = await asyncio.open_connection("127.0.0.1", port, ssl=_any())
            shutil.move(renewed.chain, pair.chain)
            assert "not reloaded" in await asyncio.wait_for(seen.get(), 30)
            assert await shown(port) == first
            shutil.move(renewed.key, pair.key)
            assert '"certificates reloaded"' in await asyncio.wait_for(seen.get(), 30)
            assert await shown(port) == der(pair) != first
            assert not old.is_closing()
            old.close()
    finally:
        keeping.cancel()
        logs.send_to(before)


def _any() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[tuple[Watched, KeyPair]]:
    """A store, a ledger and a queue that runs, with a certificate of 30 days."""
    pair = self_signed(tmp_path, "mail.test")
    clock = SystemClock()
    store = await open_store(StoreSettings(tmp_path / "store"), clock=clock)
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    queue = asyncio.create_task(asyncio.Event().wait())
    none = Workers(parse({"domain": "mail.test"}, tmp_path / "letterlock.toml"), Sockets({}, []), clock)
    yield (
        Watched(store, ledger, {}, none, queue, (pair.chain,), tmp_path, clock, clock.now()),  # type: ignore[arg-type]
        pair,
    )
    queue.cancel()
    ledger.close()
    await store.close()


async def health(watched: Watched) -> tuple[int, dict[str, str]]:
    """The status and the checks that are not well."""
    page = await watched.pages()._pages["/health"]()
    return page.status, {name: said for name, said in json.loads(page.body)["checks"].items() if said}


async def test_a_disk_on_which_mail_is_refused_is_not_well(watched: tuple[Watched, KeyPair], tmp_path: Path) -> None:
    """Below the store's reserve each message is answered 452, and so a balancer must be told 503."""
    store = await open_store(StoreSettings(tmp_path / "full", reserve_octets=1 << 60))
    try:
        with pytest.raises(Unavailable, match="nearly full"):
            await store.create("ada@mail.test", "Plans")
        status, said = await health(replace(watched[0], store=store))
    finally:
        await store.close()
    assert (status, list(said)) == (503, ["disk"])
    assert "mail is refused for now" in said["disk"]


async def test_health_says_what_is_not_well(watched: tuple[Watched, KeyPair], tmp_path: Path) -> None:
    """All well; a certificate that is gone; a queue that stopped: 503 for what keeps mail from moving."""
    looked_at, pair = watched
    assert await health(looked_at) == (200, {})
    soon = replace(looked_at, clock=SetClock(looked_at.clock.now() + 20 * 86_400))
    status, said = await health(soon)
    assert (status, list(said)) == (200, ["certificate"])
    assert "ends in 10.0 days" in said["certificate"] or "ends in 9.9 days" in said["certificate"]
    late = replace(looked_at, clock=SetClock(looked_at.clock.now() + 31 * 86_400))
    assert (await health(late))[0] == 503
    pair.chain.unlink()
    assert (await health(looked_at))[0] == 503
    self_signed(tmp_path, "mail.test")
    assert (await health(looked_at))[0] == 200
    looked_at.transferring.cancel()
    await asyncio.gather(looked_at.transferring, return_exceptions=True)
    status, said = await health(looked_at)
    assert (status, list(said)) == (503, ["queue"])
    assert b"letterlock_well 0\n" in (await looked_at.pages()._pages["/metrics"]()).body
