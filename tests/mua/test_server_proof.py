"""Servers prove themselves to the user agent: every kind of TLSA record against every kind of certificate, over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from letterlock.errors import PeerFault, SettingsFault
from letterlock.formats.dns import rdata_text
from letterlock.formats.dns.rdata import Tlsa
from letterlock.host.clock import SystemClock
from letterlock.host.connect import ConnectionFailed
from letterlock.host.entropy import SeededEntropy, SystemEntropy
from letterlock.host.resolver.system import Mode, ResolverSettings
from letterlock.host.resolver.zone_file import ZoneTable
from letterlock.host.stream import TlsFailed
from letterlock.host.tls import KeyPair, ServerTls
from letterlock.mua.compose import Draft, compose
from letterlock.mua.profile import load_profile
from letterlock.mua.read import MailReader
from letterlock.mua.server_proof import Proving
from letterlock.mua.settings import MailServer, UserAgentSettings
from letterlock.mua.submit import submit
from letterlock.trust.dane.records import DANE_EE, DANE_TA, PKIX_EE, PKIX_TA, associate
from letterlock.trust.primitives import peer_chain
from letterlock.trust.primitives.server_certificates import Identity, Validity, authority, server

NAME = "mail.rosewood.test"
NOW = datetime.datetime.now(datetime.UTC)
HOLDS = Validity(NOW - datetime.timedelta(days=1), datetime.timedelta(days=30))
TRUSTED = authority("A Trusted Root", HOLDS, 1)
UNKNOWN = authority("An Unknown Root", HOLDS, 2)
STRANGER = server((NAME,), HOLDS, 3, TRUSTED)

# What the server shows: its own certificate and the authority behind it.
SERVERS: dict[str, tuple[Identity, Identity]] = {
    "trusted": (server((NAME,), HOLDS, 4, TRUSTED), TRUSTED),
    "untrusted": (server((NAME,), HOLDS, 5, UNKNOWN), UNKNOWN),
    "misnamed": (server(("mail.harbor.test",), HOLDS, 6, TRUSTED), TRUSTED),
}
# Usages whose right record lets the server through; a wrong record never does.
ENOUGH = {
    "trusted": {PKIX_TA, PKIX_EE, DANE_TA, DANE_EE},
    "untrusted": {DANE_TA, DANE_EE},
    "misnamed": {DANE_EE},
}
TABLE = [
    (kind, usage, right, right and usage in ENOUGH[kind])
    for kind, usage, right in itertools.product(SERVERS, range(4), (True, False))
]


def record(usage: int, identity: Identity) -> Tlsa:
    der = x509.load_pem_x509_certificate(identity.certificate).public_bytes(Encoding.DER)
    return Tlsa(usage, 1, 1, associate(der, peer_chain.read(der).public_key, 1, 1))


def right_record(kind: str, usage: int) -> Tlsa:
    own, issuer = SERVERS[kind]
    return record(usage, issuer if usage in (PKIX_TA, DANE_TA) else own)


def wrong_record(kind: str, usage: int) -> Tlsa:
    other = TRUSTED if kind == "untrusted" else UNKNOWN
    return record(usage, other if usage in (PKIX_TA, DANE_TA) else STRANGER)


class Site:
    """A server that greets, begins TLS, and notes whether it is spoken to inside; its port, and who came how far."""

    def __init__(self, tls: ServerTls, protocol: str) -> None:
        self._tls, self._protocol = tls, protocol
        self.port = 0
        self.connections = 0
        self.trusted = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self._protocol.endswith("s"):
                await writer.start_tls(self._tls.context)
                writer.write(b"* OK hello\r\n" if self._protocol == "imaps" else b"220 hello\r\n")
            elif self._protocol == "imap":
                writer.write(b"* OK hello\r\n")
                tag = (await reader.readuntil(b"\n")).split()[0]
                writer.write(tag + b" OK go on\r\n")
                await writer.start_tls(self._tls.context)
            else:
                writer.write(b"220 hello\r\n")
                await reader.readuntil(b"\n")
                writer.write(b"250-hello\r\n250 STARTTLS\r\n")
                await reader.readuntil(b"\n")
                writer.write(b"220 go on\r\n")
                await writer.start_tls(self._tls.context)
            self.trusted = bool(await reader.readuntil(b"\n"))
        writer.close()


@contextlib.asynccontextmanager
async def site(kind: str, folder: Path, protocol: str) -> AsyncIterator[Site]:
    own, issuer = SERVERS[kind]
    pair = KeyPair(folder / "own.pem", folder / "own.key")
    pair.chain.write_bytes(own.certificate + issuer.certificate)
    pair.key.write_bytes(own.key)
    (folder / "root.pem").write_bytes(TRUSTED.certificate)
    made = Site(ServerTls([pair]), protocol)
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listening.close()
        await listening.wait_closed()


def zone(port: int, *records: Tlsa, more: str = f"$SECURE {NAME}\n") -> ZoneTable:
    lines = [f"_{port}._tcp.{NAME}. 60 IN TLSA {rdata_text.write(one)}" for one in records]
    return ZoneTable.parse(f"{more}{NAME}. 60 IN A 127.0.0.1\n" + "\n".join(lines))


async def visit(
    place: Site, folder: Path, protocol: str, table: ZoneTable | None, told: list[str] | None = None
) -> None:
    """Go there as the user agent does; the server ends it after the first line inside TLS. Raises PeerFault."""
    kind = "imap" if protocol.startswith("imap") else "submission"
    where = MailServer.parse(f"{protocol}://{NAME if table else '127.0.0.1'}:{place.port}", kind, name=NAME)
    settings = UserAgentSettings(
        "ada", "secret", imap=where, submission=where, roots=folder / "root.pem", timeout_seconds=20
    )
    proving = None if table is None else Proving(table, SystemClock(), (told if told is not None else []).append)
    if kind == "imap":
        async with MailReader(settings, SeededEntropy(), proving):
            return
    composed = compose(
        Draft("ada@rosewood.test", ("bob@harbor.test",), "x", "x"), clock=SystemClock(), entropy=SystemEntropy()
    )
    await submit(composed, settings, SystemEntropy(), proving)


async def is_trusted(place: Site, folder: Path, protocol: str, table: ZoneTable | None) -> bool:
    """Whether the user agent goes on inside TLS; a refusal is one for the handshake's sake, and says why."""
    try:
        await visit(place, folder, protocol, table)
    except TlsFailed as refused:
        assert refused.problem
    except PeerFault:
        pass  # the server hangs up once it was spoken to
    return place.trusted


