"""The border of a whole domain as it is served: its settings, all its doors, its restarts, and a clock that is moved."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import smtplib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest

from admd.test_serve import Server
from letterlock.admd.accounts import opened_accounts
from letterlock.admd.control import SOCKET_NAME, request
from letterlock.admd.create import create
from letterlock.admd.run import Admd, running
from letterlock.admd.settings import Settings
from letterlock.formats.dns.zone import Zone
from letterlock.host.clock import SetClock, SystemClock
from letterlock.host.connect import connect
from letterlock.host.entropy import SeededEntropy, SystemEntropy
from letterlock.host.logs import send_to
from letterlock.host.stream import Endpoint, Stream
from letterlock.host.tls import opportunistic_client
from letterlock.hostmaster.name_server import NameServer

ADA, PASSWORD = "ada@rosewood.test", "a long enough secret"
SERVICES = ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s")
ZONE = """
@ 300 IN SOA ns.test. hostmaster.test. 1 3600 600 86400 300
@ 300 IN NS ns.test.
9.0.0.127.in-addr.arpa. 300 IN PTR mx.harbor.test.
mx.harbor.test. 300 IN A 127.0.0.9
2.0.0.127.bad.test. 300 IN A 127.0.0.2
66.0.0.127.bad.test. 300 IN A 127.0.0.3
66.0.0.127.bad.test. 300 IN TXT "sends spam"
harbor.test. 300 IN TXT "v=spf1 ip4:127.0.0.9 -all"
_dmarc.harbor.test. 300 IN TXT "v=DMARC1; p=none"
"""
FILTER = """
from letterlock.mta.own_filter import Junk, Refuse, Take

def judge(mail):
    if b"program" in mail.body:
        return Refuse("Programs are not taken by mail: send a link")
    return Take((("X-Client", f"{mail.client_host} {mail.points:g} {mail.result('dmarc')} {mail.user}"),))
"""


@dataclass
class Domain:
    """rosewood.test on loopback; every client counts, and the DNS is ours."""

    settings: Settings
    clock: SetClock
    admd: Admd | None = None
    log: list[dict[str, Any]] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """Serve it until the block ends."""
        async with running(self.settings, clock=self.clock, entropy=SeededEntropy()) as self.admd:
            yield

    def endpoint(self, service: str) -> Endpoint:
        """Where a service is."""
        assert self.admd is not None
        return self.admd.endpoints[service][0]

    async def send(self, host: str, sender: str, body: str = "text", to: str = ADA) -> str:
        """Send a message to port 25 from an address; return the last reply but that to QUIT, or the refused RCPT's."""
        reader, writer = await asyncio.open_connection(*_pair(self.endpoint("smtp")), local_addr=(host, 0))
        octets = (
            f"EHLO mx.harbor.test\r\nMAIL FROM:<{sender}>\r\nRCPT TO:<{to}>\r\nDATA\r\n"
            f"From: <{sender}>\r\nSubject: x\r\n\r\n{body}\r\n.\r\nQUIT\r\n"
        )
        writer.write(octets.encode())
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        replies = [line for line in answer.decode().split("\r\n") if line[3:4] == " "]
        return next((line for line in replies if line[:1] in "45"), replies[-2])

    async def tls(self, service: str) -> Stream:
        """A connection with TLS from the start."""
        stream = await connect(self.endpoint(service), within_seconds=10)
        stream.expect_within(30)
        await stream.start_tls(opportunistic_client(), server_side=False)
        await _until(stream, b"\r\n")
        return stream

    async def log_in(self, service: str, password: str) -> bytes:
        """Log in at a door; return what it answers."""
        stream = await self.tls(service)
        match service:
            case "imaps":
                stream.write(f'a LOGIN {ADA} "{password}"\r\n'.encode())
                answer = await _until(stream, b"\r\na ", b"a NO", b"a OK")
            case "pop3s":
                stream.write(f"USER {ADA}\r\n".encode())
                await _until(stream, b"\r\n")
                stream.write(f"PASS {password}\r\n".encode())
                answer = await _until(stream, b"\r\n")
            case _:
                stream.write(b"EHLO x.test\r\n")
                await _until(stream, b"250 ")
                stream.write(b"AUTH PLAIN " + base64.b64encode(f"\0{ADA}\0{password}".encode()) + b"\r\n")
                answer = await _until(stream, b"\r\n")
        stream.abort()
        return answer

    async def logged_in(self) -> Stream:
        """An IMAP session that goes on."""
        stream = await self.tls("imaps")
        stream.write(f'a LOGIN {ADA} "{PASSWORD}"\r\n'.encode())
        assert b"a OK" in await _until(stream, b"a OK", b"a NO")
        return stream

    async def inbox(self, name: str = "INBOX") -> list[bytes]:
        """The messages of a mailbox of ada's."""
        assert self.admd is not None
        mailbox = await self.admd.store.mailbox(ADA, name)
        if mailbox is None:
            return []
        opened = await self.admd.store.open(mailbox.id)
        try:
            return [await self.admd.store.read(content) for content in opened.snapshot().contents]
        finally:
            opened.close()


