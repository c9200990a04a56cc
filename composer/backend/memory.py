"""Memory: how much a job may take by default, and how much the process took."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path

__all__ = ["allowance", "keep_freed", "peak_mb"]

LEAST, MOST = 256 << 20, 4 << 30
_LARGEST, _SPARE = 8 << 20, 16 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


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


def keep_freed() -> None:
    """Have the C library keep up to 16 MiB a thread of what was freed, for the next array.

    Else glibc gives each array of a tile back to the system, which clears its pages before the next one:
    up to a fifth of the CPU time of blending. Other C libraries are left alone. For composer's own processes.
    """
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        mallopt(_M_TRIM_THRESHOLD, _SPARE)
