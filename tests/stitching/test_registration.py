"""Registration: cameras by what photos agree on, false pairs dropped."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from composer.align.homography import Pair, find_homography
from composer.records import Photo
from composer.samples import rotation
from composer.stitching import registration
from composer.stitching.cameras import angle_deg
from composer.stitching.registration import register

WIDTH, HEIGHT, FOCAL = 600, 400, 520.0
K = np.array([[FOCAL, 0, 299.5], [0, FOCAL, 199.5], [0, 0, 1.0]])
TURNS = [rotation(14 * k, 3 * (-1) ** k, k) for k in range(6)]
FARTHER = [rotation(24 * k, 3 * (-1) ** k, k) for k in range(6)]
PHOTOS = tuple(Photo(str(k), None, WIDTH, HEIGHT, 3, "uint8") for k in range(6))


def pair(i: int, j: int, between: np.ndarray) -> Pair:
    """Return what two photos match if they are turned so towards each other, seen to 0.2 pixels."""
    rng = np.random.default_rng([i, j])
    points = rng.uniform((0, 0), (WIDTH - 1, HEIGHT - 1), (400, 2))
    matrix = K @ between @ np.linalg.inv(K)
    there = np.c_[points, np.ones(400)] @ matrix.T
    moved = there[:, :2] / there[:, 2:]
    inside = ((moved > 0) & (moved < (WIDTH - 1, HEIGHT - 1))).all(1)
    seen = moved[inside] + rng.normal(0, 0.2, (int(inside.sum()), 2))
    return Pair(i, j, points[inside], seen, matrix, len(seen))


def row() -> list[Pair]:
    near = [(i, j) for i, j in combinations(range(6), 2) if j - i <= 2]
    return [pair(i, j, TURNS[j] @ TURNS[i].T) for i, j in near]


def test_a_false_pair_is_dropped_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fits, fit = [], registration._fit
    monkeypatch.setattr(registration, "_fit", lambda *given: fits.append(len(given[1])) or fit(*given))
    true = register(PHOTOS, tuple(row()), list(range(6)), "rotation", 2.0)
    lie = pair(0, 5, rotation(8, 5, 3))
    found = register(PHOTOS, (*row(), lie), list(range(6)), "rotation", 2.0)
    assert fits == [len(row()), len(row()) + 1]  # it had no say, so nothing began anew
    assert {(link.i, link.j) for link in found.links} == {(p.i, p.j) for p in row()}
    assert found.rms_px == pytest.approx(true.rms_px, rel=1e-3)
    for one, other in zip(found.cameras, true.cameras, strict=True):
        assert one.focal_px == pytest.approx(other.focal_px, rel=1e-4)
        turned = one.rotation @ found.cameras[0].rotation.T
        assert np.abs(turned - other.rotation @ true.cameras[0].rotation.T).max() < 1e-4


def bent_pair(i: int, j: int) -> Pair:
    """Return what two photos match through a lens that bends: what one homography explains, and the rest."""
    return seen_pair(i, j, [FOCAL] * 6, -0.2)


def seen_pair(i: int, j: int, focals: list[float], k1: float) -> Pair:
    """Return what two photos match through lenses of these focal lengths that bend by `k1`."""
    rng = np.random.default_rng([i, j])
    rays = rng.uniform((-1.6, -1.2, 1), (1.6, 1.2, 1), (6000, 3))
    there = rays @ (FARTHER[j] @ FARTHER[i].T).T
    ahead = there[:, 2] > 0.2
    one, other = (
        drawn(v[ahead, :2] / v[ahead, 2:], focals[k], k1) + rng.normal(0, 0.2, (int(ahead.sum()), 2))
        for v, k in ((rays, i), (there, j))
    )
    inside = np.logical_and(*(((p > 0) & (p < (WIDTH - 1, HEIGHT - 1))).all(1) for p in (one, other)))
    one, other = one[inside], other[inside]
    found = find_homography(one, other, 2.0)
    assert found is not None
    matrix, good = found
    return Pair(i, j, one[good], other[good], matrix, len(one), one[~good], other[~good])


def drawn(plane: np.ndarray, focal: float, k1: float) -> np.ndarray:
    """Return the pixels at which a lens with distortion shows points at depth 1."""
    r2 = (plane**2).sum(1, keepdims=True)
    return np.asarray(plane * (1 + k1 * np.minimum(r2, 1.5)) * focal + (299.5, 199.5))


def turned_deg(pairs: list[Pair]) -> float:
    """Return how far the last photo is found to be turned from the first."""
    found = register(PHOTOS, tuple(pairs), list(range(6)), "rotation", 2.0)
    return angle_deg(found.cameras[5].rotation @ found.cameras[0].rotation.T)


def test_what_a_lens_bends_beyond_any_homography_is_regained() -> None:
    pairs = [bent_pair(k, k + 1) for k in range(5)]
    assert sum(len(p.rest_i) for p in pairs) > 0.2 * sum(len(p.points_i) for p in pairs)
    true = angle_deg(FARTHER[5] @ FARTHER[0].T)
    assert turned_deg(pairs) == pytest.approx(true, abs=0.1)
    without = [replace(p, rest_i=p.rest_i[:0], rest_j=p.rest_j[:0]) for p in pairs]
    assert abs(turned_deg(without) - true) > 0.5


def test_photos_taken_half_as_wide_join_the_others() -> None:
    focals = [FOCAL, FOCAL / 2, FOCAL, FOCAL, FOCAL / 2, FOCAL]
    near = [(i, j) for i, j in combinations(range(6), 2) if j - i <= 2]
    found = register(
        PHOTOS, tuple(seen_pair(i, j, focals, -0.03) for i, j in near), list(range(6)), "auto", 2.0
    )
    assert found.model == "rotation"
    assert found.rms_px < 1
    assert [c.focal_px for c in found.cameras] == pytest.approx(focals, rel=0.05)
