"""What the machine has: cores, memory, how much of it a job may take, and how much the process took."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path

__all__ = ["allowance", "cores", "keep_freed", "peak_mb"]

LEAST, MOST = 256 << 20, 4 << 30
_SPARE = 64 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def cores() -> int:
    """Return how many cores the process may use."""
    usable = getattr(os, "sched_getaffinity", None)  # Linux
    return len(usable(0)) if usable else os.cpu_count() or 1


def allowance() -> int:
    """Return half of the memory that this machine, or its control group, has left: 256 MiB to 4 GiB."""
    left = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        left = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / name).read_text() for name in ("memory.max", "memory.current"))
        left = min(left, int(limit) - int(used))
    except (OSError, StopIteration, ValueError):
        pass  # not Linux, no such group, or one without a limit
    return min(MOST, max(left // 2, LEAST))


def peak_mb() -> float:
    """Return the process's peak resident memory in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def keep_freed(largest: int = 8 << 20) -> None:
    """Have the C library keep up to 64 MiB a heap of what was freed, for the next array.

    Else glibc gives each array of a tile back to the system, which clears its pages before the next one:
    a fifth of the CPU time of finding features, of blending and of repairing. Threads share as many heaps as
    there are cores, or each new one may leave what it freed in a heap of its own: up to a quarter of the
    memory that stitching takes. Arrays of more than `largest` bytes still go back: photos come and go while
    others stay, and would leave gaps. Other C libraries are left alone. For composer's own processes.
    """
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_M_MMAP_THRESHOLD, largest)
        mallopt(_M_TRIM_THRESHOLD, _SPARE)
        mallopt(_M_ARENA_MAX, cores())
