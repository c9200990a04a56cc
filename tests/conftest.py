"""Shared fixtures, and a count of the GPU cases that were not run."""

from __future__ import annotations

import importlib.util

import pytest

HAS_GPU = False
if importlib.util.find_spec("cupy") is not None:
    from composer.backend.device import gpu_problem

    HAS_GPU = gpu_problem() is None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not HAS_GPU:
        skip = pytest.mark.skip(reason="no CUDA device")
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(skip)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    gpu = sum("gpu" in getattr(report, "keywords", ()) for report in skipped)  # whole modules have none
    if gpu:
        terminalreporter.write_line(f"{gpu} GPU cases were not run: no CUDA device here")
