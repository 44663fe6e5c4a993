"""IMAP beside Dovecot: 10,000 messages of 2 KB, the same blocking client on both, medians of alternating runs.

Ours answers OK only when a change is on disk; so does Dovecot with mail_fsync = always, which is therefore the peer.
DOVECOT_FSYNC=optimized takes its default, which answers STORE before the flags are.

Needs Debian's dovecot-imapd and root (Dovecot wants its users); says so and stops where they are missing.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

MESSAGES = 10_000
ROUNDS = 3
USER, PASSWORD = "anna@rosewood.test", "correct-horse"
LISTING = b"(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (Date From To Subject)])"
BODY = b"".join(b"Line %04d of a letter that is long enough to look like one.\r\n" % n for n in range(28))


def letter(number: int) -> bytes:
    """Return a message of about 2 KB."""
    return (
        b"Received: from mx.harbor.test by mx.rosewood.test; Mon, 23 Nov 2026 10:00:00 +0100\r\n"
        b"From: Bertram Beispiel <bertram@harbor.test>\r\nTo: Anna <anna@rosewood.test>\r\nCc: list@harbor.test\r\n"
        b"Subject: Letter %d about the harbour\r\nDate: Mon, 23 Nov 2026 10:00:00 +0100\r\n"
        b"Message-ID: <%d@harbor.test>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%b" % (number, number, BODY)
    )


class Client:
    """A blocking client that does as little as it can: sends octets, reads until the tagged answer."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._number = 0
        self.until(b"* OK", start=True)

    def until(self, mark: bytes, *, start: bool = False) -> int:
        """Read until a line that begins with `mark` has ended the input; return how many octets came."""
        total, tail = 0, b"\r\n" if start else b""
        while True:
            octets = self._socket.recv(1 << 18)
            if not octets:
                raise ConnectionError(tail)
            total += len(octets)
            tail = (tail + octets)[-2000:]
            at = tail.rfind(b"\r\n" + mark) if total > len(mark) else -1
            if tail.startswith(mark) or at >= 0:
                if not tail.endswith(b"\r\n"):
                    continue
                line = tail[at + 2 :] if at >= 0 else tail
                if line.count(b"\r\n") == 1:
                    if b" NO " in line[:40] or b" BAD " in line[:40]:
                        raise RuntimeError(line)
                    return total

    def __call__(self, command: bytes) -> int:
        """Send a command and read its answer."""
        self._number += 1
        tag = b"x%d" % self._number
        self._socket.sendall(tag + b" " + command + b"\r\n")
        return self.until(tag + b" ")

    def send(self, octets: bytes) -> None:
        """Send octets."""
        self._socket.sendall(octets)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def logged_in(port: int, *commands: bytes) -> Client:
    """Return a client that is logged in."""
    client = Client(port)
    client(b'LOGIN "%b" "%b"' % (USER.encode(), PASSWORD.encode()))
    for command in commands:
        client(command)
    return client


def append(client: Client, mailbox: bytes, message: bytes) -> None:
    """Append a message with a literal that does not wait."""
    client(b"APPEND %b {%d+}\r\n%b" % (mailbox, len(message), message))


def fill(port: int) -> None:
    """Put MESSAGES messages into INBOX, by ten connections."""

    def some(first: int) -> None:
        client = logged_in(port)
        for number in range(first, MESSAGES, 10):
            append(client, b"INBOX", letter(number))
        client.close()

    in_threads(some, 10)


def in_threads(work: Callable[[int], None], count: int) -> float:
    """Run `work` in threads and return how long it took."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def timed(work: Callable[[], object]) -> float:
    """Return how long `work` took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# What is measured: each returns a value; `rate` says whether more is better.


def log_in_and_select(port: int) -> float:
    """Connections a second that log in and select INBOX."""
    count = 40
    return count / timed(lambda: [logged_in(port, b"SELECT INBOX").close() for _ in range(count)])


def fetching(items: bytes) -> Callable[[int], float]:
    """Messages a second for FETCH 1:* of `items`."""

    def measure(port: int) -> float:
        client = logged_in(port, b"EXAMINE INBOX")
        return MESSAGES / timed(lambda: client(b"FETCH 1:* " + items))

    return measure


def store_single(port: int) -> float:
    """STORE commands a second, a message each."""
    client = logged_in(port, b"SELECT INBOX")
    count = 500
    return count / timed(lambda: [client(b"STORE %d +FLAGS.SILENT (\\Flagged)" % (n * 7 + 1)) for n in range(count)])


def append_by_ten(port: int) -> float:
    """Messages a second appended by ten connections."""
    clients = [logged_in(port) for _ in range(10)]
    message = letter(1)
    count = 60

    def some(number: int) -> None:
        for _ in range(count):
            append(clients[number], b"Drafts", message)

    return 10 * count / in_threads(some, 10)


def idle_wake_up(port: int) -> float:
    """Milliseconds from the beginning of an APPEND to the EXISTS that another, idling client hears."""
    idler, writer = logged_in(port, b"SELECT Drafts"), logged_in(port)
    idler.send(b"i IDLE\r\n")
    idler.until(b"+ ", start=True)
    delays = []
    for _ in range(3):
        message = letter(1)
        writer.send(b"w APPEND Drafts {%d+}\r\n%b\r\n" % (len(message), message))
        delays.append(timed(lambda: idler.until(b"* ", start=True)) * 1000)
        writer.until(b"w ")
        time.sleep(0.6)  # Dovecot gathers changes for half a second
    return statistics.median(delays)


