"""`letterlock serve` as an operator has it: a process, its signals, its sockets, its pages, its log."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from letterlock.admd.accounts import opened_accounts
from letterlock.admd.create import create
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy

SERVICES = ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s")
_ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="smtp")
os.execv(sys.executable, [sys.executable, "-m", "letterlock", *sys.argv[2:]])
"""


class Server:
    """A server in a folder of its own."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.folder = folder
        listen = {name: ["127.0.0.1:0"] for name in SERVICES}
        # Nobody answers at the discard port: what is looked up fails at once.
        table = {"listen": listen, "metrics": {"listen": ["127.0.0.1:0"]}, "log": {"file": "log.jsonl"},
                 "dns": {"mode": "trust-ad", "servers": ["127.0.0.1:9"]}} | more  # fmt: skip
        found = create(folder, "rosewood.test", table, clock=SystemClock(), entropy=SystemEntropy())
        with opened_accounts(found.settings) as accounts:
            accounts.add("ada@rosewood.test", "a long enough secret")
        self.process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def running(self, inherited: socket.socket | None = None) -> Iterator[Server]:
        """Start it, wait until it is ready, and stop it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            address = str(self.folder / "ready")
            ready.bind(address)
            Path(address).chmod(0o777)
            ready.settimeout(30)
            arguments = ["serve", "--config", str(self.folder)]
            launch = ["-m", "letterlock"] if inherited is None else ["-c", _ACTIVATE, str(inherited.fileno())]
            self.process = subprocess.Popen(
                [sys.executable, *launch, *arguments],
                env={**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"},
                pass_fds=[inherited.fileno()] if inherited else [],
                stderr=subprocess.PIPE,
            )
            try:
                assert ready.recv(100) == b"READY=1"
                assert ready.recv(100) == b"WATCHDOG=1"
                yield self
            finally:
                self.process.terminate()
                _, words = self.process.communicate(timeout=30)
                assert words == b""

    @property
    def log(self) -> list[dict[str, Any]]:
        """The events so far."""
        whole, _, _being_written = (self.folder / "log.jsonl").read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def port(self, service: str) -> int:
        """Where a service is."""
        ready = next(event for event in reversed(self.log) if event["event"] == "ready")
        return int(next(end for end in ready["endpoints"] if end.startswith(service + " ")).rpartition(":")[2])

    def page(self, path: str) -> str:
        """A page of its monitoring."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port('metrics')}{path}", timeout=10) as response:
            text: str = response.read().decode()
            return text


def unverified() -> ssl.SSLContext:
    """TLS with whomever."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def reply_of(connection: socket.socket) -> bytes:
    """One reply, whole."""
    octets = b""
    while not re.search(rb"^\d{3} [^\r]*\r\n\Z", octets, re.MULTILINE):
        more = connection.recv(1000)
        assert more, octets
        octets += more
    return octets


def test_a_transaction_is_finished_before_the_end(tmp_path: Path) -> None:
    """SIGTERM within DATA: no new connection, an idle session gets 421, the message gets its 250 and is stored."""
    server = Server(tmp_path / "site")
    with server.running():
        assert server.process is not None
        port = server.port("submissions")
        busy, idle = (unverified().wrap_socket(socket.create_connection(("127.0.0.1", port), 10)) for _ in range(2))
        proof = base64.b64encode(b"\0ada@rosewood.test\0a long enough secret")
        with busy, idle:
            for connection in (busy, idle):
                assert reply_of(connection).startswith(b"220 ")
            for command in (b"EHLO x.test", b"AUTH PLAIN " + proof, b"MAIL FROM:<>", b"RCPT TO:<ada@rosewood.test>"):
                busy.sendall(command + b"\r\n")
                assert reply_of(busy).startswith(b"2"), command
            busy.sendall(b"DATA\r\n")
            assert reply_of(busy).startswith(b"354 ")
            busy.sendall(b"From: ada@rosewood.test\r\n\r\nhalf of it")
            server.process.send_signal(signal.SIGTERM)
            assert reply_of(idle).startswith(b"421 4.3.2 ")
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", port), 2).close()
            busy.sendall(b", and the rest\r\n.\r\n")
            accepted = reply_of(busy)
            assert accepted.startswith(b"250 2.0.0 Accepted as "), accepted
            assert reply_of(busy).startswith(b"421 4.3.2 ")
        server.process.wait(20)
        assert server.process.returncode == 0
    assert [event["event"] for event in server.log[-3:]] == ["stopping", "submitted", "stopped"]
    stored = b"".join(path.read_bytes() for path in (tmp_path / "site" / "data").rglob("*") if path.is_file())
    assert b"half of it, and the rest" in stored


def test_idle_clients_are_told_and_hold_nothing_up(tmp_path: Path) -> None:
    """SIGTERM: whoever has nothing under way hears so at once, in each protocol, though nobody hangs up."""
    lmtp = tmp_path / "lmtp"
    listen = {name: ["127.0.0.1:0"] for name in SERVICES} | {"lmtp": [f"unix:{lmtp}"]}
    server = Server(tmp_path / "site", listen=listen)
    with server.running(), contextlib.ExitStack() as stack:
        assert server.process is not None
        clients = {}
        for name in SERVICES:
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", server.port(name)), 20))
            is_protected = name in ("submissions", "imaps", "pop3s")
            clients[name] = stack.enter_context(unverified().wrap_socket(plain)) if is_protected else plain
        clients["lmtp"] = stack.enter_context(socket.socket(socket.AF_UNIX))
        clients["lmtp"].connect(str(lmtp))
        assert all(client.recv(1000).endswith(b"\r\n") for client in clients.values())
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        heard = {name: client.recv(1000)[:9] for name, client in clients.items()}
    assert heard == {
        **dict.fromkeys(("smtp", "submission", "submissions", "lmtp"), b"421 4.3.2"),
        **dict.fromkeys(("imap", "imaps"), b"* BYE the"),
        **dict.fromkeys(("pop3", "pop3s"), b"-ERR [SYS"),
    }


def test_what_is_watched(tmp_path: Path) -> None:
    """A message submitted: one trace from EHLO to its end; figures and health; SIGHUP opens the log anew."""
    server = Server(tmp_path / "site")
    with server.running():
        assert server.process is not None
        with smtplib.SMTP_SSL("127.0.0.1", server.port("submissions"), context=unverified()) as smtp:
            smtp.login("ada@rosewood.test", "a long enough secret")
            letter = "From: ada@rosewood.test\r\n\r\nx\r\n"
            smtp.sendmail("ada@rosewood.test", ["ada@rosewood.test", "x@elsewhere.test"], letter)
            while 'event="deferred"' not in (metrics := server.page("/metrics")):
                pass  # nobody can look elsewhere.test up, which the queue learns in its own time
        assert 'letterlock_connections{service="submissions"} 1\n' in metrics
        assert 'letterlock_events_total{role="msa",severity="event",event="submitted"} 1\n' in metrics
        assert "letterlock_queue_messages 1\n" in metrics
        assert "letterlock_well 1\n" in metrics
        assert 'letterlock_attempts_total{result="deferred",status="4.4"} 1\n' in metrics
        assert 'letterlock_delivery_delay_seconds_bucket{le="+Inf"} 0\n' in metrics
        assert "letterlock_queue_oldest_seconds " in metrics
        documented = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
        for name in re.findall(r"^# TYPE (\S+) ", metrics, re.MULTILINE):
            assert f"`{name}`" in documented or f"`{name}{{" in documented, name
        assert json.loads(server.page("/health"))["well"] is True
        port = server.port("metrics")
        (tmp_path / "site" / "log.jsonl").rename(tmp_path / "site" / "log.1")
        server.process.send_signal(signal.SIGHUP)
        while not (tmp_path / "site" / "log.jsonl").exists():
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10).close()
    events = [json.loads(line) for line in (tmp_path / "site" / "log.1").read_text().splitlines()]
    (trace,) = {event["trace"] for event in events if event["event"] in ("authenticated", "submitted", "deferred")}
    assert {event["event"] for event in events if event.get("trace") == trace} >= {
        "authenticated",
        "submitted",
        "deferred",
    }
    submitted = next(event for event in events if event["event"] == "submitted")
    assert submitted["id"].startswith(trace + "-")
    assert [event["event"] for event in server.log][-3:] == ["certificates reloaded", "stopping", "stopped"]


