"""What our server holds in memory: with 2,000 idle connections, and after many messages: `python -m bench memory`.

The resident octets of the process as the system counts them, after some messages for warming up. LETTERLOCK_MESSAGES sets
how many are taken in all (20,000; the issue asks for 100,000). Each is 1 KB and goes into one mailbox, whose list of
messages is what may grow. Needs Debian's postfix for `smtp-source`.
"""

from __future__ import annotations

import os
import resource
import socket
import tempfile
from pathlib import Path

from bench.smtp import ours, rate

IDLE = 2000
BATCHES = 10


def resident_megabytes(pid: int) -> float:
    """Return what the process has in memory now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def idle_connections(port: int) -> list[socket.socket]:
    """Open connections that have said EHLO and then nothing."""
    opened = []
    for _ in range(IDLE):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.recv(500)
        connection.sendall(b"EHLO client.test\r\n")
        connection.recv(2000)
        opened.append(connection)
    return opened


def main() -> None:
    """Print one row a measurement."""
    count = int(os.environ.get("LETTERLOCK_MESSAGES", "20000"))
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path.cwd()) as name, ours(Path(name) / "ours") as server:
        pid = server.process.pid
        rate(server.port, 50, 1, 1000)
        before = resident_megabytes(pid)
        connections = idle_connections(server.port)
        print(f"| {IDLE:,} idle connections | {resident_megabytes(pid) - before:.1f} MB more |", flush=True)
        for connection in connections:
            connection.close()
        for batch in range(1, BATCHES + 1):
            rate(server.port, 50, 1, count // BATCHES)
            print(
                f"| after {batch * count // BATCHES + 1000:,} messages | {resident_megabytes(pid):.1f} MB |", flush=True
            )


if __name__ == "__main__":
    main()