def _pair(endpoint: Endpoint) -> tuple[str, int]:
    return endpoint.host, endpoint.port


async def _until(stream: Stream, *ends: bytes) -> bytes:
    answer = b""
    while not any(end in answer for end in ends):
        more = await stream.read()
        if not more:
            break
        answer += more
    return answer


@contextlib.asynccontextmanager
async def domain(folder: Path, **more: Any) -> AsyncIterator[Domain]:
    """A domain that is not served yet."""
    lines: list[str] = []
    before = send_to(lines.append)
    names = NameServer([Zone.parse(ZONE, "")])
    port = await names.listen("127.0.0.1")
    (folder / "site").mkdir()
    (folder / "site" / "mine.py").write_text(FILTER)
    limits = {"exempt": [], "wrong_password_seconds": 0.001} | more.pop("limits", {})
    table = {
        "listen": {name: ["127.0.0.1:0"] for name in SERVICES},
        "dns": {"mode": "trust-ad", "servers": [f"127.0.0.1:{port}"]},
        "limits": limits,
    } | more
    clock = SetClock(SystemClock().now())
    found = create(folder / "site", "rosewood.test", table, clock=clock, entropy=SystemEntropy())
    with opened_accounts(found.settings) as accounts:
        accounts.add(ADA, PASSWORD)
    made = Domain(found.settings, clock)
    try:
        yield made
    finally:
        await names.aclose()
        send_to(before)
        made.log = [json.loads(line) for line in lines]
        assert not [line for line in made.log if line["event"] == "session failed"], made.log


async def test_guessing_at_one_door_shuts_all_over_a_restart(tmp_path: Path) -> None:
    """Six wrong passwords at IMAP: submission and POP3 wait as well, also after a restart, and no longer than said."""
    async with domain(tmp_path) as site:
        async with site.served():
            for _ in range(6):
                assert b"AUTHENTICATIONFAILED" in await site.log_in("imaps", "wrong")
            assert (await site.log_in("submissions", PASSWORD)).startswith(
                b"454 4.7.0 Too many failures from your network"
            )
        async with site.served():
            for door, expected in (
                ("submissions", b"454 "),
                ("imaps", b"NO [LIMIT]"),
                ("pop3s", b"-ERR [LOGIN-DELAY]"),
            ):
                assert expected in await site.log_in(door, PASSWORD)
            site.clock.move(5)
            for door, expected in (("submissions", b"235 "), ("imaps", b"a OK"), ("pop3s", b"+OK")):
                assert expected in await site.log_in(door, PASSWORD)


async def test_doors_are_opened_by_hand(tmp_path: Path) -> None:
    """`letterlock border shut` and `forgive`, as the running server answers them."""
    async with domain(tmp_path) as site, site.served():
        control = site.settings.path(site.settings.data) / SOCKET_NAME
        for _ in range(6):
            await site.log_in("imaps", "wrong")
        shut = await asyncio.to_thread(request, control, "border shut", {})
        assert shut == {"networks": {"127.0.0.0/24": 5.0}, "users": {}}
        for forgiven in (True, False):
            answer = await asyncio.to_thread(request, control, "border forgive", {"who": "127.0.0.1"})
            assert answer == {"forgiven": forgiven}
        assert b"a OK" in await site.log_in("imaps", PASSWORD)


