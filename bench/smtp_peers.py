"""Messages taken on durably per second by four servers: ours, Postfix, Exim, OpenSMTPD; plain, under TLS, on a slow disk.

    python -m bench smtp_peers

All on the same disk in the same run, one after the other in each round; medians, and the median ratio of neighbours. The
load is `smtp-source` for all; it has no TLS, so stunnel says STARTTLS for it. The slow disk adds 5 ms to every call that
waits for the disk (bench/shim.c), under every server alike. Ours puts each message into a mailbox; Postfix (hold), Exim
(queue_only) and OpenSMTPD (delivery paused) into their queues. Debian 12's OpenSMTPD cannot serve TLS: it and OpenSSL 3 do
not agree. Needs root, gcc, and what tools/install-interop-programs installs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench._exim import USER as EXIM_USER
from bench._exim import exim
from bench._opensmtpd import opensmtpd
from bench._postfix import free_port, postfix, wait_for
from bench._shim import shim
from bench._stunnel import under_tls
from bench.smtp import rate

ROUNDS = 3
SERVERS = ("ours", "Postfix", "Exim", "OpenSMTPD")


@dataclass(frozen=True)
class Condition:
    """What is different in a block of rows, and its cases: sessions, kilobytes, and messages for ours and for others."""

    name: str
    cases: tuple[tuple[int, int, int, int], ...]
    tls: bool = False
    slow_sync_milliseconds: int = 0


CONDITIONS = (
    Condition("plain", ((1, 10, 300, 100), (10, 10, 1500, 400), (50, 10, 2500, 500), (50, 100, 500, 200))),
    Condition("TLS", ((1, 10, 300, 100), (10, 10, 1000, 400), (50, 10, 1500, 500), (50, 100, 300, 200)), tls=True),
    Condition("5 ms a sync", ((1, 10, 60, 40), (10, 10, 500, 200), (50, 10, 1500, 400)), slow_sync_milliseconds=5),
)


@contextlib.contextmanager
def ours(folder: Path, certificate: Path, key: Path, environment: dict[str, str]) -> Iterator[int]:
    """Run our server in a process of its own; yield its port."""
    folder.mkdir()
    port = free_port()
    command = [sys.executable, "-m", "bench._smtp_server", folder, str(port), "0", certificate, key]
    process = subprocess.Popen(command, env={**os.environ, **environment})
    try:
        wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def servers(folder: Path, environment: dict[str, str]) -> Iterator[dict[str, int]]:
    """Run all four with one certificate; yield their ports."""
    certificate, key, exim_key = folder / "certificate.pem", folder / "key.pem", folder / "exim-key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-keyout", key, "-out", certificate], check=True, capture_output=True,
    )  # fmt: skip
    shutil.copy(key, exim_key)
    shutil.chown(exim_key, EXIM_USER)
    handed_on = " ".join(f"{name}={value}" for name, value in environment.items())
    for_postfix = (
        f"smtpd_client_restrictions = static:HOLD\nin_flow_delay = 0\nimport_environment = MAIL_CONFIG LANG=C {handed_on}\n"
        f"smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {certificate}\nsmtpd_tls_key_file = {key}\n"
    )
    for_exim = f"queue_only\ntls_advertise_hosts = *\ntls_certificate = {certificate}\ntls_privatekey = {exim_key}\n"
    kept = 'action "keep" relay host smtp://127.0.0.1:9\nmatch from any for any action "keep"'
    with (
        ours(folder / "ours", certificate, key, environment) as here,
        postfix(folder / "postfix", for_postfix) as one,
        exim(folder / "exim", for_exim, environment=environment) as two,
        opensmtpd(folder / "opensmtpd", kept, paused=True, environment=environment) as three,
    ):
        yield dict(zip(SERVERS, (here, one, two, three), strict=True))


def measure(folder: Path, condition: Condition) -> None:
    """Print the rows of one condition."""
    environment = shim(folder.parent, condition.slow_sync_milliseconds)
    with servers(folder, environment) as ports, contextlib.ExitStack() as stack:
        if condition.tls:
            del ports["OpenSMTPD"]
            ports = {name: stack.enter_context(under_tls(folder, port)) for name, port in ports.items()}
        for sessions, kilobytes, count, count_of_others in condition.cases:
            rates: dict[str, list[float]] = {name: [] for name in ports}
            for number in range(ROUNDS + 1):
                for name, port in ports.items():
                    found = rate(port, sessions, kilobytes, count if name == "ours" else count_of_others)
                    if number:  # the first is for warming up
                        rates[name].append(found)
            cells = [f"{statistics.median(rates['ours']):>6.0f}"]
            for name in SERVERS[1:]:
                if name in rates:
                    ratio = statistics.median(a / b for a, b in zip(rates["ours"], rates[name], strict=True))
                    cells.append(f"{statistics.median(rates[name]):>6.0f} ({ratio:.1f})")
                else:
                    cells.append("-")
            print(f"| {condition.name}, {sessions} x {kilobytes} KB | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print one row a case: messages a second, and in brackets how many times as many ours takes."""
    print("| sessions x size | " + " | ".join(SERVERS) + " |\n|---|" + "---|" * len(SERVERS), flush=True)
    # Not below /tmp, where a memory file system would flatter everybody.
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path.cwd()) as name:
        Path(name).chmod(0o755)
        for number, condition in enumerate(CONDITIONS):
            folder = Path(name) / str(number)
            folder.mkdir(mode=0o755)
            measure(folder, condition)


if __name__ == "__main__":
    main()
