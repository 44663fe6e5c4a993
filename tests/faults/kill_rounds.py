"""kill -9 of random processes of a served domain under load, round after round: what was acknowledged is there once.

    python -m tests.faults.kill_rounds [--rounds 1000] [--processes N] [--folder FOLDER]

A round starts `letterlock serve` where the last one left off, puts load on it (SMTP by DATA and BDAT, submission, mail that
is passed on to a next host, IMAP APPEND and MOVE), and kills at a random instant, during start and recovery too: the whole
tree, its first process, or any other process of it. Where the tree is to go on without the one that was killed, it must
serve again by itself. Then everything is killed, the store examined and compared with what was acknowledged: each message
once in its mailbox or in the queue, or out of the queue with the next host. It prints a line every 25 rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.faults.load import chunking_client, data_client, imap_client, submitting_client, under_load
from tests.faults.served import ONWARD, Site, kill_group, name_server, tree
from tests.faults.sink import Sink, sink

CLIENTS = (data_client, data_client, chunking_client, chunking_client, submitting_client, imap_client)
SERVICES = ("smtp", "submissions", "imaps")
ALIASES = {"away": "somebody@unreachable.test", ONWARD: "somebody@harbor.test"}  # the one waits, the other is passed on
_FRESH = 20  # a store of its own again after so many rounds, so that checking stays quick
_GOES_ON_SECONDS = 60.0


class Rounds:
    """What has happened so far."""

    def __init__(self, folder: Path, names: str, next_host: Sink, seed: int, processes: int) -> None:
        self._folder, self._names, self._next_host, self._processes = folder, names, next_host, processes
        self._chance = random.Random(seed)
        self._seed = seed
        self.killed: Counter[str] = Counter()
        self.acknowledged = 0
        self.faults: list[str] = []
        self.slowest_start = 0.0

    def run(self, count: int) -> None:
        """Run so many rounds."""
        site = self._site(0)
        for number in range(count):
            if number % _FRESH == _FRESH - 1:
                site = self._site(number)
            before = len(site.expected)
            self._round(site, number)
            self.acknowledged += len(site.expected) - before
            found = asyncio.run(site.faults(self._next_host.taken))
            self.faults += [f"round {number}: {fault}" for fault in found]
            if number % 25 == 24:
                print(self, flush=True)  # noqa: T201 - a command, too

    def _site(self, number: int) -> Site:
        more: dict[str, object] = {"transfer": {"relay": self._next_host.address, "retry_first_seconds": 1}}
        if self._processes:
            more["processes"] = self._processes
        return Site(self._folder / str(number), self._names, services=SERVICES, more=more, aliases=ALIASES)

    def _round(self, site: Site, number: int) -> None:
        process = site.start()
        with under_load(site, f"{self._seed}.{number}", CLIENTS) as over:
            try:
                if self._chance.random() < 0.2:  # while it starts and recovers
                    time.sleep(self._chance.uniform(0.1, 1.2))
                else:
                    started = time.monotonic()
                    site.up()
                    self.slowest_start = max(self.slowest_start, time.monotonic() - started)
                    self._await_acknowledged(site, self._chance.randrange(1, 80))
                    time.sleep(self._chance.uniform(0, 0.05))
                self._kill(site, process)
            finally:
                over.set()
                kill_group(process)

    def _await_acknowledged(self, site: Site, count: int) -> None:
        enough, deadline = len(site.expected) + count, time.monotonic() + _GOES_ON_SECONDS
        while len(site.expected) < enough:
            assert time.monotonic() < deadline, "nothing is acknowledged any more"
            time.sleep(0.005)  # the clients work

    def _kill(self, site: Site, process: subprocess.Popen[bytes]) -> None:
        """Kill all, the first, or one other process of the tree, and see that the rest behaves."""
        below = tree(process.pid)[1:]
        kind = self._chance.choice(("all", "first", "one", "one") if below else ("all",))
        self.killed[kind] += 1
        if kind == "all":
            return
        with suppress(ProcessLookupError):
            os.kill(process.pid if kind == "first" else self._chance.choice(below), signal.SIGKILL)
        if kind == "first":
            _gone(below)
        elif not _ended_soon(process):
            site.up()  # the others go on, and somebody takes its place
            time.sleep(self._chance.uniform(0.01, 0.3))

    def __str__(self) -> str:
        return (
            f"{sum(self.killed.values())} rounds, killed {dict(self.killed)}, {self.acknowledged} acknowledged, "
            f"{len(self._next_host.taken)} passed on, slowest start {self.slowest_start:.1f} s, "
            f"{len(self.faults)} faults {self.faults[:5]}"
        )


def _ended_soon(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether the tree ends as a whole, which it may: then its supervisor begins it again."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.5)
        return True
    return False


def _gone(pids: list[int]) -> None:
    """Wait until all of these processes have ended by themselves: nobody may go on without the first."""
    deadline = time.monotonic() + _GOES_ON_SECONDS
    while left := [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]:
        if time.monotonic() > deadline:
            raise AssertionError(f"{left} went on after their first process was killed")
        time.sleep(0.02)  # they notice


def rounds(folder: Path, count: int, seed: int, processes: int = 0) -> Rounds:
    """Run `count` rounds below `folder`; return what happened."""
    with name_server() as names, sink() as next_host:
        made = Rounds(folder, names, next_host, seed, processes)
        made.run(count)
    return made


def main() -> None:
    """Run from the command line; exits 1 if anything was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=0, help="the setting of that name; 0 leaves it alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the stores are made; not in memory, if syncs are to count")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=".kills-", dir=options.folder or Path.cwd()) as name:
        done = rounds(Path(name), options.rounds, options.seed, options.processes)
    print(done)  # noqa: T201
    raise SystemExit(bool(done.faults))


if __name__ == "__main__":
    main()
