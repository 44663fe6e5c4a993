"""The allocator's limits."""

import platform
import subprocess
import sys

PROGRAM = """
import sys
from letterlock.host.memory import give_memory_back
if sys.argv[1] == "limited":
    assert give_memory_back()
def resident():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return int(line.split()[1])
before = resident()
for _ in range(3):
    blocks = [bytes(3_000_000) for _ in range(8)]
    keep = bytearray(100_000)
    del blocks
print(resident() - before)
"""


def test_large_blocks_are_given_back() -> None:
    """On glibc, what large messages took is the system's again; elsewhere there is nothing to set."""
    if platform.libc_ver()[0] != "glibc":
        from letterlock.host.memory import give_memory_back

        assert give_memory_back() is False
        return
    told = subprocess.run([sys.executable, "-c", PROGRAM, "limited"], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 6000  # kilobytes
