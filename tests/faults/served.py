"""A whole served domain in processes of its own, to be hurt, and the oracle that says what it must hold afterwards.

Every message carries an id. `expected` says where each acknowledged one may be; `faults` opens the store while nobody serves
and demands each of them exactly once, in one of its places, nothing twice, and a store without a fault in itself.
"""

from __future__ import annotations

import contextlib
import copy
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from letterlock.admd.accounts import STORE_NAME
from letterlock.admd.create import create
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.store.accounts import Accounts
from letterlock.store.check import check_store
from letterlock.store.engine import StoreSettings, open_store
from letterlock.store.interface import QueueFilter

DOMAIN = "rosewood.test"
USERS = ("anna", "ben")
PASSWORD = "x"
QUEUE = "queue"  # the place of what waits for another domain
GONE = "gone"  # the place of what was removed, or went to another domain
RELAYED = "relayed"  # the place of what is queued for the next host, or was taken by it
ONWARD = "onward"  # the local part of an alias that leads to the next host, where a site has it
_SERVICES = ("smtp", "submissions", "submission", "imaps", "imap", "pop3s", "pop3", "lmtp")
_UP_SECONDS = 60.0
REPORTED = ".reported.test"  # domains below it ask for reports


NEXT_HOST = "sink.test"  # the one name that has an address, 127.0.0.1
_NO_ERROR, _SERVER_FAILED, _NO_SUCH_NAME = 0x81A0, 0x8182, 0x81A3  # flags of answers, authentic where they say anything
_ADDRESS = b"\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4\x7f\0\0\1"  # for the name that was asked about: A 127.0.0.1


