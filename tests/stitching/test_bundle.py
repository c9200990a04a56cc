"""Bundle adjustment: the analytic Jacobian, and cameras recovered from exact matches."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from composer.align.homography import Pair
from composer.align.lens import pixel_to_plane, project
from composer.errors import ComposerError
from composer.records import Optics, Photo
from composer.samples import rotation
from composer.stitching import least_squares
from composer.stitching.bundle import (
    Lens,
    _between,
    _residuals,
    _with_source,
    adjust,
    cameras_of,
    exp_rotations,
    grown,
    pair_errors,
)
from composer.stitching.least_squares import Matches

Array = NDArray[np.float64]

LENS = Lens(focal_px=520.0, half_px=200.0, centre=(299.5, 199.5), shape=(-0.02, 0.0, 0.0, 0.0, 0.0))
ANGLES = [(0, 0, 0), (25, 3, 2), (50, -4, -1), (24, 20, 3)]


def seen_pairs(turns: list[Array], lenses: list[Lens], noise: float = 0.0) -> list[Pair]:
    """Make exact matches of random directions between photos that overlap."""
    rng = np.random.default_rng(3)
    rays = rng.normal(size=(6000, 3))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    spots = []
    for turn, lens in zip(turns, lenses, strict=True):
        photo = Photo("", None, 600, 400, 3, "uint8")
        camera = cameras_of([turn], [lens], [0])[0]
        u, v, inside = project(np, photo, camera, tuple((rays @ turn.T).T))
        spots.append((np.stack([u, v], 1), inside))
    pairs = []
    for i in range(len(turns)):
        for j in range(i + 1, len(turns)):
            both = spots[i][1] & spots[j][1]
            if both.sum() >= 12:
                jitter = rng.normal(0, noise, (2, int(both.sum()), 2))
                points = spots[i][0][both] + jitter[0], spots[j][0][both] + jitter[1]
                pairs.append(Pair(i, j, *points, np.eye(3), int(both.sum())))
    return pairs


def whole_jacobian(matches: Matches, turns: list[Array], lenses: list[Lens], solved: int) -> Array:
    """Return the Jacobian (N, 2, C) with the columns of the source's omega."""
    between = _between(matches, turns)
    jacobian = _residuals(matches, between, lenses, solved)[1].transpose(2, 0, 1)
    return np.concatenate([-jacobian[:, :, :3] @ between[matches.of], jacobian], 2)


