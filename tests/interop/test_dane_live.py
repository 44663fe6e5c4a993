"""Every combination of TLSA record and certificate, live against `openssl s_server`, beside `openssl s_client -dane_*`."""

import asyncio
import datetime
import itertools
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from letterlock.formats.dns.rdata import Tlsa
from letterlock.host.probe_tls import StartTls, probe_tls
from letterlock.host.stream import Endpoint, TlsFailed
from letterlock.host.tls import authenticated_client
from letterlock.trust.dane.authenticate import ALL_USAGES, authenticate
from letterlock.trust.dane.records import DANE_EE, DANE_TA, PKIX_EE, PKIX_TA, associate
from letterlock.trust.primitives import peer_chain
from letterlock.trust.primitives.server_certificates import Identity, Validity, authority, server

pytestmark = pytest.mark.interop

NAME = "mx.rosewood.test"
NOW = datetime.datetime.now(datetime.UTC)
HOLDS = Validity(NOW - datetime.timedelta(days=1), datetime.timedelta(days=30))
EXPIRED = Validity(NOW - datetime.timedelta(days=40), datetime.timedelta(days=30))
CA = authority("Live Root", HOLDS, 1)
OTHER = authority("Another Root", HOLDS, 2)

# What the server shows: its certificate, and the authority behind it where there is one.
SERVERS: dict[str, tuple[Identity, Identity | None]] = {
    "good": (server((NAME,), HOLDS, 3, CA), CA),
    "expired": (server((NAME,), EXPIRED, 4, CA), CA),
    "wrong name": (server(("mx.elsewhere.test",), HOLDS, 5, CA), CA),
    "self-signed": (server((NAME,), HOLDS, 6), None),
}
MATCHES = ("right", "wrong")


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not installed"
    return found


def _der(identity: Identity) -> bytes:
    return x509.load_pem_x509_certificate(identity.certificate).public_bytes(Encoding.DER)


def _record(usage: int, selector: int, matching_type: int, identity: Identity) -> Tlsa:
    found = peer_chain.read(_der(identity))
    return Tlsa(usage, selector, matching_type, associate(found.der, found.public_key, selector, matching_type))


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@asynccontextmanager
async def _served(kind: str, folder: Path) -> AsyncIterator[int]:
    identity, issuer = SERVERS[kind]
    (folder / "own.pem").write_bytes(identity.certificate)
    (folder / "own.key").write_bytes(identity.key)
    chain = ["-cert_chain", str(folder / "chain.pem")] if issuer else []
    if issuer:
        (folder / "chain.pem").write_bytes(issuer.certificate)
    port = _free_port()
    process = await asyncio.create_subprocess_exec(
        *(_program("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-quiet"),
        *("-cert", str(folder / "own.pem"), "-key", str(folder / "own.key"), *chain),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    await asyncio.sleep(0.02)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def _openssl_says(port: int, record: Tlsa) -> bool:
    """Whether s_client, with DANE alone, accepts the server."""
    process = await asyncio.create_subprocess_exec(
        *(_program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-verify_return_error", "-no-CAfile"),
        *("-no-CApath", "-no-CAstore", "-dane_tlsa_domain", NAME, "-dane_ee_no_namechecks", "-dane_tlsa_rrdata"),
        f"{record.usage} {record.selector} {record.matching_type} {record.data.hex()}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return b"Verification: OK" in output


@pytest.mark.parametrize("kind", list(SERVERS))
async def test_every_combination_is_as_openssl_says(kind: str, tmp_path: Path) -> None:
    """2 usages, 2 selectors, 3 matching types, right and wrong: 24 verdicts a server, none different."""
    identity, issuer = SERVERS[kind]
    different = []
    accepted = 0
    async with _served(kind, tmp_path) as port:
        state = await probe_tls(Endpoint("127.0.0.1", port), NAME)
        assert len(state.peer_chain) == (2 if issuer else 1)
        for usage, selector, matching_type, match in itertools.product((DANE_TA, DANE_EE), (0, 1), (0, 1, 2), MATCHES):
            right = (issuer or identity) if usage == DANE_TA else identity
            record = _record(usage, selector, matching_type, right if match == "right" else OTHER)
            ours = authenticate([record], state.peer_chain, [NAME], int(time.time()))
            theirs = await _openssl_says(port, record)
            accepted += ours.is_authentic
            if ours.is_authentic != theirs:
                different.append((usage, selector, matching_type, match))
    # OpenSSL lets a self-signed server be its own authority where the record holds its whole bare key. RFC 7671
    # section 5.2 names an authority that issued the server's certificate; we demand one that is another.
    assert different == ([(DANE_TA, 1, 0, "right")] if kind == "self-signed" else [])
    assert accepted == {"good": 12, "expired": 6, "wrong name": 6, "self-signed": 6}[kind]


async def test_usages_of_trusted_roots_are_honoured_for_services(tmp_path: Path) -> None:
    """PKIX-TA and PKIX-EE: the ordinary validation must succeed, and its path or its end must be the one named."""
    roots = tmp_path / "roots.pem"
    roots.write_bytes(CA.certificate)
    identity, _ = SERVERS["good"]
    async with _served("good", tmp_path) as port:
        endpoint = Endpoint("127.0.0.1", port)
        state = await probe_tls(endpoint, NAME, context=authenticated_client(roots))
        assert state.validated_chain == (_der(identity), _der(CA))
        unjudged = await probe_tls(endpoint, NAME)
        for usage, selector, matching_type in itertools.product((PKIX_TA, PKIX_EE), (0, 1), (0, 1, 2)):
            right = _record(usage, selector, matching_type, CA if usage == PKIX_TA else identity)
            wrong = _record(usage, selector, matching_type, OTHER)
            for record, shown, expected in ((right, state, True), (wrong, state, False), (right, unjudged, False)):
                verdict = authenticate(
                    [record],
                    shown.peer_chain,
                    [NAME],
                    int(time.time()),
                    usages=ALL_USAGES,
                    validated=shown.validated_chain,
                )
                assert verdict.is_authentic == expected, (record, verdict)
        with pytest.raises(TlsFailed):
            await probe_tls(endpoint, "other.test", context=authenticated_client(roots))


async def test_the_chain_is_read_after_starttls(tmp_path: Path) -> None:
    """A real SMTP dialogue with Python's ssl behind it shows the whole chain before anything is sent."""
    identity, _ = SERVERS["good"]
    (tmp_path / "own.pem").write_bytes(identity.certificate + CA.certificate)
    (tmp_path / "own.key").write_bytes(identity.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem", tmp_path / "own.key")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220-mx\r\n220 mx\r\n")
        await reader.readline()
        writer.write(b"250-mx\r\n250 STARTTLS\r\n")
        await reader.readline()
        writer.write(b"220 go\r\n")
        await writer.start_tls(context)
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    state = await probe_tls(Endpoint("127.0.0.1", port), NAME, starttls=StartTls.SMTP)
    assert state.peer_chain == (_der(identity), _der(CA))
    listener.close()
