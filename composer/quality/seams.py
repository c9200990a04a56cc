"""How visible a seam is, without a reference: its step against those that the picture has beside it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

__all__ = ["outline_distance", "seam_visibility"]

BESIDE = (-24, -16, -8, 8, 16, 24)  # pixels: where the picture's own steps are measured
SPAN = 3  # pixels on either side of a line that are averaged,
ALONG = 61  # and so many along it


def outline_distance(mask: Array) -> Array:
    """Return the signed distance (H, W) float32 to the outline of a mask, positive inside."""
    inside = mask.astype(np.uint8)
    distances = [cv2.distanceTransform(m, cv2.DIST_L2, 5) for m in (inside, 1 - inside)]
    return np.where(mask, distances[0] - 0.5, 0.5 - distances[1]).astype(np.float32)


def seam_visibility(picture: Array, distance: Array) -> float:
    """Return how many standard deviations the step across a seam exceeds those along lines beside it.

    Parameters
    ----------
    picture : (H, W, C) float32, 0..1
    distance : (H, W) float32
        Signed distance to the seam, in pixels.

    Returns
    -------
    About 0 where the seam is like any other line; from 3 on it is seen.
    """
    grey = picture.mean(2).astype(np.float32)
    own = _step(grey, distance, 0.0)
    others = np.array([_step(grey, distance, at) for at in BESIDE])
    others = others[np.isfinite(others)]
    if not np.isfinite(own) or len(others) < 3:
        return 0.0
    spread = max(float(others.std()), 0.5 / 255)
    return float((own - np.median(others)) / spread)


def _step(grey: Array, distance: Array, at: float) -> float:
    """Return the root mean square step between both sides of the line at a distance, averaged along it."""
    line = (distance > at - 1) & (distance <= at)
    means, counts = [], []
    for low, high in ((at - SPAN, at), (at, at + SPAN)):
        inside = ((distance > low) & (distance <= high)).astype(np.float32)
        total, count = (
            cv2.boxFilter(p, -1, (ALONG, ALONG), normalize=False) for p in (inside * grey, inside)
        )
        means.append(total / np.maximum(count, 1))
        counts.append(count)
    usable = line & (counts[0] >= ALONG) & (counts[1] >= ALONG)
    if np.count_nonzero(usable) < ALONG:
        return float("nan")
    return float(np.sqrt(((means[0] - means[1])[usable] ** 2).mean()))