def test_blocks_with_the_source_are_those_of_the_whole_jacobian() -> None:
    turns = [rotation(*a) for a in ANGLES]
    matches = Matches(seen_pairs(turns, [LENS] * 4, noise=1.0))
    between, whole = _between(matches, turns), whole_jacobian(matches, turns, [LENS] * 4, 2)
    residual, jacobian = _residuals(matches, between, [LENS] * 4)
    _, blocks = least_squares.weighted_blocks(matches, residual, jacobian, 1e9)
    for span, found in zip(matches.spans, _with_source(blocks, between), strict=True):
        rows, seen = whole[span].reshape(-1, 10), residual[:, span].T.reshape(-1, 1)
        np.testing.assert_allclose(found, rows.T @ np.c_[rows, seen], rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("optics", get_args(Optics))
def test_the_jacobian_is_the_derivative(optics: Optics) -> None:
    turns = [rotation(*a) for a in ANGLES]
    shapes = [(-0.02 + 0.004 * k, 0.004 * k, 0.01 - 0.003 * k, 0.01 * k, -0.02) for k in range(4)]
    lenses = [replace(LENS, focal_px=520 + 5 * k, shape=shapes[k], optics=optics) for k in range(4)]
    matches = Matches(seen_pairs(turns, lenses, noise=1.0))
    jacobian = whole_jacobian(matches, turns, lenses, 6)
    step = 1e-6

    def moved(photo: int, column: int, sign: float) -> Array:
        t, le = list(turns), list(lenses)
        if column < 3:
            t[photo] = exp_rotations(sign * step * np.eye(3))[column] @ t[photo]
        elif column == 3:
            le[photo] = replace(le[photo], focal_px=le[photo].focal_px * np.exp(sign * step))
        else:
            shape = np.array(le[photo].shape) + sign * step * np.eye(5)[column - 4]
            le[photo] = replace(le[photo], shape=tuple(shape))
        return _residuals(matches, _between(matches, t), le)[0].T

    for photo in range(4):
        for column in range(9):
            numeric = (moved(photo, column, 1) - moved(photo, column, -1)) / (2 * step)
            analytic = np.zeros_like(numeric)
            source, target = [0, 1, 2, *range(6, 12)], [3, 4, 5, *range(12, 18)]
            for ends, at in ((matches.source, source), (matches.target, target)):
                mine = (ends == photo)[matches.of]
                analytic[mine] += jacobian[mine][:, :, at[column]]
            assert np.abs(numeric - analytic).max() < 1e-3 * max(1, np.abs(numeric).max())


def test_few_unknowns_are_the_first_of_many() -> None:
    turns = [rotation(*a) for a in ANGLES]
    matches = Matches(seen_pairs(turns, [LENS] * 4, noise=1.0))
    all_of = whole_jacobian(matches, turns, [LENS] * 4, 6)
    few = whole_jacobian(matches, turns, [LENS] * 4, 2)
    np.testing.assert_allclose(few, all_of[:, :, [*range(8), 12, 13]], rtol=1e-9)


@pytest.mark.parametrize("optics", ["rectilinear", "equisolid"])
def test_a_whole_lens_comes_back(optics: Optics) -> None:
    turns = [rotation(*a) for a in ANGLES] + [rotation(20, -15, 80), rotation(30, 5, 170)]
    true = replace(LENS, shape=(-0.03, 0.01, 0.015, 0.02, -0.03), optics=optics)
    pairs = seen_pairs(turns, [true] * 6)
    start = [replace(LENS, focal_px=540.0, optics=optics)]
    found, lenses = adjust(pairs, turns, start, [0] * 6, 2.0, 200, 1e-12, solved=6)
    assert max(e.max() for e in pair_errors(pairs, found, lenses * 6)) < 0.3
    assert lenses[0].shape[3:] == pytest.approx((0.02, -0.03), abs=5e-3)


def test_cameras_come_back_from_a_bad_start() -> None:
    turns = [rotation(*a) for a in ANGLES]
    pairs = seen_pairs(turns, [LENS] * 4)
    rng = np.random.default_rng(0)
    start = [exp_rotations(rng.normal(0, 0.05, (1, 3)))[0] @ t for t in turns]
    found, lenses = adjust(
        pairs, start, [replace(LENS, focal_px=600.0, shape=(0.0,) * 5)], [0] * 4, 1e4, 100, 1e-12
    )
    found, lenses = adjust(pairs, found, lenses, [0] * 4, 2.0, 100, 1e-12)
    assert lenses[0].focal_px == pytest.approx(520, rel=2e-3)
    assert lenses[0].shape[0] == pytest.approx(-0.02, abs=2e-3)
    assert max(e.max() for e in pair_errors(pairs, found, lenses * 4)) < 0.1


def test_sparse_equations_in_parts_are_the_dense_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [rotation(*a) for a in ANGLES]
    pairs = seen_pairs(turns, [LENS] * 4, noise=0.5)
    start = [exp_rotations(np.full((1, 3), 0.01))[0] @ t for t in turns[:2]] + turns[2:]
    dense, lenses = adjust(pairs, start, [LENS] * 4, [0, 1, 2, 3], 2.0)
    monkeypatch.setattr(least_squares, "DENSE", 1)
    monkeypatch.setattr(least_squares, "PART", 50)
    sparse, others = adjust(pairs, start, [LENS] * 4, [0, 1, 2, 3], 2.0)
    assert np.abs(np.stack(dense) - np.stack(sparse)).max() < 1e-9
    assert [la.focal_px for la in lenses] == pytest.approx([la.focal_px for la in others], rel=1e-9)
    errors = [pair_errors(pairs, sparse, others)]
    monkeypatch.setattr(least_squares, "PART", 10**6)
    errors.append(pair_errors(pairs, sparse, others))
    assert all((a == b).all() for a, b in zip(*errors, strict=True))


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


@pytest.mark.parametrize("b", [-0.048, -0.03])
def test_a_lens_that_is_not_refused_reaches_the_photos_corners(b: float) -> None:
    wide = replace(LENS, shape=(0.0,) * 5)
    (lens,) = grown([wide], np.array([[0.0, b]]))
    corner = np.array([[300.0, 200.0]])
    assert np.hypot(*pixel_to_plane(corner, lens.distortion, lens.half_px)[0]) > np.hypot(*corner[0])


@pytest.mark.parametrize("b", [-0.06, -0.11])
def test_a_lens_that_folds_back_before_the_photos_corners_is_refused(b: float) -> None:
    with pytest.raises(ComposerError, match="folds back"):
        grown([replace(LENS, shape=(0.0,) * 5)], np.array([[0.0, b]]))
