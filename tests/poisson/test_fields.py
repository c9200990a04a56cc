"""Fields and the sine solver: the same on every array library, and right."""

from __future__ import annotations

from typing import Any

import array_api_strict as strict
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from composer.backend import to_numpy
from composer.blend.pasting import paste_feathered, paste_multiband
from composer.poisson.fields import Field, divergence, flatten, illumination, mixed, particular
from tests.poisson.exact import blobs, noise

Array = NDArray[Any]
SHAPE = 37, 45


def field(name: str, xp: Any) -> Field:
    mask = xp.asarray(blobs(SHAPE, 1, 4))
    if name == "mixed":
        return mixed(mask)
    if name == "flatten":
        return flatten(mask)
    made = illumination(xp.asarray(noise((*SHAPE, 2), 2)), mask, 0.2, 0.3)
    return Field(made.rule, made.plane[:, :, 1])


@pytest.mark.parametrize("name", ["mixed", "flatten", "illumination"])
def test_fields_keep_to_the_standard(name: str) -> None:
    arrays = noise(SHAPE, 3), noise(SHAPE, 4), blobs(SHAPE, 5)
    plain = divergence(*arrays, field(name, np))
    found = divergence(*(strict.asarray(a) for a in arrays), field(name, strict))
    assert isinstance(found, type(strict.asarray(0)))
    np.testing.assert_allclose(to_numpy(found), plain, atol=1e-6)
    assert np.abs(plain).max() > 0.01


def test_divergence_of_a_closed_picture_sums_to_nothing() -> None:
    part = blobs(SHAPE, 5)
    found = divergence(noise(SHAPE, 3), noise(SHAPE, 4), part, mixed(part))
    assert abs(found.sum()) < 1e-4
    assert not found[~part].any()


@pytest.mark.parametrize("shape", [(1, 1), (37, 45), (64, 30)])
def test_particular_solves_the_rectangle(shape: tuple[int, int]) -> None:
    right = noise(shape, 1) - np.float32(0.5)
    found = particular(right)
    kernel = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]], float)
    if min(shape) > 2:
        sums = cv2.filter2D(found.astype(float), -1, kernel)
        np.testing.assert_allclose(sums[1:-1, 1:-1], right[1:-1, 1:-1], atol=1e-4)
    strictly = particular(strict.asarray(right))
    np.testing.assert_allclose(to_numpy(strictly), found, atol=1e-5)


@pytest.mark.parametrize("paste", [paste_feathered, paste_multiband])
def test_pasting_keeps_to_the_standard(paste: Any) -> None:
    arrays = noise((*SHAPE, 3), 1), noise((*SHAPE, 3), 2), blobs(SHAPE, 3, 5)
    found = paste(*(strict.asarray(a) for a in arrays), 8)
    np.testing.assert_allclose(to_numpy(found), paste(*arrays, 8), atol=1e-5)
