"""kill -9 of a whole served domain under SMTP load: what was answered 250 is in its mailbox once, or still queued once."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from letterlock.admd.accounts import STORE_NAME
from letterlock.admd.create import create
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.store.accounts import Accounts
from letterlock.store.engine import StoreSettings, open_store
from letterlock.store.interface import QueueFilter

DOMAIN = "rosewood.test"
USERS = ("anna", "ben")
FILLER = b"x" * 70 + b"\r\n"


@contextlib.contextmanager
def name_server() -> Iterator[str]:
    """Answer every question that the name is not there, and about unreachable.test that nobody can say."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            while len(question := server.recvfrom(4096)) and question[0]:
                octets, client = question
                flags = 0x8182 if b"\x0bunreachable\x04test" in octets.lower() else 0x81A3
                end = octets.index(b"\0", 12) + 5
                header = octets[:2] + flags.to_bytes(2) + b"\0\1" + bytes(6)
                server.sendto(header + octets[12:end], client)

        thread = threading.Thread(target=answer)
        thread.start()
        host, port = server.getsockname()
        yield f"{host}:{port}"
        server.sendto(b"", (host, port))
        thread.join()


class Site:
    """A served domain in a process of its own, with SMTP on one port of 127.0.0.1."""

    def __init__(self, folder: Path, names: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        services = ("submissions", "submission", "imaps", "imap", "pop3s", "pop3")
        overrides = {
            "listen": {"smtp": [f"127.0.0.1:{self.port}"], **{service: [] for service in services}},
            "dns": {"mode": "trust-ad", "servers": [names]},
            "log": {"file": "log"},
        }
        found = create(folder, DOMAIN, overrides, clock=SystemClock(), entropy=SystemEntropy())
        self.file = found.file
        self.store = found.settings.path(found.settings.data) / STORE_NAME
        accounts = Accounts(found.settings.path(found.settings.data) / "accounts.sqlite", digests=())
        for user in USERS:
            accounts.add(f"{user}@{DOMAIN}", "x")
        accounts.set_alias(f"away@{DOMAIN}", ["somebody@unreachable.test"])
        accounts.close()
        self.acknowledged: dict[str, str] = {}

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", "from letterlock.cli import main; main()", "serve"]
        return subprocess.Popen([*command, "--config", str(self.file)], start_new_session=True)

    def connect(self) -> socket.socket:
        """Connect as soon as the server listens."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=5)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)  # it starts

    def send_until_cut(self, name: str) -> None:
        """Send messages until the connection dies, noting those that were answered 250."""
        chance = random.Random(name)
        with contextlib.suppress(OSError), self.connect() as connection, connection.makefile("rwb") as stream:

            def say(line: bytes) -> bytes:
                stream.write(line + b"\r\n")
                stream.flush()
                return reply()

            def reply() -> bytes:
                while (line := stream.readline())[3:4] == b"-":
                    pass
                if not line:
                    raise OSError
                return line

            reply()
            say(b"EHLO client.test")
            for number in range(1_000_000):
                ident = f"{name}.{number}"
                user = chance.choice((*USERS, "away"))
                for command in (b"MAIL FROM:<a@harbor.test>", f"RCPT TO:<{user}@{DOMAIN}>".encode()):
                    assert say(command).startswith(b"250"), command
                assert say(b"DATA").startswith(b"354")
                octets = b"From: a@harbor.test\r\nSubject: %b\r\n\r\n" % ident.encode()
                if say(octets + FILLER * chance.randrange(200) + b".").startswith(b"250"):
                    self.acknowledged[ident] = user

    def round(self, name: str, seconds: float, clients: int = 6) -> None:
        """Serve under load and kill everything after `seconds`."""
        process = self.start()
        threads = [threading.Thread(target=self.send_until_cut, args=(f"{name}.{n}",)) for n in range(clients)]
        self.connect().close()
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        process.kill()
        process.wait()
        for thread in threads:
            thread.join()

    async def faults(self) -> list[str]:
        """Open the store and compare it with what was answered 250."""
        store = await open_store(StoreSettings(self.store))
        times: dict[str, list[str]] = {}
        for user in USERS:
            found = await store.mailbox(f"{user}@{DOMAIN}", "INBOX")
            if found:
                handle = await store.open(found.id)
                for content in handle.snapshot().contents:
                    times.setdefault(_ident(await store.read(content)), []).append(user)
                handle.close()
        after = ""
        while entries := await store.queue(QueueFilter(), after=after):
            for entry in entries:
                times.setdefault(_ident(await store.read(entry.content)), []).append("away")
            after = entries[-1].queue_id
        await store.close()
        wrong = [f"{ident} is in {places}" for ident, places in times.items() if len(places) > 1]
        for ident, user in self.acknowledged.items():
            if times.get(ident) != [user]:
                wrong.append(f"{ident} for {user} is in {times.get(ident)}")
        return wrong


def _ident(octets: bytes) -> str:
    return octets.partition(b"\nSubject: ")[2].partition(b"\r\n")[0].decode()


async def rounds(folder: Path, count: int, seed: int) -> int:
    chance = random.Random(seed)
    with name_server() as names:
        acknowledged, site = 0, Site(folder / "0", names)
        for number in range(count):
            if number % 20 == 19:
                acknowledged += len(site.acknowledged)
                site = Site(folder / str(number), names)
            site.round(f"{seed}.{number}", chance.uniform(0.05, 1.0))
            assert await site.faults() == [], f"round {number}"
    return acknowledged + len(site.acknowledged)


async def test_what_was_answered_250_survives_the_kill_of_a_served_domain(tmp_path: Path) -> None:
    assert await rounds(tmp_path, 2, 1) > 20


@pytest.mark.slow
async def test_hundreds_of_kills_of_a_served_domain(tmp_path: Path) -> None:
    assert await rounds(tmp_path, 300, 2) > 10_000
