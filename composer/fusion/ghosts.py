"""Things that moved between exposures: places where a photo is not the reference in another exposure.

What the exposure did to values is read from both photos' histograms (Grossberg and Nayar, ECCV 2002:
moving things do not change them much), so no exposure times are needed. A value may lie anywhere within the
range of what is expected nearby, and beyond where the reference is clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

__all__ = ["Moved", "find_moved", "without_ghosts"]

BINS = 256
CLIPPED = 0.02, 0.97  # reference values that promise only a bound
STRONG, WEAK = 0.12, 0.05  # how far beyond what is expected a ghost lies, and what belongs to it
STEP = 2 / 255  # uncertainty of the reference's values, times what the exposure made of it
NEAR = 5  # pixels over which expected values may be looked for
SMALLEST = 12  # pixels of a ghost
AROUND = 9  # pixels: ghosts are widened by half, and fade over as much


@dataclass(frozen=True)
class Moved:
    """Where a photo is not the reference in another exposure.

    Attributes
    ----------
    still : (H, W) float32
        0 on ghosts, else 1, and between at their edges.
    curves : (C, BINS) float
        The photo's values for values 0..1 of the reference, channel by channel.
    """

    still: Array
    curves: Array


def without_ghosts(
    planes: Sequence[Array], reference: Sequence[Array], still: Array, curves: Array
) -> list[Array]:
    """Return a photo's planes (h, w) float32 with the reference, exposed as the photo is, in place of ghosts.

    Were ghosts only given no weight, the coarse bands of a pyramid would carry them over their edges, and the
    place would lack the photo's exposure.
    """
    if still.min() >= 1:
        return list(planes)
    places = np.linspace(0, 1, BINS)
    made = [np.interp(r, places, c).astype(np.float32) for r, c in zip(reference, curves, strict=True)]
    return [m + (p - m) * still for p, m in zip(planes, made, strict=True)]


def find_moved(reference: Array, photo: Array, valid: Array | None = None) -> Moved:
    """Find what moved between the reference and a photo.

    Parameters
    ----------
    reference, photo : (H, W, C) float32, encoded 0..1
    valid : (H, W) bool or None
        Where the photo shows anything.
    """
    strong, weak = (np.zeros(photo.shape[:2], bool) for _ in range(2))
    curves = [_response(reference[:, :, c], photo[:, :, c], valid) for c in range(photo.shape[2])]
    for c, curve in enumerate(curves):
        beyond = _beyond(reference[:, :, c], photo[:, :, c], curve)
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
    return Moved(np.asarray(1 - cv2.blur(wide, (AROUND, AROUND))), np.stack(curves))


def _beyond(reference: Array, photo: Array, curve: Array) -> Array:
    """Return how far a plane's values lie beyond those that the reference makes expect by a curve."""
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
