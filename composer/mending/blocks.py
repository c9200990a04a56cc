"""The grid that strong JPEG compression leaves, wherever it begins.

Differences between neighbouring columns (rows) are compared with those one to the left and right; their mean
by place in a period of eight shows the borders of blocks (Wang, Sheikh and Bovik, ICIP 2002, with the phase
free).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.media.jpeg import Coding
from composer.mending.deblocking import COARSE, estimate_coding, quality_of
from composer.mending.regions import brightness
from composer.records import Fault, Rect

Array = NDArray[Any]

__all__ = ["block_grid", "coding_seen", "find_blocking"]

SMALLEST = 64  # pixels, to tell
CAP = 12 / 255  # larger differences are edges
VISIBLE = 0.4  # excess of differences across borders relative to all, plus a level


def block_grid(luma: Array) -> tuple[tuple[float, int], tuple[float, int]]:
    """Return how strong a grid of 8 is across columns and rows of (H, W) float32, and where it begins."""
    return _phase(luma), _phase(luma.T)


def _phase(luma: Array) -> tuple[float, int]:
    """Return the strongest phase's excess, and the column (mod 8) in which blocks begin."""
    steps = np.minimum(np.abs(np.diff(luma, axis=1)), CAP).mean(0)
    usable = len(steps) - 2
    excess = steps[1:-1] - (steps[:-2] + steps[2:]) / 2
    means = np.array([np.median(excess[p:usable:8]) for p in range(8)])
    best = int(means.argmax())
    others = float(np.median(np.delete(means, best)))
    return (float(means[best]) - others) / (float(np.median(steps)) + 1 / 255), (best + 2) % 8


def find_blocking(pixels: Array, valid: Array | None = None, coding: Coding | None = None) -> list[Fault]:
    """Find strong JPEG compression of (H, W, C) float32: one fault "blocking", or none.

    Its strength is the quality, 1 to 100; None where blocks show, and no steps that they might come from.
    """
    height, width = pixels.shape[:2]
    whole = Rect(0, 0, width, height)
    found = coding_seen(pixels, coding)
    if found is not None:
        return [Fault("blocking", whole, strength=quality_of(found))]
    if min(height, width) < SMALLEST:
        return []
    (across, _), (down, _) = block_grid(brightness(pixels))
    strength = (across + down) / 2
    if strength < VISIBLE:
        return []
    return [Fault("blocking", whole, min(1.0, strength / VISIBLE / 2))]


def coding_seen(pixels: Array, coding: Coding | None) -> Coding | None:
    """Return a file's coding if it is coarse, or else the one that (H, W, C) float32 pixels show."""
    if coding is not None and quality_of(coding) <= COARSE:
        return coding
    if min(pixels.shape[:2]) < SMALLEST:
        return None
    luma = brightness(pixels)
    (_, x), (_, y) = block_grid(luma)
    seen = (estimate_coding(luma, at, pixels.shape[2]) for at in dict.fromkeys(((y, x), (0, 0))))
    return next((found for found in seen if found is not None), None)
