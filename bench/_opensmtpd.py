"""A private OpenSMTPD for measurements and tests: own configuration, own queue, on a port of the system's choice. Needs root.

The program is the one that tools/install-interop-programs unpacks: as a Debian package it would exclude Postfix. Where its
queue and its helpers lie is compiled into it, so it runs in a mount namespace of its own that shows ours there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench._postfix import free_port, wait_for

ROOT = Path(os.environ.get("LETTERLOCK_INTEROP", ".interop")).resolve() / "opensmtpd"

_START = """
mount --bind "$1/spool" /var/spool/smtpd
mount --bind "$1/run" /run
mount --bind "$2/usr/libexec/opensmtpd" /usr/libexec/opensmtpd
mount --bind "$1/resolv.conf" /etc/resolv.conf
shift 2
exec "$@"
"""
_CONFIGURATION = """
smtp limit max-mails 1000000
smtp max-message-size "50M"
{more}
listen on {address} port {port} hostname opensmtpd.test {listen}
{actions}
"""


@contextlib.contextmanager
def opensmtpd(
    folder: Path,
    actions: str,
    *,
    more: str = "",
    listen: str = "",
    paused: bool = False,
    address: str = "127.0.0.1",
    port: int = 0,
    environment: dict[str, str] | None = None,
) -> Iterator[int]:
    """Run OpenSMTPD with its files below `folder`; yield its port.

    `actions` are lines of smtpd.conf that say what becomes of mail, `more` go before them, `listen` are words of the listener;
    `paused` leaves everything in the queue.
    """
    for made in (folder / "spool", folder / "run"):
        made.mkdir(parents=True)
        made.chmod(0o711)
    (folder / "resolv.conf").write_text("lookup file\n")  # it looks up every client, and nobody is to wait for that
    port = port or free_port()
    configuration = folder / "smtpd.conf"
    configuration.write_text(
        _CONFIGURATION.format(more=more, address=address, port=port, listen=listen, actions=actions)
    )
    configuration.chmod(0o600)
    command = [
        "unshare",
        "--mount",
        "sh",
        "-ec",
        _START,
        "sh",
        folder,
        ROOT,
        ROOT / "usr/sbin/smtpd",
        "-d",
        "-f",
        configuration,
    ]
    command += ["-P", "mta", "-P", "mda"] * paused
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=said, start_new_session=True, env={**os.environ, **(environment or {})}
        )
    try:
        wait_for(port, address, said=folder / "said")
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
