"""A private Exim for measurements and tests: own configuration, own spool, on a port of the system's choice. Needs root.

The program is the one that tools/install-interop-programs unpacks: as a Debian package it would exclude Postfix.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench._postfix import free_port, wait_for

PROGRAM = Path(os.environ.get("LETTERLOCK_INTEROP", ".interop")).resolve() / "exim4-daemon-heavy/usr/sbin/exim4"
USER = "Debian-exim"

_CONFIGURATION = """
exim_path = {program}
exim_user = {user}
exim_group = {user}
never_users =
deliver_drop_privilege
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/pid
primary_hostname = exim.test
local_interfaces = {address}
daemon_smtp_ports = {port}
disable_ipv6
host_lookup =
keep_environment = LD_PRELOAD:SLOW_SYNC_MILLISECONDS
smtp_accept_max = 0
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
smtp_receive_timeout = 60s
acl_smtp_rcpt = recipient
acl_smtp_vrfy = recipient
{more}
begin acl
recipient:
{acl}
begin routers
{routers}
begin transports
{transports}
begin retry
* * F,1h,1m
{sections}
"""


@contextlib.contextmanager
def exim(
    folder: Path,
    more: str = "",
    *,
    acl: str = "accept",
    routers: str = "",
    transports: str = "",
    sections: str = "",
    address: str = "127.0.0.1",
    port: int = 0,
    environment: dict[str, str] | None = None,
) -> Iterator[int]:
    """Run Exim with its files below `folder`, `more` lines of main options, and the sections named; yield its port."""
    for made in (folder / "spool", folder / "log", folder / "mail"):
        made.mkdir(parents=True)
        shutil.chown(made, USER, USER)
    port = port or free_port()
    configuration = folder / "exim.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            program=PROGRAM, user=USER, folder=folder, address=address, port=port, more=more, acl=acl, routers=routers,
            transports=transports, sections=sections,
        )
    )  # fmt: skip
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [PROGRAM, "-C", configuration, "-bdf"], stdout=said, stderr=said, start_new_session=True,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
    try:
        wait_for(port, address, said=folder / "said")
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
