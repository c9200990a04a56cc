"""Fill thin holes smoothly from their edges: membrane, thin plate, and OpenCV's two marching fills."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

__all__ = ["biharmonic", "harmonic", "navier_stokes", "telea"]

PULL = 1e-7  # towards the mean, so that what nothing reaches has a value at all


def harmonic(image: Array, hole: Array, valid: Array) -> Array:
    """Fill a hole with the membrane through its edge: each pixel is the mean of its neighbours.

    Parameters
    ----------
    image : (H, W, C) float32
    hole : (H, W) bool
        What to fill.
    valid : (H, W) bool
        Pixels that may be looked at. The rest, and what lies outside the picture, has no say.

    Returns
    -------
    (H, W, C) float32, equal to `image` outside the hole.
    """
    return _solved(image, hole, valid, plate=False)


def biharmonic(image: Array, hole: Array, valid: Array) -> Array:
    """Fill a hole with the thin plate through its edge: as harmonic, but slopes go on as well.

    Minimises the squared Laplacian over the hole and the pixels beside it (as scikit-image's
    inpaint_biharmonic does inside the picture; Damelin and Hoang, 2018).
    """
    return _solved(image, hole, valid, plate=True)


def _solved(image: Array, hole: Array, valid: Array, plate: bool) -> Array:
    """Solve for the hole's pixels: Laplacian zero, or least in the sense of squares."""
    from scipy import sparse
    from scipy.sparse.linalg import splu

    inner = np.pad(hole, 1)
    there = inner | np.pad(valid, 1)
    rows = inner
    if plate:
        rows = (cv2.dilate(inner.astype(np.uint8), _cross()) > 0) & there
    unknown, rows = np.flatnonzero(inner), np.flatnonzero(rows)
    laplacian = _laplacian(rows, there)
    given = np.where((there & ~inner)[:, :, None], np.pad(image, ((1, 1), (1, 1), (0, 0))), 0)
    given = np.nan_to_num(given.reshape(-1, image.shape[2])).astype(np.float64)
    matrix, wanted = laplacian[:, unknown], -(laplacian @ given)
    if plate:
        matrix, wanted = matrix.T @ matrix, matrix.T @ wanted
    seen = image[valid]
    level = seen.mean(0, dtype=np.float64) if len(seen) else 0.0
    pull = PULL**2 if plate else PULL
    matrix = (matrix + pull * sparse.identity(len(unknown))).tocsc()
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0, options={"SymmetricMode": True})
    result = image.copy()
    result[hole] = factors.solve(wanted + pull * level)
    return result


def _laplacian(rows: Array, there: Array) -> Any:
    """Return the graph Laplacian (len(rows), H * W) of the pixels that are there, at the given ones."""
    from scipy import sparse

    width = there.shape[1]
    beside = rows[:, None] + np.array([-width, -1, 1, width])
    linked = there.ravel()[beside]
    line = np.broadcast_to(np.arange(len(rows))[:, None], beside.shape)
    values = np.concatenate([-np.ones(int(linked.sum())), linked.sum(1).astype(np.float64)])
    places = np.concatenate([line[linked], np.arange(len(rows))]), np.concatenate([beside[linked], rows])
    return sparse.csc_array((values, places), shape=(len(rows), there.size))


def _cross() -> Array:
    return np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def telea(image: Array, hole: Array, valid: Array) -> Array:
    """Fill a hole by fast marching (Telea, JGT 2004), as OpenCV does it, in floats whatever the type."""
    return _marched(image, hole, valid, cv2.INPAINT_TELEA)


def navier_stokes(image: Array, hole: Array, valid: Array) -> Array:
    """Fill a hole along isophotes (Bertalmio et al., CVPR 2001), as OpenCV does it, in floats."""
    return _marched(image, hole, valid, cv2.INPAINT_NS)


def _marched(image: Array, hole: Array, valid: Array, how: int, radius: float = 5) -> Array:
    """Run OpenCV's inpaint on each channel; Telea's weights expect values up to 255."""
    empty = (hole | ~valid).astype(np.uint8)
    result = image.copy()
    for c in range(image.shape[2]):
        plane = np.where(empty > 0, np.float32(0), image[:, :, c] * np.float32(255))
        filled = cv2.inpaint(plane, empty, radius, how)
        result[:, :, c][hole] = filled[hole] / np.float32(255)
    return result
