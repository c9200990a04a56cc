"""Which photographs are likely to overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from composer.align.features import find_features, to_grey8
from composer.align.homography import Pair
from composer.align.retrieval import (
    FEW,
    bridging_pairs,
    closing_pairs,
    count_votes,
    forest_votes,
    likely_pairs,
)
from composer.samples import circle

NOWHERE = np.zeros((0, 2))


def ring_of_descriptors(n: int, each: int = 60) -> list[NDArray[np.float32]]:
    """Return descriptors of n photos in a ring: half of each photo's are the next one's too, with noise."""
    rng = np.random.default_rng(0)
    things = rng.uniform(0, 1, (n, each // 2, 64)) ** 4
    photos = []
    for k in range(n):
        seen = np.concatenate([things[k], things[(k + 1) % n]]) + rng.uniform(0, 0.05, (each, 64))
        photos.append((seen / np.linalg.norm(seen, axis=1, keepdims=True)).astype(np.float32))
    return photos


def shifted(i: int, j: int, x: float) -> Pair:
    """Return a pair whose homography moves points of photo i by x to photo j."""
    return Pair(i, j, NOWHERE, NOWHERE, np.array([[1, 0, x], [0, 1, 0], [0, 0, 1.0]]), 9)


def test_neighbours_are_among_the_candidates() -> None:
    features = [find_features(to_grey8(v.pixels)) for v in circle(12)]
    chosen = set(likely_pairs(count_votes(features), 5))
    assert {(min(k, (k + 1) % 12), max(k, (k + 1) % 12)) for k in range(12)} <= chosen
    assert len(chosen) < 66


def test_a_forest_finds_every_neighbour_among_many() -> None:
    n = 3 * FEW
    votes = forest_votes(ring_of_descriptors(n))
    assert (votes == votes.T).all()
    assert not votes.diagonal().any()
    chosen = set(likely_pairs(votes, 2))
    assert {(min(k, (k + 1) % n), max(k, (k + 1) % n)) for k in range(n)} <= chosen
    assert len(chosen) <= 5 * n


def test_photos_without_features_get_no_votes() -> None:
    photos = ring_of_descriptors(12)
    photos[3] = np.zeros((0, 64), np.float32)
    assert not forest_votes(photos)[3].any()


def test_pairs_that_others_say_overlap_are_proposed() -> None:
    # photos of 100 x 80 in a row, 45 pixels apart, the second to be seen the other way round
    pairs = [shifted(0, 1, -45), shifted(2, 1, 45), shifted(2, 3, -45)]
    assert closing_pairs(pairs, [(100, 80)] * 4) == [(0, 2), (1, 3)]
    assert closing_pairs(pairs, [(90, 80)] * 4) == []


def test_bridges_lead_out_of_a_group() -> None:
    votes = np.zeros((6, 6), np.float32)
    for i, j, count in ((0, 1, 9), (1, 2, 8), (3, 4, 9), (2, 3, 2), (0, 5, 1)):
        votes[i, j] = votes[j, i] = count
    found = bridging_pairs(votes, [[0, 1, 2], [3, 4], [5]], 1)
    assert {(2, 3), (0, 5)} <= set(found)
    assert not {(0, 1), (1, 2), (3, 4)} & set(found)
