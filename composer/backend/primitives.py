"""The table of primitives: each has a CPU form and a GPU form, chosen by the array it is given.

What lies above is written once over the array's own namespace. Arrays of another library (in tests
array-api-strict) go through NumPy.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

from composer.backend import cpu

__all__ = [
    "choose",
    "dct",
    "distance_transform",
    "dst",
    "fft",
    "gaussian",
    "label",
    "lookup",
    "namespace",
    "pyr_down",
    "pyr_up",
    "remap",
    "resize",
    "split_alpha",
    "weighted",
]


def namespace(*arrays: Any) -> Any:
    """Return the array API namespace of the arrays."""
    if all(isinstance(a, np.ndarray) for a in arrays):
        return np
    return array_api_compat.array_namespace(*arrays)


def _is_cupy(array: Any) -> bool:
    """Tell whether an array lives on the GPU, without importing CuPy."""
    return "cupy" in sys.modules and array_api_compat.is_cupy_array(array)


def _run(name: str, *arrays: Any, **options: Any) -> Any:
    """Run a primitive on the device where its first array lives."""
    if isinstance(arrays[0], np.ndarray):
        return getattr(cpu, name)(*arrays, **options)
    if _is_cupy(arrays[0]):
        from composer.backend import gpu

        return getattr(gpu, name)(*arrays, **options)
    xp: ModuleType = namespace(arrays[0])
    found = getattr(cpu, name)(*(np.asarray(a) for a in arrays), **options)
    if isinstance(found, tuple):
        return tuple(xp.asarray(f) if isinstance(f, np.ndarray) else f for f in found)
    return xp.asarray(found)


def remap(image: Any, u: Any, v: Any, linear: bool = False) -> Any:
    """Sample an image at (u, v) by bicubic interpolation (a = -0.75) or bilinear, edges repeated.

    Parameters
    ----------
    image : (H, W, C) uint8, uint16 or float32
    u, v : (h, w) float32, columns and rows

    Returns
    -------
    (h, w, C) of the image's type; integer types are rounded and clipped.
    """
    return _run("remap", image, u, v, linear=linear)


def lookup(image: Any, table: Any) -> Any:
    """Replace (h, w, C) uint8 or uint16 codes by `table` (256 or 65536, C) float32, channel by channel.

    The table is a NumPy array on every device.
    """
    return _run("lookup", image, table=table)


def choose(mask: Any, image: Any, other: Any) -> Any:
    """Return (h, w, C) float32: `image` where the (h, w) mask is True, else `other`."""
    return _run("choose", mask, image, other)


def split_alpha(image: Any) -> tuple[Any, Any]:
    """Take (h, w, C + 1) apart: the colours (h, w, C) and the last plane (h, w)."""
    found: tuple[Any, Any] = _run("split_alpha", image)
    return found


def weighted(image: Any, weight: Any) -> Any:
    """Multiply (h, w, C) float32 by a plane (h, w) float32."""
    return _run("weighted", image, weight)


def pyr_down(image: Any) -> Any:
    """Blur (H, W[, C]) float32 by [1 4 6 4 1]/16 and keep every other pixel: ((H+1)/2, (W+1)/2[, C]).

    Burt and Adelson, 1983; edges mirrored without repeating the edge pixel.
    """
    return _run("pyr_down", image)


def pyr_up(image: Any, shape: tuple[int, int]) -> Any:
    """Double (h, w[, C]) float32 to `shape` by the kernel of `pyr_down`, times four."""
    return _run("pyr_up", image, shape=shape)


def gaussian(image: Any, sigma: float) -> Any:
    """Blur (H, W[, C]) float32 by a Gaussian cut off at 3 sigma; edges mirrored without the edge pixel."""
    return _run("gaussian", image, sigma=sigma)


def resize(image: Any, shape: tuple[int, int]) -> Any:
    """Resize (H, W[, C]) float32 to `shape` by bilinear interpolation, pixel edges in place."""
    return _run("resize", image, shape=shape)


def dct(array: Any, axis: int, inverse: bool = False) -> Any:
    """Discrete cosine transform of type 2 (inverse: its inverse) along an axis, orthonormal."""
    return _run("dct", array, axis=axis, inverse=inverse)


def dst(array: Any, axis: int, inverse: bool = False) -> Any:
    """Discrete sine transform of type 1 (inverse: its inverse) along an axis, orthonormal."""
    return _run("dst", array, axis=axis, inverse=inverse)


def fft(array: Any, inverse: bool = False) -> Any:
    """Two-dimensional FFT over the first two axes (inverse: its inverse)."""
    return _run("fft", array, inverse=inverse)


def distance_transform(mask: Any) -> Any:
    """Return each pixel's distance (float32) to the nearest pixel where the (H, W) mask is False.

    Infinite where the mask is False nowhere.
    """
    return _run("distance_transform", mask)


def label(mask: Any) -> tuple[Any, int]:
    """Number the 4-connected regions of an (H, W) mask from 1; returns labels (int32) and their count."""
    found: tuple[Any, int] = _run("label", mask)
    return found
