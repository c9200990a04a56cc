"""Holes: what a mask marks, taken apart into connected pieces and measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.records import Rect

Array = NDArray[Any]

__all__ = ["Hole", "clipped", "find_holes", "grown"]


@dataclass(frozen=True)
class Hole:
    """One connected hole: its rectangle, how many pixels it has, how wide it is at its widest and mostly.

    Where scratches cross, `widest_px` is large; `width_px` is that of a strip of the same mean depth.
    """

    rect: Rect
    area: int
    widest_px: float
    width_px: float


def clipped(rect: Rect, width: int, height: int) -> Rect:
    """Return the part of a rectangle that lies in a picture."""
    return Rect(max(rect.x0, 0), max(rect.y0, 0), min(rect.x1, width), min(rect.y1, height))


def grown(mask: Array, by: int) -> Array:
    """Return a mask (H, W) bool made wider by `by` pixels on all sides, corners rounded."""
    if by < 1:
        return mask
    ball = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), ball)) > 0


def find_holes(mask: Array) -> tuple[Array, tuple[Hole, ...]]:
    """Number the holes of a mask (H, W) bool, pixels that touch at a corner belonging together.

    Returns
    -------
    labels (H, W) int32, 1 for the first hole, and the holes.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    framed = np.pad(mask.astype(np.uint8), 1)  # a hole at the photo's edge is not as wide as it seems
    framed[0], framed[-1], framed[:, 0], framed[:, -1] = framed[1], framed[-2], framed[:, 1], framed[:, -2]
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    deepest = np.zeros(count, np.float32)
    np.maximum.at(deepest, labels[mask], depth[mask])
    mean = np.bincount(labels[mask], depth[mask], count) / np.maximum(stats[:, 4], 1)
    holes = []
    for (x, y, width, height, area), deep, typical in zip(stats[1:], deepest[1:], mean[1:], strict=True):
        rect = Rect(int(x), int(y), int(x + width), int(y + height))
        holes.append(Hole(rect, int(area), 2 * float(deep) - 1, 4 * float(typical) - 2))
    return labels, tuple(holes)
