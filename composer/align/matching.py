"""Match descriptors between photographs, and choose the pairs worth matching."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.features import Features

Array = NDArray[Any]

__all__ = ["candidate_pairs", "distinct_places", "match_descriptors"]


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
    mutual = likeness.argmax(0)[nearest] == rows
    rows = rows[mutual]
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


def candidate_pairs(features: list[Features], keep: int = 5, sample: int = 300) -> list[tuple[int, int]]:
    """Choose the pairs worth matching in full, by matching only the coarsest features of each photo.

    Up to eight photographs give all pairs. Beyond that each photograph proposes the `keep` partners
    with which most of its `sample` largest features agree; chance gives every pair some votes, so
    every pair with twice the usual number is proposed too.

    Returns
    -------
    Sorted list of (i, j) with i < j.
    """
    n = len(features)
    everything = [(i, j) for i in range(n) for j in range(i + 1, n)]
    if n <= 8:
        return everything
    coarse = [f.descriptors[np.argsort(-f.sizes, kind="stable")[:sample]] for f in features]
    votes = np.zeros((n, n), int)
    for i, j in everything:
        votes[i, j] = votes[j, i] = len(match_descriptors(coarse[i], coarse[j], 0.85))
    usual = float(np.median(votes[np.triu_indices(n, 1)]))
    chosen = {(i, j) for i, j in everything if votes[i, j] > 2 * usual}
    for i in range(n):
        ranked = [int(j) for j in np.argsort(-votes[i], kind="stable") if j != i]
        chosen.update((min(i, j), max(i, j)) for j in ranked[:keep])
    return sorted(chosen)