def test_rates_outlive_kill_9(tmp_path: Path) -> None:
    """The process is killed, not stopped; what it counted a moment ago is counted after the next start."""
    server = Server(tmp_path / "site", limits={"exempt": [], "messages_per_hour": 1})
    replies = []
    for _ in range(2):
        with server.running():
            with smtplib.SMTP("127.0.0.1", server.port("smtp"), local_hostname="x.test", timeout=30) as client:
                client.ehlo()
                replies.append(client.mail("")[0])
            while not noted(tmp_path / "site" / "data" / "border.sqlite"):
                pass
            assert server.process is not None
            server.process.kill()
            server.process.wait()
        (tmp_path / "site" / "ready").unlink()
    assert replies == [250, 450]


def noted(file: Path) -> bool:
    """Whether the message is on the disk."""
    flags = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READONLY
    with contextlib.closing(apsw.Connection(f"file:{file}?mode=ro", flags=flags)) as notes:
        notes.set_busy_timeout(5000)
        return bool(notes.execute("SELECT 1 FROM notes WHERE book = 'border messages'").fetchall())


async def test_rates_hold_over_a_restart(tmp_path: Path) -> None:
    """What a network has sent stays sent, what it may send comes back with time; no reply is final."""
    async with domain(tmp_path, limits={"messages_per_hour": 2}) as site:
        async with site.served():
            for _ in range(2):
                assert (await site.send("127.0.0.9", "rose@harbor.test"))[:3] == "250"
        async with site.served():
            assert (await site.send("127.0.0.9", "rose@harbor.test")).startswith("450 4.7.1 Too many messages")
            assert (await site.send("127.0.1.9", "rose@nobody.test"))[:3] == "250"
            site.clock.move(1800)
            assert (await site.send("127.0.0.9", "rose@harbor.test"))[:3] == "250"


async def test_new_connections_of_a_network_are_counted(tmp_path: Path) -> None:
    """All services together; what is beyond is told 421 and comes later."""
    async with domain(tmp_path, limits={"connections_per_minute": 3}) as site, site.served():
        for service in ("smtp", "imap", "pop3"):
            stream = await connect(site.endpoint(service), within_seconds=10)
            stream.expect_within(10)
            assert b"421" not in await _until(stream, b"\r\n")
            stream.abort()
        stream = await connect(site.endpoint("smtp"), within_seconds=10)
        stream.expect_within(10)
        assert await _until(stream, b"\r\n") == b"421 4.7.0 Too many connections: try again later\r\n"
        stream.abort()
        site.clock.move(20)
        stream = await connect(site.endpoint("smtp"), within_seconds=10)
        stream.expect_within(10)
        assert (await _until(stream, b"\r\n")).startswith(b"220 ")
        stream.abort()


async def test_lists_greylisting_and_a_filter_of_the_site(tmp_path: Path) -> None:
    """One domain with all of it on: who is listed is refused, who is new comes again, and the site's own filter decides."""
    async with domain(
        tmp_path,
        border={
            "lists": [
                {"zone": "bad.test", "codes": [{"code": "127.0.0.2/31", "meaning": "a source of spam", "points": 12}]}
            ]
        },
        greylist={"enabled": True},
        filters={"python": ["mine.py:judge"]},
    ) as site:
        async with site.served():
            refused = await site.send("127.0.0.66", "x@spam.test")
            assert refused.startswith(
                "550 5.7.1 Mail from you is not taken: 127.0.0.66 is listed by bad.test (127.0.0.3, a source of spam: sends spam)"
            )
            assert (await site.send("127.0.0.9", "rose@harbor.test"))[:3] == "250"
            assert (await site.send("127.0.2.5", "x@nobody.test")).startswith("451 4.7.1 You are new here")
            site.clock.move(300)
        async with site.served():
            assert (await site.send("127.0.2.5", "x@nobody.test"))[:3] == "250"
            refused = await site.send("127.0.0.9", "rose@harbor.test", "a program")
            assert refused == "550 5.7.1 Programs are not taken by mail: send a link"
            first, second = await site.inbox()
    assert first.count(b"X-Client: mx.harbor.test 0 pass \r\n") == 1
    assert b"iprev=pass (mx.harbor.test) policy.iprev=127.0.0.9" in first
    assert second.count(b"X-Client: 2 none \r\n") == 1


