"""A second host on this machine: a network namespace behind a veth pair, which can be cut off in several ways. Needs root."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import random
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")
_NUMBERS = itertools.count()
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_FILTER = "table inet fault {{ chain arriving {{ type filter hook input priority 0; {rule}; }}; {more} }}"


class OtherHost:
    """The namespace. Addresses: `here` is this machine's end, `there` the other's."""

    def __init__(self, name: str, here: str, there: str) -> None:
        self.name, self.here, self.there = name, here, there

    def inside(self, make: Callable[[], T]) -> T:
        """Call `make` in a thread that is in the namespace: sockets made there belong to it for good."""
        made: list[T] = []

        def run() -> None:
            with open(f"/run/netns/{self.name}", "rb") as namespace:  # noqa: PTH123 - its descriptor is what counts
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _NEW_NETWORK):
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(make())

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return made[0]

    def connect(self, port: int) -> socket.socket:
        """Connect from there to a port here."""
        return self.inside(lambda: socket.create_connection((self.here, port), timeout=20))

    def listen(self) -> socket.socket:
        """Listen there."""
        return self.inside(lambda: socket.create_server((self.there, 0)))

    def cut(self) -> None:
        """Drop everything, both ways."""
        self._filter("policy drop", "chain leaving { type filter hook output priority 0; policy drop; };")

    def cut_arriving(self) -> None:
        """Drop what comes from here; what is said there still arrives."""
        self._filter("policy drop")

    def reset(self) -> None:
        """Answer everything that comes from here with a reset."""
        self._filter("meta l4proto tcp reject with tcp reset")

    def lose(self, percent: int) -> None:
        """Drop so many of a hundred packets from here."""
        self._filter(f"numgen random mod 100 < {percent} drop")

    def slow_down(self, kilobits: int) -> None:
        """Let no more than so many kilobits a second leave."""
        _run("ip", "netns", "exec", self.name, "tc", "qdisc", "add", "dev", "there", "root", "tbf", "rate",
             f"{kilobits}kbit", "burst", "1600", "limit", "60000")  # fmt: skip

    def heal(self) -> None:
        """Let everything through again."""
        _run("ip", "netns", "exec", self.name, "nft", "flush", "ruleset")

    def _filter(self, rule: str, more: str = "") -> None:
        _run("ip", "netns", "exec", self.name, "nft", "-f", "-", given=_FILTER.format(rule=rule, more=more))


@contextlib.contextmanager
def other_host() -> Iterator[OtherHost]:
    """Make one, and remove it."""
    name = f"letterlock-{os.getpid()}-{random.randrange(10_000)}"
    # RFC 2544 appendix C.2.2: addresses for tests of networks, four for each host.
    block, quarter = random.randrange(256), random.randrange(64) * 4
    here, there = f"198.18.{block}.{quarter + 1}", f"198.18.{block}.{quarter + 2}"
    ours = f"ll{os.getpid() % 100_000}-{next(_NUMBERS)}"  # none twice: the system takes its time to remove one
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", ours, "type", "veth", "peer", "name", "there", "netns", name)
        _run("ip", "addr", "add", f"{here}/30", "dev", ours)
        _run("ip", "link", "set", ours, "up")
        _run("ip", "-n", name, "addr", "add", f"{there}/30", "dev", "there")
        _run("ip", "-n", name, "link", "set", "there", "up")
        yield OtherHost(name, here, there)
    finally:
        _run("ip", "netns", "del", name)


def _run(*command: str, given: str = "") -> None:
    subprocess.run(command, input=given.encode(), check=True, capture_output=True, timeout=30)
