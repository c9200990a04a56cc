"""Match descriptors between photographs, and choose the pairs worth matching."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.features import Features

Array = NDArray[Any]

__all__ = ["candidate_pairs", "match_descriptors"]


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
    distinct = 2 - 2 * best[rows] < ratio**2 * (2 - 2 * second)
    rows = rows[distinct]
    return np.stack([rows, nearest[rows]], 1)


def candidate_pairs(features: list[Features], keep: int = 6, sample: int = 300) -> list[tuple[int, int]]:
    """Choose the pairs worth matching in full, by matching only the coarsest features of each photo.

    Up to a dozen photographs give all pairs. Beyond that each photograph proposes the `keep` partners
    with which most of its `sample` largest features agree, and every partner with 6 or more.

    Returns
    -------
    Sorted list of (i, j) with i < j.
    """
    n = len(features)
    everything = [(i, j) for i in range(n) for j in range(i + 1, n)]
    if n <= 12:
        return everything
    coarse = []
    for f in features:
        largest = np.argsort(-f.sizes, kind="stable")[:sample]
        coarse.append(f.descriptors[largest])
    votes = np.zeros((n, n), int)
    for i, j in everything:
        votes[i, j] = votes[j, i] = len(match_descriptors(coarse[i], coarse[j], 0.85))
    chosen: set[tuple[int, int]] = set()
    for i in range(n):
        ranked = np.argsort(-votes[i], kind="stable")
        best = [int(j) for j in ranked if j != i][:keep]
        best += [int(j) for j in np.flatnonzero(votes[i] >= 6)]
        chosen.update((min(i, j), max(i, j)) for j in best if i != j)
    return sorted(chosen)
