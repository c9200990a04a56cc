"""Rows and columns that are lighter or darker all along: found, and levelled."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import composer
from composer.mending.banding import find_banding
from composer.samples import picture

Array = NDArray[Any]


@pytest.fixture(scope="module")
def scene() -> Array:
    """A photograph, made smaller, with room for what is added."""
    whole = cv2.resize(picture("coffee.png"), (300, 200), interpolation=cv2.INTER_AREA)
    return np.clip(whole, 20, 235)


def added(scene: Array, offsets: Array) -> Array:
    return np.clip(np.rint(scene + offsets), 0, 255).astype(np.uint8)


def waves(count: int) -> Array:
    return 8 * np.sin(np.arange(count) * 0.7)


def error(found: Array, truth: Array) -> float:
    return float(np.sqrt(((found.astype(float) - truth) ** 2).mean()))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("regular", [True, False])
def test_bands_are_found_and_levelled(scene: Array, axis: int, regular: bool) -> None:
    count = scene.shape[axis]
    offsets = waves(count) if regular else np.random.default_rng(1).normal(0, 6, count)
    bad = added(scene, np.expand_dims(offsets, (1 - axis, 2)))
    result = composer.repair(bad, faults="banding")
    (fault,) = result.faults
    assert (fault.kind, fault.operator) == ("banding", "offsets")
    assert fault.strength == pytest.approx(offsets.std(), rel=0.2)
    assert error(result.image, scene) < 0.35 * error(bad, scene)


def test_channels_are_levelled_each_by_itself(scene: Array) -> None:
    bad = added(scene, waves(200)[:, None, None] * np.array([1.5, 0.8, 0]))
    result = composer.repair(bad, faults="banding").image
    assert error(result[..., 0], scene[..., 0]) < 0.3 * error(bad[..., 0], scene[..., 0])
    assert error(result[..., 2], scene[..., 2]) < 2


def test_photographs_are_not_banded(scene: Array) -> None:
    for name in ("coffee.png", "chelsea.png", "astronaut.png"):
        assert find_banding(picture(name).astype(np.float32) / 255) == []
    assert find_banding(scene[:20, :50].astype(np.float32) / 255) == []


def test_floats_and_what_is_not_valid(scene: Array) -> None:
    bad = (scene / 255 + waves(200)[:, None, None] / 255).astype(np.float32)
    bad[50:60, 50:80] = np.nan
    result = composer.repair(bad, faults="banding")
    assert result.image.dtype == np.float32
    assert np.array_equal(np.isnan(result.image), np.isnan(bad))
    shown = ~np.isnan(bad)
    assert error(255 * result.image[shown], scene[shown]) < 0.35 * error(255 * bad[shown], scene[shown])
