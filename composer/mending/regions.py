"""From a mask to one fault for each of its regions, and where the scores of a photo's own things end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.records import Fault, Rect

Array = NDArray[Any]

__all__ = ["beyond_natural", "brightness", "covered", "fault_of", "regions"]

EXPECTED = 0.1  # natural things beyond the limit of a photo without faults, by extrapolation
EXPECTED_AMONG = 2.0  # and of one with faults
SEVERAL = 3  # things beyond the first limit that make it such a photo
PRIOR = (13, 3)  # things in the lower and upper half of the tail, that count as seen before


def brightness(pixels: Array) -> Array:
    """Return the luma (H, W) of (H, W, C) float32."""
    if pixels.shape[2] == 1:
        return np.ascontiguousarray(pixels[:, :, 0])
    return np.asarray(cv2.transform(pixels, np.array([[0.299, 0.587, 0.114]], np.float32)))


def covered(faults: Sequence[Fault], shape: tuple[int, ...]) -> Array:
    """Return where faults are, (H, W) bool."""
    where = np.zeros(shape, bool)
    for fault in faults:
        x0, y0, x1, y1 = fault.rect
        where[y0:y1, x0:x1] |= True if fault.mask is None else fault.mask
    return where


def regions(kind: str, mask: Array, confidence: float = 1.0, smallest: int = 1) -> list[Fault]:
    """Make one fault of each 8-connected region of an (H, W) bool mask with `smallest` pixels or more."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    found = []
    for k in range(1, count):
        x, y, width, height, area = (int(v) for v in stats[k])
        if area >= smallest:
            part = labels[y : y + height, x : x + width] == k
            found.append(Fault(kind, Rect(x, y, x + width, y + height), confidence, mask=part))
    return found


def fault_of(kind: str, mask: Array, confidence: float = 1.0) -> Fault:
    """Make one fault of all of a mask that is not empty, however it hangs together."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    rect = Rect(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return Fault(kind, rect, confidence, mask=mask[rect.y0 : rect.y1, rect.x0 : rect.x1].copy())


def _natural_limit(scores: Array, low: float, high: float, expected: float) -> float:
    """Return the score beyond which only `expected` of a photo's own things are to be expected.

    Scores of what is natural thin out exponentially. How fast, on this photo, is seen between `low` and
    `high`, where few faults lie; glittering water or a starry sky thus raise their own limit.
    """
    middle = (low + high) / 2
    many, few = (int(((scores > a) & (scores <= b)).sum()) for a, b in ((low, middle), (middle, high)))
    fall = max((many + PRIOR[0]) / (few + PRIOR[1]), 1.05)
    beyond = few / (fall - 1)
    return high + max(math.log(max(beyond, expected) / expected), 0.0) / math.log(fall) * (high - middle)


def beyond_natural(scores: Array, tail: tuple[float, float], least: tuple[float, float]) -> float:
    """Return the score from which things of a photo are faults, no less than `least`.

    One in ten photos may have one thing beyond a first limit. Where several lie beyond it the photo has such
    faults, and more of them are looked for below, where two natural ones are to be expected.
    """
    first = max(_natural_limit(scores, *tail, EXPECTED), least[0])
    if int((scores > first).sum()) < SEVERAL:
        return first
    return min(first, max(_natural_limit(scores, *tail, EXPECTED_AMONG), least[1]))
