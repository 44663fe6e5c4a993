"""The load: Postfix's `smtp-source`, timed to its end."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

_LONGEST_SECONDS = 120.0


def send(port: int, sessions: int, count: int, *arguments: str | Path) -> float:
    """Let `smtp-source` send messages over connections kept open, and return the seconds it took."""
    command = ["/usr/sbin/smtp-source", "-d", "-s", str(sessions), "-m", str(count), *arguments, f"127.0.0.1:{port}"]
    started = time.perf_counter()
    process = subprocess.Popen(command)
    # Not `run` with a timeout: it looks every 50 ms whether the program has ended, which would be a quarter of a short run.
    watch = threading.Timer(_LONGEST_SECONDS, process.kill)
    watch.start()
    try:
        code = process.wait()
    finally:
        watch.cancel()
    took = time.perf_counter() - started
    if code:
        raise RuntimeError(f"smtp-source ended with {code}")
    return took
