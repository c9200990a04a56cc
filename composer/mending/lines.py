"""Dead and shifted rows and columns of a sensor or a scanner.

Such a line is one pixel wide, exactly along the axis, and reaches an edge of the picture. Pixels are compared
with their two neighbours and averaged over blocks along the line: what the scene shows averages out, or goes
on to the neighbouring columns, by which the line is judged.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.mending.regions import brightness, fault_of
from composer.records import Fault

Array = NDArray[Any]

__all__ = ["find_lines"]

BLOCK = 24  # pixels along the line
CLEAR = 5.0  # times what the neighbours show
LEAST = 0.6 / 255
SHORTEST = 5  # blocks
EVEN = 0.75  # of its response, that the next pixel may have: half by a line, all by an edge
SHARP = 0.25  # of its contrast, that the next but one pixel may have


def find_lines(pixels: Array, valid: Array | None = None) -> list[Fault]:
    """Find rows and columns, whole or from a place to an edge, that differ from both sides: kind "line"."""
    luma = brightness(pixels)
    if valid is not None:
        luma = np.where(valid, luma, 0).astype(np.float32)
    columns = _columns(luma)
    rows = [m.T for m in _columns(np.ascontiguousarray(luma.T))]
    return [fault_of("line", m) for m in columns + rows]


def _columns(luma: Array) -> list[Array]:
    """Return a mask for each bad column."""
    height, width = luma.shape
    count = height // BLOCK
    if count < SHORTEST or width < 24:
        return []
    apart = cv2.filter2D(luma, -1, np.array([[-0.5, 1, -0.5]], np.float32), borderType=cv2.BORDER_REFLECT_101)
    means = apart[: count * BLOCK].reshape(count, BLOCK, width).mean(1)
    around = np.ones((1, 19), np.float32)
    around[0, 7:12] = 0
    usual = np.sqrt(cv2.filter2D(means * means, -1, around / around.sum(), borderType=cv2.BORDER_REFLECT_101))
    size = np.abs(means)
    beside = np.abs(cv2.filter2D(means, -1, np.array([[1, 0, 0, 0, 1]], np.float32) / 2))
    sides = cv2.dilate(size, np.array([[1, 0, 1]], np.uint8))
    good = (size > CLEAR * usual + LEAST) & (beside < SHARP * size) & (sides < EVEN * size)
    found = []
    for x in np.flatnonzero(good.sum(0) >= SHORTEST):
        if 0 < x < width - 1:
            ends = _run(good[:, x])
            if ends is not None:
                mask = np.zeros(luma.shape, bool)
                mask[ends[0] * BLOCK : height if ends[1] == count else ends[1] * BLOCK, x] = True
                found.append(mask)
    return found


def _run(good: Array) -> tuple[int, int] | None:
    """Return the blocks of the best run that starts at either edge, a bad block costing two good."""
    worth = np.where(good, 1, -2)
    down, up = np.cumsum(worth), np.cumsum(worth[::-1])
    best = max(down.max(), up.max())
    if best < max(SHORTEST, len(good) // 5):
        return None
    if down.max() >= up.max():
        return 0, int(down.argmax()) + 1
    return len(good) - int(up.argmax()) - 1, len(good)
