"""Devices: which one to use, and arrays to it and from it."""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

import numpy as np

from composer.errors import DeviceError

__all__ = ["check_device", "gpu_problem", "resolve_device", "to_device", "to_numpy"]

_log = logging.getLogger("composer")


def gpu_problem() -> str | None:
    """Return why no GPU can be used, in one sentence; None when one can."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed; install composer-cv[gpu13] (or gpu12 for CUDA 12)"
    try:
        import cupy

        if cupy.cuda.runtime.getDeviceCount() < 1:
            return "CuPy finds no CUDA device"
        (cupy.ones(1) + 1).get()
    except Exception as error:  # noqa: BLE001 - a broken driver raises whatever it likes
        return f"CuPy cannot use the GPU ({type(error).__name__}: {error})"
    return None


def check_device(device: str) -> None:
    """Check that a device is "auto", "cpu" or "cuda".

    Raises
    ------
    DeviceError
    """
    if device not in ("auto", "cpu", "cuda"):
        raise DeviceError(f'device is "{device}"; give auto, cpu or cuda')


def resolve_device(device: str) -> str:
    """Turn "auto", "cpu" or "cuda" into "cpu" or "cuda".

    "auto" is the CPU: a GPU's driver and kernels take a second or more to start, most jobs not much longer,
    and nothing was measured yet that tells from which size on it wins.

    Raises
    ------
    DeviceError
        "cuda" was asked for and cannot be used, or the name is unknown.
    """
    check_device(device)
    if device == "auto" and importlib.util.find_spec("cupy") is not None:
        _log.info("device: cpu (CuPy is installed: device cuda renders on a GPU)")
    if device != "cuda":
        return "cpu"
    problem = gpu_problem()
    if problem is not None:
        raise DeviceError(f"device cuda cannot be used: {problem}; or use device cpu")
    _log.info("device: cuda")
    return "cuda"


def to_device(array: Any, device: str) -> Any:
    """Move an array to "cpu" (NumPy) or "cuda" (CuPy)."""
    if device == "cpu":
        return to_numpy(array)
    import cupy

    return cupy.asarray(array)


def to_numpy(array: Any) -> Any:
    """Return any array as NumPy."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "get"):
        return array.get()
    return np.asarray(array)
