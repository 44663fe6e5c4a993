"""The workers of a domain: processes that take mail from other domains, and the one process that keeps all of it.

    workers = Workers(settings, sockets, clock)
    await workers.start()                 # the store's door must stand open by then
    ... workers.reload() ... workers.metrics() ...
    await workers.stop(grace_seconds=10)

Each worker (admd/worker.py) is a program of its own, started with its sockets. Orders go to its standard input, a line
each, and it ends where that ends, so none outlives us; news come from its standard output, a JSON object a line. One that
dies is replaced, with a pause that grows; its clients wait meanwhile, for the sockets are ours. One that says nothing for a
minute hangs, with all clients whose connections are its: it is killed, and replaced. What it had taken on is
in the store; what it had not was never answered 250.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections import Counter
from dataclasses import dataclass, field

import msgspec

from letterlock.admd.settings import Settings
from letterlock.admd.sockets import Sockets
from letterlock.errors import Unavailable
from letterlock.host.clock import Clock
from letterlock.host.logs import Log
from letterlock.host.metrics import Metric, Sample
from letterlock.host.stream import Endpoint

DOOR_NAME = "store.socket"
RELOAD, STOP = b"reload", b"stop"

_READY_SECONDS = 60.0
_SILENT_SECONDS = 60.0  # it has news every second
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 10.0
_CONTENT_SECONDS = 30.0  # one that lived so long did not die of its start
# What belongs to the process that the supervisor started, and to no other.
_NOT_INHERITED = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class News(msgspec.Struct, frozen=True):
    """What a worker tells of itself. `events` are (role, severity, event, count since its start)."""

    connections: int = 0
    events: tuple[tuple[str, str, str, int], ...] = ()
    cpu_seconds: float = 0.0
    resident_octets: int = 0


@dataclass(slots=True)
class _Worker:
    number: int
    sockets: list[socket.socket]
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    process: asyncio.subprocess.Process | None = None
    news: News = News()  # noqa: RUF009  # frozen


class Workers:
    """The workers of one domain; none where the settings want none."""

    def __init__(self, settings: Settings, sockets: Sockets, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._log = Log("admd")
        self._workers = [
            _Worker(number, sockets.of_worker(number, settings.workers)) for number in range(settings.workers)
        ]
        self._past: Counter[tuple[str, str, str]] = Counter()  # of workers that are gone
        self._past_cpu = 0.0
        self._deaths = 0
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        names = {one.getsockname()[:2]: None for worker in self._workers for one in worker.sockets}
        self.endpoints = tuple(Endpoint(host, port) for host, port in names)

    async def start(self) -> None:
        """Start them and wait until all take mail. Raises Unavailable where one does not come up."""
        self._tasks = [asyncio.create_task(self._keep(worker)) for worker in self._workers]
        waiting = [worker.ready.wait() for worker in self._workers]
        try:
            await asyncio.wait_for(asyncio.gather(*waiting), _READY_SECONDS)
        except TimeoutError:
            raise Unavailable("a worker did not start: the log says why") from None

    def reload(self) -> None:
        """Let them read settings and certificates again."""
        for worker in self._workers:
            self._order(worker, RELOAD)

    async def stop(self, *, grace_seconds: float) -> None:
        """Let them finish what was begun, and end them."""
        self._stopping = True
        for worker in self._workers:
            self._order(worker, STOP)
            for one in worker.sockets:
                one.close()
        if not self._tasks:
            return
        await asyncio.wait(self._tasks, timeout=grace_seconds + 5)
        for worker in self._workers:
            if worker.process is not None and worker.process.returncode is None:
                self._log.warning("worker killed", worker=worker.number, problem="it did not stop in time")
                worker.process.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """How many connections stand, as last told."""
        return sum(worker.news.connections for worker in self._workers)

    def trouble(self) -> str:
        """Return a sentence where not all of them take mail, else ""."""
        missing = sum(not worker.ready.is_set() for worker in self._workers)
        return f"{missing} of {len(self._workers)} workers do not take mail: the log says why" if missing else ""

    def counts(self) -> Counter[tuple[str, str, str]]:
        """Return how often each event was recorded in workers, by role, severity and name."""
        counts = self._past.copy()
        for worker in self._workers:
            counts.update({(role, severity, name): count for role, severity, name, count in worker.news.events})
        return counts

    def metrics(self) -> list[Metric]:
        """Return their own figures."""
        if not self._workers:
            return []
        cpu = self._past_cpu + sum(worker.news.cpu_seconds for worker in self._workers)
        resident = sum(worker.news.resident_octets for worker in self._workers)
        running = sum(worker.ready.is_set() for worker in self._workers)
        return [
            Metric("letterlock_workers", "gauge", "Workers that take mail.", (Sample(running),)),
            Metric("letterlock_worker_deaths_total", "counter", "Workers that were replaced.", (Sample(self._deaths),)),
            Metric("letterlock_workers_cpu_seconds_total", "counter", "Their CPU time.", (Sample(cpu),)),
            Metric("letterlock_workers_resident_bytes", "gauge", "Their memory.", (Sample(resident),)),
        ]

    # Inside.

    def _is_stopping(self) -> bool:
        return self._stopping  # a call, for who reads knows what it was before waiting

    def _order(self, worker: _Worker, order: bytes) -> None:
        if worker.process is not None and worker.process.stdin is not None:
            with contextlib.suppress(ConnectionError, RuntimeError):  # it is gone, or going
                worker.process.stdin.write(order + b"\n")

    async def _keep(self, worker: _Worker) -> None:
        """Run a worker, and another in its place whenever it dies."""
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopping:
            begun = self._clock.elapsed()
            try:
                end = f"it ended with status {await self._run(worker)}"
            except OSError as error:
                end = f"{sys.executable} cannot be run: {error.strerror}"
            worker.ready.clear()
            self._past.update({(role, severity, name): count for role, severity, name, count in worker.news.events})
            self._past_cpu += worker.news.cpu_seconds
            worker.news = News()
            if self._is_stopping():
                return
            self._deaths += 1
            self._log.error("worker died", worker=worker.number, problem=end)
            pause = _FIRST_PAUSE_SECONDS if self._clock.elapsed() - begun > _CONTENT_SECONDS else pause * 2
            await asyncio.sleep(min(pause, _LONGEST_PAUSE_SECONDS))

    async def _run(self, worker: _Worker) -> int:
        """Run one process to its end, and return its status."""
        files = [one.fileno() for one in worker.sockets]
        environment = {name: text for name, text in os.environ.items() if name not in _NOT_INHERITED}
        process = worker.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "letterlock.admd.worker",
            str(self._settings.file),
            str(worker.number),
            *map(str, files),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=files,
            env=environment,
        )
        assert process.stdout is not None
        try:
            while line := await self._line(worker, process.stdout):
                try:
                    worker.news = msgspec.json.decode(line, type=News)
                except msgspec.DecodeError as error:
                    self._log.error("worker not understood", worker=worker.number, problem=str(error))
                else:
                    worker.ready.set()
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _line(self, worker: _Worker, stream: asyncio.StreamReader) -> bytes:
        """Return the next line a worker says, b"" where it says no more, or nothing for so long that it hangs."""
        try:
            async with asyncio.timeout(_SILENT_SECONDS):
                return await stream.readline()
        except TimeoutError:
            self._log.error("worker hangs", worker=worker.number, problem=f"no word in {_SILENT_SECONDS:g} seconds")
            if worker.process is not None:
                worker.process.kill()
            return b""