def test_sockets_are_taken_over_and_root_is_given_up() -> None:
    """systemd's socket for smtp is served as it is; with `run_as`, the process is that user's."""
    is_root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="letterlock-serve-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        server = Server(folder / "site", **({"run_as": "nobody"} if is_root else {}))
        if is_root:
            for path in [folder / "site", *(folder / "site").rglob("*")]:
                shutil.chown(path, "nobody")
        with socket.create_server(("127.0.0.1", 0)) as passed:
            port = passed.getsockname()[1]
            with server.running(passed):
                assert server.port("smtp") == port
                with smtplib.SMTP("127.0.0.1", port) as smtp:
                    assert smtp.noop()[0] == 250
                assert server.process is not None
                owner = Path(f"/proc/{server.process.pid}").stat().st_uid
                assert (owner == 0) is False or not is_root
    finally:
        shutil.rmtree(folder)


def test_settings_are_taken_up_and_a_policy_is_served(tmp_path: Path) -> None:
    """SIGHUP: the MTA-STS policy says the new mode, a hold rule holds, a mistake is named and nothing changes."""
    server = Server(tmp_path / "site", mta_sts={"listen": ["127.0.0.1:0"]})
    file = tmp_path / "site" / "letterlock.toml"
    with server.running():
        assert server.process is not None

        def policy() -> str:
            url = f"https://127.0.0.1:{server.port('mta_sts')}/.well-known/mta-sts.txt"
            with urllib.request.urlopen(url, timeout=30, context=unverified()) as response:
                assert response.headers["Content-Type"].startswith("text/plain")
                text: str = response.read().decode()
                return text

        def reload(event: str) -> dict[str, Any]:
            assert server.process is not None
            count = sum(one["event"] == event for one in server.log)
            server.process.send_signal(signal.SIGHUP)
            while sum(one["event"] == event for one in server.log) == count:
                server.page("/health")
            return next(one for one in reversed(server.log) if one["event"] == event)

        found = "version: STSv1\r\nmode: testing\r\nmx: mail.rosewood.test\r\nmax_age: 604800\r\n"
        assert policy() == found
        before = file.read_text()
        file.write_text(before.replace("[mta_sts]", '[mta_sts]\nmode = "enforce"')
                        + '\n[transfer]\nhold_recipients = ["elsewhere.test"]\n')  # fmt: skip
        changed = reload("settings reloaded")
        assert changed["changed"] == ["mta_sts.mode", "transfer.hold_recipients"]
        assert changed["needs_restart"] == []
        assert policy() == found.replace("testing", "enforce")
        file.write_text(before + '\n[transfer]\nhold_sender = ["x"]\n')
        assert "did you mean" in reload("settings not reloaded")["problems"][0]
        assert policy() == found.replace("testing", "enforce")
        with smtplib.SMTP_SSL("127.0.0.1", server.port("submissions"), context=unverified()) as smtp:
            smtp.login("ada@rosewood.test", "a long enough secret")
            smtp.sendmail("ada@rosewood.test", ["x@elsewhere.test"], "From: ada@rosewood.test\r\n\r\nx\r\n")
        while not any(one["event"] == "deferred" for one in server.log):
            server.page("/health")
        held = next(one for one in server.log if one["event"] == "deferred")
        assert held["reply"] == "Held by the rule for elsewhere.test, until it is retried"
