"""Match descriptors between two photographs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

__all__ = ["distinct_places", "match_descriptors"]


def match_descriptors(a: Array, b: Array, ratio: float = 0.8) -> Array:
    """Match unit-length descriptors that are each other's nearest and pass Lowe's ratio test.

    Parameters
    ----------
    a, b : (N, D), (M, D) float32
    ratio : float
        The nearest must be closer than `ratio` times the second nearest.

    Returns
    -------
    (K, 2) int array of indices into `a` and `b`.
    """
    if len(a) < 2 or len(b) < 2:
        return np.zeros((0, 2), int)
    likeness = a @ b.T
    nearest = likeness.argmax(1)
    rows = np.arange(len(a))
    best = likeness[rows, nearest]
    rows = rows[likeness.max(0)[nearest] == best]  # argmax down columns takes eight times as long
    rows = rows[np.sort(np.unique(nearest[rows], return_index=True)[1])]  # of equals the first
    rest = likeness[rows]
    rest[np.arange(len(rows)), nearest[rows]] = -1
    second = rest.max(1) if len(rows) else np.zeros(0)
    distinct = 2 - 2 * best[rows] < ratio**2 * (2 - 2 * second) - 1e-5  # float32 cannot tell less
    rows = rows[distinct]
    return np.stack([rows, nearest[rows]], 1)


def distinct_places(points_i: Array, points_j: Array) -> Array:
    """Return which matches (N,) are the first at their place: a point with two orientations counts once."""
    places = np.round(np.concatenate([points_i, points_j], 1), 1)
    _, first = np.unique(places, axis=0, return_index=True)
    kept = np.zeros(len(points_i), bool)
    kept[first] = True
    return kept
