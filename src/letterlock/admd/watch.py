"""What a running domain tells those who watch it: figures (`/metrics`) and whether all is well (`/health`).

`/health` answers 200 where mail can be taken and moved, 503 where not, with a JSON object of checks: "" is well, anything
else a sentence. A certificate that soon ends or a disk that fills is a sentence before it is a 503.

The certificates are watched too: files that were renewed are taken up within seconds, without a signal.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

import letterlock
from letterlock.admd.sockets import SHARED
from letterlock.admd.workers import Workers
from letterlock.errors import Malformed, SettingsFault, Unavailable
from letterlock.host import logs
from letterlock.host.clock import Clock
from letterlock.host.drive_work import contain_now
from letterlock.host.ledger import Ledger
from letterlock.host.listen import Listener
from letterlock.host.logs import Log
from letterlock.host.metrics import MEDIA_TYPE, Metric, Sample, exposition
from letterlock.host.pages import Page, Pages
from letterlock.host.tls import ServerTls
from letterlock.store.engine import LogStore
from letterlock.store.interface import QueueFilter
from letterlock.trust.primitives import peer_chain

_DAY = 86_400
_WARN_DAYS = 14
_LEAST_FREE_OCTETS = 256 * 1024 * 1024  # below this a store soon answers 452
_LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked at. `transferring` is the queue's task, `started` seconds since 1970, `more` what others show."""

    store: LogStore
    ledger: Ledger
    listeners: Mapping[str, Listener]
    workers: Workers
    transferring: asyncio.Task[None]
    certificates: tuple[Path, ...]
    data: Path
    clock: Clock
    started: float
    more: tuple[Callable[[], list[Metric]], ...] = ()

    def pages(self) -> Pages:
        """Return the pages."""
        return Pages({"/metrics": self._metrics, "/health": self._health})

    async def checks(self) -> tuple[dict[str, str], bool]:
        """Return a sentence for each thing that is not well ("" for well), and whether mail can be taken and moved."""
        store = "the store has stopped: restart the server, it recovers" if self.store.stopped.is_set() else ""
        queue = "the queue has stopped: restart the server" if self.transferring.done() else ""
        try:
            await self.store.queue_size()
        except Unavailable as problem:
            store = store or problem.problem
        free = shutil.disk_usage(self.data).free
        full = free < self.store.reserve_octets
        disk = f"only {free} octets are free for {self.data}" if full or free < _LEAST_FREE_OCTETS else ""
        if full:
            disk += f": below {self.store.reserve_octets} mail is refused for now"
        left = min(self._certificate_ends().values()) - self.clock.now()
        certificate = f"a certificate ends in {left / _DAY:.1f} days: renew it" if left < _WARN_DAYS * _DAY else ""
        found = {
            "store": store,
            "queue": queue,
            "disk": disk,
            "certificate": certificate,
            "ledger": self.ledger.problem,
            "workers": self.workers.trouble(),
        }
        return found, not (store or queue or left <= 0 or full)

    async def _health(self) -> Page:
        checks, is_well = await self.checks()
        body = msgspec.json.encode({"well": is_well, "checks": checks}) + b"\n"
        return Page(body, "application/json", 200 if is_well else 503)

    async def _metrics(self) -> Page:
        return Page(exposition(await self.metrics()), MEDIA_TYPE)

    async def metrics(self) -> list[Metric]:
        """Return the figures of this moment."""
        _, is_well = await self.checks()
        try:
            messages, recipients = await self.store.queue_size()
        except Unavailable:
            messages = recipients = -1
        events = sorted((self.workers.counts() + Counter(logs.counts())).items())
        connections = {name: one.connections for name, one in self.listeners.items()}
        if self.workers.endpoints:
            connections[SHARED] = self.workers.connections
        disk = shutil.disk_usage(self.data)
        return [
            Metric("letterlock_info", "gauge", "The version that runs.", (Sample(1, version=letterlock.__version__),)),
            Metric("letterlock_well", "gauge", "1 where mail can be taken and moved.", (Sample(is_well),)),
            Metric(
                "letterlock_uptime_seconds", "gauge", "Since the start.", (Sample(self.clock.now() - self.started),)
            ),
            Metric(
                "letterlock_connections",
                "gauge",
                "Open connections by service.",
                tuple(Sample(count, service=name) for name, count in connections.items()),
            ),
            Metric(
                "letterlock_events_total",
                "counter",
                "What was logged, by role, severity and event.",
                tuple(Sample(n, role=role, severity=severity, event=name) for (role, severity, name), n in events),
            ),
            Metric("letterlock_queue_messages", "gauge", "Messages owed to other hosts.", (Sample(messages),)),
            Metric("letterlock_queue_recipients", "gauge", "Recipients of these.", (Sample(recipients),)),
            Metric("letterlock_disk_free_bytes", "gauge", "Free for the data folder.", (Sample(disk.free),)),
            Metric("letterlock_disk_size_bytes", "gauge", "Of the data folder's disk.", (Sample(disk.total),)),
            Metric("letterlock_ledger_lost_total", "counter", "Entries not written.", (Sample(self.ledger.lost),)),
            Metric(
                "letterlock_certificate_not_after_seconds",
                "gauge",
                "When a TLS certificate ends, in seconds since 1970.",
                tuple(Sample(end, file=str(path)) for path, end in self._certificate_ends().items()),
            ),
            Metric(
                "letterlock_queue_oldest_seconds",
                "gauge",
                "Age of the oldest message.",
                (Sample(await self._oldest()),),
            ),
            *(metric for more in self.more for metric in more()),
            *_process(),
        ]

    async def _oldest(self) -> float:
        """Return the age of the oldest message in the queue, 0 where it is empty; queue ids sort by time."""
        try:
            entries = await self.store.queue(QueueFilter(), limit=1)
        except Unavailable:
            return -1.0
        return max((self.clock.now() - entry.arrived for entry in entries), default=0.0)

    def _certificate_ends(self) -> dict[Path, float]:
        ends = {}
        for path in self.certificates:
            try:
                first = peer_chain.read_pem(path.read_bytes())[0]
                ends[path] = peer_chain.read(first).not_after.timestamp()
            except (OSError, Malformed):
                ends[path] = 0.0
        return ends


