"""Things that may lie over a picture, and what tells them from the picture's own.

The network sees pixels and their surroundings; how long, straight, even and alone a whole thing is, and how
it stands against what is around it, is measured here, once for each thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.mending.regions import brightness

Array = NDArray[Any]

__all__ = ["FEATURES", "candidates", "features"]

FEATURES = (
    "highest", "mean", "other",  # log-odds: the highest, the mean, and that of the other kind
    "width", "length", "straight", "border",  # of the shape
    "step", "contrast", "uneven",  # of brightness to what is around: as it is, by noise; how it varies
    "colour",  # the step of colour by that of brightness
    "level", "noise", "texture", "chroma",  # of what is around
    "aligned",  # edges around lie along the thing, -1 to 1
    "crowd", "hints",  # things, and what might be some, within 64 px
    "ridge",  # the step of brightness to its two sides
    "follows",  # whether its brightness changes with theirs, as through what is laid over
)  # fmt: skip
POSSIBLE = -0.5  # log-odds of a pixel that belongs to a thing
FAINT = -2.0  # and of one of a thing that has no such pixel
AROUND = 13  # px: the square that is what is around
EDGES = 65  # px: the square whose edges are compared
NEAR = 129  # px: the square in which others are counted
SOFT = 0.7  # px by which brightness is blurred where pixels are compared one by one
BESIDE = 2  # px from a thing to where its sides are looked at
SAMPLED = 30_000  # pixels at a time: OpenCV takes no more rows than that
LEVEL = 1 / 255


def candidates(odds: Array, smallest: int) -> Array:
    """Return labels (H, W) int32 from 1 on of the things of `smallest` pixels or more in log-odds (H, W)."""
    count, labels = cv2.connectedComponents((odds > FAINT).astype(np.uint8), connectivity=8)
    clear = odds > POSSIBLE
    faint = np.ones(count, bool)
    faint[labels[clear]] = faint[0] = False
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        (clear | faint[labels]).astype(np.uint8), connectivity=8
    )
    kept = stats[:, cv2.CC_STAT_AREA] >= smallest
    kept[0] = False
    return (np.cumsum(kept) * kept).astype(np.int32)[labels]


def features(pixels: Array, odds: Array, labels: Sequence[Array]) -> list[Array]:
    """Return the features (N, len(FEATURES)) of the things of each kind.

    Parameters
    ----------
    pixels : (H, W, C) float32, 0..1
    odds : (2, H, W) float32
        Log-odds of the kinds.
    labels : two of (H, W) int32
        What `candidates` returns for each.
    """
    things = [_Things(of) for of in labels]
    told = [_of_odds(t, odds[k], odds[1 - k]) | _of_shape(t) for k, t in enumerate(things)]
    for name, plane in _planes(pixels, (labels[0] > 0) | (labels[1] > 0)):
        for t, of in zip(things, told, strict=True):
            of[name] = t.mean(plane)
    luma = cv2.GaussianBlur(brightness(pixels), (0, 0), SOFT)
    for t, of in zip(things, told, strict=True):
        of |= _beside(t, luma, np.exp(of["width"]) + BESIDE)
    return [_in_proportion(of) for of in told]


class _Things:
    """Things by the pixels that they have, in the order of their labels."""

    def __init__(self, labels: Array) -> None:
        self.labels = labels
        self.rows, self.columns = np.nonzero(labels)
        self.which = labels[self.rows, self.columns] - 1
        self.count = int(labels.max(initial=0))
        self.area = self.sum(np.ones(len(self.which)))

    def at(self, plane: Array) -> Array:
        """Return a plane's values at the pixels."""
        return np.asarray(plane[self.rows, self.columns])

    def sum(self, values: Array) -> Array:
        """Return for each thing the sum of its pixels' values."""
        return np.bincount(self.which, values, self.count)

    def mean(self, plane: Array) -> Array:
        """Return for each thing the mean of a plane."""
        return self.sum(self.at(plane)) / self.area


def _of_odds(things: _Things, own: Array, other: Array) -> dict[str, Array]:
    """Measure the log-odds of things, and of what is near them."""
    highest = np.full(things.count, -np.inf)
    np.maximum.at(highest, things.which, things.at(own))
    told = {"highest": highest, "mean": things.mean(own), "other": things.mean(other)}
    for name, shift in (("crowd", 0), ("hints", 4)):
        share = 1 / (1 + np.exp(np.minimum(-own - np.float32(shift), 30)))
        near = NEAR**2 * cv2.blur(share, (NEAR, NEAR), borderType=cv2.BORDER_REFLECT)
        told[name] = np.log1p(np.maximum(things.mean(near) - things.sum(things.at(share)), 0))
    return told


