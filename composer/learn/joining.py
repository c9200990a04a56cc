"""A border between two pictures of one scene: where it runs, and what lies on its other side."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.learn.simulator import smooth

Array = NDArray[Any]

__all__ = ["border", "brought_to", "same_scene"]

REACH = 24.0  # pixels on either side of a border that are looked at
BESIDE = 12.0  # pixels outside a border by which a source is brought to the target's light
ALIKE = 0.6  # how well details must correlate on both sides to be of one scene
FAR = 2  # quarter-size pixels that they may lie apart


def border(cover: Array, inwards: float = 0.0) -> tuple[Array, Array]:
    """Return signed distances to a mask's border, and how much each pixel may change.

    Parameters
    ----------
    cover : (h, w) bool
    inwards : float
        How far inside the mask the seam runs, in pixels: half of what a blend fades over.

    Returns
    -------
    distance : (h, w) float32
        Positive inside.
    mask : (h, w) float32
        1 along the seam, 0 from REACH pixels on.
    """
    inside, outside = (cv2.distanceTransform(p.astype(np.uint8), cv2.DIST_L2, 5) for p in (cover, ~cover))
    distance = np.where(cover, inside - 0.5, 0.5 - outside) - np.float32(inwards)
    return distance, smooth(2 * (1 - np.abs(distance) / REACH)).astype(np.float32)


def brought_to(target: Array, source: Array, outside: Array) -> Array:
    """Return the source in the light that the target has along a border, as Poisson editing leaves it inside.

    Parameters
    ----------
    target, source : (h, w, 3) float32
    outside : (h, w) float32
        Distances outside the border, where both are valid; 0 elsewhere.
    """
    weight = ((outside > 0) & (outside < BESIDE)).astype(np.float32)
    sums = cv2.GaussianBlur((target - source) * weight[:, :, None], None, BESIDE)
    return np.asarray(source + sums / (cv2.GaussianBlur(weight, None, BESIDE)[:, :, None] + np.float32(1e-4)))


def same_scene(first: Array, second: Array, where: Array) -> bool:
    """Return whether details of two pictures correlate where it matters, at some displacement.

    Parameters
    ----------
    first, second : (h, w, 3) float32
    where : (h, w) bool
    """
    size = max(1, where.shape[1] // 4), max(1, where.shape[0] // 4)
    a, b, share = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (
        _detail(first), _detail(second), where.astype(np.float32)))  # fmt: skip
    best = 0.0
    for dy in range(-FAR, FAR + 1):
        for dx in range(-FAR, FAR + 1):
            moved = cv2.warpAffine(
                b, np.array([[1, 0, dx], [0, 1, dy]], np.float32), size, borderMode=cv2.BORDER_REPLICATE
            )
            ab, aa, bb = (float((p * q * share).sum()) for p, q in ((a, moved), (a, a), (moved, moved)))
            best = max(best, ab / max((aa * bb) ** 0.5, 1e-6))
    return best > ALIKE


def _detail(picture: Array) -> Array:
    grey = np.log(np.maximum(picture.mean(2), 0) + np.float32(0.1))
    return np.asarray(grey - cv2.blur(grey, (33, 33)))
