"""Sockets that were bound before we started, by systemd or another that speaks its protocol.

The environment comes as an argument. A socket unit names its sockets with FileDescriptorName=, by which services find
theirs ("smtp", "imaps"); unnamed ones are called "unknown".

See also: sd_listen_fds(3); host/listen.py binds sockets ourselves, host/notify.py tells when we are ready.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from letterlock.errors import SettingsFault

_FIRST_DESCRIPTOR = 3
_MOST_DESCRIPTORS = 256


def inherited_sockets(environment: Mapping[str, str]) -> dict[str, list[socket.socket]]:
    """Return the stream sockets passed to this process, by name; none where they were meant for another.

    Raises SettingsFault where what was passed is no listening stream socket.
    """
    count = environment.get("LISTEN_FDS", "0")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit() or int(count) > _MOST_DESCRIPTORS:
        return {}
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[socket.socket]] = {}
    for number in range(int(count)):
        name = names[number] if number < len(names) and names[number] else "unknown"
        try:
            passed = socket.socket(fileno=_FIRST_DESCRIPTOR + number)
        except OSError as error:
            problem = f"descriptor {_FIRST_DESCRIPTOR + number} ({name}) is no socket: {error.strerror}"
            raise SettingsFault((problem,)) from None
        if passed.type != socket.SOCK_STREAM or not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise SettingsFault((f"the socket {name} does not listen for streams: use ListenStream=",))
        passed.setblocking(False)
        passed.set_inheritable(False)
        found.setdefault(name, []).append(passed)
    return found
