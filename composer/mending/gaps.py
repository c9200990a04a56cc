"""Canvas that no photo covers, and blocks that a damaged JPEG has lost.

Holes are exactly black, or without alpha, and end in a single pixel. What is black in a photograph fades in
over a few pixels, since no lens and no film is that sharp: so the step to the first pixel outside is compared
with that to the third.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.mending.regions import regions
from composer.records import Fault

Array = NDArray[Any]

__all__ = ["find_holes"]

BLACK = 0.5 / 255
SMALLEST = 25  # pixels
VISIBLE = 12 / 255  # at the third pixel outside
SEEN = 0.5  # of the outline, that has to be visible
SUDDEN = 0.6  # of the step, that is over at the first pixel (median along the outline)


def find_holes(pixels: Array, valid: Array | None = None) -> list[Fault]:
    """Find uncovered canvas in (H, W, C) float32: kind "hole".

    With `valid` (H, W) bool, that is where it is False; without, what is exactly black and ends suddenly.
    """
    if valid is not None and not valid.all():
        return regions("hole", ~valid)
    top = np.ascontiguousarray(pixels.max(2))
    black = (top <= BLACK).astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    core = cv2.dilate(cv2.erode(black, kernel, borderValue=1), kernel) & black  # no thin threads
    faults = regions("hole", core > 0, smallest=SMALLEST)
    return [f for f in faults if _sudden(top, f)]


def _sudden(top: Array, fault: Fault) -> bool:
    """Tell whether the picture begins within a pixel of the region."""
    margin, (x0, y0, x1, y1) = 4, fault.rect
    ys = slice(max(y0 - margin, 0), y1 + margin)
    xs = slice(max(x0 - margin, 0), x1 + margin)
    mask = np.zeros(top[ys, xs].shape, np.uint8)
    mask[y0 - ys.start : y1 - ys.start, x0 - xs.start : x1 - xs.start] = fault.mask  # type: ignore[assignment]
    kernel = np.ones((3, 3), np.uint8)
    first = cv2.dilate(mask, kernel)
    third = cv2.dilate(first, kernel, iterations=2)
    steps = cv2.dilate(np.where(third > mask, top[ys, xs], 0).astype(np.float32), kernel, iterations=2)
    line = first > mask
    if not line.any():
        return False
    begun, whole = top[ys, xs][line], steps[line]
    seen = whole > VISIBLE
    return bool(seen.mean() > SEEN) and float(np.median(begun[seen] / whole[seen])) > SUDDEN
