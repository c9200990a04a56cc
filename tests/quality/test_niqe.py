"""NIQE grows with what is done to a clean photograph, and its parts are what they should be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
from scipy.special import gamma

from composer.quality.niqe import _gaussian_like, block_features, fitted, niqe

PHOTOS = {
    name: getattr(skimage.data, name)()[:, :, :3].astype(np.float32) / 255
    for name in ("astronaut", "coffee", "chelsea")
}


def compressed(photo: np.ndarray, quality: int) -> np.ndarray:
    data = cv2.imencode(".jpg", (255 * photo + 0.5).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR).astype(np.float32) / 255


@pytest.mark.parametrize("name", PHOTOS)
def test_worse_pictures_score_higher(name: str) -> None:
    photo, rng = PHOTOS[name], np.random.default_rng(0)
    noise = rng.standard_normal(photo.shape).astype(np.float32)
    ways = {
        "blur": [cv2.GaussianBlur(photo, None, sigma) for sigma in (0.7, 1.5, 3)],
        "noise": [np.clip(photo + s / 255 * noise, 0, 1) for s in (6, 15, 40)],
        "jpeg": [compressed(photo, quality) for quality in (60, 25, 8)],
    }
    for way, pictures in ways.items():
        scores = [niqe(picture) for picture in [photo, *pictures]]
        assert scores == sorted(scores), way
        assert scores[-1] > 1.5 * scores[0], way


@pytest.mark.parametrize("shape", [0.7, 1.0, 2.0, 4.0])
def test_the_fit_finds_shape_and_spread(shape: float) -> None:
    rng = np.random.default_rng(1)
    spread = np.sqrt(gamma(3 / shape) / gamma(1 / shape))
    values = rng.gamma(1 / shape, 1, (2, 100_000)) ** (1 / shape) / spread * rng.choice([-1, 1], (2, 100_000))
    values[1] = np.where(values[1] > 0, values[1] * 2, values[1])
    found, left, right, mean = _gaussian_like(values)
    assert found[0] == pytest.approx(shape, rel=0.05)
    assert (left[0], right[0]) == pytest.approx((1, 1), rel=0.03)
    assert right[1] / left[1] == pytest.approx(2, rel=0.03)
    assert abs(mean[0]) < 0.02 < mean[1]


def test_the_clean_photographs_themselves_score_low() -> None:
    mean, covariance = fitted(list(PHOTOS.values()))
    assert mean.shape == (36,)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9
    assert all(niqe(photo) < 6 for photo in PHOTOS.values())


def test_flat_and_masked_blocks_do_not_count() -> None:
    photo = PHOTOS["coffee"].copy()
    where = np.ones(photo.shape[:2], bool)
    where[:, :96] = False
    hidden = photo.copy()
    hidden[:, :96] = 0
    assert len(block_features(hidden, where)[0]) == len(block_features(photo)[0]) - 4
    assert niqe(photo, where) == pytest.approx(niqe(hidden, where), rel=0.05)
    assert niqe(np.full((300, 300, 3), 0.5, np.float32)) is None
    assert niqe(photo[:191]) is None
    assert niqe(photo[:, :, :1]) is not None
