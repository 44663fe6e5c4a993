"""The crash-point sweep over a whole served domain: each sync, write, truncation and removal fails, or is where it dies.

The journeys (journey.py, reports.py) go through DATA, BDAT, submission, the queue to another domain, a bounce, APPEND, MOVE,
EXPUNGE and DELE; through LMTP; and through the reports that the domain owes others. The n-th call of a kind in each thread
is made to fail (EIO, ENOSPC) or to kill. Nothing may be answered with a failure for good; afterwards the domain must start as
usual, send on what it owes, and hold every acknowledged message once.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.faults.journey import LMTP, MAIL, RETURNED, Journey, travel
from tests.faults.reports import REPORTS
from tests.faults.served import GONE, ONWARD, QUEUE, RELAYED, Site, kill_group, name_server, tree
from tests.faults.sink import Sink, sink

JOURNEYS = {"mail": MAIL, "lmtp": LMTP, "reports": REPORTS}
CALLS = ("fdatasync", "fsync", "pwritev2", "pwrite64", "ftruncate", "unlink")
FAULTS = ("error=EIO", "error=ENOSPC", "signal=SIGKILL")
# 69: the store cannot go on (EX_UNAVAILABLE); it may be about to end by itself when it is told to.
ENDS = (0, 69, -signal.SIGKILL, 128 + signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM)
_SETTLED_SECONDS = 60.0
Template = Callable[[str], Site]


@pytest.fixture(scope="module")
def next_host() -> Iterator[Sink]:
    with sink() as made:
        yield made


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, next_host: Sink) -> Iterator[Template]:
    """For a journey, a domain whose store is there: how one is made is swept in test_crash_points.py."""
    with name_server() as names:

        @functools.cache
        def made(name: str) -> Site:
            more = {
                "transfer": {"relay": next_host.address, "retry_first_seconds": 1, "retry_longest_seconds": 2},
            }
            folder = tmp_path_factory.mktemp(name) / "site"
            services = JOURNEYS[name].services
            site = Site(folder, names, services=services, more=more, aliases={ONWARD: "bob@harbor.test"})
            with site.served():
                pass
            JOURNEYS[name].prepare(site)
            return site

        yield made


class Point:
    """One run with one fault."""

    def __init__(self, site: Site, journey: Journey, call: str, fault: str, count: int) -> None:
        self.site = site
        self._journey = journey
        self._trace = site.folder.with_suffix(".trace")
        self._said = site.folder.with_suffix(".said")
        self._strace = ("strace", "-f", "-qq", "-o", str(self._trace), "-e", f"trace={call}", "-e",
                        f"inject={call}:{fault}:when={count}")  # fmt: skip

    def run(self) -> bool:
        """Serve under the fault and make the journey; tell whether the fault was met."""
        with self._said.open("wb") as said:
            process = self.site.start(*self._strace, stderr=said)
        try:
            self.site.up(process)
            travel(self.site, self._journey.steps)
            with suppress(ProcessLookupError, IndexError):
                os.kill(tree(process.pid)[1], signal.SIGTERM)  # strace keeps it for itself
            code = process.wait(60)
        finally:
            kill_group(process)
        said_all = self._said.read_text()
        assert code in ENDS, said_all
        assert "Traceback" not in said_all, said_all
        trace = self._trace.read_text()
        return "(INJECTED)" in trace or "killed by SIGKILL" in trace

    def recover(self, next_host: Sink) -> list[str]:
        """Serve again without a fault until nothing is owed to the next host; return what is wrong then."""
        with self.site.served():
            owed = [ident for ident, places in self.site.expected.items() if RELAYED in places]
            deadline = time.monotonic() + _SETTLED_SECONDS
            while not all(next_host.taken[ident] for ident in owed) and time.monotonic() < deadline:
                time.sleep(0.02)  # the queue works
        missing = [f"{ident} was not sent on" for ident in owed if not next_host.taken[ident]]
        # What the next host took when it could not be recorded waits to be sent again: twice rather than never.
        settled = {
            frozenset({RELAYED}): frozenset({GONE, QUEUE}),
            frozenset({RETURNED}): frozenset({"anna/INBOX", QUEUE}),
        }
        self.site.expected = {ident: settled.get(places, places) for ident, places in self.site.expected.items()}
        return missing + asyncio.run(self.site.faults())


def sweep(
    template: Template, folder: Path, next_host: Sink, name: str, call: str, fault: str, counts: Iterable[int]
) -> int:
    """Run a point for each count until one meets no fault; return how many met theirs."""
    met = 0
    for count in counts:
        next_host.taken.clear()
        site = template(name).copied(folder / f"{call}-{count}")
        point = Point(site, JOURNEYS[name], call, fault, count)
        through = not point.run()
        assert point.recover(next_host) == [], (call, fault, count, sorted(site.expected))
        shutil.rmtree(site.folder)
        if through:
            assert len(site.expected) == JOURNEYS[name].messages
            assert all(next_host.taken[ident] <= 1 for ident in site.expected), next_host.taken
            break
        met += 1
    return met


def points(name: str, call: str) -> Iterator[int]:
    """Yield which calls are to meet a fault: all, but of SQLite's hundreds for all ways of mail the first ones and a sample."""
    dense, stride = (12, 23) if (name, call) == ("mail", "pwrite64") else (1000, 1)
    yield from range(1, dense)
    yield from range(dense, 1000, stride)


@pytest.mark.interop
@pytest.mark.parametrize(
    ("name", "call", "fault", "counts"),
    [
        ("mail", "fdatasync", "error=EIO", (2, 7)),
        ("mail", "pwritev2", "error=ENOSPC", (2, 7)),
        ("mail", "pwritev2", "signal=SIGKILL", (2, 7)),
        ("mail", "unlink", "error=EIO", (1,)),
        ("lmtp", "pwritev2", "error=EIO", (1, 2)),
        ("lmtp", "fdatasync", "signal=SIGKILL", (2,)),
        ("lmtp", "pwrite64", "error=EIO", (4, 15)),
        ("lmtp", "pwrite64", "signal=SIGKILL", (9,)),
        ("reports", "fdatasync", "error=EIO", (2,)),
        ("reports", "pwritev2", "signal=SIGKILL", (1, 2)),
        ("reports", "pwrite64", "error=ENOSPC", (5,)),
        ("reports", "pwrite64", "error=EIO", (11,)),
    ],
)
def test_a_sample_of_crash_points(
    template: Template, tmp_path: Path, next_host: Sink, name: str, call: str, fault: str, counts: tuple[int, ...]
) -> None:
    assert sweep(template, tmp_path, next_host, name, call, fault, counts) == len(counts)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", JOURNEYS)
def test_every_crash_point(
    template: Template, tmp_path: Path, next_host: Sink, name: str, call: str, fault: str
) -> None:
    met = sweep(template, tmp_path, next_host, name, call, fault, points(name, call))
    logging.getLogger(__name__).warning("%s, %s, %s: %d points", name, call, fault, met)  # -rP shows it
    assert met > 0
