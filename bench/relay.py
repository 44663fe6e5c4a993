"""Messages taken on durably and sent on, ours beside Debian's Postfix: `python -m bench relay`.

`smtp-source` hands the same number of messages to both in turn, each relays them to an `smtp-sink` of its own, and the
clock stops when the sink has them all. Needs root and Debian's postfix.
"""

from __future__ import annotations

import contextlib
import os
import select
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench._load import send
from bench._postfix import free_port, postfix, wait_for
from bench.smtp import ours

SESSIONS, KILOBYTES, COUNT, ROUNDS = 10, 10, 600, 3


class Sink:
    """An smtp-sink that counts."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            ["/usr/sbin/smtp-sink", "-u", "postfix", "-c", f"127.0.0.1:{self.port}", "1000"], stdout=subprocess.PIPE
        )
        wait_for(self.port)
        self._seen = b""

    def count(self) -> int:
        """Return how many messages it has."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        while select.select([descriptor], [], [], 0)[0]:
            self._seen = (self._seen + os.read(descriptor, 65536))[-400:]
        words = self._seen.replace(b"\r", b"\n").split(b"\n")
        for line in reversed(words[:-1] if len(words) > 1 else words):
            numbers = [int(word.rpartition(b"=")[2]) for word in line.split() if word.rpartition(b"=")[2].isdigit()]
            if len(numbers) >= 3:
                return numbers[2]
        return 0


@contextlib.contextmanager
def sink() -> Iterator[Sink]:
    """Run a sink."""
    made = Sink()
    try:
        yield made
    finally:
        made.process.terminate()
        made.process.wait(5)


def rate(port: int, target: Sink) -> float:
    """Return the messages a second, from the first to the sink's last."""
    before = target.count()
    started = time.perf_counter()
    send(port, SESSIONS, COUNT, "-l", str(KILOBYTES * 1024), "-f", "x@client.test", "-t", "ada@rosewood.test")
    deadline = time.monotonic() + 60
    while target.count() - before < COUNT:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the sink has {target.count() - before} of {COUNT}")
        time.sleep(0.005)
    return COUNT / (time.perf_counter() - started)


def main() -> None:
    """Print one row."""
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path.cwd()) as name, sink() as mine, sink() as theirs:
        folder = Path(name)
        more = f"mydestination =\nrelayhost = [127.0.0.1]:{theirs.port}\nsmtp_tls_security_level = none\nin_flow_delay = 0\n"
        with ours(folder / "ours", mine.port) as server, postfix(folder / "postfix", more) as peer:
            rate(server.port, mine)
            rate(peer, theirs)
            pairs = [(rate(server.port, mine), rate(peer, theirs)) for _ in range(ROUNDS)]
    print(f"{'what':>24} | {'ours/s':>8} | {'Postfix/s':>9} | ratio")
    ratio = statistics.median(one / other for one, other in pairs)
    one, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{SESSIONS:>3} sessions, {KILOBYTES} KB, on | {one:>8.0f} | {other:>9.0f} | {ratio:.1f}")


if __name__ == "__main__":
    main()
