"""Smooth fills: what they continue exactly, and who else gets the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.restoration import inpaint_biharmonic

from composer.mending.diffusion import biharmonic, harmonic, navier_stokes, telea
from composer.samples import picture

Array = NDArray[Any]


def hole() -> Array:
    mask = np.zeros((60, 70), bool)
    mask[20:35, 25:31] = True
    mask[40:44, 10:60] = True
    return mask


def test_harmonic_is_the_mean_of_its_neighbours() -> None:
    image = picture("chelsea.png")[:60, :70].astype(np.float32) / 255
    mask = hole()
    u = harmonic(np.where(mask[:, :, None], np.nan, image).astype(np.float32), mask, ~mask)
    mean = (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]) / 4
    np.testing.assert_allclose(u[1:-1, 1:-1][mask[1:-1, 1:-1]], mean[mask[1:-1, 1:-1]], atol=1e-5)
    assert np.array_equal(u[~mask], image[~mask])


def test_biharmonic_is_scikit_images_inside_the_picture() -> None:
    image = picture("chelsea.png")[:60, :70].astype(np.float32) / 255
    mask = hole()
    found = biharmonic(image, mask, ~mask)
    wanted = inpaint_biharmonic(image.astype(np.float64), mask, channel_axis=2)
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_slopes_go_on_under_the_plate() -> None:
    y, x = np.mgrid[:60, :70]
    image = ((0.003 * x + 0.005 * y)[:, :, None]).astype(np.float32)
    found = biharmonic(np.where(hole()[:, :, None], 0, image).astype(np.float32), hole(), ~hole())
    np.testing.assert_allclose(found, image, atol=1e-4)


@pytest.mark.parametrize("fill", [harmonic, biharmonic, telea, navier_stokes])
def test_holes_at_the_edge_and_beside_what_is_not_valid(fill: Any) -> None:
    image = np.full((30, 30, 1), 0.4, np.float32)
    mask, valid = np.zeros((2, 30, 30), bool)
    mask[:6, :6] = mask[20:, 14:17] = True
    valid[:] = ~mask
    valid[20:, 17:] = False
    image[~valid] = np.nan
    atol = 0.01 if fill is telea else 1e-5  # OpenCV's is not exact on a plane
    np.testing.assert_allclose(fill(image, mask, valid)[mask], 0.4, atol=atol)