@pytest.mark.parametrize("setting", ["account_messages_per_hour", "account_recipients_per_hour"])
async def test_rates_of_an_account_hold_over_a_restart(tmp_path: Path, setting: str) -> None:
    """Who submits too much waits, and is told for how long."""

    async def submit(site: Domain) -> bytes:
        stream = await site.tls("submissions")
        stream.write(b"EHLO x.test\r\n")
        await _until(stream, b"250 ")
        stream.write(b"AUTH PLAIN " + base64.b64encode(f"\0{ADA}\0{PASSWORD}".encode()) + b"\r\n")
        await _until(stream, b"\r\n")
        octets = f"MAIL FROM:<{ADA}>\r\nRCPT TO:<{ADA}>\r\nDATA\r\nFrom: {ADA}\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n".encode()
        stream.write(octets)
        answer = b""
        while more := await stream.read():
            answer += more
        stream.abort()
        return answer

    async with domain(tmp_path, limits={setting: 1}) as site:
        async with site.served():
            assert b"250 2.0.0 Accepted" in await submit(site)
        async with site.served():
            assert b"450 4.7.1 Too many" in await submit(site)
            site.clock.move(3600)
            assert b"250 2.0.0 Accepted" in await submit(site)


async def test_sessions_of_an_account_are_counted(tmp_path: Path) -> None:
    """All doors together; a place is free again when a session ends, however it ends."""
    async with domain(tmp_path, limits={"account_connections": 2}) as site, site.served():
        first, second = await site.logged_in(), await site.logged_in()
        assert b"a NO [LIMIT] too many connections" in await site.log_in("imaps", PASSWORD)
        assert b"-ERR [LOGIN-DELAY] too many connections" in await site.log_in("pop3s", PASSWORD)
        assert b"421 4.7.0 Too many connections of this account" in await site.log_in("submissions", PASSWORD)
        first.abort()
        second.write(b"b LOGOUT\r\n")
        await _until(second, b"b OK")
        second.abort()
        async with asyncio.timeout(20):
            while b"a OK" not in await site.log_in("imaps", PASSWORD):
                pass  # the server has not seen yet that they are gone
        async with asyncio.timeout(20):
            while b"235 " not in await site.log_in("submissions", PASSWORD):
                pass


async def test_lists_and_filters_are_taken_up_without_a_restart(tmp_path: Path) -> None:
    """A wave of spam: a list is added, and a filter, and the file read again; a mistake in it changes nothing."""
    async with domain(tmp_path) as site, site.served():
        assert site.admd is not None
        assert (await site.send("127.0.0.66", "x@spam.test", "a program"))[:3] == "250"
        text = site.settings.file.read_text()
        site.settings.file.write_text(text + '\n[filters]\npython = ["mine.py:missing"]\n')
        site.admd.reload()
        assert (await site.send("127.0.0.66", "x@spam.test"))[:3] == "250"
        more = '\n[filters]\npython = ["mine.py:judge"]\n[[border.lists]]\nzone = "bad.test"\n'
        site.settings.file.write_text(text + more)
        site.admd.reload()
        assert "127.0.0.66 is listed by bad.test" in await site.send("127.0.0.66", "x@spam.test")
        refused = await site.send("127.0.0.9", "rose@harbor.test", "a program")
        assert refused == "550 5.7.1 Programs are not taken by mail: send a link"
