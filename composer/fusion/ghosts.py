"""Things that moved between exposures: places where a photo is not the reference in another exposure.

What the exposure did to values is read from both photos' histograms (Grossberg and Nayar, ECCV 2002:
moving things do not change them much), so no exposure times are needed. A value may lie anywhere within the
range of what is expected nearby, and beyond where the reference is clipped.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

__all__ = ["ghost_free"]

BINS = 256
CLIPPED = 0.02, 0.97  # reference values that promise only a bound
STRONG, WEAK = 0.12, 0.05  # how far beyond what is expected a ghost lies, and what belongs to it
STEP = 2 / 255  # uncertainty of the reference's values, times what the exposure made of it
NEAR = 5  # pixels over which expected values may be looked for
SMALLEST = 12  # pixels of a ghost
AROUND = 9  # pixels: ghosts are widened by half, and fade over as much


def ghost_free(reference: Array, photo: Array, valid: Array | None = None) -> Array:
    """Return how much each pixel of a photo may count beside the reference: 0 on ghosts, else 1.

    Parameters
    ----------
    reference, photo : (H, W, C) float32, encoded 0..1
    valid : (H, W) bool or None
        Where the photo shows anything.

    Returns
    -------
    (H, W) float32
    """
    strong, weak = (np.zeros(photo.shape[:2], bool) for _ in range(2))
    for c in range(photo.shape[2]):
        beyond = _beyond(reference[:, :, c], photo[:, :, c], valid)
        strong |= beyond > STRONG
        weak |= beyond > WEAK
    if valid is not None:
        strong &= valid
        weak &= valid
    count, labels, stats, _ = cv2.connectedComponentsWithStats(weak.astype(np.uint8), connectivity=8)
    held = np.bincount(labels[strong], minlength=count)
    ghost = (stats[:, cv2.CC_STAT_AREA] >= SMALLEST) & (held * 8 >= stats[:, cv2.CC_STAT_AREA])
    ghost[0] = False
    wide = cv2.dilate(ghost[labels].astype(np.float32), np.ones((AROUND, AROUND)))
    return np.asarray(1 - cv2.blur(wide, (AROUND, AROUND)))


def _beyond(reference: Array, photo: Array, valid: Array | None) -> Array:
    """Return how far a plane's values lie beyond those that the reference makes expect."""
    curve = _response(reference, photo, valid)
    at = np.clip(reference, 0, 1) * (BINS - 1)
    expected = np.interp(at, np.arange(BINS), curve).astype(np.float32)
    slope = np.interp(at, np.arange(BINS), np.gradient(curve) * BINS).astype(np.float32)
    low = np.where(reference <= CLIPPED[0], np.float32(0), expected - slope * STEP)
    high = np.where(reference >= CLIPPED[1], np.float32(1), expected + slope * STEP)
    near = np.ones((NEAR, NEAR), np.uint8)
    low, high = cv2.erode(low.astype(np.float32), near), cv2.dilate(high.astype(np.float32), near)
    return np.maximum(photo - high, low - photo)


def _response(reference: Array, photo: Array, valid: Array | None) -> Array:
    """Return the photo's value (BINS,) for values 0..1 of the reference: equal ranks, equal light."""
    seen = slice(None) if valid is None else valid
    ranks = [
        np.cumsum(np.histogram(plane[seen], BINS, (0, 1))[0]).astype(float) for plane in (reference, photo)
    ]
    middles = ranks[0] - np.diff(ranks[0], prepend=0) / 2
    values = np.interp(middles, ranks[1], (np.arange(BINS) + 0.5) / BINS)
    return np.asarray(cv2.GaussianBlur(values[None], (0, 0), 2, borderType=cv2.BORDER_REPLICATE)[0])
