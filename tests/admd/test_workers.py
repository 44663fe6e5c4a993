"""Workers: port 25 in processes of its own, their death, their figures, their orders; and the port they share."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import imaplib
import json
import os
import pwd
import random
import re
import shutil
import signal
import smtplib
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.admd.test_serve import SERVICES, Server, unverified

from letterlock.admd.settings import parse
from letterlock.admd.workers import Workers
from letterlock.errors import SettingsFault
from letterlock.formats.dns.zone import Zone
from letterlock.host.clock import SystemClock
from letterlock.host.logs import send_to
from letterlock.host.shared_port import bind_shared
from letterlock.hostmaster.name_server import NameServer

LETTER = "From: x@harbor.test\r\nSubject: {}\r\n\r\nx\r\n"


def children(process: int) -> list[int]:
    """The processes that a process has started."""
    found = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(child) for child in found.split()]


def eventually(condition: object) -> None:
    """Wait until something is so."""
    assert callable(condition)
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def send(port: int, subject: str, source: str = "127.0.0.1") -> None:
    """Send a message from an address."""
    with smtplib.SMTP("127.0.0.1", port, source_address=(source, 0), timeout=30) as smtp:
        smtp.sendmail("x@harbor.test", ["ada@rosewood.test"], LETTER.format(subject))


def subjects(server: Server) -> list[str]:
    """What lies in the mailbox."""
    with imaplib.IMAP4_SSL("127.0.0.1", server.port("imaps"), ssl_context=unverified(), timeout=30) as imap:
        imap.login("ada@rosewood.test", "a long enough secret")
        imap.select()
        _, found = imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    return [one[1].decode().split(": ")[1].strip() for one in found if isinstance(one, tuple)]


@contextlib.contextmanager
def names() -> Iterator[int]:
    """A name server that knows of nothing; its port."""
    loop = asyncio.new_event_loop()
    nothing = NameServer([Zone.parse("@ 300 IN SOA ns. hostmaster. 1 3600 600 86400 300\n@ 300 IN NS ns.\n", "")])
    port = loop.run_until_complete(nothing.listen("127.0.0.1"))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield port
    asyncio.run_coroutine_threadsafe(nothing.aclose(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with names() as port:
        made = Server(tmp_path / "site", workers=2, dns={"mode": "trust-ad", "servers": [f"127.0.0.1:{port}"]})
        with made.running():
            yield made


def test_mail_is_taken_by_workers_and_one_that_dies_is_replaced(server: Server) -> None:
    assert server.process is not None
    port = server.port("smtp")
    workers = children(server.process.pid)
    assert len(workers) == 2
    sources = [f"127.0.{network}.1" for network in range(1, 9)]
    for source in sources:
        send(port, source, source)
    assert sorted(subjects(server)) == sources
    takers = {event["peer"].rpartition(":")[0] for event in server.log if event["event"] == "accepted"}
    assert takers == set(sources)

    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    for source in sources:  # they wait for those that come in place of the dead
        send(port, "again " + source, source)
    eventually(lambda: len(children(server.process.pid)) == 2)
    assert not set(children(server.process.pid)) & set(workers)
    assert sorted(subjects(server)) == sorted([*sources, *("again " + source for source in sources)])
    died = [event["problem"] for event in server.log if event["event"] == "worker died"]
    assert died == ["it ended with status -9"] * 2

    def figure(pattern: str) -> int:
        return sum(map(int, re.findall(pattern + r" (\d+)\n", server.page("/metrics"))))

    eventually(lambda: figure("letterlock_workers") == 2)
    assert figure("letterlock_worker_deaths_total") == 2
    accepted = r'letterlock_events_total\{role="mta",severity="event",event="accepted"\}'
    eventually(lambda: figure(accepted) >= len(sources))  # what the dead had not told yet is not counted
    assert '"workers":""' in server.page("/health")


def test_orders_reach_the_workers(server: Server) -> None:
    """SIGHUP: a worker goes by new settings. SIGTERM: it finishes a transaction; nobody new is let in."""
    assert server.process is not None
    port = server.port("smtp")
    file = server.folder / "letterlock.toml"
    with file.open("a") as text:
        text.write('\n[delivery]\nsub_address_separator = "="\n')
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: sum(event["event"] == "settings reloaded" for event in server.log) == 3)
    with contextlib.closing(smtplib.SMTP("127.0.0.1", port, timeout=30)) as smtp:
        smtp.ehlo()
        smtp.mail("x@harbor.test")
        assert smtp.rcpt("ada=notes@rosewood.test")[0] == 250
        assert smtp.rcpt("ada+notes@rosewood.test")[0] == 550
        smtp.putcmd("data")
        assert smtp.getreply()[0] == 354
        server.process.send_signal(signal.SIGTERM)

        def is_shut() -> bool:
            try:
                with contextlib.closing(socket.create_connection(("127.0.0.1", port), 2)):
                    return False
            except OSError:
                return True

        eventually(is_shut)
        smtp.send(LETTER.format("the last") + ".\r\n")
        assert smtp.getreply()[0] == 250
        assert smtp.getreply()[0] == 421
    assert server.process.wait(30) == 0
    assert "accepted" in {event["event"] for event in server.log}


def test_root_is_given_up_by_the_whole_tree() -> None:
    """Started as root for port 25, no process keeps any of it, and one that comes later serves the port all the same.

    As anybody else there is no root to give up: the tree is the user's own from the start, at a port of the system's.
    """
    is_root = os.geteuid() == 0
    user = pwd.getpwnam("nobody") if is_root else pwd.getpwuid(os.geteuid())
    host = "127.{}.{}.{}".format(*(random.SystemRandom().randint(2, 250) for _ in range(3)))
    folder = Path(tempfile.mkdtemp(prefix="letterlock-workers-", dir="/tmp"))
    listen = {name: ["127.0.0.1:0"] for name in SERVICES} | {"smtp": [f"{host}:{25 if is_root else 0}"]}
    try:
        folder.chmod(0o755)
        with names() as port:
            dns = {"mode": "trust-ad", "servers": [f"127.0.0.1:{port}"]}
            run_as = {"run_as": user.pw_name} if is_root else {}
            server = Server(folder / "site", workers=2, dns=dns, listen=listen, **run_as)
            for path in [folder / "site", *(folder / "site").rglob("*")]:
                shutil.chown(path, user.pw_uid, user.pw_gid)
            with server.running():
                assert server.process is not None
                main = server.process.pid
                before = children(main)
                for process in (main, *before):
                    belongs_to(process, user.pw_uid, user.pw_gid, is_bound=is_root)
                os.kill(before[0], signal.SIGKILL)
                eventually(lambda: len(set(children(main)) - set(before)) == 1)
                (fresh,) = set(children(main)) - set(before)
                for network in range(1, 9):  # to both of them
                    source = f"127.0.{network}.1"
                    with smtplib.SMTP(host, server.port("smtp"), source_address=(source, 0), timeout=30) as smtp:
                        smtp.sendmail("x@harbor.test", ["ada@rosewood.test"], LETTER.format(source))
                belongs_to(fresh, user.pw_uid, user.pw_gid, is_bound=is_root)
                assert subjects(server) == [f"127.0.{network}.1" for network in range(1, 9)]
            owners = {path.stat().st_uid for path in (folder / "site").rglob("*") if path.name != "ready"}
            assert owners == {user.pw_uid}
    finally:
        shutil.rmtree(folder)


def belongs_to(process: int, uid: int, gid: int, *, is_bound: bool) -> None:
    """Demand that a process is that user's in every way, with no capability; `is_bound`, that it can get none back."""
    text = Path(f"/proc/{process}/status").read_text()
    status = {name: words.split() for name, _, words in (line.partition(":") for line in text.splitlines())}
    assert (status["Uid"], status["Gid"]) == ([str(uid)] * 4, [str(gid)] * 4)
    if is_bound:
        assert set(status["Groups"]) <= {str(group) for group in os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)}
        assert [status[name] for name in ("CapPrm", "CapEff", "CapAmb", "NoNewPrivs")] == [["0" * 16]] * 3 + [["1"]]


