"""The lens: Hugin's radial polynomial and its inverse."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.errors import ComposerError

Array = NDArray[Any]

__all__ = ["pixel_to_plane", "polynomial"]


Distortion = tuple[float | Array, float | Array, float | Array]


def polynomial(r: Array, distortion: Distortion) -> tuple[Array, Array]:
    """Return g(r) = a r^3 + b r^2 + c r + 1 - a - b - c and its derivative; a, b, c one or one a point."""
    a, b, c = distortion
    return ((a * r + b) * r + c) * r + (1 - a - b - c), (3 * a * r + 2 * b) * r + c


def pixel_to_plane(points: Array, distortion: Distortion, half_px: float | Array) -> Array:
    """Undo radial distortion: (N, 2) pixels from the centre to the ideal plane, by Newton's method.

    Raises
    ------
    ComposerError
        The polynomial folds back before it reaches a point.
    """
    seen = np.hypot(points[:, 0], points[:, 1]) / half_px
    r = seen.copy()
    for _ in range(12):
        g, slope = polynomial(r, distortion)
        fall = g + r * slope
        if (fall <= 0.05).any():
            raise ComposerError("the lens polynomial folds back inside the photograph")
        r = r - (r * g - seen) / fall
    return points * np.where(seen > 1e-9, r / np.maximum(seen, 1e-9), 1)[:, None]