def _of_shape(things: _Things) -> dict[str, Array]:
    """Measure width, length, how straight it is, and whether it reaches the picture's border."""
    deep = cv2.distanceTransform((things.labels > 0).astype(np.uint8), cv2.DIST_L2, 3)
    width = np.maximum(4 * things.mean(deep) - 2, 1)
    length = np.maximum(things.area / width, 1)
    y, x = (things.sum(v) / things.area for v in (things.rows, things.columns))
    down, across = things.rows - y[things.which], things.columns - x[things.which]
    yy, xx, xy = (things.sum(a) / things.area for a in (down * down, across * across, down * across))
    turn = np.hypot(xx - yy, 2 * xy)
    height, wide = things.labels.shape
    outer = np.minimum(
        np.minimum(things.rows, height - 1 - things.rows),
        np.minimum(things.columns, wide - 1 - things.columns),
    )
    return {
        "width": np.log(width), "length": np.log(length),
        "straight": np.sqrt(6 * (xx + yy + turn) + 1) / length,
        "cosine": (xx - yy) / (turn + 1e-9), "sine": 2 * xy / (turn + 1e-9),
        "border": (things.sum(outer <= 2) > 0).astype(float),
    }  # fmt: skip


def _beside(things: _Things, luma: Array, far: Array) -> dict[str, Array]:
    """Compare the pixels of things with luma (H, W) on both sides, `far` px from them along the normal."""
    shape = cv2.GaussianBlur((things.labels > 0).astype(np.float32), (0, 0), 1.5)
    x, y = cv2.Sobel(shape, cv2.CV_32F, 1, 0), cv2.Sobel(shape, cv2.CV_32F, 0, 1)
    xx, yy, xy = (cv2.GaussianBlur(p, (0, 0), 4) for p in (x * x, y * y, x * y))
    turn = np.arctan2(2 * things.at(xy), things.at(xx) - things.at(yy)) / 2
    away = far[things.which] * np.cos(turn), far[things.which] * np.sin(turn)
    sides = [_sampled(luma, things.columns + way * away[0], things.rows + way * away[1]) for way in (-1, 1)]
    middle, beside = things.at(luma), (sides[0] + sides[1]) / 2
    step, usual = (things.sum(v) / things.area for v in (middle - beside, beside))
    apart = beside - usual[things.which]
    change = things.sum((middle - (usual + step)[things.which]) * apart) / things.area
    follows = change / (things.sum(apart * apart) / things.area + LEVEL**2)
    return {"ridge": np.log(np.abs(step) / LEVEL + 1), "follows": np.clip(follows, -1, 2)}


def _sampled(plane: Array, columns: Array, rows: Array) -> Array:
    """Return a plane's values between pixels."""
    found = np.empty(len(columns), np.float32)
    for k in range(0, len(columns), SAMPLED):
        part = slice(k, k + SAMPLED)
        at = (v[part, None].astype(np.float32) for v in (columns, rows))
        found[part] = cv2.remap(plane, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
    return found


def _planes(pixels: Array, hidden: Array) -> Iterator[tuple[str, Array]]:
    """Yield planes (H, W) of which means over things are taken; `hidden` (H, W) bool is no surroundings."""
    free = 1 - cv2.dilate(hidden.astype(np.float32), np.ones((3, 3), np.uint8))

    def around(plane: Array, size: int = AROUND) -> Array:
        share = np.maximum(cv2.blur(free, (size, size)), 0) + np.float32(1e-3)
        return np.asarray(cv2.blur(plane * free, (size, size)) / share)

    luma = brightness(pixels)
    level = around(luma)
    yield "level", level
    yield "texture", np.sqrt(np.maximum(around(luma * luma) - level * level, 0))
    yield "step", luma - level
    yield "square", (luma - level) ** 2
    fine = (luma - cv2.GaussianBlur(luma, (0, 0), 2)) ** 2
    yield "noise", np.sqrt(np.maximum(around(fine, 31), 0)) + np.float32(LEVEL)
    x, y = cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)
    size = np.hypot(x, y) + np.float32(1e-6)
    yield "edges", around(size, EDGES)
    yield "upright", around((x * x - y * y) / size, EDGES)
    yield "slanted", around(2 * x * y / size, EDGES)
    spread = np.zeros_like(luma)
    for name, channel in (("red", 0), ("blue", 2)):
        tint = pixels[:, :, channel] - pixels[:, :, 1] if pixels.shape[2] == 3 else np.zeros_like(luma)
        usual = around(tint)
        yield name, tint - usual
        spread += np.maximum(around(tint * tint) - usual * usual, 0)
    yield "chroma", np.sqrt(spread)


def _in_proportion(told: dict[str, Array]) -> Array:
    """Return the features of what was measured: steps by what they stand out from, in logarithms."""
    step, noise = np.abs(told["step"]), told["noise"]
    uneven = np.sqrt(np.maximum(told["square"] - told["step"] ** 2, 0))
    of = told | {
        "step": np.log(step / LEVEL + 1),
        "contrast": np.log(step / noise + 0.1),
        "uneven": np.log(uneven / (step + LEVEL / 2) + 0.05),
        "colour": np.log((np.hypot(told["red"], told["blue"]) + LEVEL / 2) / (step + LEVEL) + 0.02),
        "noise": np.log(noise / LEVEL),
        "texture": np.log(told["texture"] / (step + LEVEL) + 0.05),
        "chroma": np.log(told["chroma"] / LEVEL + 0.3),
        "aligned": -(told["cosine"] * told["upright"] + told["sine"] * told["slanted"]) / told["edges"],
    }
    return np.stack([of[name] for name in FEATURES], 1)
