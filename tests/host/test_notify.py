"""Readiness, as systemd hears it."""

import socket
from pathlib import Path

from letterlock.host.notify import notify


def test_the_state_arrives(tmp_path: Path) -> None:
    """One datagram a state."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(name)
        notify(name, "READY=1")
        assert supervisor.recv(100) == b"READY=1"


def test_nobody_listening_is_no_fault(tmp_path: Path) -> None:
    """A server starts without a supervisor, too."""
    assert notify(None, "READY=1") is None
    assert notify(str(tmp_path / "nowhere"), "READY=1") is None


def test_a_supervisor_that_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    """What it has no room for is lost, and the caller goes on."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(name)
        for _ in range(1000):
            notify(name, "WATCHDOG=1")
        supervisor.setblocking(False)
        heard = 0
        while heard < 1000:
            try:
                assert supervisor.recv(100) == b"WATCHDOG=1"
            except BlockingIOError:
                break
            heard += 1
        assert 0 < heard < 1000
