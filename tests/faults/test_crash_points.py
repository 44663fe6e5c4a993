"""The crash-point sweep: every write and sync of a series of changes fails, or is where the process dies, one by one.

The n-th call of each kind in each thread is made to fail (EIO, ENOSPC) or to kill, for n = 1, 2, ... until the series
runs through. Afterwards the store is opened as usual and must look as after the acknowledged steps, or one more.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.script_writer import NOW, SETTINGS, models, picture
from letterlock.host.clock import SetClock
from letterlock.store.check import check_store
from letterlock.store.engine import StoreSettings, open_store

CALLS = ("fdatasync", "fsync", "pwritev2", "pwrite64", "ftruncate", "fallocate", "unlink", "mkdir")
FAULTS = ("error=EIO", "error=ENOSPC", "signal=SIGKILL")


def run(command: list[str]) -> subprocess.CompletedProcess[bytes]:
    tests = Path(__file__).parents[1]
    return subprocess.run(command, cwd=tests, capture_output=True, timeout=60, check=False)


async def sweep(folder: Path, call: str, fault: str, stride: int, series: str = "steps") -> int:
    """Let every `stride`-th call fail in turn; return how many runs met their fault."""
    pictures = await models(series)
    met = 0
    for count in range(1, 1000, stride):
        store_folder, trace = folder / f"{call}{count}", folder / "trace"
        command = ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={call}"]
        command += ["-e", f"inject={call}:{fault}:when={count}", sys.executable, "-m", "fakes.script_writer"]
        ended = run([*command, str(store_folder), series])
        said = ended.stdout.decode().split()
        assert b"Traceback" not in ended.stderr, ended.stderr.decode()
        steps = [int(word) for word in said if word.isdigit()]
        acknowledged = steps[-1] if steps else 0
        store = await open_store(StoreSettings(store_folder, **SETTINGS), clock=SetClock(NOW))
        found = await picture(store)
        await store.close()
        assert check_store(store_folder).faults == ()
        assert found in pictures[acknowledged : acknowledged + 2], (call, fault, count, acknowledged)
        said_of_it = trace.read_text()
        if "(INJECTED)" not in said_of_it and "killed by SIGKILL" not in said_of_it:
            assert (said[-1:], ended.returncode) == (["closed"], 0)
            break
        met += 1
    return met


@pytest.mark.interop
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_sample_of_crash_points(tmp_path: Path, fault: str) -> None:
    assert await sweep(tmp_path, "fdatasync", fault, 9) > 0
    assert await sweep(tmp_path, "pwritev2", fault, 9) > 0
    assert await sweep(tmp_path, "fallocate", fault, 1) > 0
    assert await sweep(tmp_path, "rename", fault, 1, "reclaiming") == 2


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_every_crash_point(tmp_path: Path, call: str, fault: str) -> None:
    assert await sweep(tmp_path, call, fault, 1) > 0


@pytest.mark.slow
@pytest.mark.parametrize("call", (*CALLS, "rename"))
@pytest.mark.parametrize("fault", FAULTS)
async def test_every_crash_point_of_giving_room_back(tmp_path: Path, call: str, fault: str) -> None:
    met = await sweep(tmp_path, call, fault, 1, "reclaiming")
    logging.getLogger(__name__).warning("%s, %s: %d points", call, fault, met)  # -rP shows it
    assert met > 0
