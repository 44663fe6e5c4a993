"""Messages taken on durably per second, ours beside Debian's Postfix: `python -m bench smtp`.

`smtp-source` sends to both in turn, over connections kept open, on the same disk in the same run; medians of the rates
and of the ratio of neighbours. Ours stores each message in a mailbox; Postfix puts it into its (hold) queue and does no
more. Needs root and Debian's postfix.
"""

from __future__ import annotations

import contextlib
import operator
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

    def __init__(self, folder: Path, sink: int, *, worker: bool) -> None:
        self.port = free_port()
        module = ["bench._workers", "bench._smtp_server"] if worker else ["bench._smtp_server"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", *module, str(folder), str(self.port), *([] if worker else [str(sink)])],
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
def ours(folder: Path, sink: int = 0, *, worker: bool = False) -> Iterator[Ours]:
    """Run our server with its files below `folder`; with the port of a `sink` it sends everything on.

    With `worker`, a process of its own takes the mail and another has the store.
    """
    folder.mkdir()
    server = Ours(folder, sink, worker=worker)
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
        with (
            ours(folder / "ours") as alone,
            ours(folder / "worker", worker=True) as two,
            postfix(folder / "postfix", held) as peer,
        ):
            print(f"{'':>18} | one process: CPU us |  ratio | worker and store: CPU us |  ratio | Postfix/s")
            for sessions, kilobytes, count in CASES:
                for port in (alone.port, two.port, peer):
                    rate(port, sessions, kilobytes, count // 10)
                rates: dict[str, list[float]] = {name: [] for name in ("alone", "two", "Postfix")}
                used: dict[str, list[float]] = {"alone": [], "two": []}
                for _ in range(ROUNDS):
                    for name, server in (("alone", alone), ("two", two)):
                        before = server.cpu_seconds()
                        rates[name].append(rate(server.port, sessions, kilobytes, count))
                        used[name].append((server.cpu_seconds() - before) / count * 1e6)
                    rates["Postfix"].append(rate(peer, sessions, kilobytes, max(count // 5, 100)))
                print(f"{sessions:>9} x {kilobytes:>3} KB", end="")
                for name in ("alone", "two"):
                    ratio = statistics.median(map(operator.truediv, rates[name], rates["Postfix"]))
                    median, cpu = statistics.median(rates[name]), statistics.median(used[name])
                    print(f" | {median:>8.0f}/s {cpu:>6.0f} us | {ratio:>5.1f}", end="")
                print(f" | {statistics.median(rates['Postfix']):>8.0f}/s", flush=True)


if __name__ == "__main__":
    main()
