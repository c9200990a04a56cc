"""Multiband blending of tiles."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from composer.blend.compose import owners, with_sources
from composer.blend.feather import feather
from composer.blend.multiband import multiband
from composer.records import Rect, Tile

SIZE = 64
RECT = Rect(0, 0, SIZE, SIZE)


def tile(image: np.ndarray, valid: np.ndarray, weight: np.ndarray) -> Tile:
    return Tile(RECT, image.astype(np.float32), valid, weight.astype(np.float32))


def halves(left: np.ndarray, right: np.ndarray) -> list[Tile]:
    everywhere = np.ones((SIZE, SIZE), bool)
    is_left = np.zeros((SIZE, SIZE))
    is_left[:, : SIZE // 2] = 1
    return [tile(left, everywhere, is_left), tile(right, everywhere, 1 - is_left)]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), levels=st.integers(1, 4))
def test_layers_that_agree_come_through_unchanged(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.random((SIZE, SIZE, 3), np.float32)
    tiles = []
    for _ in range(3):
        tiles.append(tile(image, rng.random((SIZE, SIZE)) < 0.8, rng.random((SIZE, SIZE))))
    blended = multiband(tiles, levels)
    covered = tiles[0].valid | tiles[1].valid | tiles[2].valid
    assert np.abs(blended - image)[covered].max() < 1e-6


def test_a_step_between_flat_layers_becomes_a_ramp() -> None:
    dark, bright = np.full((SIZE, SIZE, 1), 0.4), np.full((SIZE, SIZE, 1), 0.6)
    row = multiband(halves(dark, bright), 3)[SIZE // 2, :, 0]
    assert row[0] == pytest.approx(0.4, abs=1e-3)
    assert row[-1] == pytest.approx(0.6, abs=1e-3)
    assert np.diff(row).min() > -1e-3
    assert np.diff(row).max() < 0.04


def test_detail_is_not_mixed_far_from_the_seam() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.random((2, SIZE, SIZE, 1))
    blended = multiband(halves(left, right), 2)
    assert np.abs(blended[:, : SIZE // 2 - 14] - left[:, : SIZE // 2 - 14]).max() < 1e-6


def test_a_photo_that_ends_casts_no_dark_edge() -> None:
    """The layer on the right is valid only just past the seam: its edge must not show."""
    bright = np.full((SIZE, SIZE, 1), 0.8)
    tiles = halves(bright, bright)
    valid = np.zeros((SIZE, SIZE), bool)
    valid[:, SIZE // 2 - 3 :] = True
    tiles[1] = tile(np.where(valid[:, :, None], bright, 0), valid, tiles[1].weight)
    assert np.abs(multiband(tiles, 4) - 0.8).max() < 1e-6


def test_the_owner_is_valid_and_has_the_largest_weight() -> None:
    rng = np.random.default_rng(1)
    images, weights = rng.random((3, SIZE, SIZE, 1)), rng.random((3, SIZE, SIZE))
    valid = rng.random((3, SIZE, SIZE)) < 0.6
    owner, composite = owners([tile(i, v, w) for i, v, w in zip(images, valid, weights, strict=True)])
    expected = np.where(valid, weights, -1).argmax(0)
    expected[~valid.any(0)] = -1
    assert np.array_equal(owner, expected)
    picked = np.take_along_axis(images[..., 0], np.maximum(expected, 0)[None], 0)[0]
    assert np.allclose(composite[..., 0][expected >= 0], picked[expected >= 0])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), levels=st.integers(1, 2))
def test_tiles_cut_to_what_their_layers_own_change_nothing(seed: int, levels: int) -> None:
    rng, reach, unit = np.random.default_rng(seed), 4 << levels, 16  # OpenCV rounds odd ends differently
    x, y = rng.integers(reach, SIZE * 2 - reach, 2)
    rows, columns = np.mgrid[: SIZE * 2, : SIZE * 2]
    whole, cut = [], []
    for owned in (columns < x, (columns >= x) & (rows < y), (columns >= x) & (rows >= y)):
        valid = cv2.dilate(owned.astype(np.uint8), np.ones((9, 13), np.uint8)) > 0
        image = rng.random((SIZE * 2, SIZE * 2, 3), np.float32)
        whole.append(Tile(Rect(0, 0, SIZE * 2, SIZE * 2), image, valid, owned.astype(np.float32)))
        there = np.nonzero(owned)
        y0, x0 = (max(int(t.min()) - reach, 0) // unit * unit for t in there)
        y1, x1 = (min(-(-(int(t.max()) + 1 + reach) // unit) * unit, SIZE * 2) for t in there)
        here = slice(y0, y1), slice(x0, x1)
        cut.append(Tile(Rect(x0, y0, x1, y1), *(a[here] for a in (image, valid, whole[-1].weight))))
    assert np.array_equal(multiband(whole, levels), multiband(cut, levels))
    assert np.array_equal(feather(whole, reach), feather(cut, reach))


def test_feather_fades_over_its_radius_and_respects_validity() -> None:
    dark, bright = np.full((SIZE, SIZE, 1), 0.2), np.full((SIZE, SIZE, 1), 0.8)
    row = feather(halves(dark, bright), 12)[SIZE // 2, :, 0]
    assert row[SIZE // 2 - 14] == pytest.approx(0.2, abs=1e-3)
    assert row[SIZE // 2 + 13] == pytest.approx(0.8, abs=1e-3)
    assert (np.diff(row) >= -1e-6).all()
    assert np.diff(row).max() < 0.08


def test_a_blended_tile_knows_its_sources() -> None:
    dark, bright = np.full((SIZE, SIZE, 1), 0.2), np.full((SIZE, SIZE, 1), 0.8)
    tiles = halves(dark, bright)
    found = with_sources(Tile(RECT, dark, np.ones((SIZE, SIZE), bool)), tiles)
    middle = SIZE // 2
    assert np.allclose(found.runner_up[:, :middle], 0.8)
    assert np.allclose(found.runner_up[:, middle:], 0.2)
    assert found.runner_up_valid.all()
    assert np.allclose(found.seam_distance[5], np.arange(SIZE) - middle + 0.5)
    assert not found.synthetic.any()


def test_a_layer_without_rival_has_no_runner_up() -> None:
    alone = [tile(np.full((SIZE, SIZE, 1), 0.5), np.ones((SIZE, SIZE), bool), np.ones((SIZE, SIZE)))]
    found = with_sources(Tile(RECT, alone[0].image, alone[0].valid), alone)
    assert not found.runner_up_valid.any()
    assert (found.seam_distance >= SIZE).all()
