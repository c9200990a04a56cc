"""Rows or columns that are each a little lighter or darker all along: banding.

Electronics that hum, or a scanner's lamp that flickers, add the same to a whole row. What the scene shows
changes along the row: the picture is cut into strips, and what their pixels, and then the strips, agree on in
the steps from row to row is the fault's. Steps add up to offsets; what is smooth over `PERIOD` rows cannot be
told from light.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.media.picture import as_float, as_stored
from composer.mending.regions import brightness
from composer.records import Fault, Rect

Array = NDArray[Any]

__all__ = ["find_banding", "levelled"]

PERIOD = 33  # rows
STRIPS = 16
SHORTEST = 64  # pixels of a row
OWN = 4 / 255  # difference from what is usual in a row, beyond which a step is the scene's
SURE = 3.0  # deviations of the mean over strips
CERTAIN = 0.25 / 255  # step
MOST = 0.42  # of the rows, whose steps must be sure; 0.3 at most on photographs without
LEAST = 1.2 / 255  # deviation of the offsets: what rows of a scene have in common is half of it


def find_banding(pixels: Array, valid: Array | None = None) -> list[Fault]:
    """Find banding of (H, W, C) float32: one fault "banding", or none.

    Its strength is the standard deviation of the offsets, of 255.
    """
    height, width = pixels.shape[:2]
    luma = brightness(pixels)
    if valid is not None:
        luma = np.where(valid, luma, np.float32(0))
    both = [_offsets(np.ascontiguousarray(plane)) for plane in (luma, luma.T)]
    worst = max((255 * float(o.std()) for o, sure in both if _is_fault(o, sure)), default=None)
    if worst is None:
        return []
    return [Fault("banding", Rect(0, 0, width, height), max(sure for _, sure in both), strength=worst)]


def levelled(pixels: Array, valid: Array) -> Array:
    """Take banding out of (H, W, C) uint8, uint16 or float32: each channel's, of rows and then of columns."""
    for axis in (0, 1):
        seen = np.where(valid[:, :, None], as_float(pixels), np.float32(0))
        if axis:
            seen = seen.swapaxes(0, 1)
        if not _is_fault(*_offsets(brightness(np.ascontiguousarray(seen)))):
            continue
        offsets = np.stack(
            [_offsets(np.ascontiguousarray(seen[:, :, c]))[0] for c in range(seen.shape[2])], 1
        )
        shifts = np.expand_dims(offsets.astype(np.float32), 1 - axis)
        pixels = as_stored(as_float(pixels) - shifts, pixels.dtype)
    return pixels


def _is_fault(offsets: Array, sure: float) -> bool:
    """Tell whether offsets are banding."""
    return sure >= MOST and float(offsets.std()) >= LEAST


def _offsets(plane: Array) -> tuple[Array, float]:
    """Return by how much each row of (H, W) is lighter than those around it, and the share that is sure."""
    height, width = plane.shape
    if width < SHORTEST or height < PERIOD:
        return np.zeros(height), 0.0
    steps = np.array([_usual(s) for s in np.array_split(np.diff(plane, axis=0), STRIPS, axis=1)])
    steps -= np.array([_smooth(s) for s in steps])
    agreed = np.median(steps, axis=0)
    deviation = 1.4826 * np.median(np.abs(steps - agreed), axis=0) * 1.25 / np.sqrt(STRIPS)
    sure = np.abs(agreed) > np.maximum(SURE * deviation, CERTAIN)
    offsets = np.concatenate([[0.0], np.cumsum(agreed)])
    return offsets - _smooth(offsets), float(sure.mean())


def _usual(steps: Array) -> Array:
    """Return the usual value of each row (H, w): finer than a median of whole numbers is."""
    middle = np.median(steps, axis=1, keepdims=True)
    return np.asarray((middle + np.clip(steps - middle, -OWN, OWN).mean(1, keepdims=True))[:, 0], np.float64)


def _smooth(values: Array) -> Array:
    """Return running means over `PERIOD` of (n,)."""
    means = cv2.blur(values[:, None], (1, PERIOD), borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(means[:, 0])
