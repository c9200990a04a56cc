"""What a result must name: machine, system, package versions, date, commit. Imports nothing large."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from peer import versions

REPOSITORY = Path(__file__).resolve().parent.parent


def facts() -> dict[str, Any]:
    """Return machine, versions, date and commit as plain values."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": commit(),
        "machine": {
            "cpu": _cpu(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "os": platform.platform(),
            "load": round(os.getloadavg()[0], 2),
        },
        "versions": versions(),
    }


def commit() -> dict[str, Any]:
    """Return the commit and whether tracked or new files (results apart) differ from it."""
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results")
    return {"commit": _git("rev-parse", "HEAD"), "dirty": None if changed is None else bool(changed)}


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
