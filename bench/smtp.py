"""Messages taken on durably per second, ours beside Debian's Postfix: `python -m bench smtp`.

`smtp-source` sends to both in turn, over connections kept open, on the same disk in the same run; medians of the rates
and of the ratio of neighbours. Ours stores each message in a mailbox; Postfix puts it into its (hold) queue and does no
more. Needs root and Debian's postfix.
"""

from __future__ import annotations

import contextlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench._postfix import free_port, postfix, wait_for

CASES = [(1, 1, 300), (1, 10, 300), (10, 1, 1500), (10, 10, 1500), (50, 1, 2500), (50, 10, 2500), (50, 100, 500)]
ROUNDS = 3


class Ours:
    """Our server in a process of its own."""

    def __init__(self, folder: Path, sink: int) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench._smtp_server", str(folder), str(self.port), str(sink)],
            stdout=subprocess.PIPE,
            text=True,
        )
        wait_for(self.port)

    def cpu_seconds(self) -> float:
        """Return what it has used so far."""
        self.process.send_signal(signal.SIGUSR1)
        assert self.process.stdout is not None
        return float(self.process.stdout.readline().split()[0])


@contextlib.contextmanager
def ours(folder: Path, sink: int = 0) -> Iterator[Ours]:
    """Run our server with its files below `folder`; with the port of a `sink` it sends everything on."""
    folder.mkdir()
    server = Ours(folder, sink)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(20)


def rate(port: int, sessions: int, kilobytes: int, count: int) -> float:
    """Return the messages a second that `smtp-source` gets rid of."""
    command = ["/usr/sbin/smtp-source", "-d", "-s", str(sessions), "-m", str(count), "-l", str(kilobytes * 1024)]
    started = time.perf_counter()
    subprocess.run(
        [*command, "-f", "x@harbor.test", "-t", "ada@rosewood.test", f"127.0.0.1:{port}"], check=True, timeout=120
    )
    return count / (time.perf_counter() - started)


def main() -> None:
    """Print one row a case."""
    # Not below /tmp, where a memory file system would flatter everybody.
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path.cwd()) as name:
        folder = Path(name)
        held = "smtpd_client_restrictions = static:HOLD"
        with ours(folder / "ours") as server, postfix(folder / "postfix", held) as peer:
            print(f"{'sessions x size':>18} | {'ours/s':>8} | {'Postfix/s':>9} | {'ratio':>5} | CPU us a message, ours")
            for sessions, kilobytes, count in CASES:
                rate(server.port, sessions, kilobytes, count // 10)
                rate(peer, sessions, kilobytes, count // 10)
                mine, theirs, ratios, cpu = [], [], [], []
                for _ in range(ROUNDS):
                    before = server.cpu_seconds()
                    mine.append(rate(server.port, sessions, kilobytes, count))
                    cpu.append((server.cpu_seconds() - before) / count * 1e6)
                    theirs.append(rate(peer, sessions, kilobytes, max(count // 5, 100)))
                    ratios.append(mine[-1] / theirs[-1])
                print(
                    f"{sessions:>9} x {kilobytes:>3} KB | {statistics.median(mine):>8.0f} |"
                    f" {statistics.median(theirs):>9.0f} | {statistics.median(ratios):>5.1f} |"
                    f" {statistics.median(cpu):.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
