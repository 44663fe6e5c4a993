"""Power cuts on real file systems: what was acknowledged survives a disk that stops without writing its journal.

A loop-mounted ext4 or xfs is shut down (FS_IOC_SHUTDOWN, journal not flushed) under load, the writer killed, the file
system mounted again and the store compared with what was acknowledged before the cut. The control runs the same writer
under libeatmydata, which makes every sync a lie: it must lose mail, or the oracle is blind. Needs root.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fakes.fault_writer import Oracle

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN
_NO_LOG_FLUSH = 2
_TESTS = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@contextmanager
def disk(folder: Path, kind: str) -> Iterator[Path]:
    """Make a file system in a file; yield the folder it is mounted on by `mounted`."""
    image, mount = folder / "image", folder / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate((400 if kind == "xfs" else 200) << 20)
    subprocess.run([f"mkfs.{kind}", "-q", str(image)], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False, stderr=subprocess.DEVNULL)


def mounted(mount: Path) -> None:
    subprocess.run(["mount", "-o", "loop", str(mount.parent / "image"), str(mount)], check=True)


def unmounted(mount: Path) -> None:
    subprocess.run(["umount", str(mount)], check=True)


def cut_power(mount: Path) -> None:
    descriptor = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
    finally:
        os.close(descriptor)


def write_until_the_cut(mount: Path, name: str, seconds: float, *, lying: bool) -> bytes:
    """Run a writer, cut the power under it after `seconds` of work, and return what it had said before the cut."""
    environment = dict(os.environ)
    if lying:
        environment["LD_PRELOAD"] = "libeatmydata.so"
    said = mount.parent / "said"
    with said.open("wb") as output:
        command = [sys.executable, "-m", "fakes.fault_writer", str(mount / "store"), name, "6"]
        process = subprocess.Popen(command, cwd=_TESTS, stdout=output, stderr=subprocess.DEVNULL, env=environment)
        deadline = time.monotonic() + 30
        while not said.stat().st_size and time.monotonic() < deadline:
            time.sleep(0.005)  # the writer starts: there is nothing to wait on but its first line
        time.sleep(seconds)
        before = said.read_bytes()  # only what was said before the cut counts
        cut_power(mount)
        process.kill()
        process.wait()
    return before


def rounds(mount: Path, count: int, seed: int, *, lying: bool = False) -> tuple[list[str], int]:
    """Cut the power `count` times; return what was found wrong and how many messages were acknowledged."""
    chance, oracle, faults = random.Random(seed), Oracle(), list[str]()
    for number in range(count):
        mounted(mount)
        oracle.read(write_until_the_cut(mount, f"{seed}.{number}", chance.uniform(0.1, 0.6), lying=lying))
        unmounted(mount)
        mounted(mount)
        faults += asyncio.run(oracle.faults(mount / "store"))
        unmounted(mount)
    return faults, len(oracle.messages)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_power_cut_loses_nothing_acknowledged(tmp_path: Path, kind: str) -> None:
    with disk(tmp_path, kind) as mount:
        faults, acknowledged = rounds(mount, 2, 1)
    assert faults == []
    assert acknowledged > 0


def test_without_syncs_the_oracle_finds_losses(tmp_path: Path) -> None:
    with disk(tmp_path, "ext4") as mount:
        faults, acknowledged = rounds(mount, 1, 1, lying=True)
    assert acknowledged > 0
    assert any("is lost" in fault for fault in faults)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_twenty_power_cuts(tmp_path: Path, kind: str) -> None:
    with disk(tmp_path, kind) as mount:
        faults, acknowledged = rounds(mount, 20, 2)
    assert faults == []
    assert acknowledged > 1000
