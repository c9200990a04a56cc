"""Which photographs are likely to overlap, told without comparing every two of them.

All photos' coarsest features go into a few k-d trees with random splits (a k-d forest, as in Brown and
Lowe, IJCV 2007, sec. 2; Silpa-Anan and Hartley, CVPR 2008). A feature is compared with those in its leaves
only, so the cost is N log N in the number of photos; its nearest ones vote for their photos.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.features import Features
from composer.align.homography import Pair
from composer.align.matching import match_descriptors
from composer.backend.parallel import together
from composer.records import Context

Array = NDArray[Any]

__all__ = ["bridging_pairs", "closing_pairs", "count_votes", "forest_votes", "likely_pairs"]

FEW = 32  # photographs that are still compared two by two
NOISY = 3  # partners more that a photograph proposes on a forest's votes
CLOSING_SHARE = 0.08  # of a photograph: less overlap is not worth a match
TREES = 6
LEAF = 40  # features in a leaf at most
BATCH = 500  # leaves compared at once
WIDEST = 5  # a split falls on one of so many widest dimensions
NEAREST = 4  # photos that a feature votes for at most
STRANGE = 0.2  # 1 - cosine of two features beyond which they say nothing
SPREAD_SAMPLE = 32  # features by which the widest dimensions are told


def count_votes(features: list[Features], context: Context | None = None, sample: int = 300) -> Array:
    """Count what two photographs seem to share, for every two, by their `sample` largest features.

    Up to 32 photographs are compared two by two; beyond, a k-d forest finds similar features.

    Returns
    -------
    (n, n) float32, symmetric, zero on the diagonal.
    """
    coarse = [f.descriptors[np.argsort(-f.sizes, kind="stable")[:sample]] for f in features]
    if len(features) > FEW:
        return forest_votes(coarse, context)
    votes = np.zeros((len(coarse), len(coarse)), np.float32)

    def compare(pair: tuple[int, int]) -> None:
        i, j = pair
        votes[i, j] = votes[j, i] = len(match_descriptors(coarse[i], coarse[j], 0.85))

    together(context or Context(), compare, combinations(range(len(coarse)), 2))
    return votes


def likely_pairs(votes: Array, keep: int) -> list[tuple[int, int]]:
    """Choose the pairs worth matching in full.

    Up to eight photographs give all pairs. Beyond that each proposes the `keep` partners with most
    votes; chance gives every pair some, so every pair with twice the usual number is proposed too.
    A forest's votes are noisier: each photograph then proposes a few partners more instead.

    Returns
    -------
    Sorted list of (i, j) with i < j.
    """
    n = len(votes)
    if n <= 8:
        return list(combinations(range(n), 2))
    chosen = _preferred(votes, keep if n <= FEW else keep + NOISY)
    if n <= FEW:
        usual = float(np.median(votes[np.triu_indices(n, 1)]))
        chosen |= {(int(i), int(j)) for i, j in np.argwhere(np.triu(votes, 1) > 2 * usual)}
    return sorted(chosen)


def bridging_pairs(votes: Array, groups: list[list[int]], keep: int) -> list[tuple[int, int]]:
    """Choose the `keep` likeliest partners of every photo outside its group of verified pairs."""
    apart = votes.copy()
    for members in groups:
        apart[np.ix_(members, members)] = 0
    largest = groups[0] if groups else []
    chosen = _preferred(apart, keep)
    return sorted(p for p in chosen if len(set(p) & set(largest)) < 2)


def closing_pairs(pairs: list[Pair], sizes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Choose pairs that verified pairs with a third photograph say must overlap."""
    near: dict[int, list[tuple[int, Array]]] = {}
    for p in pairs:
        near.setdefault(p.j, []).append((p.i, p.matrix))
        near.setdefault(p.i, []).append((p.j, np.linalg.inv(p.matrix)))
    chosen = set()
    for around in near.values():
        photos = np.array([k for k, _ in around])
        one, other = np.triu_indices(len(around), 1)
        into = np.stack([matrix for _, matrix in around])
        each = np.array(sizes, float)[photos]
        seen = _seen_share(np.linalg.inv(into)[other] @ into[one], each[one], each[other]) >= CLOSING_SHARE
        ends = np.sort(np.stack([photos[one], photos[other]], 1)[seen], 1)
        chosen |= {(int(i), int(j)) for i, j in ends}
    return sorted(chosen)


def _seen_share(matrices: Array, size_i: Array, size_j: Array) -> Array:
    """Return the shares (N,) of photos i that homographies map into photos j, by a grid of points."""
    x, y = np.meshgrid((np.arange(8) + 0.5) / 8, (np.arange(8) + 0.5) / 8)
    points = np.stack([x.ravel(), y.ravel(), np.ones(64)])
    spread = matrices * np.concatenate([size_i, np.ones_like(size_i[:, :1])], 1)[:, None]
    u, v, w = (spread @ points * np.sign(matrices[:, 2:, 2:])).transpose(1, 0, 2)
    inside = (u > 0) & (u < size_j[:, :1] * w) & (v > 0) & (v < size_j[:, 1:] * w)
    return np.asarray(((w > 1e-9) & inside).mean(1))


