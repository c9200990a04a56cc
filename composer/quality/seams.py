"""How visible a seam is, without a reference: by its step, and by detail beside another photo's."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend.channels import mean_channel

Array = NDArray[Any]

__all__ = ["outline_distance", "seam_step", "seam_visibility"]

BESIDE = (-24, -16, -8, 8, 16, 24)  # pixels: where the picture's own steps are measured
SPAN = 3  # pixels on either side of a line that are averaged,
ALONG = 61  # and so many along it
BAND = 24.0  # pixels on either side of a seam where detail is compared,
AROUND = 21  # in squares of so many,
UNSEEN = 3 / 255  # beside detail of this contrast
SCALE, POWER = 0.074, 1.14  # from detail to ST-LPIPS: fitted by benchmarks/judge.py --fit


def outline_distance(mask: Array) -> Array:
    """Return the signed distance (H, W) float32 to the outline of a mask, positive inside."""
    inside = mask.astype(np.uint8)
    distances = [cv2.distanceTransform(m, cv2.DIST_L2, 5) for m in (inside, 1 - inside)]
    return np.where(mask, distances[0] - 0.5, 0.5 - distances[1]).astype(np.float32)


def seam_step(picture: Array, distance: Array) -> float:
    """Return how many standard deviations the step across a seam exceeds those along lines beside it.

    Parameters
    ----------
    picture : (H, W, C) float32, 0..1
    distance : (H, W) float32
        Signed distance to the seam, in pixels.

    Returns
    -------
    About 0 where the seam is like any other line; from 3 on a step is seen. Ghosts, blur and misplacement are
    not steps: over all kinds of fault this does not follow what is seen, as `seam_visibility` does.
    """
    grey = mean_channel(picture)
    own = _step(grey, distance, 0.0)
    others = np.array([_step(grey, distance, at) for at in BESIDE])
    others = others[np.isfinite(others)]
    if not np.isfinite(own) or len(others) < 3:
        return 0.0
    spread = max(float(others.std()), 0.5 / 255)
    return float((own - np.median(others)) / spread)


def seam_visibility(picture: Array, other: Array, distance: Array, where: Array | None = None) -> float:
    """Return how much a seam is seen, as an estimate of ST-LPIPS along it; 0 where nothing is seen.

    It compares the strength of fine detail, square by square, with that of the photo on the seam's other
    side: ghosts, doubled edges, blur and noise change it, a shift of some pixels does not.

    Parameters
    ----------
    picture, other : (H, W, C) float32, 0..1
        The composite, and for each place what a photo shows there that the composite does not come from.
    distance : (H, W) float32
        Signed distance to the seam, in pixels.
    where : (H, W) bool or None
        Where both show something.
    """
    seen = np.ones(distance.shape, bool) if where is None else where
    band = seen & (np.abs(distance) < BAND)
    if not band.any():
        return 0.0
    rows, columns = (np.flatnonzero(band.any(axis)) for axis in (1, 0))
    near = tuple(slice(max(0, int(at[0]) - AROUND), int(at[-1]) + AROUND + 1) for at in (rows, columns))
    shown = np.where(seen[near][:, :, None], other[near], picture[near])
    one, two = (_detail(p) for p in (picture[near], shown))
    gap = float(np.abs(np.log(one / two))[band[near]].mean())
    return float(SCALE * gap**POWER)


def _detail(picture: Array) -> Array:
    """Return the local mean square (H, W) of what a blur of one pixel takes away, with the unseen added."""
    picture = np.ascontiguousarray(picture, np.float32)
    fine = (picture - cv2.GaussianBlur(picture, None, 1.0).reshape(picture.shape)) ** 2
    return cv2.blur(mean_channel(fine), (AROUND, AROUND)) + np.float32(UNSEEN**2)


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
