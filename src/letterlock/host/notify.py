"""Tell whoever started us that we are ready, by the protocol of systemd's sd_notify.

The supervisor names a Unix datagram socket in NOTIFY_SOCKET; we send it `READY=1`, `STOPPING=1` or `STATUS=...`. The lab
uses the same way to learn that its servers are up.
"""

from __future__ import annotations

import contextlib
import socket


def notify(socket_name: str | None, state: str) -> None:
    """Send `state` to the socket named; without one, or where nobody listens or reads, do nothing."""
    if not socket_name:
        return
    # A leading @ stands for the abstract namespace of Linux.
    address = "\0" + socket_name[1:] if socket_name.startswith("@") else socket_name
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)  # a supervisor that does not read must not hold the mail up
        sender.connect(address)
        sender.send(state.encode())