@pytest.mark.parametrize(("kind", "usage", "right", "expected"), TABLE)
async def test_records_decide(tmp_path: Path, kind: str, usage: int, right: bool, expected: bool) -> None:
    """DANE needs no root; PKIX needs a root and a name besides; a record that does not match refuses all."""
    async with site(kind, tmp_path, "imaps") as place:
        one = (right_record if right else wrong_record)(kind, usage)
        assert await is_trusted(place, tmp_path, "imaps", zone(place.port, one)) is expected


@pytest.mark.parametrize("protocol", ["imap", "imaps", "submission", "submissions"])
@pytest.mark.parametrize("right", [True, False])
async def test_every_protocol_asks(tmp_path: Path, protocol: str, right: bool) -> None:
    """With TLS from the start and with STARTTLS; no root vouches for this server."""
    async with site("untrusted", tmp_path, protocol) as place:
        one = (right_record if right else wrong_record)("untrusted", DANE_EE)
        assert await is_trusted(place, tmp_path, protocol, zone(place.port, one)) is right


@pytest.mark.parametrize("protocol", ["imap", "submissions"])
async def test_in_a_mixed_set_any_match_is_enough(tmp_path: Path, protocol: str) -> None:
    """RFC 6698 section 2.1: the DANE record does not match, the PKIX record does."""
    async with site("trusted", tmp_path, protocol) as place:
        table = zone(place.port, wrong_record("trusted", DANE_EE), right_record("trusted", PKIX_EE))
        assert await is_trusted(place, tmp_path, protocol, table)
        assert place.connections == 2
    async with site("untrusted", tmp_path, protocol) as place:
        table = zone(place.port, wrong_record("untrusted", DANE_EE), right_record("untrusted", PKIX_EE))
        assert not await is_trusted(place, tmp_path, protocol, table)