def _spelled(name: bytes) -> str:
    """Return a name as it is written."""
    labels, at = [], 0
    while length := name[at]:
        labels.append(name[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels)


def _wish_for_reports(name: str) -> bytes:
    """Return the TXT record by which a domain asks for reports (RFC 9989, RFC 8460), b"" for other names."""
    for prefix, version in (("_dmarc.", "v=DMARC1;p=none;"), ("_smtp._tls.", "v=TLSRPTv1;")):
        domain = name.removeprefix(prefix)
        if domain != name and domain.endswith(REPORTED):
            text = f"{version}rua=mailto:reports@{domain}".encode()
            return b"\xc0\x0c\0\x10\0\1\0\0\1\x2c" + (len(text) + 1).to_bytes(2) + bytes([len(text)]) + text
    return b""


@contextlib.contextmanager
def name_server() -> Iterator[str]:
    """Answer where sink.test is, for names in reported.test where reports about them go, about unreachable.test that nobody
    can say, and else that the name is not there.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            while len(question := server.recvfrom(4096)) and question[0]:
                octets, client = question
                end = octets.index(b"\0", 12) + 5
                name, kind = octets[12 : end - 4].lower(), octets[end - 4 : end - 2]
                flags, records = _NO_SUCH_NAME, b""
                if name == b"\x04sink\x04test\0":
                    flags, records = _NO_ERROR, _ADDRESS if kind == b"\0\1" else b""
                elif wish := _wish_for_reports(_spelled(name)):
                    flags, records = _NO_ERROR, wish if kind == b"\0\x10" else b""
                elif name.endswith(b"\x0bunreachable\x04test\0"):
                    flags = _SERVER_FAILED
                header = octets[:2] + flags.to_bytes(2) + b"\0\1\0" + bytes([bool(records)]) + bytes(4)
                server.sendto(header + octets[12:end] + records, client)

        thread = threading.Thread(target=answer)
        thread.start()
        host, port = server.getsockname()
        try:
            yield f"{host}:{port}"
        finally:
            server.sendto(b"", (host, port))
            thread.join()


class Site:
    """A served domain: `ports` by service at `host`, and by id in `expected` the places of what was acknowledged."""

    def __init__(
        self,
        folder: Path,
        names: str,
        *,
        services: tuple[str, ...] = ("smtp",),
        more: Mapping[str, Any] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        # An address of its own: while it is down nobody else is given its ports.
        self.host = f"127.{random.randrange(1, 255)}.{random.randrange(255)}.{random.randrange(1, 255)}"
        self.ports = {service: 1000 + number for number, service in enumerate(services)}
        overrides: dict[str, Any] = {
            "listen": {name: [f"{self.host}:{self.ports[name]}"] if name in self.ports else [] for name in _SERVICES},
            "dns": {"mode": "trust-ad", "servers": [names]},
            "log": {"file": "log"},
            "limits": {"connections_per_network": 2000},
            **(more or {}),
        }
        create(folder, DOMAIN, overrides, clock=SystemClock(), entropy=SystemEntropy())
        self.folder = folder
        accounts = Accounts(folder / "data" / "accounts.sqlite", digests=())
        for user in USERS:
            accounts.add(f"{user}@{DOMAIN}", PASSWORD)
        self.aliases = dict(aliases or {"away": "somebody@unreachable.test"})
        for alias, target in self.aliases.items():
            accounts.set_alias(f"{alias}@{DOMAIN}", [target])
        accounts.close()
        self.expected: dict[str, frozenset[str]] = {}

    @property
    def store(self) -> Path:
        """The folder of the message store."""
        return self.folder / "data" / STORE_NAME

    def copied(self, folder: Path) -> Site:
        """Return the same domain as it is now, in a folder of its own."""
        shutil.copytree(self.folder, folder)
        made = copy.copy(self)
        made.folder, made.expected = folder, dict(self.expected)
        return made

    def start(
        self, *before: str, environment: Mapping[str, str] | None = None, stderr: IO[bytes] | None = None
    ) -> subprocess.Popen[bytes]:
        """Serve, in a session of its own; `before` are words in front of the command, such as strace."""
        command = [*before, sys.executable, "-m", "letterlock", "serve", "--config", str(self.folder)]
        return subprocess.Popen(
            command, start_new_session=True, env={**os.environ, **(environment or {})}, stderr=stderr
        )

    @contextlib.contextmanager
    def served(self, *before: str, environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """Serve for the length of the context, which begins when it listens, and stop as an operator would."""
        process = self.start(*before, environment=environment)
        try:
            self.up()
            yield process
            process.terminate()
            process.wait(60)
        finally:
            kill_group(process)

    def connect(self, service: str = "smtp") -> socket.socket:
        """Connect to a service. Raises OSError."""
        return socket.create_connection((self.host, self.ports[service]), timeout=30)

    def up(self, process: subprocess.Popen[bytes] | None = None) -> None:
        """Return when every service can be connected to and, where it begins in plain text, greets; or `process` ended."""
        deadline = time.monotonic() + _UP_SECONDS
        for service in self.ports:
            while True:
                with contextlib.suppress(OSError), self.connect(service) as connection:
                    if service.endswith("s") or connection.recv(1):
                        break
                if process and process.poll() is not None:
                    return
                assert time.monotonic() < deadline, f"{service} does not greet"
                time.sleep(0.01)  # it starts

    async def faults(self, taken: Container[str] = ()) -> list[str]:
        """Compare the store, which nobody serves, with what was acknowledged; `taken` are ids the next host has."""
        found = await self.contents()
        wrong = [f"{ident} is in {places}" for ident, places in found.items() if len(places) > 1]
        for ident, places in self.expected.items():
            is_sent = {GONE} if ident in taken else set()
            allowed = places | {QUEUE, *is_sent} if RELAYED in places else places
            where = found.get(ident, [GONE])
            if not (len(where) == 1 and where[0] in allowed):
                wrong.append(f"{ident} is in {where}, not in one of {sorted(allowed)}")
        return [*wrong, *check_store(self.store).faults]

    async def contents(self) -> dict[str, list[str]]:
        """Return where each id is: USER/MAILBOX, or the queue."""
        store = await open_store(StoreSettings(self.store))
        places: dict[str, list[str]] = {}
        for user in USERS:
            for box in await store.mailboxes(f"{user}@{DOMAIN}"):
                handle = await store.open(box.id)
                for content in handle.snapshot().contents:
                    places.setdefault(ident_of(await store.read(content)), []).append(f"{user}/{box.name}")
                handle.close()
        after = ""
        while entries := await store.queue(QueueFilter(), after=after):
            for entry in entries:
                places.setdefault(ident_of(await store.read(entry.content)), []).append(QUEUE)
            after = entries[-1].queue_id
        await store.close()
        return places


def ident_of(octets: bytes) -> str:
    """Return the id that a message carries as its subject, or that the message returned in it does.

    Of a report's subject that is the first half, "Report Domain: DOMAIN".
    """
    subject = octets.rpartition(b"\nSubject: ")[2].partition(b"\r\n")[0].decode()
    return subject.partition(" Submitter: ")[0]


def place_of(user: str) -> str:
    """Return where mail for a local part of the domain must be: in the INBOX, at the next host, or queued for elsewhere."""
    if user in USERS:
        return f"{user}/INBOX"
    return RELAYED if user == ONWARD else QUEUE


def tree(root: int) -> list[int]:
    """Return the process `root` and all below it, as far as they live."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    parents.setdefault(int(parent), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill all processes of the server's session, and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
