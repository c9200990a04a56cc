"""Single pixels that are wrong: hot and dead ones, and salt-and-pepper noise.

A bad pixel stands out from all eight neighbours, and these know nothing of it, whereas everything that went
through a lens is spread over several pixels and mostly alike in all channels. So the score asks by how much
it exceeds the range of its neighbours in 3 x 3 and 5 x 5 pixels, and other lone pixels nearby, in a channel
and in one less the others; its weights are those of a logistic regression on planted pixels
(benchmarks/fit_pixels.py).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.mending.regions import beyond_natural, brightness, fault_of
from composer.records import Fault, Rect

Array = NDArray[Any]

__all__ = ["find_bad_pixels", "find_impulses", "lone_pixels"]

LEVEL = 1 / 255
NEARBY = 31  # pixels that say how much lone pixels usually stand out here
LEAST = 2.5 * LEVEL  # by which a bad pixel stands out
CERTAIN = (10.0, -1.0)  # the lowest scores of a bad pixel where there are few, and where there are several
TAIL = (-5.0, -2.0)  # scores between which a photo's own lone pixels thin out
STRIP = 512  # rows looked at together
BIAS = -15.4
WEIGHTS = (
    0.51, -0.75,  # channels in which it stands out; brightness
    -0.5, 2.45, 6.79, 2.78, -2.93,  # the channel in which it does so most
    0.82, -3.21, 7.37, -0.15, -0.58,  # and that less the others
)  # fmt: skip
JUMP = 0.12  # of an impulse against the median around it
BEYOND_NOISE = 8.0  # times what pixels usually differ from that median: 5 deviations of noise
RARE = 0.0008  # of the pixels: fewer extremes are no noise
CLUMPED = 3.0  # times as many neighbours as chance gives are no noise
PAPER = 0.3  # of the picture, that is extreme and does not jump: then letters, stars or stains may do
BOTH = 0.2  # of them, that have to be black, and white, there
SPREAD = 0.3  # of their mean density that at least half of the cells of an 8 x 8 grid have


def find_bad_pixels(pixels: Array, valid: Array | None = None) -> list[Fault]:
    """Find single hot and dead pixels in (H, W, C) float32, in any channel: kind "pixel"."""
    if min(pixels.shape[:2]) < 5:
        return []
    ys, xs, measured = lone_pixels(pixels)
    scores = BIAS + measured @ np.array(WEIGHTS)
    if valid is not None:
        inner = cv2.erode(valid.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        ys, xs, scores = ys[inner[ys, xs]], xs[inner[ys, xs]], scores[inner[ys, xs]]
    limit = beyond_natural(scores, TAIL, CERTAIN)
    one, found = np.ones((1, 1), bool), []
    for k in np.flatnonzero(scores > limit).tolist():
        sure, x, y = float(1 - np.exp(limit - 1 - scores[k])), int(xs[k]), int(ys[k])
        found.append(Fault("pixel", Rect(x, y, x + 1, y + 1), sure, mask=one))
    return found


def lone_pixels(pixels: Array) -> tuple[Array, Array, Array]:
    """Return rows, columns and features (N, len(WEIGHTS)) of pixels that stand out in (H, W, C) float32."""
    halo, height = NEARBY // 2 + 1, len(pixels)
    found = []
    for y in range(0, height, STRIP):
        top, bottom = max(y - halo, 0), min(y + STRIP + halo, height)
        rows, columns, measured = _lone_in(pixels[top:bottom])
        rows += top
        # at the picture's border there are too few neighbours to tell
        inside = (rows >= max(y, 1)) & (rows < min(y + STRIP, height - 1))
        inside &= (columns > 0) & (columns < pixels.shape[1] - 1)
        found.append((rows[inside], columns[inside], measured[inside]))
    ys, xs, measured = (np.concatenate(v) for v in zip(*found, strict=True))
    return ys, xs, measured


def _lone_in(pixels: Array) -> tuple[Array, Array, Array]:
    """Do the same for a strip, its borders included."""
    channels = [np.ascontiguousarray(p) for p in np.moveaxis(pixels, 2, 0)]
    if len(channels) != 3:
        channels = channels[:1] * 3
    total = channels[0] + channels[1] + channels[2]
    apart = [_standing(c - (total - c) / 2) for c in channels]
    own = [_standing(c) for c in channels]
    out = np.max([p[0] for p in own + apart], 0)
    ys, xs = np.nonzero(out > LEAST)
    together = _standing(brightness(pixels))[0][ys, xs]
    told = [np.sum([p[0][ys, xs] > LEAST for p in own], 0), np.log(np.maximum(together, LEVEL / 2))]
    for planes in (own, apart):
        seen = np.array([[v[ys, xs] for v in p] for p in planes])  # (planes, 4, N)
        most = seen[:, 0].argmax(0)
        stands, near, wide, usual = seen[most, :, np.arange(len(ys))].T
        than = near + 2 * LEVEL, wide + 2 * LEVEL, usual + LEVEL / 10
        told += [np.log(np.maximum(stands, LEVEL / 2)), *(np.log(stands / t + 1) for t in than)]
        told.append((stands > LEAST).astype(float))
    return ys, xs, np.stack(told, 1)


def _standing(plane: Array) -> tuple[Array, Array, Array, Array]:
    """Return by how much pixels stand out, the range of 8 and of 24 neighbours, and what is usual nearby."""
    near, far = np.ones((3, 3), np.uint8), np.ones((5, 5), np.uint8)
    near[1, 1] = far[1:4, 1:4] = 0
    high, low = cv2.dilate(plane, near), cv2.erode(plane, near)
    out = np.maximum(np.maximum(plane - high, low - plane), 0)
    lone = out**2
    usual = np.maximum(cv2.blur(lone, (NEARBY, NEARBY)) - lone / NEARBY**2, 0)
    wide = np.maximum(cv2.dilate(plane, far), high) - np.minimum(cv2.erode(plane, far), low)
    return out, high - low, wide, np.sqrt(usual)


def find_impulses(pixels: Array, valid: Array | None = None) -> list[Fault]:
    """Find salt-and-pepper noise in (H, W, C) float32: one fault, kind "impulse", or none.

    Extremes that jump from the median around them count as noise where there are many, all over the picture;
    and both black and white ones, if most of it is black or white.
    """
    dark, light, plain = np.zeros((3, *pixels.shape[:2]), bool)
    for c in range(pixels.shape[2]):
        channel = np.ascontiguousarray(pixels[:, :, c])
        low, high = channel <= LEVEL, channel >= 1 - LEVEL
        extreme = low | high
        apart = np.abs(channel - cv2.medianBlur(channel, 5))
        inside = apart[~extreme]
        usual = float(np.median(inside)) if inside.size else 0.0  # noise reaches the extremes, too
        jumps = apart > max(JUMP, BEYOND_NOISE * usual)
        dark, light, plain = dark | (low & jumps), light | (high & jumps), plain | (extreme & ~jumps)
    mask = dark | light
    if valid is not None:
        mask &= valid
    if plain.mean() > PAPER and min((mask & dark).sum(), (mask & light).sum()) < BOTH * mask.sum():
        return []
    cells = cv2.resize(mask.astype(np.float32), (8, 8), interpolation=cv2.INTER_AREA)
    mean = float(mask.mean())
    if mean < RARE or float(np.median(cells)) < SPREAD * mean:
        return []
    if float((mask[:, 1:] & mask[:, :-1]).mean()) > mean * (CLUMPED * mean + 0.03):
        return []
    return [fault_of("impulse", mask, min(1.0, mean / RARE / 4 + 0.5))]