@pytest.mark.parametrize("state", ["no resolver", "insecure", "absent", "of another port", "unusable"])
@pytest.mark.parametrize("kind", list(SERVERS))
async def test_without_secure_records_roots_decide(tmp_path: Path, kind: str, state: str) -> None:
    """The wrong records that stand there insecurely, or elsewhere, neither help nor harm."""
    async with site(kind, tmp_path, "imaps") as place:
        wrong = wrong_record(kind, DANE_EE)
        table = {
            "no resolver": None,
            "insecure": zone(place.port, wrong, more=""),
            "absent": zone(place.port),
            "of another port": zone(place.port + 1, wrong),
            "unusable": zone(place.port, Tlsa(DANE_EE, 1, 9, b"unknown")),
        }[state]
        assert await is_trusted(place, tmp_path, "imaps", table) is (kind == "trusted")


@pytest.mark.parametrize("fault", ["$TIMEOUT _{port}._tcp.{name} TLSA", "$BOGUS _{port}._tcp.{name}", "$BOGUS {name}"])
@pytest.mark.parametrize("protocol", ["imaps", "submission"])
async def test_a_failed_look_up_is_not_absence(tmp_path: Path, protocol: str, fault: str) -> None:
    """RFC 7673 section 3.4: the client must not connect, however good the certificate is."""
    async with site("trusted", tmp_path, protocol) as place:
        more = f"$SECURE {NAME}\n{fault.format(port=place.port, name=NAME)}\n"
        table = zone(place.port, right_record("trusted", DANE_EE), more=more)
        with pytest.raises(ConnectionFailed, match="must prove itself by DANE cannot be looked up"):
            await visit(place, tmp_path, protocol, table)
        assert place.connections == 0


async def test_an_alias_is_followed(tmp_path: Path) -> None:
    """RFC 7671 section 7: the records stand at the end of a secure alias, and the certificate names either end."""
    async with site("trusted", tmp_path, "imaps") as place:
        for usage in (PKIX_EE, DANE_TA):
            place.trusted = False
            one = rdata_text.write(right_record("trusted", usage))
            table = ZoneTable.parse(
                f"$SECURE test\n{NAME}. 60 IN CNAME big.provider.test.\nbig.provider.test. 60 IN A 127.0.0.1\n"
                f"_{place.port}._tcp.big.provider.test. 60 IN TLSA {one}\n"
            )
            assert await is_trusted(place, tmp_path, "imaps", table)


async def test_what_proved_the_server_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    async with site("untrusted", tmp_path, "imaps") as place:
        with pytest.raises(PeerFault):
            await visit(place, tmp_path, "imaps", zone(place.port, right_record("untrusted", DANE_EE)), told)
    (sentence,) = told
    assert sentence.startswith(f"{NAME} proved itself by DANE: DANE-EE(3) SPKI(1) SHA2-256(1)")


def test_a_profile_names_the_resolver(tmp_path: Path) -> None:
    (tmp_path / "anchors.zone").write_text(". IN DS 1 8 2 00\n")
    profile = tmp_path / "ada.toml"
    profile.write_text(
        '[user-agent]\nuser = "ada"\nresolver = "iterate"\nroot-servers = "127.0.0.1:5300, [::1]:53"\n'
        'dns-port = "5300"\nanchors = "anchors.zone"\n'
    )
    assert load_profile(profile, {}).resolver == ResolverSettings(
        Mode.ITERATE, (), tmp_path / "anchors.zone", ("127.0.0.1:5300", "[::1]:53"), 5300
    )
    assert load_profile(None, {"user": "ada"}).resolver is None


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"resolver": "believe"}, "expected one of validate, trust-ad, iterate"),
        ({"anchors": "x"}, "says nothing without user-agent.resolver"),
        ({"resolver": "validate", "anchors": "/nowhere"}, "there is no such file"),
        ({"resolver": "validate", "dns-servers": "ns.rosewood.test"}, "write addresses"),
        ({"resolver": "iterate", "dns-port": "0"}, "expected a port number"),
    ],
)
def test_a_wrong_resolver_is_named(given: dict[str, str | None], problem: str) -> None:
    with pytest.raises(SettingsFault) as fault:
        load_profile(None, {"user": "ada", **given})
    (sentence,) = fault.value.problems
    assert problem in sentence
