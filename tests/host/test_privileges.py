"""Privileges given up, and sockets taken over, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from letterlock.errors import SettingsFault
from letterlock.host import privileges
from letterlock.host.inherit import inherited_sockets

_DROP = """
import os
from letterlock.host.privileges import drop_to
drop_to("nobody")
assert 0 not in (*os.getresuid(), *os.getresgid(), *os.getgroups()), os.getresuid()
for regain in (os.setuid, os.setgid, os.seteuid):
    try:
        regain(0)
    except PermissionError:
        continue
    raise SystemExit("regained")
assert "NoNewPrivs:\\t1" in open("/proc/self/status").read()
print("dropped")
"""

_INHERIT = """
import os
from letterlock.host.inherit import inherited_sockets
found = inherited_sockets({**os.environ, "LISTEN_PID": str(os.getpid())})
(taken,) = found["smtp"]
print(taken.getsockname()[1])
"""


def test_root_is_given_up_for_good() -> None:
    """As root: no identity of root is left and none can be had again. As anybody else: a SettingsFault says so."""
    if os.geteuid() == 0:
        done = subprocess.run([sys.executable, "-c", _DROP], capture_output=True, text=True, timeout=30, check=False)
        assert done.stdout == "dropped\n", done.stderr
    else:
        with pytest.raises(SettingsFault, match="root"):
            privileges.drop_to("nobody")


def test_a_user_that_does_not_exist() -> None:
    """The problem names it."""
    with pytest.raises(SettingsFault, match="no-such-user"):
        privileges.drop_to("no-such-user")


def test_sockets_are_taken_over() -> None:
    """A listening socket on descriptor 3 with the name smtp."""
    from letterlock.host.listen import bind

    bound = bind("127.0.0.1", 0)
    bound.listen()
    with bound:
        process = subprocess.run(
            [sys.executable, "-c", _INHERIT],
            preexec_fn=lambda: os.dup2(bound.fileno(), 3, inheritable=True),
            pass_fds=(3,) if bound.fileno() == 3 else (),
            close_fds=False,
            env={**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "smtp"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert process.stdout == f"{bound.getsockname()[1]}\n", process.stderr


def test_sockets_for_another_process_are_left_alone() -> None:
    """LISTEN_PID names who they are for."""
    assert inherited_sockets({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) == {}
    assert inherited_sockets({}) == {}
