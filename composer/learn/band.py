"""Where a seam runs, told from a mask alone: in the middle of its bands."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

__all__ = ["seam_of", "seam_of_mask"]

SIDES = 12  # a part of a mask with more sides than this is no band
SAME = 2 / 255  # composite and other are the same picture below this
ALIKE = 0.9  # share of the pixels along a side that must be the same for all to be


def seam_of(distance: Array, reach: float) -> Array:
    """Return distances to a seam, negative on the first view's side, as shares of `reach` within -1..1."""
    return np.clip(distance / np.float32(reach), -1, 1).astype(np.float32)


def seam_of_mask(mask: Array, composite: Array, other: Array | None) -> Array:
    """Return where between the sides of a mask's bands each pixel lies.

    A band runs between two parts of what is outside the mask. On a side where the other view is what the
    composite shows already there is no way to go, and the band is the other half alone.

    Parameters
    ----------
    mask : (H, W) float32
        Above 0 is in the mask.
    composite, other : (H, W, 3) float32

    Returns
    -------
    (H, W) float32
        From -1 at one side to 1 at the other; 1 where the mask has one side only.
    """
    inside = mask > 0
    found = np.ones(mask.shape, np.float32)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=8)
    for k in range(1, count):
        x, y, width, height = (int(v) for v in boxes[k, :4])
        cut = slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)
        mine = labels[cut] == k
        known = None if other is None else np.abs(composite[cut] - other[cut]).max(2) < SAME
        found[cut] = np.where(mine, _between(mine, known), found[cut])
    return found


def _between(inside: Array, same: Array | None) -> Array:
    """Return the way across one part of a mask (h, w)."""
    count, sides = cv2.connectedComponents((~inside).astype(np.uint8), connectivity=4)
    if not 2 < count <= SIDES + 1:
        return np.ones(inside.shape, np.float32)
    away = [_distance(sides == k) for k in range(1, count)]
    if same is not None:
        away = [_distance(_widened(sides == k, d, away, same)) for k, d in enumerate(away, 1)]
    order = np.argsort(away, 0)[:2]
    near, next_near = np.take_along_axis(np.asarray(away), order, 0)
    way = (next_near - near) / np.maximum(next_near + near, 1)
    return np.where(order[0] < order[1], -way, way).astype(np.float32)


def _widened(side: Array, mine: Array, away: list[Array], same: Array) -> Array:
    """Return a side with its half of the band, where the composite is the other view all along it."""
    others = np.min([d for d in away if d is not mine], 0)
    half = (mine > 0) & (mine <= others)
    outer = half & (mine <= others / 3)
    return side | half if outer.any() and same[outer].mean() > ALIKE else side


def _distance(side: Array) -> Array:
    return np.asarray(cv2.distanceTransform((~side).astype(np.uint8), cv2.DIST_L2, 5))
