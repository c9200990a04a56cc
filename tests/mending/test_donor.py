"""Holes filled from another photo of the same scene."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import composer
from composer.errors import OptionError
from composer.records import Rect
from composer.samples import picture

Array = NDArray[Any]


def scene() -> tuple[Array, Array, Array]:
    """Return a photo, the mask of a hole in it, and a darker photo of the same from elsewhere."""
    world = picture("coffee.png")
    matrix = np.array([[0.98, 0.05, 12], [-0.04, 1.01, 15], [2e-5, -3e-5, 1]])
    other = cv2.warpPerspective(world, matrix, (600, 420), flags=cv2.INTER_CUBIC)
    mask = np.zeros(world.shape[:2], bool)
    mask[120:210, 230:330] = True
    return world, mask, np.round(other * 0.8).astype(np.uint8)


def test_the_other_photo_shows_what_was_there() -> None:
    truth, mask, other = scene()
    damaged = np.where(mask[:, :, None], 255, truth).astype(np.uint8)
    result = composer.repair(damaged, mask, donors=[other])
    assert [f.operator for f in result.faults] == ["donor"]
    assert np.array_equal(result.image[~mask], truth[~mask])
    error = result.image[mask].astype(float) - truth[mask]
    assert np.sqrt((error**2).mean()) < 4
    assert abs(error.mean()) < 1


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_donor_of_another_type_or_grey(dtype: str) -> None:
    truth, mask, other = scene()
    scale: dict[str, Any] = {"uint16": 257, "float32": np.float32(1 / 255)}
    photo = (truth.mean(2).astype(dtype) * scale[dtype]).astype(dtype)
    result = composer.repair(photo, mask, donors=[other], fill="donor")
    error = (result.image[:, :, 0][mask] - photo[mask].astype(float)) / scale[dtype]
    assert result.image.dtype == dtype
    assert np.sqrt((error**2).mean()) < 5


def test_a_hole_that_no_donor_shows_is_filled_otherwise() -> None:
    truth, mask, other = scene()
    stranger = picture("chelsea.png")
    small = np.zeros_like(mask)
    small[10:13, 590:598] = True
    result = composer.repair(truth, mask | small, donors=[stranger, other[:, :450]])
    assert [f.operator for f in result.faults] == ["mixed", "donor"]
    assert result.faults[0].rect == Rect(590, 10, 598, 13)
    assert result.notes == ("donor 1: shares too little with the photo; not used",)


def test_what_the_donor_hides_is_not_taken() -> None:
    truth, mask, other = scene()
    alpha = np.full(other.shape[:2], 255, np.uint8)
    alpha[150:170, 250:270] = 0
    result = composer.repair(truth, mask, donors=[np.dstack([other, alpha])])
    assert [f.operator for f in result.faults] == ["patches"]


@pytest.mark.parametrize(("fill", "donors"), [("donor", 0), ("edges", 1)])
def test_donors_go_with_their_fill(fill: str, donors: int) -> None:
    truth, mask, other = scene()
    with pytest.raises(OptionError, match=f'fill is "{fill}" with {donors} donors'):
        composer.repair(truth, mask, fill=fill, donors=[other] * donors)
