"""Run one domain as a process: logs, signals, and the event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop

from letterlock.admd.run import running
from letterlock.admd.settings import Settings
from letterlock.errors import SettingsFault, Unavailable
from letterlock.host import logs
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.logs import Log
from letterlock.host.memory import give_memory_back
from letterlock.host.notify import notify


def serve_until_stopped(settings: Settings, *, until_stdin_closes: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP reloads TLS. Raises what keeps the server from starting."""
    if settings.log.file is None:
        _serve(settings, until_stdin_closes=until_stdin_closes)
        return
    with settings.path(settings.log.file).open("a", encoding="ascii", buffering=1) as file:
        before = logs.send_to(lambda line: print(line, file=file))
        try:
            _serve(settings, until_stdin_closes=until_stdin_closes)
        finally:
            logs.send_to(before)


def _serve(settings: Settings, *, until_stdin_closes: bool) -> None:
    give_memory_back()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings, until_stdin_closes=until_stdin_closes))


async def _run(settings: Settings, *, until_stdin_closes: bool) -> None:
    log = Log("admd")
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), _stop_at_end, stopped)
    notify_socket = os.environ.get("NOTIFY_SOCKET")
    async with running(settings, clock=SystemClock(), entropy=SystemEntropy()) as admd:

        def reload() -> None:
            try:
                admd.reload()
                log.event("certificates reloaded")
            except SettingsFault as fault:
                log.error("certificates not reloaded", problems=list(fault.problems))

        loop.add_signal_handler(signal.SIGHUP, reload)
        endpoints = [f"{service} {endpoint}" for service, ends in admd.endpoints.items() for endpoint in ends]
        log.event("ready", domain=settings.domain, endpoints=endpoints)
        notify(notify_socket, "READY=1")
        failed = asyncio.create_task(admd.failed())
        asked = asyncio.create_task(stopped.wait())
        await asyncio.wait({failed, asked}, return_when=asyncio.FIRST_COMPLETED)
        notify(notify_socket, "STOPPING=1")
        reason = "asked to" if stopped.is_set() else failed.result()
        log.event("stopping", reason=reason)
        for task in (failed, asked):
            task.cancel()
        if until_stdin_closes:
            loop.remove_reader(sys.stdin.fileno())
    log.event("stopped")
    if reason != "asked to":
        # A supervisor starts us anew, and the start recovers.
        raise Unavailable(f"stopped because {reason}")


def _stop_at_end(stopped: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        stopped.set()
