"""Order statistics and means without outliers."""

from __future__ import annotations

import warnings

import array_api_strict as strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from composer.fusion.statistics import clipped, median, sort_stack


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 13), st.integers(0, 9999))
def test_sorting_network_sorts(count: int, seed: int) -> None:
    layers = np.random.default_rng(seed).integers(0, 9, (count, 7, 5, 3), np.uint8)
    assert np.array_equal(np.stack(sort_stack(list(layers))), np.sort(layers, 0))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.integers(0, 9999))
def test_median_looks_at_valid_pixels_only(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = rng.random((count, 6, 5, 3), np.float32)
    valid = rng.random((count, 6, 5)) > 0.3
    known = np.where(valid[..., None], layers, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.nan_to_num(np.nanmedian(known, 0))
    np.testing.assert_allclose(median(list(layers), list(valid)), expected, atol=1e-6)


def test_outliers_are_clipped_and_equal_values_are_not() -> None:
    layers = [np.full((4, 4, 1), 0.5, np.float32) for _ in range(7)]
    layers[3] = layers[3] + np.float32(0.3)
    layers[5] = layers[5] + np.float32(0.002)
    valid = [np.ones((4, 4), bool)] * 7
    kept = [bool(k.all()) for k in clipped(layers, valid, 3.0, 1 / 255)]
    assert kept == [True, True, True, False, True, True, True]


def test_channels_are_clipped_together() -> None:
    layers = [np.full((1, 1, 3), 0.5 + 0.001 * k, np.float32) for k in range(5)]
    layers[4][:, :, 1] = 0.9  # green alone would be left out, and red and blue kept
    kept = clipped(layers, [np.ones((1, 1), bool)] * 5, 3.0, 1 / 255)
    assert [k.shape for k in kept] == [(1, 1, 1)] * 5
    assert [bool(k.all()) for k in kept] == [True, True, True, True, False]


@pytest.mark.parametrize("count", [2, 5])
def test_strict_arrays_agree_with_numpy(count: int) -> None:
    rng = np.random.default_rng(count)
    layers, valid = rng.random((count, 6, 5, 3), np.float32), rng.random((count, 6, 5)) > 0.3
    ours = median(list(layers), list(valid))
    theirs = median([strict.asarray(a) for a in layers], [strict.asarray(v) for v in valid])
    assert np.array_equal(np.asarray(theirs), ours)
