"""Photographs are laid on each other to a fraction of a pixel, whatever their exposures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from composer.fusion.registration import farthest, registered, view_of
from composer.records import to_encoded, to_linear
from composer.samples import picture

MATRICES = {
    "translation": [[1, 0, 3.4], [0, 1, -5.7], [0, 0, 1]],
    "similarity": [[1.004, -0.01, 13.4], [0.01, 1.004, -5.7], [0, 0, 1]],
    "homography": [[1.004, -0.012, 9.4], [0.01, 0.996, -15.7], [1e-5, -2e-5, 1]],
}


def exposed(photo: np.ndarray, stops: float, seed: int) -> np.ndarray:
    light = to_encoded(to_linear(photo / np.float32(255)) * np.float32(2**stops)) * 255
    noisy = light + np.random.default_rng(seed).normal(0, 1, light.shape)
    return np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)


@pytest.mark.parametrize("model", MATRICES)
@pytest.mark.parametrize("stops", [-3, 2])
def test_shifts_across_exposures_to_a_third_of_a_pixel(model: str, stops: float) -> None:
    photo = picture("coffee.png")
    size = photo.shape[1], photo.shape[0]
    truth = np.array(MATRICES[model], float)
    moved = cv2.warpPerspective(photo, truth, size, flags=cv2.INTER_CUBIC)
    views = [view_of(exposed(p, s, k), size) for k, (p, s) in enumerate(((photo, 0), (moved, stops)))]
    found = registered(*views, model)
    assert found is not None
    assert farthest(np.linalg.inv(truth) @ found, size) < 0.3


def test_a_thing_that_moves_has_no_say() -> None:
    photo = picture("coffee.png")
    other = photo.copy()
    other[100:260, 150:330] = picture("chelsea.png")[20:180, 100:280]
    size = photo.shape[1], photo.shape[0]
    found = registered(view_of(photo, size), view_of(other, size), "homography")
    assert found is not None
    assert farthest(found, size) < 0.3


def test_photos_of_different_things_are_not_aligned() -> None:
    a, b = picture("coffee.png"), picture("chelsea.png")
    sizes = [(p.shape[1], p.shape[0]) for p in (a, b)]
    assert registered(view_of(a, sizes[0]), view_of(b, sizes[1]), "homography") is None


def test_flat_photos_are_not_aligned() -> None:
    flat = np.full((100, 150, 3), 90, np.uint8)
    assert registered(view_of(flat, (150, 100)), view_of(flat, (150, 100)), "translation") is None
