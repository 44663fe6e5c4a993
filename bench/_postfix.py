"""A private Postfix for measurements: own configuration, own queue, on a port of the system's choice. Needs root."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.test
mydestination = rosewood.test
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
smtputf8_enable = no
{more}
"""
# It takes mail and does no more: held, a message is none of the queue manager's, and nothing slows who sends too fast.
HOLDING = "smtpd_client_restrictions = static:HOLD\nin_flow_delay = 0"
# As it comes, and its queue manager has somewhere to deliver to.
DISCARDING = "local_transport = discard:"
_MASTER = """
{address}:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""

_ATTEMPTS = 3
_READY_SECONDS = 20.0


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def postfix(folder: Path, more: str = "", *, address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Run Postfix with its files below `folder` and `more` lines of main.cf; yield its port, a free one without `port`."""
    configuration = folder / "etc"
    configuration.mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "queue").mkdir()
    for path in (folder, *folder.parents):
        if path != Path("/") and path.stat().st_uid == 0:
            path.chmod(path.stat().st_mode | 0o755)
    shutil.chown(folder / "data", "postfix")
    (configuration / "main.cf").write_text(_MAIN.format(folder=folder, address=address, more=more))
    command = ["/usr/sbin/postfix", "-c", str(configuration)]
    for attempt in range(_ATTEMPTS):
        chosen = port or free_port()
        (configuration / "master.cf").write_text(_MASTER.format(address=address, port=chosen))
        try:
            subprocess.run([*command, "start"], check=True, capture_output=True)
            break
        except subprocess.CalledProcessError:
            # Somebody else may have taken the port that was free a moment ago.
            if port or attempt == _ATTEMPTS - 1:
                raise
    try:
        wait_for(chosen, address)
        yield chosen
    finally:
        subprocess.run([*command, "stop"], check=False, capture_output=True)


def wait_for(port: int, address: str = "127.0.0.1", *, said: Path | None = None) -> None:
    """Return when something greets on a port of an address of this machine; if nothing does, tell what `said` holds."""
    deadline = time.monotonic() + _READY_SECONDS  # who has the port may be somebody that never greets
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=5) as connection:
            if connection.recv(100):
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing greets on port {port}{': ' + said.read_text()[-1000:] if said else ''}")