def store_all(port: int) -> float:
    """Milliseconds for STORE of a flag on every message, set and taken away."""
    client = logged_in(port, b"SELECT INBOX")
    add = timed(lambda: client(b"STORE 1:* +FLAGS.SILENT (\\Answered)"))
    take = timed(lambda: client(b"STORE 1:* -FLAGS.SILENT (\\Answered)"))
    return (add + take) * 500


def searching(criteria: bytes, repeated: int) -> Callable[[int], float]:
    """Milliseconds for a SEARCH."""

    def measure(port: int) -> float:
        client = logged_in(port, b"SELECT INBOX")
        return statistics.median(timed(lambda: client(b"SEARCH " + criteria)) for _ in range(repeated)) * 1000

    return measure


MEASURES: list[tuple[str, str, Callable[[int], float]]] = [
    ("LOGIN and SELECT", "/s", log_in_and_select),
    ("FETCH 1:* FLAGS", "messages/s", fetching(b"FLAGS")),
    ("FETCH 1:* ENVELOPE", "messages/s", fetching(b"ENVELOPE")),
    ("FETCH 1:* (a client's list)", "messages/s", fetching(LISTING)),
    ("FETCH 1:* BODY.PEEK[]", "messages/s", fetching(b"BODY.PEEK[]")),
    ("STORE of one message", "/s", store_single),
    ("APPEND, 10 connections", "/s", append_by_ten),
    ("IDLE wake-up", "ms", idle_wake_up),
    (f"STORE 1:{MESSAGES}", "ms", store_all),
    ("SEARCH UNSEEN", "ms", searching(b"UNSEEN", 20)),
    ("SEARCH SUBJECT", "ms", searching(b'SUBJECT "letter 77"', 2)),
    ("SEARCH BODY", "ms", searching(b'BODY "nothing like it"', 1)),
]


# The two servers.


def _serve(folder: str, ready: Connection) -> None:
    import uvloop

    from letterlock.access.service import AccessService
    from letterlock.access.settings import AccessSettings
    from letterlock.host.clock import SystemClock
    from letterlock.host.entropy import SystemEntropy
    from letterlock.host.listen import Listener, bind
    from letterlock.host.login_guard import LoginGuard
    from letterlock.host.logs import Log, send_to
    from letterlock.store.accounts import Accounts
    from letterlock.store.core import StoreSettings
    from letterlock.store.engine import open_store

    async def serve() -> None:
        send_to(lambda _line: None)
        store = await open_store(StoreSettings(Path(folder) / "store"))
        accounts = Accounts(Path(folder) / "accounts.db")
        accounts.add(USER, PASSWORD)
        await store.prepare_account(USER, {"Drafts": "\\Drafts"})
        settings = AccessSettings("mx.rosewood.test", plain_text_login=True)
        log = Log("access")
        service = AccessService(
            settings, store, accounts, tls=None, guard=LoginGuard(SystemClock()), entropy=SystemEntropy(), log=log
        )
        listener = Listener(service.imap, log=log)
        await listener.start([bind("127.0.0.1", 0)])
        ready.send(listener.endpoints[0].port)
        await asyncio.to_thread(ready.recv)
        await listener.stop(grace_seconds=1)
        await store.close()

    uvloop.run(serve())


@contextmanager
def letterlock(folder: Path) -> Iterator[int]:
    """Serve IMAP from a process of its own; yield its port."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(str(folder), there))
    process.start()
    try:
        yield here.recv()
    finally:
        here.send("stop")
        process.join(10)
        process.kill()


DOVECOT = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
mail_location = sdbox:{folder}/mail/%u
mail_uid = vmail-bench
first_valid_uid = 1
mailbox_list_index = yes
auth_cache_size = 1M
login_trusted_networks = 127.0.0.1
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Drafts {{
    auto = create
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
  process_min_avail = 1
  service_count = 0
}}
service imap {{
  service_count = 1000
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
mail_max_userip_connections = 100
mail_fsync = {fsync}
"""


@contextmanager
def dovecot(folder: Path) -> Iterator[int]:
    """Serve IMAP with Dovecot; yield its port."""
    fsync = os.environ.get("DOVECOT_FSYNC", "always")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name in ("run", "state", "mail"):
        (folder / name).mkdir(parents=True)
    uid, gid = 65534, 65534
    os.chown(folder / "mail", uid, gid)
    folder.chmod(0o755)
    configuration = folder / "dovecot.conf"
    text = DOVECOT.format(folder=folder, port=port, uid=uid, gid=gid, password=PASSWORD, fsync=fsync)
    configuration.write_text(text.replace("mail_uid = vmail-bench\n", ""))
    process = subprocess.Popen(["dovecot", "-F", "-c", str(configuration)])
    try:
        for _ in range(100):
            try:
                Client(port).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def main() -> None:
    """Measure both and print a table."""
    if shutil.which("dovecot") is None or os.geteuid() != 0:
        print("needs dovecot-imapd and root")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with (
            letterlock(folder / "ours") as ours,
            dovecot(folder / "dovecot") as peer,
        ):
            for port in (ours, peer):
                fill(port)
                client = logged_in(port, b"SELECT INBOX")
                client(b"STORE 1:9700 +FLAGS.SILENT (\\Seen)")
                client(b"FETCH 1:* ENVELOPE")
            print(f"{'what':26} | {'ours':>12} | {'Dovecot':>12} | ratio (above 1: ours ahead)")
            for what, unit, measure in MEASURES:
                pairs = [
                    (measure(ours), measure(peer)) for _ in range(1 if unit == "ms" and "IDLE" in what else ROUNDS)
                ]
                mine, theirs = (statistics.median(values) for values in zip(*pairs, strict=True))
                ratio = theirs / mine if unit == "ms" else mine / theirs
                print(f"{what:26} | {mine:12,.2f} | {theirs:12,.2f} | {ratio:6.2f}  {unit}", flush=True)
