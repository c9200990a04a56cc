"""Where a seam runs is told from a mask alone."""

from __future__ import annotations

import numpy as np

from composer.learn.band import seam_of, seam_of_mask

RNG = np.random.default_rng(0)


def band(width: int = 40) -> np.ndarray:
    mask = np.zeros((60, 100), np.float32)
    mask[:, 30 : 30 + width] = 1
    return mask


def test_a_band_goes_from_side_to_side() -> None:
    one, other = RNG.random((2, 60, 100, 3)).astype(np.float32)
    found = seam_of_mask(band(), one, other)
    expected = (np.arange(30, 70) - 49.5) / 20.5
    np.testing.assert_allclose(np.abs(found[30, 30:70]), np.abs(expected), atol=0.05)
    assert abs(np.sign(found[:, 30:49]).sum() + np.sign(found[:, 51:70]).sum()) == 0
    assert (found[:, :30] == 1).all()
    assert np.array_equal(found, seam_of_mask(band(), one, None))


def test_a_side_that_shows_the_other_view_has_no_way_to_go() -> None:
    one, other = RNG.random((2, 60, 100, 3)).astype(np.float32)
    one[:, 50:] = other[:, 50:]
    found = np.abs(seam_of_mask(band(), one, other))
    assert found[30, 40] < 0.1  # the middle of what is left
    assert (found[:, 52:] == 1).all() or found[30, 52:].min() > 0.8


def test_the_inside_of_a_ring_is_a_side_and_a_blob_has_one_only() -> None:
    y, x = np.mgrid[:80, :80] - 40.0
    radius = np.hypot(x, y)
    picture = RNG.random((80, 80, 3)).astype(np.float32)
    ring = seam_of_mask(((radius > 10) & (radius < 30)).astype(np.float32), picture, None)
    assert np.sign(ring[40, 40 + 13]) == -np.sign(ring[40, 40 + 27])
    assert abs(ring[40, 60]) < 0.1
    blob = seam_of_mask((radius < 30).astype(np.float32), picture, None)
    assert (blob == 1).all()


def test_far_from_the_seam_is_one() -> None:
    np.testing.assert_array_equal(seam_of(np.array([-50.0, -12, 0, 6, 30]), 24), [-1, -0.5, 0, 0.25, 1])
