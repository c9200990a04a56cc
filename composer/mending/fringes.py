"""Fringes by lateral colour: red and blue drawn at another scale than green, found and undone.

A lens enlarges colours differently, so that edges far from the middle have fringes along the radius. One
factor for red and one for blue, measured at edges, undo it; nothing is desaturated.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.media.picture import as_float, as_stored
from composer.records import Fault, Rect

Array = NDArray[Any]

__all__ = ["find_fringes", "measured", "rescaled"]

SQUARE = 48  # pixels of a square whose edges are measured together
ENOUGH = 16  # squares
FURTHEST = 4.0  # pixels, in the corners, that are believed
APART = (0.0, -1.5, 1.5, -3.0, 3.0)  # pixels, in the corners, from which the measurement sets out
ROUNDS = 4
ALIKE = 0.8  # correlation of a square's colours from which it can be measured
CONTRAST = 2e-5  # variance of its detail from which it can
LEAST = 0.35  # pixels apart in the corners that count as a fault
SURE = 4.0  # times its own error that a factor must be


def find_fringes(pixels: Array, valid: Array | None = None) -> list[Fault]:
    """Find fringes of (H, W, C) float32 0..1; strength is by how many pixels colours part in the corners."""
    height, width = pixels.shape[:2]
    if pixels.shape[2] != 3:
        return []
    factors = measured(pixels, valid)
    far = float(max(abs(f) for f in factors) * np.hypot(height, width) / 2)
    return [Fault("fringe", Rect(0, 0, width, height), min(1.0, far), strength=far)] if far >= LEAST else []


def measured(pixels: Array, valid: Array | None = None) -> tuple[float, float]:
    """Return by which part red and blue are larger than green, 0 where it cannot be told."""
    seen = np.ones(pixels.shape[:2], bool) if valid is None else valid
    found, green = [], pixels[:, :, 1]
    for channel in (0, 2):
        factor, error = _begun(pixels[:, :, channel], green), np.inf
        for _ in range(ROUNDS):
            moved = _scaled(pixels[:, :, channel], factor)
            step, error = _step(moved, green, seen)
            factor += step
        found.append(factor if abs(factor) > SURE * error else 0.0)
    return found[0], found[1]


def rescaled(pixels: Array, factors: tuple[float, float]) -> Array:
    """Return the picture (H, W, 3), of any type, with red and blue drawn at green's scale."""
    planes = [pixels[:, :, k] for k in range(3)]
    for channel, factor in zip((0, 2), factors, strict=True):
        if factor:
            planes[channel] = as_stored(_scaled(as_float(planes[channel]), factor), pixels.dtype)
    return np.dstack(planes)


def _begun(plane: Array, green: Array) -> float:
    """Return the part, of a few, by which a channel reduced is most like green."""
    height, width = green.shape
    far, detail = np.hypot(height, width) / 2, _detail(green)
    likeness = []
    for apart in APART:
        own = _detail(_scaled(plane, apart / far))
        likeness.append(float((own * detail).sum() / np.sqrt(max((own * own).sum(), 1e-9))))
    return float(APART[int(np.argmax(likeness))] / far)


def _detail(plane: Array) -> Array:
    return np.asarray(plane - cv2.GaussianBlur(plane, (0, 0), 3))


def _scaled(plane: Array, factor: float) -> Array:
    """Return a channel that is larger by a part, reduced to the size it should have."""
    if not factor:
        return plane
    height, width = plane.shape
    middle = (width - 1) / 2, (height - 1) / 2
    move = np.array([[1 + factor, 0, -factor * middle[0]], [0, 1 + factor, -factor * middle[1]]], np.float32)
    how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(plane, move, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE)


def _step(plane: Array, green: Array, valid: Array) -> tuple[float, float]:
    """Return by which part a channel is larger than green, to first order, and the error of it."""
    height, width = green.shape
    own, other, radial = _detail(plane), _detail(green), _radial(_detail(plane))
    used = valid & (np.maximum(plane, green) < 0.98) & (np.minimum(plane, green) > 0.01)
    products = (own * other, other * other, own * own, radial * own, radial * other, radial * radial)
    both, others, owns, along, across, radials = (_sums(np.where(used, p, 0)) for p in products)
    like = both / np.sqrt(np.maximum(others * owns, 1e-12))
    good = (like > ALIKE) & (owns > CONTRAST * SQUARE**2) & (radials > 0)
    if good.sum() < ENOUGH:
        return 0.0, np.inf
    gain = both / np.maximum(others, 1e-9)  # the channel's contrast beside green's
    each = -(along - gain * across)[good] / radials[good]
    middle = _weighted_median(each, np.sqrt(radials[good]))
    spread = 1.4826 * float(np.median(np.abs(each - middle)))
    limit = FURTHEST / (np.hypot(height, width) / 2)
    return float(np.clip(middle, -limit, limit)), spread / float(np.sqrt(len(each))) + 1e-9


def _radial(detail: Array) -> Array:
    """Return how pixels change with the scale, at first order."""
    height, width = detail.shape
    x = np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2)
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32((height - 1) / 2)
    return np.asarray(
        cv2.Sobel(detail, cv2.CV_32F, 1, 0, scale=1 / 8) * x
        + cv2.Sobel(detail, cv2.CV_32F, 0, 1, scale=1 / 8) * y
    )


def _weighted_median(values: Array, weights: Array) -> float:
    order = np.argsort(values)
    half = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    return float(values[order[min(half, len(values) - 1)]])


def _sums(values: Array) -> Array:
    """Return sums over squares."""
    rows, columns = values.shape[0] // SQUARE, values.shape[1] // SQUARE
    cut = values[: rows * SQUARE, : columns * SQUARE]
    return cut.reshape(rows, SQUARE, columns, SQUARE).sum((1, 3), dtype=np.float64)
