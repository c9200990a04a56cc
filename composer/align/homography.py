"""The homography between two photographs, and whether to believe it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

__all__ = ["Pair", "find_homography"]


def _none() -> Array:
    return np.zeros((0, 2))


@dataclass(frozen=True)
class Pair:
    """Two photographs that show the same thing.

    `points_i`, `points_j` (N, 2) are corresponding points in full pixels, `matrix` takes points of
    photo i to photo j, `matched` counts the descriptor matches that the N were found among, and `rest_i`,
    `rest_j` (M, 2) are those of them that the homography does not explain.
    """

    i: int
    j: int
    points_i: Array
    points_j: Array
    matrix: Array
    matched: int
    rest_i: Array = field(default_factory=_none)
    rest_j: Array = field(default_factory=_none)


def find_homography(
    points_i: Array, points_j: Array, threshold_px: float, finer: float = 1.0
) -> tuple[Array, Array] | None:
    """Fit a homography robustly (MAGSAC++, Barath et al., CVPR 2020).

    Photo j's pixels are `finer` times as many across as photo i's of the same view: it says how large things
    may be expected to be.

    Returns
    -------
    matrix (3, 3) and inliers (N,) bool; None where the matches do not support one. The test is
    Brown and Lowe's (IJCV 2007, eq. 9) with the stricter constants of their first version
    (ICCV 2003): more than 8 + 0.3 N inliers among N matches.
    """
    if len(points_i) < 8:
        return None
    matrix, inliers = cv2.findHomography(
        points_i, points_j, cv2.USAC_MAGSAC, threshold_px, maxIters=4000, confidence=0.9995
    )
    if matrix is None:
        return None
    inside = inliers.ravel() > 0
    if inside.sum() <= 8 + 0.3 * len(points_i) or not _plausible(matrix, points_i[inside], finer):
        return None
    return matrix, inside


def _plausible(matrix: Array, points: Array, finer: float) -> bool:
    """Tell whether a homography keeps orientation and area (within 16 times) over the points used."""
    low, high = points.min(0), points.max(0)
    corners = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    mapped = np.c_[corners, np.ones(4)] @ matrix.T
    if (mapped[:, 2] <= 0).any() and (mapped[:, 2] >= 0).any():
        return False
    mapped = mapped[:, :2] / mapped[:, 2:]
    growth = _area(mapped) / max(_area(corners) * finer**2, 1e-9)
    return bool(1 / 16 < growth < 16)


def _area(quad: Array) -> float:
    """Return the signed area of a polygon (shoelace formula)."""
    x, y = quad.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
