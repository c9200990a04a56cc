"""First cameras: groups, focal length, and false pairs told by cycles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from composer.align.homography import Pair
from composer.samples import rotation
from composer.stitching.cameras import (
    _voted,
    angle_deg,
    connected_groups,
    estimate_focal,
    level,
    spanning_rotations,
)

SIZE = (600, 400)
FOCAL = 520.0
CENTRE = np.array([[1, 0, 299.5], [0, 1, 199.5], [0, 0, 1.0]])
K = CENTRE @ np.diag([FOCAL, FOCAL, 1])
TURNS = [rotation(24 * (k % 5), 18 * (k // 5), k) for k in range(10)]


def pair(i: int, j: int, turn: np.ndarray | None = None, count: int = 50) -> Pair:
    """Return a pair related by the true rotation, or by a false one."""
    between = TURNS[j] @ TURNS[i].T if turn is None else turn
    points = np.zeros((count, 2))
    return Pair(i, j, points, points, K @ between @ np.linalg.inv(K), count)


def grid() -> list[Pair]:
    near = [(i, j) for i in range(10) for j in range(i + 1, 10) if angle_deg(TURNS[i] @ TURNS[j].T) < 35]
    return [pair(i, j) for i, j in near]


def test_groups_are_connected_components_largest_first() -> None:
    pairs = [pair(5, 6), pair(0, 2), pair(2, 3)]
    assert connected_groups(8, pairs) == [[0, 2, 3], [5, 6], [1], [4], [7]]


def test_the_focal_length_is_found_without_exif() -> None:
    found = estimate_focal(grid(), [SIZE] * 10, [None] * 10)
    assert found * 600 == pytest.approx(FOCAL, rel=0.06)


@pytest.mark.parametrize(("promised", "expected"), [(540.0, 540.0), (5000.0, FOCAL)])
def test_exif_is_believed_unless_the_photos_contradict(promised: float, expected: float) -> None:
    found = estimate_focal(grid(), [SIZE] * 10, [promised] * 10)
    assert found * 600 == pytest.approx(expected, rel=0.06)


def test_false_pairs_are_told_however_many_matches_they_have() -> None:
    lie = rotation(170, 10, 3)
    # two false pairs that even close a triangle with a true one
    false = [pair(0, 9, lie, 500), pair(1, 9, lie @ TURNS[0] @ TURNS[1].T, 500)]
    pairs = [*false, *grid()]
    rotations, agrees = spanning_rotations(pairs, [SIZE] * 10, [FOCAL] * 10)
    assert agrees == [False, False, *[True] * len(grid())]
    world = rotations[0].T @ TURNS[0]
    assert max(angle_deg(r @ world @ t.T) for r, t in zip(rotations, TURNS, strict=True)) < 0.1


def test_a_cluster_that_lies_in_chorus_is_outvoted() -> None:
    lie = rotation(150, 0, 0)
    # photos 5 to 9 claim to lie elsewhere, consistently, but fewer matches say so
    false = [pair(i, j, TURNS[j] @ lie @ TURNS[i].T, 60) for i in (0, 1) for j in (5, 6, 7)]
    pairs = [*false, *grid()]
    rotations, agrees = spanning_rotations(pairs, [SIZE] * 10, [FOCAL] * 10)
    assert agrees == [False] * 6 + [True] * len(grid())
    assert angle_deg(rotations[9] @ rotations[0].T @ (TURNS[9] @ TURNS[0].T).T) < 0.1


def test_the_most_outvoted_edge_is_mended_first() -> None:
    far, thing = (6, 7), 2
    lie = rotation(150, 0, 0)  # what looks like the thing lies elsewhere, beside photos of both sides
    false = [pair(i, thing, lie @ TURNS[i].T, 30) for i in (1, *far)]
    true = [pair(i, thing, count=60) for i in (0, 5)]
    across = [pair(i, j, count=60) for i, j in ((0, 6), (1, 6), (1, 7), (5, 7))]
    pairs = [
        *false,
        *true,
        *across,
        pair(0, 1),
        pair(6, 7),
        pair(0, 5),
        pair(3, 4),
        pair(8, 9),
        pair(4, 9),
        pair(1, 4),
    ]
    turns = [TURNS[p.j] @ TURNS[p.i].T for p in pairs]
    turns[: len(false)] = [lie @ TURNS[p.i].T for p in false]
    edges = [3, 1, *range(len(pairs) - 7, len(pairs))]  # the far ones hang on the thing, by a false pair
    assert all(k >= len(false) for k in _voted(10, edges, pairs, turns))


def test_the_closing_pair_of_a_ring_is_kept_though_the_chain_drifts() -> None:
    ring = [rotation(30 * k, 0, 0) for k in range(12)]
    pairs = []
    for k in range(12):
        between = ring[(k + 1) % 12] @ ring[k].T
        pairs.append(replace(pair(0, 1, between), i=k, j=(k + 1) % 12))
    _, agrees = spanning_rotations(pairs, [SIZE] * 12, [FOCAL * 1.15] * 12)
    assert all(agrees)


def test_the_horizon_is_levelled() -> None:
    tilt = rotation(0, 20, 15)
    turned = [rotation(a, 0, 0) @ tilt for a in range(0, 150, 30)]
    levelled = level(turned)
    assert max(abs(r[0, 1]) for r in levelled) < 1e-6  # x axes lie in the horizontal plane
    yaws = [np.degrees(np.arctan2(r[2, 0], r[2, 2])) for r in levelled]
    assert yaws[0] == pytest.approx(-60, abs=1e-3)
    assert yaws[-1] == pytest.approx(60, abs=1e-3)


def test_photos_above_each_other_keep_their_mean_upright() -> None:
    turned = [rotation(0, p, 0) for p in (-20, 0, 20)]
    levelled = level(turned)
    assert np.mean([r[1, 1] for r in levelled]) > 0.9


def turned_about(
    angles: list[tuple[float, float, float]],
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Return rotations in a world that stands askew, and gravity as each camera feels it."""
    upright = [rotation(*a) for a in angles]
    askew = rotation(31, -17, 48)
    return [r @ askew for r in upright], np.array([r[:, 1] for r in upright])


