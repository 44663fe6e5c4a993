"""A served domain under conditions it cannot help: the right reply, nothing lost, nothing bounced, recovery by itself.

The clock jumps by hours, the name server is dead, the disk is slow, or full, or cannot be read. Needs root and programs of
Debian (libfaketime, strace, gcc).
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench._shim import shim
from tests.faults.journey import ANNA, MAIL, RETURNED, octets_for, travel
from tests.faults.load import Conversation, by_data
from tests.faults.served import GONE, QUEUE, RELAYED, Site, kill_group, name_server
from tests.faults.sink import Sink, sink

pytestmark = pytest.mark.interop

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
_SETTLED_SECONDS = 90.0


def relaying(folder: Path, names: str, next_host: Sink) -> Site:
    more = {"transfer": {"relay": next_host.address, "retry_first_seconds": 1, "retry_longest_seconds": 2}}
    return Site(folder, names, services=MAIL.services, more=more, aliases={"onward": "bob@harbor.test"})


def arrive(site: Site, ident: str, recipient: str = ANNA) -> bytes:
    """Send one message and return the reply to it, or to what came before."""
    with site.connect() as connection:
        talk = Conversation(connection)
        for line in (b"MAIL FROM:<x@client.test>\r\n", f"RCPT TO:<{recipient}>\r\n".encode()):
            if not (answer := talk.say(line)).startswith(b"250"):
                return answer
        answer = by_data(talk, octets_for(ident))
    if answer.startswith(b"250"):
        site.expected[ident] = frozenset({"anna/INBOX"} if recipient == ANNA else {RELAYED})
    return answer


def settled(site: Site, next_host: Sink) -> None:
    """Wait until the next host has what is owed to it, and expect it to be gone from here."""
    owed = [ident for ident, places in site.expected.items() if RELAYED in places]
    deadline = time.monotonic() + _SETTLED_SECONDS
    while missing := [ident for ident in owed if not next_host.taken[ident]]:
        assert time.monotonic() < deadline, f"{missing} were not sent on"
        time.sleep(0.05)  # the queue works
    for ident, places in site.expected.items():
        if RELAYED in places:
            site.expected[ident] = frozenset({GONE})
        elif RETURNED in places:
            site.expected[ident] = frozenset({"anna/INBOX"})


def tried_again(next_host: Sink) -> None:
    """Wait until the next host is asked once more about a recipient that it does not take now."""
    before, deadline = next_host.put_off, time.monotonic() + _SETTLED_SECONDS
    while next_host.put_off == before:
        assert time.monotonic() < deadline, "what waits is not tried again"
        time.sleep(0.05)  # the queue works


async def test_a_clock_that_jumps_by_hours_and_days(tmp_path: Path) -> None:
    """Forward, back behind where it was, and ahead by days: mail comes in and goes out; what waits is told as late, not
    returned, and is tried again whatever the clock said when it was put off.
    """
    offset = tmp_path / "offset"
    offset.write_text("+0")
    environment = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1",
                   "FAKETIME_DONT_FAKE_MONOTONIC": "1"}  # fmt: skip
    with name_server() as names, sink() as next_host:
        site = relaying(tmp_path / "site", names, next_host)
        with site.served(environment=environment):
            travel(site, MAIL.steps)
            assert len(site.expected) == 9
            for number, jump in enumerate(("+7h", "-9h", "+0", "+10d")):
                offset.write_text(jump)
                assert arrive(site, f"local{number}").startswith(b"250")
                assert arrive(site, f"onward{number}", "onward@rosewood.test").startswith(b"250")
                settled(site, next_host)
                tried_again(next_host)
    del site.expected["late"]
    assert [fault for fault in await site.faults() if not fault.startswith("late ")] == []
    assert sorted((await site.contents())["late"]) == ["anna/INBOX", QUEUE]


async def test_a_dead_name_server(tmp_path: Path) -> None:
    """What needs no names is done, the rest waits, and goes out when names can be looked up again."""
    with sink() as next_host, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        host, port = silent.getsockname()
        site = relaying(tmp_path / "site", f"{host}:{port}", next_host)
        with site.served():
            replies = [arrive(site, f"n{number}", who) for number, who in enumerate((ANNA, "onward@rosewood.test"))]
        assert all(answer[:1] in (b"2", b"4") for answer in replies), replies
        assert await site.faults() == []
        with name_server() as names:
            file = site.folder / "letterlock.toml"
            file.write_text(file.read_text().replace(f"{host}:{port}", names))
            with site.served():
                assert arrive(site, "after").startswith(b"250")
                settled(site, next_host)
    assert await site.faults() == []


async def test_a_slow_disk(tmp_path: Path) -> None:
    """Each sync takes a fifth of a second more: the whole journey is made, only later."""
    with name_server() as names, sink() as next_host:
        site = relaying(tmp_path / "site", names, next_host)
        with site.served(environment=shim(tmp_path, 200)):
            travel(site, MAIL.steps)
            assert len(site.expected) == 9
            settled(site, next_host)
    assert await site.faults() == []


async def test_a_disk_that_cannot_be_read(tmp_path: Path) -> None:
    """EIO when content is read: nobody is told that it is gone, and what could not be read for sending waits."""
    with name_server() as names, sink() as next_host:
        site = relaying(tmp_path / "site", names, next_host)
        inject = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=preadv2,preadv,pread64", "-e",
                  "inject=preadv2,preadv:error=EIO:when=1+")  # fmt: skip
        process = site.start(*inject)
        site.up(process)
        travel(site, MAIL.steps)
        kill_group(process)
        assert {"data", "relay", "append"} <= site.expected.keys()
        with site.served():
            settled(site, next_host)
    assert await site.faults() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(tmp_path)], check=True)
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


async def test_a_full_disk(small_disk: Path) -> None:
    """452 and NO, a start that is not blocked, and mail again as soon as there is room."""
    ballast = small_disk / "ballast"
    with name_server() as names, sink() as next_host:
        site = relaying(small_disk / "site", names, next_host)
        with site.served():
            assert arrive(site, "before").startswith(b"250")
            _fill(ballast)
            refused = await asyncio.to_thread(_until, site, "full", b"4")
            assert refused.startswith(b"452 4.3.1"), refused
        with site.served():
            assert arrive(site, "still full").startswith(b"452 4.3.1")
            ballast.unlink()
            taken = await asyncio.to_thread(_until, site, "room", b"2")
            assert taken.startswith(b"250")
    assert await site.faults() == []


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while shutil.disk_usage(path.parent).free:
            file.write(bytes(min(1 << 20, shutil.disk_usage(path.parent).free)))


def _until(site: Site, name: str, code: bytes) -> bytes:
    """Send messages until one is answered with the kind of code; return that answer."""
    for number in range(300):
        if (answer := arrive(site, f"{name}{number}")).startswith(code):
            return answer
        time.sleep(0.05)  # the server looks for room from time to time
    raise AssertionError(answer)
