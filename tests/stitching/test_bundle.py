"""Bundle adjustment: the analytic Jacobian, and cameras recovered from exact matches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from composer.align.homography import Pair
from composer.samples import rotation
from composer.stitching.bundle import Lens, Matches, _residuals, adjust, exp_rotation, pair_errors

LENS = Lens(focal_px=520.0, half_px=200.0, centre=(299.5, 199.5), b=-0.02)
ANGLES = [(0, 0, 0), (25, 3, 2), (50, -4, -1), (24, 20, 3)]


def seen_pairs(turns: list[NDArray[np.float64]], lenses: list[Lens], noise: float = 0.0) -> list[Pair]:
    """Make exact matches of random directions between photos that overlap."""
    rng = np.random.default_rng(3)
    rays = rng.normal(size=(6000, 3))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    spots = []
    for turn, lens in zip(turns, lenses, strict=True):
        v = rays @ turn.T
        u = v[:, :2] / np.maximum(v[:, 2:], 1e-3) * lens.focal_px
        r2 = (u**2).sum(1, keepdims=True) / lens.half_px**2
        spots.append(
            (u * (lens.b * r2 + 1 - lens.b) + lens.centre, (v[:, 2] > 0.3) & (np.abs(u) < [295, 195]).all(1))
        )
    pairs = []
    for i in range(len(turns)):
        for j in range(i + 1, len(turns)):
            both = spots[i][1] & spots[j][1]
            if both.sum() >= 12:
                jitter = rng.normal(0, noise, (2, int(both.sum()), 2))
                points = spots[i][0][both] + jitter[0], spots[j][0][both] + jitter[1]
                pairs.append(Pair(i, j, *points, np.eye(3), int(both.sum())))
    return pairs


def test_the_jacobian_is_the_derivative() -> None:
    turns = [rotation(*a) for a in ANGLES]
    lenses = [replace(LENS, focal_px=520 + 5 * k, b=-0.02 + 0.004 * k) for k in range(4)]
    matches = Matches(seen_pairs(turns, lenses, noise=1.0))
    _, jacobian = _residuals(matches, turns, lenses)
    step = 1e-6

    def moved(photo: int, column: int, sign: float) -> NDArray[np.float64]:
        t, le = list(turns), list(lenses)
        if column < 3:
            t[photo] = exp_rotation(sign * step * np.eye(3)[column]) @ t[photo]
        elif column == 3:
            le[photo] = replace(le[photo], focal_px=le[photo].focal_px * np.exp(sign * step))
        else:
            le[photo] = replace(le[photo], b=le[photo].b + sign * step)
        return _residuals(matches, t, le)[0]

    for photo in range(4):
        for column in range(5):
            numeric = (moved(photo, column, 1) - moved(photo, column, -1)) / (2 * step)
            analytic = np.zeros_like(numeric)
            for ends, at in ((matches.source, [0, 1, 2, 6, 7]), (matches.target, [3, 4, 5, 8, 9])):
                mine = (ends == photo)[matches.of]
                analytic[mine] += jacobian[mine][:, :, at[column]]
            assert np.abs(numeric - analytic).max() < 1e-3 * max(1, np.abs(numeric).max())


def test_cameras_come_back_from_a_bad_start() -> None:
    turns = [rotation(*a) for a in ANGLES]
    pairs = seen_pairs(turns, [LENS] * 4)
    rng = np.random.default_rng(0)
    start = [exp_rotation(rng.normal(0, 0.05, 3)) @ t for t in turns]
    found, lenses = adjust(pairs, start, [replace(LENS, focal_px=600.0, b=0.0)], [0] * 4, 1e4, 100, 1e-12)
    found, lenses = adjust(pairs, found, lenses, [0] * 4, 2.0, 100, 1e-12)
    assert lenses[0].focal_px == pytest.approx(520, rel=2e-3)
    assert lenses[0].b == pytest.approx(-0.02, abs=2e-3)
    assert max(e.max() for e in pair_errors(pairs, found, lenses * 4)) < 0.1


def test_outliers_do_not_move_the_cameras() -> None:
    turns = [rotation(*a) for a in ANGLES]
    pairs = seen_pairs(turns, [LENS] * 4, noise=0.3)
    spoiled = []
    rng = np.random.default_rng(1)
    for pair in pairs:
        wrong = rng.random(len(pair.points_i)) < 0.1
        points = pair.points_j + wrong[:, None] * rng.uniform(-60, 60, pair.points_j.shape)
        spoiled.append(replace(pair, points_j=points))
    found, lenses = adjust(spoiled, turns, [LENS], [0] * 4, 2.0)
    clean = np.concatenate(pair_errors(seen_pairs(turns, [LENS] * 4), found, lenses * 4))
    assert np.median(clean) < 0.4


def test_a_prior_holds_what_matches_cannot_say() -> None:
    turns = [rotation(0, 0, 0), rotation(0.4, 0, 0)]
    pairs = seen_pairs(turns, [LENS] * 2, noise=0.5)
    _, lenses = adjust(pairs, turns, [replace(LENS, prior_px=520.0, prior_sigma=0.02)], [0, 0], 2.0)
    assert lenses[0].focal_px == pytest.approx(520, rel=0.05)