def test_what_the_cameras_felt_beats_their_habits() -> None:
    turned, gravity = turned_about([(-15, 25, 20), (15, 25, 20)])
    noisy = gravity + np.random.default_rng(0).normal(0, 0.01, gravity.shape)
    assert all(r[:, 1] @ g < 0.99 for r, g in zip(level(turned), gravity, strict=True))
    noisy /= np.linalg.norm(noisy, axis=1)[:, None]
    for levelled in (level(turned, None, gravity), level(turned, None, noisy)):
        assert all(r[:, 1] @ g > 0.999 for r, g in zip(levelled, gravity, strict=True))


def test_what_disagrees_or_looks_down_is_not_believed() -> None:
    turned, gravity = turned_about([(yaw, 20, 5) for yaw in range(0, 360, 45)])
    wrong = gravity * (1, 1, -1)
    assert np.array_equal(level(turned, None, wrong), level(turned))
    down, gravity = turned_about([(0, -85, 0), (30, -80, 0)])
    assert np.array_equal(level(down, None, gravity), level(down))


def test_lines_beat_what_the_cameras_felt() -> None:
    turned, gravity = turned_about([(-15, 25, 20), (15, 25, 20)])
    true = turned[0].T @ gravity[0]
    square = np.linalg.svd(true[None])[2][1:]  # two directions that the vertical is square to
    off = gravity + np.array([0.06, 0, 0])
    (first, _) = level(turned, square, off / np.linalg.norm(off, axis=1)[:, None])
    assert first[:, 1] @ gravity[0] > 0.99999
