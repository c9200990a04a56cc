"""Scratches, hairs, cracks, creases and specks of scans: from the odds of pixels to objects.

A thing counts by how sure its pixels are, how many agree and how long it is. A photo's own wires, twigs and
lights look the same to whoever sees no more than their surroundings, so these kinds are looked for by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.mending.damage import damage
from composer.mending.regions import brightness
from composer.records import Fault, Rect

Array = NDArray[Any]

__all__ = ["LAID_OVER", "find_laid_over", "measured"]

LAID_OVER = ("scratch", "dust")
POSSIBLE = -1.5  # log-odds of a pixel that may belong to a thing
SMALLEST = 2  # pixels
# weights of: 1, the highest log-odds, their mean, log of pixels, log of length, mean log-odds of the other kind
WEIGHTS = {"scratch": (0.0,) * 6, "dust": (0.0,) * 6}
CERTAIN = {"scratch": 0.0, "dust": 0.0}  # the lowest score of a fault


def find_laid_over(
    pixels: Array, valid: Array | None = None, kinds: Sequence[str] = LAID_OVER
) -> list[Fault]:
    """Find scratches, hairs and cracks ("scratch") and specks ("dust") on (H, W, C) float32, 0..1."""
    if min(pixels.shape[:2]) < 32:
        return []
    odds = damage(brightness(pixels))
    odds[:, [0, -1]] = odds[:, :, [0, -1]] = -np.inf
    if valid is not None and not valid.all():
        odds[:, cv2.erode(valid.astype(np.uint8), np.ones((7, 7), np.uint8)) == 0] = -np.inf
    found: list[Fault] = []
    for kind in (k for k in LAID_OVER if k in kinds):
        k = LAID_OVER.index(kind)
        labels, rects, features = measured(odds[k], odds[1 - k])
        scores = features @ np.array(WEIGHTS[kind])
        for at in np.flatnonzero(scores > CERTAIN[kind]):
            rect = Rect(*rects[at].tolist())
            mask = labels[rect.y0 : rect.y1, rect.x0 : rect.x1] == at + 1
            found.append(Fault(kind, rect, float(1 / (1 + np.exp(-scores[at]))), mask=mask))
    return found


def measured(odds: Array, others: Array) -> tuple[Array, Array, Array]:
    """Take the possible pixels (H, W) of a kind apart into things and measure them.

    Returns
    -------
    labels (H, W), 1 for the first thing; their rectangles (n, 4); their features (n, 6), see `WEIGHTS`.
    """
    possible = odds > POSSIBLE
    count, labels, stats, _ = cv2.connectedComponentsWithStats(possible.astype(np.uint8), connectivity=8)
    area = stats[1:, 4].astype(np.float64)
    of, seen = labels[possible] - 1, odds[possible]
    highest = np.full(count - 1, -np.inf)
    np.maximum.at(highest, of, seen)
    mean = np.bincount(of, seen, count - 1) / area
    other = np.bincount(of, np.maximum(others[possible], -12), count - 1) / area
    length = np.hypot(stats[1:, 2], stats[1:, 3])
    features = np.stack([np.ones(count - 1), highest, mean, np.log(area), np.log(length), other], 1)
    rects = np.concatenate([stats[1:, :2], stats[1:, :2] + stats[1:, 2:4]], 1)
    return labels, rects, features
