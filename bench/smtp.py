"""Messages taken on durably per second, ours beside Debian's Postfix: `python -m bench smtp`.

`smtp-source` sends to both in turn, over connections kept open, on the same disk in the same run; medians of the rates
and of the ratio of neighbours. Ours stores each message in a mailbox. One Postfix holds each message in its queue and does no
more; the other is as it comes, and its queue manager hands each message to `discard`. Needs root and Debian's postfix.
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

from bench._load import send
from bench._postfix import DISCARDING, HOLDING, free_port, postfix, wait_for

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
    size = str(kilobytes * 1024)
    return count / send(port, sessions, count, "-l", size, "-f", "x@harbor.test", "-t", "ada@rosewood.test")


class Theirs:
    """A Postfix with its files below `folder`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._queue = folder / "queue"

    def settle(self) -> None:
        """Wait until its queue manager has dealt with everything: what it does later, others would wait for."""
        while any(any((self._queue / name).iterdir()) for name in ("incoming", "active")):
            time.sleep(0.01)


def compare(mine: dict[str, Ours], peers: dict[str, Theirs], sessions: int, kilobytes: int, count: int) -> str:
    """Return a row: each of ours with its rate, CPU time a message and how many times each peer's rate; the peers' rates."""
    few = max(count // 5, 100)
    for server in (*mine.values(), *peers.values()):
        rate(server.port, sessions, kilobytes, count // 10)
    for peer in peers.values():
        peer.settle()
    rates: dict[str, list[float]] = {name: [] for name in (*mine, *peers)}
    used: dict[str, list[float]] = {name: [] for name in mine}
    for _ in range(ROUNDS):
        for name, server in mine.items():
            before = server.cpu_seconds()
            rates[name].append(rate(server.port, sessions, kilobytes, count))
            used[name].append((server.cpu_seconds() - before) / count * 1e6)
        for name, peer in peers.items():
            rates[name].append(rate(peer.port, sessions, kilobytes, few))
            peer.settle()
    row = f"{sessions:>5} x {kilobytes:>3} KB"
    for name in mine:
        times = (statistics.median(map(operator.truediv, rates[name], rates[peer])) for peer in peers)
        median, cpu = statistics.median(rates[name]), statistics.median(used[name])
        row += f" | {median:>6.0f}/s {cpu:>4.0f} us" + "".join(f" {each:>4.1f} x" for each in times)
    return row + " | " + ", ".join(f"{statistics.median(rates[name]):>5.0f}/s" for name in peers)


def main() -> None:
    """Print one row a case."""
    # Not below /tmp, where a memory file system would flatter everybody.
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path.cwd()) as name:
        folder = Path(name)
        with (
            ours(folder / "ours") as alone,
            ours(folder / "worker", worker=True) as worker,
            postfix(folder / "holding", HOLDING) as holding,
            postfix(folder / "working", DISCARDING) as working,
        ):
            mine = {"one process": alone, "worker and store": worker}
            peers = {"Postfix holds": Theirs(folder / "holding", holding), "works": Theirs(folder / "working", working)}
            print(" " * 14 + "".join(f" | {name:<29}" for name in mine) + " | " + ", ".join(peers))
            for case in CASES:
                print(compare(mine, peers, *case), flush=True)


if __name__ == "__main__":
    main()
