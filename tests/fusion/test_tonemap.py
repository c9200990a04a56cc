"""Tone mapping: within range, monotone where one curve serves all, finite on whatever comes."""

from __future__ import annotations

from typing import Any

import array_api_strict as strict
import numpy as np
import pytest
from numpy.typing import NDArray

from composer.backend import to_numpy
from composer.errors import OptionError
from composer.fusion.tonemap import OPERATORS, bilateral, local_laplacian, tone_map
from composer.records import to_linear

Array = NDArray[Any]
every_operator = pytest.mark.parametrize("operator", OPERATORS)


def scene() -> Array:
    """Return a dark room and a bright window, textured, five decades apart."""
    rng = np.random.default_rng(1)
    light = np.full((96, 128), 0.01, np.float32)
    light[:, 64:] = 100
    light *= np.exp(0.1 * rng.standard_normal(light.shape)).astype(np.float32)
    return np.asarray(light[:, :, None] * np.float32([1, 0.7, 0.4]), np.float32)


@every_operator
def test_both_room_and_window_are_seen(operator: str) -> None:
    shown = tone_map(scene(), operator)
    assert shown.dtype == np.float32
    assert shown.shape == (96, 128, 3)
    assert np.isfinite(shown).all()
    assert shown.min() >= 0
    assert shown.max() <= 1
    assert shown[:, :60].mean() > 0.02
    assert shown[:, 68:].mean() > shown[:, :60].mean() + 0.1


@pytest.mark.parametrize("operator", ["reinhard", "drago"])
def test_curves_rise(operator: str) -> None:
    ramp = np.geomspace(1e-3, 1e3, 512, dtype=np.float32).reshape(16, 32, 1)
    shown = tone_map(ramp, operator).ravel()
    assert (np.diff(shown) >= 0).all()
    assert shown[0] < 0.1
    assert shown[-2] > 0.9


@every_operator
def test_scale_does_not_matter(operator: str) -> None:
    np.testing.assert_allclose(tone_map(scene() * 8, operator), tone_map(scene(), operator), atol=0.02)


@every_operator
@pytest.mark.parametrize("value", [0.0, 1.0, 1e-8, 1e8])
def test_flat_pictures_are_finite(operator: str, value: float) -> None:
    shown = tone_map(np.full((40, 40, 3), value, np.float32), operator)
    assert np.isfinite(shown).all()
    assert shown.min() >= 0
    assert shown.max() <= 1


@pytest.mark.parametrize("operator", [o for o in OPERATORS if o != "mantiuk"])
def test_no_number_is_black(operator: str) -> None:
    light = scene()
    light[3, 4], light[5, 6], light[7, 8] = np.nan, -1, np.inf
    shown = tone_map(light, operator)
    assert np.isfinite(shown).all()
    assert not shown[3, 4].any()
    assert shown[9:, :].max() > 0.3


@pytest.mark.parametrize("operator", [o for o in OPERATORS if o != "mantiuk"])
def test_hues_stay(operator: str) -> None:
    light = to_linear(tone_map(scene(), operator)).reshape(-1, 3)
    apart = (light[:, 0] - light[:, 1]) / np.maximum(light[:, 0] - light[:, 2], 1e-6)
    assert np.quantile(np.abs(apart - np.median(apart)), 0.95) < 0.05


def test_edges_have_no_halo() -> None:
    step = np.zeros((64, 128), np.float32)
    step[:, 64:] = 6
    for found, shade in ((local_laplacian(step, 0.9, 0.3), 0.4), (bilateral(step, 3.0, 0.9), 0.01)):
        row = found[32]
        assert np.ptp(row[:60]) < shade
        assert np.ptp(row[68:]) < shade
        assert row[100] > row[20] + 1


def test_local_laplacian_keeps_detail_and_compresses_steps() -> None:
    rng = np.random.default_rng(2)
    detail = 0.05 * rng.standard_normal((64, 128)).astype(np.float32)
    step = np.zeros((64, 128), np.float32)
    step[:, 64:] = 6
    found = local_laplacian(step + detail, 0.9, 0.3)
    assert found[:, 100].mean() - found[:, 20].mean() < 4
    assert found[:, 20:24].std() == pytest.approx(0.05, rel=0.15)


def test_local_filters_keep_to_the_standard() -> None:
    image = np.random.default_rng(3).random((40, 56)).astype(np.float32) * 4
    for made in (lambda k: local_laplacian(k, 0.9, 0.3), lambda k: bilateral(k, 3.0, 0.9)):
        np.testing.assert_allclose(to_numpy(made(strict.asarray(image.copy()))), made(image), atol=1e-4)


def test_unknown_operator() -> None:
    with pytest.raises(OptionError, match="reinhard, drago, mantiuk, durand, local-laplacian"):
        tone_map(scene(), "filmic")