def _process() -> list[Metric]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    metrics = [
        Metric("process_cpu_seconds_total", "counter", "CPU time.", (Sample(used.ru_utime + used.ru_stime),)),
        Metric("process_peak_memory_bytes", "gauge", "The most memory ever resident.", (Sample(peak),)),
    ]
    own = Path("/proc/self")
    if (own / "statm").exists():
        resident = int((own / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        open_files = len(os.listdir(own / "fd"))  # noqa: PTH208  # a count, no paths
        metrics.append(Metric("process_resident_memory_bytes", "gauge", "Memory resident now.", (Sample(resident),)))
        metrics.append(Metric("process_open_fds", "gauge", "Open file descriptors.", (Sample(open_files),)))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return [*metrics, Metric("process_max_fds", "gauge", "How many may be open.", (Sample(limit),))]


async def keep_certificates_current(
    tls: ServerTls, files: tuple[Path, ...], log: Log, *, look_seconds: float = _LOOK_SECONDS
) -> None:
    """Take renewed certificate files up, until cancelled. Files that do not fit together yet change nothing."""
    seen = _signature(files)
    while True:
        await asyncio.sleep(look_seconds)
        now = _signature(files)
        if now == seen:
            continue
        seen = now
        reload_certificates(tls, log)


def reload_certificates(tls: ServerTls, log: Log) -> None:
    """Read the certificates again and say what came of it."""
    try:
        contain_now(tls.reload, SettingsFault)
        log.event("certificates reloaded")
    except SettingsFault as fault:
        log.error("certificates not reloaded", problems=list(fault.problems))
    except Unavailable as trouble:  # the next files may be better
        log.error("certificates not reloaded", problems=[trouble.problem])


def _signature(files: tuple[Path, ...]) -> tuple[tuple[int, int, int] | None, ...]:
    found: list[tuple[int, int, int] | None] = []
    for file in files:
        try:
            status = file.stat()
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        except OSError:
            found.append(None)
    return tuple(found)
