"""kill -9 at random instants: what was acknowledged is there, once, under its UID."""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fakes import fault_writer
from fakes.fault_writer import Oracle

WRITER = fault_writer.__file__


def run_until_killed(folder: Path, name: str, seconds: float, *, after_first_line: bool) -> bytes:
    """Start a writer, kill it `seconds` after its start or its first line, and return what it said."""
    process = subprocess.Popen([sys.executable, WRITER, str(folder), name, "6"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    output = b""
    end = time.monotonic() + (30 if after_first_line else seconds)
    started = not after_first_line
    while (left := end - time.monotonic()) > 0:
        ready, _, _ = select.select([process.stdout], [], [], left)
        if ready:
            chunk = os.read(process.stdout.fileno(), 1 << 16)
            assert chunk, "the writer ended by itself"
            output += chunk
            if not started:
                started, end = True, time.monotonic() + seconds
    process.kill()
    output += process.stdout.read()
    process.stdout.close()
    process.wait()
    return output


async def rounds(folder: Path, count: int, seed: int) -> int:
    """Run `count` rounds; return how many messages were acknowledged."""
    chance = random.Random(seed)
    oracle = Oracle()
    acknowledged = 0
    for number in range(count):
        if number % 10 == 9:  # a store of its own again, so that checking stays quick
            acknowledged += len(oracle.messages)
            oracle, folder = Oracle(), folder.with_name(f"store{number}")
        early = chance.random() < 0.2  # while it starts, or recovers
        seconds = chance.uniform(0.1, 0.6) if early else chance.uniform(0.01, 0.4)
        name = f"{seed}.{number}"
        oracle.read(run_until_killed(folder, name, seconds, after_first_line=not early))
        assert await oracle.faults(folder) == [], f"round {number}"
    return acknowledged + len(oracle.messages)


async def test_nothing_acknowledged_is_lost_or_doubled_by_kill(tmp_path: Path) -> None:
    assert await rounds(tmp_path / "store", 4, 1) > 100


@pytest.mark.slow
async def test_a_thousand_kills(tmp_path: Path) -> None:
    assert await rounds(tmp_path / "store", 1000, 2) > 100_000
