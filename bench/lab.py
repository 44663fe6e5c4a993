"""How long a lab takes to be ready, and what a served domain holds in memory when it idles: `python -m bench lab`.

There is no peer for a lab; the limits are those we set ourselves: ready within 3 s, a domain idle under 80 MB resident.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 3
IDLE_SECONDS = 25.0


def main() -> None:
    """Start a lab a few times, measure, and stop it."""
    ready_seconds, resident = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        with subprocess.Popen([sys.executable, "-m", "letterlock", "lab", "--json"], stdout=subprocess.PIPE) as lab:
            assert lab.stdout is not None
            sheet = json.loads(b"".join(iter(lab.stdout.readline, b"}\n")) + b"}")
            ready_seconds.append(time.perf_counter() - started)
            time.sleep(IDLE_SECONDS)  # the letters cross, one of them of 2.7 MB, and it grows quiet
            resident += [resident_megabytes(process) for process in children(lab.pid)]
            lab.send_signal(signal.SIGINT)
    print(
        f"ready with {len(sheet['organisations'])} domains: median {statistics.median(ready_seconds):.2f} s of {ROUNDS}"
    )
    print(
        f"a domain after the letters, resident: median {statistics.median(resident):.0f} MB, most {max(resident):.0f} MB"
    )


def children(parent: int) -> list[int]:
    """Return the processes that `parent` started."""
    return [int(number) for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def resident_megabytes(process: int) -> float:
    """Return the resident set of a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
