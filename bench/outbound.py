"""A full queue sent out, ours beside Debian's Postfix: `python -m bench outbound`.

Both hold the same number of messages in a durable queue, each is let go in turn, and an `smtp-sink` of its own counts. The
clock runs from the sink's first tenth to its last message, so that nobody's start is measured. Postfix is filled without its
queue manager, so that everything lies in `incoming` as it would after a restart. Needs root and Debian's postfix.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench._load import send
from bench._postfix import postfix
from bench.relay import Sink, sink

MESSAGES, KILOBYTES, ROUNDS = 3000, 10, 3
_QMGR = "qmgr unix n - n 300 1 qmgr\n"


def rate_of(target: Sink) -> float:
    """Return messages a second, from the sink's first tenth to its last."""
    first, started, deadline = 0, 0.0, time.monotonic() + 120
    while (have := target.count()) < MESSAGES:
        if not first and have >= MESSAGES // 10:
            first, started = have, time.perf_counter()
        if time.monotonic() > deadline:
            raise RuntimeError(f"the sink has {have} of {MESSAGES}")
        time.sleep(0.002)
    return (MESSAGES - first) / (time.perf_counter() - started)


@contextlib.contextmanager
def _sender(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    folder.mkdir()
    arguments = [str(folder), str(port), str(MESSAGES), str(KILOBYTES * 1024)]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench._outbound_sender", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "filled\n":
            raise RuntimeError("our queue was not filled")
        yield process
    finally:
        process.terminate()
        process.wait(20)


def ours(folder: Path) -> tuple[float, float]:
    """Return our messages a second, and CPU microseconds a message."""
    with sink() as target, _sender(folder, target.port) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        before = _cpu(process)
        process.stdin.write("go\n")
        process.stdin.flush()
        rate = rate_of(target)
        return rate, (_cpu(process) - before) / MESSAGES * 1e6


def _cpu(process: subprocess.Popen[str]) -> float:
    process.send_signal(signal.SIGUSR1)
    assert process.stdout is not None
    return float(process.stdout.readline().split()[0])


def _cpu_of_tree(master: int) -> float:
    """Return the CPU seconds of a process, of its children, and of those of them that have ended."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError):
            if entry.name.isdigit():
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(entry.name) == master:
                    ticks += sum(map(int, fields[11:15]))
                elif int(fields[1]) == master:
                    ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def theirs(folder: Path) -> tuple[float, float]:
    """Return Postfix's messages a second, and CPU microseconds a message."""
    with sink() as target:
        more = f"mydestination =\nrelayhost = [127.0.0.1]:{target.port}\nsmtp_tls_security_level = none\nin_flow_delay = 0\n"
        with postfix(folder, more) as port:
            master = folder / "etc" / "master.cf"
            whole = master.read_text()
            if _QMGR not in whole:
                raise RuntimeError("the queue manager is called otherwise now")
            reload = ["/usr/sbin/postfix", "-c", str(folder / "etc"), "reload"]
            master.write_text(whole.replace(_QMGR, ""))
            subprocess.run(reload, check=True, capture_output=True)
            send(port, 20, MESSAGES, "-l", str(KILOBYTES * 1024), "-f", "x@client.test", "-t", "ada@harbor.test")
            master.write_text(whole)
            if target.count():
                raise RuntimeError("Postfix sent before it was let go")
            pid = int((folder / "queue" / "pid" / "master.pid").read_text())
            before = _cpu_of_tree(pid)
            subprocess.run(reload, check=True, capture_output=True)
            rate = rate_of(target)
            return rate, (_cpu_of_tree(pid) - before) / MESSAGES * 1e6


def main() -> None:
    """Print one row."""
    # Not below /tmp, where a memory file system would flatter everybody.
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path.cwd()) as name:
        rounds = [(*ours(Path(name) / f"o{n}"), *theirs(Path(name) / f"p{n}")) for n in range(ROUNDS)]
    print(f"{'what':>24} | {'ours/s':>8} | {'Postfix/s':>9} | ratio | CPU us a message: ours, Postfix, ratio")
    one, cpu, other, their_cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(mine / peer for mine, _, peer, _ in rounds)
    print(
        f"{MESSAGES} queued, {KILOBYTES} KB each | {one:>8.0f} | {other:>9.0f} | {ratio:>5.1f} |"
        f" {cpu:.0f}, {their_cpu:.0f}, {their_cpu / cpu:.1f}"
    )


if __name__ == "__main__":
    main()
