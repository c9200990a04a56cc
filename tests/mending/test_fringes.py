"""Lateral colour: measured to a part of a pixel, undone, and not seen where there is none."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import composer
from composer.mending.fringes import find_fringes, measured, rescaled
from composer.samples import picture

Array = NDArray[Any]


def scene(name: str = "coffee.png") -> Array:
    return picture(name).astype(np.float32) / 255


def parted(pixels: Array, red_px: float, blue_px: float) -> tuple[Array, tuple[float, float]]:
    """Draw red and blue larger by pixels in the corners; return the factors, too."""
    far = np.hypot(*pixels.shape[:2]) / 2
    factors = red_px / far, blue_px / far
    inverse = tuple(1 / (1 + f) - 1 for f in factors)
    return rescaled(pixels, (inverse[0], inverse[1])), factors


@pytest.mark.parametrize("name", ["coffee.png", "astronaut.png", "chelsea.png"])
@pytest.mark.parametrize(("red", "blue"), [(1.0, -0.6), (-2.5, 2.0)])
def test_scales_are_measured(name: str, red: float, blue: float) -> None:
    bad, factors = parted(scene(name), red, blue)
    far = np.hypot(*bad.shape[:2]) / 2
    clean = measured(scene(name))
    for found, own, true in zip(measured(np.clip(bad, 0, 1)), clean, factors, strict=True):
        assert abs(found - own - true) * far < 0.2


def test_fringes_are_undone_and_nothing_else(tmp_path: Any) -> None:
    truth = scene()
    bad = np.clip(parted(truth, 1.5, -1.0)[0], 0, 1)
    result = composer.repair(bad, faults="fringe")
    (fault,) = result.faults
    assert (fault.kind, fault.operator) == ("fringe", "scales")
    assert fault.strength == pytest.approx(1.5, abs=0.25)
    assert np.array_equal(result.image[:, :, 1], bad[:, :, 1])
    inside = np.s_[8:-8, 8:-8]
    before, after = (((p - truth)[inside] ** 2).mean() for p in (bad, result.image))
    assert after < 0.2 * before


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_whole_numbers_stay_whole(dtype: Any) -> None:
    top = np.iinfo(dtype).max
    bad = np.round(np.clip(parted(scene(), 2, -2)[0], 0, 1) * top).astype(dtype)
    result = composer.repair(bad, faults="fringe").image
    assert result.dtype == dtype
    assert not np.array_equal(result, bad)


def test_there_are_none_on_grey_or_flat_pictures() -> None:
    assert find_fringes(np.full((200, 300, 3), 0.5, np.float32)) == []
    assert find_fringes(scene()[:, :, :1]) == []
    assert find_fringes(cv2.resize(scene(), (20, 10))) == []
    assert find_fringes(np.repeat(scene()[:, :, 1:2], 3, 2)) == []
