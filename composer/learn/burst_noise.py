"""How strong noise is in a burst: by value and colour, told from how its photos differ."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

__all__ = ["KNOTS", "LEAST", "deviations", "noise_table"]

KNOTS = 33  # values 0..1 at which noise is known
LEAST = 0.3 / 255  # what rounding to 8 bits adds
FEWEST = 200  # pixels that tell something about a value
MEDIAN = 0.6745  # of a normal distribution's absolute values, in standard deviations
SLOW_PX = 5  # what differs more slowly is light, not noise


def noise_table(pairs: Sequence[tuple[Array, Array]]) -> Array:
    """Return the standard deviation of a photo's noise (C, KNOTS) float32 at values from 0 to 1.

    Medians over all pixels of a value are not moved by things that do.

    Parameters
    ----------
    pairs : sequence of two (h, w, C) float32
        The same place in two photos.
    """
    values, gaps = [], []
    for first, second in pairs:
        gap = second - first
        gap = gap - cv2.blur(gap, (SLOW_PX, SLOW_PX)).reshape(gap.shape)
        mean = cv2.blur(first, (SLOW_PX, SLOW_PX)).reshape(gap.shape)
        values.append(mean.reshape(-1, gap.shape[2]))
        gaps.append(np.abs(gap).reshape(-1, gap.shape[2]))
    value, away = np.concatenate(values), np.concatenate(gaps)
    scale = MEDIAN * np.sqrt(2 * (1 - 1 / SLOW_PX**2))
    return np.stack([_by_value(v, a / scale) for v, a in zip(value.T, away.T, strict=True)])


def _by_value(value: Array, away: Array) -> Array:
    """Return the median of `away` (n,) around each knot, those with too few pixels as their neighbours."""
    order = np.argsort(value, kind="stable")
    value, away = value[order], away[order]
    knots = np.linspace(0, 1, KNOTS)
    edges = np.searchsorted(value, [*(knots - 0.5 / (KNOTS - 1)), np.inf])
    parts = [away[a:b] for a, b in pairwise(edges)]
    known = [k for k, p in enumerate(parts) if len(p) >= FEWEST]
    if not known:
        found = np.full(KNOTS, np.median(away))
    else:
        found = np.interp(knots, knots[known], [np.median(parts[k]) for k in known])
    return np.maximum(found, LEAST).astype(np.float32)


def deviations(photo: Array, table: Array) -> Array:
    """Return the standard deviation of noise at every value of (h, w, C) float32, by a table (C, KNOTS)."""
    smooth = cv2.blur(photo, (SLOW_PX, SLOW_PX)).reshape(photo.shape)
    at = np.clip(smooth, 0, 1) * np.float32(KNOTS - 1)
    low = np.minimum(at.astype(np.int32), KNOTS - 2)
    share = at - low
    found = [t[k] * (1 - s) + t[k + 1] * s for t, k, s in zip(table, *_planes(low, share), strict=True)]
    return np.stack(found, 2).astype(np.float32)


def _planes(*pictures: Array) -> list[Array]:
    return [np.moveaxis(p, 2, 0) for p in pictures]
