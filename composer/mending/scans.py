"""Scratches, hairs, cracks, creases and specks of scans: from the odds of pixels to things.

Pixels that hang together are a thing, and a thing counts where it is large enough and one of its pixels is
sure. A photo's own wires, twigs and lights look the same to whoever sees no more than their surroundings, so
these kinds are looked for by name only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.mending.damage import damage
from composer.mending.regions import brightness, regions
from composer.records import Fault

Array = NDArray[Any]

__all__ = ["LAID_OVER", "find_laid_over"]

LAID_OVER = ("scratch", "dust")
POSSIBLE = -0.5  # log-odds of a pixel that belongs to a thing
SURE = {"scratch": 2.0, "dust": 0.5}  # log-odds that one pixel of a fault reaches
SMALLEST = {"scratch": 25, "dust": 3}  # pixels of a fault
EDGE = 7  # pixels around what is not valid that are not looked at


def find_laid_over(
    pixels: Array, valid: Array | None = None, kinds: Sequence[str] = LAID_OVER
) -> list[Fault]:
    """Find scratches, hairs and cracks ("scratch") and specks ("dust") on (H, W, C) float32, 0..1."""
    if min(pixels.shape[:2]) < 32:
        return []
    odds = damage(brightness(pixels))
    odds[:, [0, -1]] = odds[:, :, [0, -1]] = -np.inf
    if valid is not None and not valid.all():
        odds[:, cv2.erode(valid.astype(np.uint8), np.ones((EDGE, EDGE), np.uint8)) == 0] = -np.inf
    return [f for k, kind in enumerate(LAID_OVER) if kind in kinds for f in _things(kind, odds[k])]


def _things(kind: str, odds: Array) -> list[Fault]:
    """Return the faults of a kind by its log-odds (H, W)."""
    found = []
    for fault in regions(kind, odds > POSSIBLE, smallest=SMALLEST[kind]):
        x0, y0, x1, y1 = fault.rect
        highest = odds[y0:y1, x0:x1][fault.mask].max()
        if highest > SURE[kind]:
            found.append(replace(fault, confidence=float(1 / (1 + np.exp(-highest)))))
    return found