def test_none_outlives_the_process_with_the_store(server: Server) -> None:
    assert server.process is not None
    workers = children(server.process.pid)
    server.process.kill()
    server.process.wait(30)
    eventually(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def test_what_workers_cannot_do_is_said(tmp_path: Path) -> None:
    table = {"domain": "rosewood.test", "workers": 2, "smime": {"password_file": "x"}}
    with pytest.raises(SettingsFault, match=r"workers = 2: where smime\.password_file is set .* set workers = 0"):
        parse(table, tmp_path / "letterlock.toml")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_network_is_always_at_the_same_socket(host: str) -> None:
    sockets = bind_shared(host, 0, 3)
    port = sockets[0].getsockname()[1]
    seen: dict[str, set[int]] = collections.defaultdict(set)
    sources = [f"127.0.{network}.{number}" for network in range(1, 20) for number in range(1, 5)]
    for source in sources if host == "127.0.0.1" else [host] * 5:
        with contextlib.closing(socket.create_connection((host, port), 10, (source, 0))):
            for number, one in enumerate(sockets):
                with contextlib.suppress(BlockingIOError):
                    one.accept()[0].close()
                    seen[source.rpartition(".")[0]].add(number)
    assert all(len(numbers) == 1 for numbers in seen.values())
    if host == "127.0.0.1":
        assert set.union(*seen.values()) == {0, 1, 2}
    for one in sockets:
        one.close()


async def test_a_worker_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it takes mail, and then nothing more."""
    lines: list[str] = []
    before = send_to(lines.append)
    program, begun = tmp_path / "hangs", tmp_path / "begun"
    program.write_text(f"#!/bin/sh\necho $$ >> {begun}\necho '{{}}'\nexec sleep 600\n")
    program.chmod(0o700)
    monkeypatch.setattr("letterlock.admd.workers.sys.executable", str(program))
    monkeypatch.setattr("letterlock.admd.workers._SILENT_SECONDS", 0.2)
    sockets = SimpleNamespace(of_worker=lambda _number, _count: [])
    workers = Workers(SimpleNamespace(workers=1, file=tmp_path / "letterlock.toml"), sockets, SystemClock())  # type: ignore[arg-type]
    await workers.start()
    async with asyncio.timeout(30):
        while len(begun.read_text().split()) < 2:  # noqa: ASYNC110 - the second begins when the first was killed
            await asyncio.sleep(0.01)
    first = int(begun.read_text().split()[0])
    assert not Path(f"/proc/{first}").exists()
    await workers.stop(grace_seconds=0)
    events = [json.loads(line)["event"] for line in lines]
    assert events[:2] == ["worker hangs", "worker died"]
    send_to(before)
