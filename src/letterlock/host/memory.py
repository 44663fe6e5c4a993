"""Keep the process small: tell the C library's allocator to give memory back.

glibc keeps an arena a thread and learns to keep large blocks once one was freed, so that one large message would stay
paid for. With two arenas and fixed thresholds a server that has carried a 2 MB letter idles at two thirds of the memory.
Where the C library is another one, nothing is done.
"""

from __future__ import annotations

import contextlib
import ctypes

# mallopt(3)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def give_back_now() -> None:
    """Give what the allocator keeps unused back to the system; other threads go on meanwhile."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def give_memory_back(*, arenas: int = 2, threshold_octets: int = 512 * 1024) -> bool:
    """Set the allocator's limits for this process; return whether it has any."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    options = ((_M_ARENA_MAX, arenas), (_M_MMAP_THRESHOLD, threshold_octets), (_M_TRIM_THRESHOLD, threshold_octets))
    return all(mallopt(option, value) for option, value in options)