def _preferred(votes: Array, keep: int) -> set[tuple[int, int]]:
    """Return every photo's `keep` partners with most votes, if any."""
    ranked = np.argsort(-votes, axis=1, kind="stable")[:, :keep]
    proposed = [(i, int(j)) for i, row in enumerate(ranked) for j in row if i != j]
    return {(min(p), max(p)) for p in proposed}


def forest_votes(descriptors: list[Array], context: Context | None = None) -> Array:
    """Count the features that two photographs seem to share, by a k-d forest.

    Parameters
    ----------
    descriptors : list of (N, D) float32, one a photo
        Unit length.
    context : Context or None
        Whose threads and seed to use.

    Returns
    -------
    (n, n) float32, symmetric, zero on the diagonal.
    """
    n, context = len(descriptors), context or Context()
    every = np.concatenate(descriptors)
    of = np.repeat(np.arange(n), [len(d) for d in descriptors])
    every, of = np.concatenate([every, np.zeros_like(every[:1])]), np.r_[of, -1]  # the last stands for none
    mates = np.full((len(every), NEAREST * TREES), -1)
    likeness = np.full(mates.shape, -1.0, np.float32)

    def grow(t: int) -> None:
        columns = slice(t * NEAREST, (t + 1) * NEAREST)
        leaves = _leaves(every, np.random.default_rng([context.seed, t]))
        for at in range(0, len(leaves), BATCH):
            batch = leaves[at : at + BATCH]
            mates[batch, columns], likeness[batch, columns] = _nearest(every[batch], of[batch])

    together(context, grow, range(TREES))
    mates, likeness, of = mates[:-1], likeness[:-1], of[:-1]
    order = np.argsort(-likeness, axis=1, kind="stable")
    mates, likeness = (np.take_along_axis(a, order, 1) for a in (mates, likeness))
    votes = np.zeros((n, n), np.float32)
    _cast(votes, of, mates, likeness)
    return votes + votes.T


def _leaves(points: Array, random: np.random.Generator) -> Array:
    """Split points, all but the last, at the median of a wide dimension, again and again.

    Returns
    -------
    (leaves, size) int
        The points in each leaf; -1 fills up.
    """
    count = len(points) - 1
    depth = max(0, math.ceil(math.log2(max(1, count) / LEAF)))
    nodes = np.full((1, max(NEAREST, math.ceil(count / 2**depth)) << depth), -1)
    nodes[0, :count] = np.arange(count)
    for _ in range(depth):
        sample = nodes[:, :: max(1, nodes.shape[1] // SPREAD_SAMPLE)]
        widest = np.argsort(-points[sample].var(1), axis=1, kind="stable")[:, :WIDEST]
        chosen = widest[np.arange(len(nodes)), random.integers(widest.shape[1], size=len(nodes))]
        order = np.argsort(points[nodes, chosen[:, None]], axis=1, kind="stable")
        nodes = np.take_along_axis(nodes, order, 1).reshape(2 * len(nodes), -1)
    return nodes


def _nearest(points: Array, of: Array) -> tuple[Array, Array]:
    """Return each point's most similar ones of other photos in its leaf.

    Parameters
    ----------
    points : (leaves, size, D)
    of : (leaves, size)
        Their photos.

    Returns
    -------
    photos, likeness : (leaves, size, NEAREST); photo -1 where there is none.
    """
    alike = points @ points.transpose(0, 2, 1)
    alike[of[:, :, None] == of[:, None, :]] = -1
    found = np.argsort(-alike, axis=2, kind="stable")[:, :, :NEAREST]
    nearest = np.take_along_axis(alike, found, 2)
    photos = np.take_along_axis(of[:, None, :], found, 2)
    return np.where(nearest > 0, photos, -1), nearest


def _cast(votes: Array, of: Array, mates: Array, likeness: Array) -> None:
    """Let every feature vote for the photos of its nearest ones, each photo once, in place."""
    seen = np.full((len(of), NEAREST), -2)
    count = np.zeros(len(of), int)
    for k in range(mates.shape[1]):
        new = (mates[:, k] >= 0) & (count < NEAREST) & ~(seen == mates[:, k, None]).any(1)
        rows = np.flatnonzero(new)
        seen[rows, count[rows]] = mates[rows, k]
        count[rows] += 1
        np.add.at(votes, (of[rows], mates[rows, k]), np.maximum(0, 1 - (1 - likeness[rows, k]) / STRANGE))
