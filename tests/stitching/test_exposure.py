"""Gains and vignetting are recovered together, in linear light."""

from __future__ import annotations

import numpy as np
import pytest

from composer.align.warp import exposed
from composer.records import Rect, Tile, to_encoded, to_linear
from composer.stitching.exposure import Overlap, solve_exposure, white_level

GAINS = np.array([0.8, 1.0, 1.3, 0.95])
FALL_OFF = np.array([-0.3, -0.1, 0.0])


def overlap(i: int, j: int, rng: np.random.Generator, outliers: float = 0.0) -> Overlap:
    light = rng.uniform(-3, -0.5, (400, 3))
    r2 = rng.uniform(0, 1, (2, 400))
    logs = []
    for k, radius in zip((i, j), r2, strict=True):
        fall = FALL_OFF[0] * radius + FALL_OFF[1] * radius**2
        logs.append(light + np.log(GAINS[k]) + fall[:, None] + rng.normal(0, 0.01, light.shape))
    wrong = rng.random(400) < outliers
    logs[1][wrong] += rng.uniform(-2, 2, (int(wrong.sum()), 1))
    return Overlap(i, j, logs[0], logs[1], r2[0], r2[1])


@pytest.mark.parametrize("outliers", [0.0, 0.2])
def test_gains_and_fall_off_are_found(outliers: float) -> None:
    rng = np.random.default_rng(0)
    overlaps = [overlap(i, j, rng, outliers) for i, j in ((0, 1), (1, 2), (2, 3), (3, 0))]
    gains, fall_off = solve_exposure(overlaps, 4)
    relative = gains[:, 1] * GAINS
    assert np.abs(relative / relative.mean() - 1).max() < 0.03
    r2 = np.linspace(0, 1, 9)
    found = fall_off[0] * r2 + fall_off[1] * r2**2 + fall_off[2] * r2**3
    assert np.abs(found - (FALL_OFF[0] * r2 + FALL_OFF[1] * r2**2)).max() < 0.05


def test_the_median_photo_keeps_its_exposure() -> None:
    rng = np.random.default_rng(1)
    gains, _ = solve_exposure([overlap(0, 1, rng), overlap(1, 2, rng)], 3)
    assert np.exp(np.median(np.log(gains).mean(1))) == pytest.approx(1, abs=1e-6)


def test_without_overlaps_nothing_changes() -> None:
    gains, fall_off = solve_exposure([], 2)
    assert (gains == 1).all()
    assert fall_off == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.7])
def test_a_gain_multiplies_light(gain: float) -> None:
    codes = np.linspace(0.06, 0.6, 50, dtype=np.float32)
    assert np.allclose(exposed(codes, gain), to_encoded(to_linear(codes) * gain), atol=2e-3)


def test_a_gain_keeps_black_and_order() -> None:
    codes = np.linspace(0, 1, 256, dtype=np.float32)
    for gain in (0.3, 1.0, 2.5):
        assert exposed(codes, gain)[0] == 0
        assert (np.diff(exposed(codes, gain)) > 0).all()


def test_highlights_are_bent_below_white() -> None:
    codes = np.linspace(0, 1, 256, dtype=np.float32)
    white = float(exposed(codes, 2.0)[-1])
    bent = exposed(codes, 2.0, white)
    assert bent[-1] == pytest.approx(1, abs=1e-6)
    assert (np.diff(bent) > 0).all()
    low = exposed(codes, 2.0) < 0.7
    assert np.array_equal(bent[low], exposed(codes, 2.0)[low])


def test_white_is_what_nearly_all_pixels_stay_below() -> None:
    bright = Tile(Rect(0, 0, 20, 20), np.full((20, 20, 3), 0.9, np.float32), np.ones((20, 20), bool))
    unseen = Tile(Rect(0, 0, 0, 0), np.zeros((0, 0, 3), np.float32), np.zeros((0, 0), bool))
    brighter = float(exposed(np.float32([0.9]), 1.5)[0])
    assert white_level([bright, unseen], np.full((2, 3), 1.5)) == pytest.approx(brighter)
    assert white_level([bright], np.full((1, 3), 0.5)) == 1
    assert white_level([unseen], np.full((1, 3), 1.5)) == 1
