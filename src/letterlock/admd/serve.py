"""Run one domain as a process: sockets and privileges, logs, signals, the supervisor, and the event loop.

In this order: the ports are bound (or taken over from systemd), root is given up (`run_as`), the log is opened, the domain
runs. SIGTERM and SIGINT finish what was begun and stop; SIGHUP opens the log anew and reads settings (admd/reload.py)
and certificates again.

See also: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3); contrib/letterlock.service.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop

from letterlock.admd.log_file import LogFile, log_file
from letterlock.admd.process import raise_descriptor_limit, tidy
from letterlock.admd.run import Admd, running
from letterlock.admd.settings import Settings
from letterlock.admd.sockets import Sockets, bound_sockets
from letterlock.errors import SettingsFault, Unavailable
from letterlock.host.clock import SystemClock
from letterlock.host.entropy import SystemEntropy
from letterlock.host.logs import Log
from letterlock.host.memory import give_memory_back
from letterlock.host.notify import notify
from letterlock.host.privileges import drop_to


def serve_until_stopped(settings: Settings, *, until_stdin_closes: bool = False) -> None:
    """Serve until SIGTERM or SIGINT. Raises what keeps the server from starting."""
    raise_descriptor_limit()
    sockets = bound_sockets(settings, os.environ)
    if settings.run_as:
        drop_to(settings.run_as)
    give_memory_back()
    with log_file(settings) as file, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings, sockets, file, until_stdin_closes=until_stdin_closes))


async def _run(settings: Settings, sockets: Sockets, log_file: LogFile | None, *, until_stdin_closes: bool) -> None:
    log = Log("admd")
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), _stop_at_end, stopped)
    notify_socket = os.environ.get("NOTIFY_SOCKET")
    async with running(settings, clock=SystemClock(), entropy=SystemEntropy(), sockets=sockets) as admd:
        loop.add_signal_handler(signal.SIGHUP, _reload, admd, log_file, notify_socket)
        endpoints = [f"{service} {endpoint}" for service, ends in admd.endpoints.items() for endpoint in ends]
        log.event("ready", domain=settings.domain, endpoints=endpoints)
        notify(notify_socket, "READY=1")
        beating = asyncio.create_task(_beat(notify_socket))
        tidying = asyncio.create_task(tidy())
        failed = asyncio.create_task(admd.failed())
        asked = asyncio.create_task(stopped.wait())
        await asyncio.wait({failed, asked}, return_when=asyncio.FIRST_COMPLETED)
        notify(notify_socket, "STOPPING=1")
        reason = "asked to" if stopped.is_set() else failed.result()
        log.event("stopping", reason=reason)
        for task in (failed, asked, beating, tidying):
            task.cancel()
        if until_stdin_closes:
            loop.remove_reader(sys.stdin.fileno())
    log.event("stopped")
    if reason != "asked to":
        # A supervisor starts us anew, and the start recovers.
        raise Unavailable(f"stopped because {reason}")


def _reload(admd: Admd, log_file: LogFile | None, notify_socket: str | None) -> None:
    if log_file is not None:
        try:
            log_file.open_anew()
        except SettingsFault as fault:
            Log("admd").error("log not opened anew", problems=list(fault.problems))
    admd.reload()
    notify(notify_socket, "READY=1")


async def _beat(notify_socket: str | None) -> None:
    """Tell the supervisor twice in each of its intervals that the event loop turns."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if (
        not notify_socket
        or not microseconds.isdigit()
        or os.environ.get("WATCHDOG_PID", "") not in ("", f"{os.getpid()}")
    ):
        return
    while True:
        notify(notify_socket, "WATCHDOG=1")
        await asyncio.sleep(int(microseconds) / 2_000_000)


def _stop_at_end(stopped: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        stopped.set()
