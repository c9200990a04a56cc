"""Single pixels that are wrong: hot and dead ones, and salt-and-pepper noise.

A bad pixel stands out from all eight neighbours, and these know nothing of it, whereas everything that went
through a lens is spread over several pixels. So the score asks by how much it exceeds the range of its
neighbours in 3 x 3 and 5 x 5 pixels, and other lone pixels nearby; its weights are those of a logistic
regression on planted pixels (benchmarks/faults.py).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.mending.regions import beyond_natural, fault_of
from composer.records import Fault, Rect

Array = NDArray[Any]

__all__ = ["find_bad_pixels", "find_impulses"]

LEVEL = 1 / 255
NEARBY = 31  # pixels that say how much lone pixels usually stand out here
LEAST = 2.5 * LEVEL  # by which a bad pixel stands out
CERTAIN = 0.5  # the lowest score of a bad pixel where there are few
TAIL = (-6.0, -3.0)  # scores between which a photo's own lone pixels thin out
JUMP = 0.12  # of an impulse against the median around it
BEYOND_NOISE = 8.0  # times what pixels usually differ from that median: 5 deviations of noise
RARE = 0.0008  # of the pixels: fewer extremes are no noise
CLUMPED = 3.0  # times as many neighbours as chance gives are no noise
SPREAD = 0.3  # of their mean density that at least half of the cells of an 8 x 8 grid have


def find_bad_pixels(pixels: Array, valid: Array | None = None) -> list[Fault]:
    """Find single hot and dead pixels in (H, W, C) float32, in any channel: kind "pixel"."""
    if min(pixels.shape[:2]) < 5:
        return []
    alone = np.stack([_alone(np.ascontiguousarray(pixels[:, :, c])) for c in range(pixels.shape[2])])
    scores = np.asarray(alone.max(0))
    scores[[0, -1]] = scores[:, [0, -1]] = -np.inf  # too few neighbours to tell
    if valid is not None:
        scores[cv2.erode(valid.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0] = -np.inf
    limit = beyond_natural(scores, TAIL, CERTAIN)
    one, found = np.ones((1, 1), bool), []
    for y, x in zip(*(v.tolist() for v in np.nonzero(scores > limit)), strict=True):
        sure = float(1 - np.exp(limit - 1 - scores[y, x]))
        found.append(Fault("pixel", Rect(x, y, x + 1, y + 1), sure, mask=one))
    return found


def _alone(channel: Array) -> Array:
    """Return how sure it is that a pixel stands alone, -inf where it does not stand out."""
    near, far = np.ones((3, 3), np.uint8), np.ones((5, 5), np.uint8)
    near[1, 1] = far[1:4, 1:4] = 0
    high, low = cv2.dilate(channel, near), cv2.erode(channel, near)
    out = np.maximum(channel - high, low - channel)
    lone = np.maximum(out, 0) ** 2
    usual = np.maximum(cv2.blur(lone, (NEARBY, NEARBY)) - lone / NEARBY**2, 0)
    scores = np.full(out.shape, -np.inf, np.float32)
    ys, xs = np.nonzero(out > LEAST)
    o, top, bottom = out[ys, xs], high[ys, xs], low[ys, xs]
    wide = np.maximum(cv2.dilate(channel, far)[ys, xs], top) - np.minimum(
        cv2.erode(channel, far)[ys, xs], bottom
    )
    scores[ys, xs] = (
        1.9 * np.log(o / (top - bottom + 2 * LEVEL))
        + 2.2 * np.log(o / (wide + 2 * LEVEL))
        + 2.7 * np.log(o / (np.sqrt(usual[ys, xs]) + 0.1 * LEVEL))
        - 1.2 * np.log(o)
        - 14.1
    )
    return scores


def find_impulses(pixels: Array, valid: Array | None = None) -> list[Fault]:
    """Find salt-and-pepper noise in (H, W, C) float32: one fault, kind "impulse", or none.

    Extremes that jump from the median around them count as noise where there are many, all over the picture.
    """
    mask = np.zeros(pixels.shape[:2], bool)
    for c in range(pixels.shape[2]):
        channel = np.ascontiguousarray(pixels[:, :, c])
        extreme = (channel <= LEVEL) | (channel >= 1 - LEVEL)
        apart = np.abs(channel - cv2.medianBlur(channel, 5))
        inside = apart[~extreme]
        usual = float(np.median(inside)) if inside.size else 0.0  # noise reaches the extremes, too
        mask |= extreme & (apart > max(JUMP, BEYOND_NOISE * usual))
    if valid is not None:
        mask &= valid
    cells = cv2.resize(mask.astype(np.float32), (8, 8), interpolation=cv2.INTER_AREA)
    mean = float(mask.mean())
    if mean < RARE or float(np.median(cells)) < SPREAD * mean:
        return []
    if float((mask[:, 1:] & mask[:, :-1]).mean()) > mean * (CLUMPED * mean + 0.03):
        return []
    return [fault_of("impulse", mask, min(1.0, mean / RARE / 4 + 0.5))]
