"""What is installed and what this machine has."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata

from composer.backend.cores import usable_cores
from composer.backend.device import gpu_problem

__all__ = ["Finding", "examine"]

CORE = (
    "numpy", "scipy", "scikit-image", "pillow", "tifffile", "typer", "rich", "array-api-compat",
    "threadpoolctl",
)  # fmt: skip
OPENCV = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
EXTRAS = {
    "onnxruntime": "onnx",
    "torch": "learn",
    "stlpips-pytorch": "metrics",
    "lensfunpy": "lens",
    "distributed": "dist",
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `good` is True, False (a fault), or None (optional and absent)."""

    what: str
    good: bool | None
    said: str


def examine() -> list[Finding]:
    """Look at Python, packages, OpenCV wheels, GPU, cores and memory."""
    found = [
        Finding("composer", True, _version("composer-cv") or "not installed, run from a folder"),
        Finding("python", sys.version_info >= (3, 11), platform.python_version()),
        Finding("machine", True, f"{platform.system()} {platform.machine()}"),
    ]
    for name in CORE:
        version = _version(name)
        found.append(Finding(name, version is not None, version or f"missing; pip install {name}"))
    found.append(_opencv())
    for name, extra in EXTRAS.items():
        version = _version(name)
        absent = f"not installed; pip install 'composer-cv[{extra}]'"
        found.append(Finding(name, True if version else None, version or absent))
    problem = gpu_problem()
    found.append(Finding("gpu", True if problem is None else None, problem or _gpu_name()))
    found.append(Finding("cores", True, f"{usable_cores()} usable"))
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found.append(Finding("memory", True, f"{pages / 2**30:.1f} GiB"))
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _opencv() -> Finding:
    """Judge OpenCV: four wheels write into the same folder, so two at once break each other."""
    wheels = [f"{name} {version}" for name in OPENCV if (version := _version(name))]
    if len(wheels) > 1:
        return Finding(
            "opencv",
            False,
            f"{' and '.join(wheels)} share one folder; uninstall all of them, "
            "then pip install opencv-python-headless",
        )
    try:
        version = str(importlib.import_module("cv2").__version__)
    except ImportError as error:
        return Finding("opencv", False, f"cannot be imported ({error}); pip install opencv-python-headless")
    if version.startswith("4.13"):
        return Finding(
            "opencv", False, f"{version} warps wrongly; pip install 'opencv-python-headless!=4.13.*'"
        )
    return Finding("opencv", True, wheels[0] if wheels else version)


def _gpu_name() -> str:
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(0)
    memory = properties["totalGlobalMem"] / 2**30
    return f"{properties['name'].decode()}, {memory:.0f} GiB, CuPy {cupy.__version__}"
