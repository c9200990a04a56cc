"""Noise, estimated and taken out."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import array_api_strict as strict
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from composer.mending import noise as module
from composer.mending.cosine import denoised
from composer.mending.noise import denoise, estimate, find_noise
from composer.mending.tiling import mirrored
from composer.records import Context
from composer.samples import picture

Array = NDArray[Any]


@pytest.fixture(scope="module")
def scene() -> Array:
    """A photograph, made smaller: no noise of its own."""
    whole = picture("coffee.png").astype(np.float32) / 255
    return np.asarray(cv2.resize(whole, (300, 200), interpolation=cv2.INTER_AREA))


def noisy(scene: Array, sigma: float, seed: int = 1) -> Array:
    added = scene + np.random.default_rng(seed).normal(0, sigma / 255, scene.shape)
    return np.clip(added, 0, 1).astype(np.float32)


def psnr(found: Array, truth: Array) -> float:
    return float(-10 * np.log10(((found.astype(float) - truth) ** 2).mean()))


@pytest.mark.parametrize("sigma", [10, 25, 50])
def test_the_level_is_estimated(scene: Array, sigma: float) -> None:
    (fault,) = find_noise(noisy(scene, sigma))
    assert fault.strength == pytest.approx(sigma, rel=0.12)


def test_grey_noise_is_known_to_be_grey(scene: Array) -> None:
    added = np.random.default_rng(2).normal(0, 0.1, scene.shape[:2])
    found = estimate(np.clip(scene + added[:, :, None], 0, 1).astype(np.float32))
    assert found is not None
    assert found.variance[1:].mean() < 0.03 * found.variance[0].mean()


def test_noise_that_grows_with_light_is_followed(scene: Array) -> None:
    grey = np.tile(np.linspace(0.1, 0.9, 400, dtype=np.float32), (200, 1))[:, :, None]
    shot = grey + np.random.default_rng(3).normal(size=grey.shape) * np.sqrt(0.01 * grey)
    found = estimate(shot.astype(np.float32))
    assert found is not None
    np.testing.assert_allclose(found.variance[0], 0.01 * found.brightness, rtol=0.25)


def test_colours_stored_at_half_the_resolution_lose_their_noise_too(scene: Array) -> None:
    bad = np.rint(noisy(scene, 25) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(bad).save(file, "JPEG", quality=95)
    seen = np.asarray(Image.open(file))
    found = estimate(seen.astype(np.float32) / 255)
    assert found is not None
    assert (found.spectrum[0] == 1).all()
    assert (found.spectrum[1:, 2] > 3 * found.spectrum[1:, 12]).all()
    everywhere = np.ones(seen.shape[:2], bool)
    clean = denoise(seen, everywhere, found, Context())
    as_white = denoise(seen, everywhere, replace(found, spectrum=np.ones((3, 15))), Context())
    assert psnr(clean / 255, scene) > psnr(as_white / 255, scene) + 0.1
    assert psnr(clean / 255, scene) > psnr(seen / 255, scene) + 4.5


def test_a_clean_photograph_and_a_tiny_one_have_none(scene: Array) -> None:
    assert find_noise(scene) == []
    assert find_noise(noisy(scene, 30)[:7, :30]) == []


def test_black_pixels_and_what_is_not_valid_do_not_count(scene: Array) -> None:
    bad, valid = noisy(scene, 20), np.ones(scene.shape[:2], bool)
    bad[50:100, 100:200], valid[50:100, 100:200] = np.nan, False
    (fault,) = find_noise(np.nan_to_num(bad), valid)
    assert fault.strength == pytest.approx(20, rel=0.1)
    found = estimate(np.nan_to_num(bad), valid)
    assert found is not None
    clean = denoise(bad, valid, found, Context())
    assert np.isnan(clean[~valid]).all()
    assert psnr(clean[valid], scene[valid]) > psnr(bad[valid], scene[valid]) + 6


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_is_taken_out_of_every_type(scene: Array, dtype: str, channels: int) -> None:
    top = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    truth = scene[:, :, :channels]
    bad = np.rint(noisy(truth, 25) * 255) / 255 * top
    bad = bad.astype(dtype)
    found = estimate(bad.astype(np.float32) / np.float32(top))
    assert found is not None
    clean = denoise(bad, np.ones(bad.shape[:2], bool), found, Context())
    assert clean.dtype == bad.dtype
    assert psnr(clean / top, truth) > psnr(bad / top, truth) + (7 if channels == 1 else 8)


def test_tiles_and_threads_change_nothing(scene: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = noisy(scene, 25)
    found = estimate(bad)
    assert found is not None
    everywhere = np.ones(bad.shape[:2], bool)
    whole = denoise(bad, everywhere, found, Context())
    monkeypatch.setattr(module, "TILE", 64)
    np.testing.assert_allclose(denoise(bad, everywhere, found, Context(workers=3)), whole, atol=1e-5)


def test_any_array_namespace_gives_the_same(scene: Array) -> None:
    planes = np.ascontiguousarray(noisy(scene, 25)[:64, :96].transpose(2, 0, 1))
    spectrum = np.linspace(1.5, 0.5, 15) * np.ones((3, 1))

    def even(means: Any) -> Any:
        return strict.full((3, *means.shape), 0.01, dtype=strict.float32)

    found = denoised(strict.asarray(planes), even, spectrum)
    expected = denoised(planes, lambda means: np.full((3, *means.shape), 0.01, np.float32), spectrum)
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-5)


def test_mirrored_places() -> None:
    assert mirrored(-3, 7, 4).tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    assert mirrored(-2, 3, 1).tolist() == [0, 0, 0, 0, 0]


def test_what_differs_from_block_to_block_is_texture() -> None:
    random = np.random.default_rng(4)
    amount = cv2.GaussianBlur(random.normal(size=(256, 256)), None, 6)[:, :, None]
    rough = random.normal(size=(256, 256, 1)) * np.exp(0.7 * amount / amount.std()) * 0.06
    ramp = np.tile(np.linspace(0.3, 0.7, 256), (256, 1))[:, :, None]
    assert find_noise((ramp + rough).astype(np.float32)) == []
    (fault,) = find_noise((ramp + random.normal(0, 0.06, rough.shape)).astype(np.float32))
    assert fault.strength == pytest.approx(255 * 0.06, rel=0.05)
