"""Figures of merit: equal pictures, known differences, and agreement with scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from skimage.metrics import structural_similarity

from composer.quality.metrics import compared, ssim_map

PHOTO = (skimage.data.astronaut()[::2, ::2] / 255).astype(np.float32)


def test_equal_pictures_are_perfect() -> None:
    found = compared(PHOTO, PHOTO)
    assert found["psnr_db"] == 100
    assert found["ssim"] == pytest.approx(1, abs=1e-5)
    assert found["ms_ssim"] == pytest.approx(1, abs=1e-5)
    assert found["delta_e"] == found["gradient_error"] == 0


def test_a_known_step() -> None:
    found = compared(PHOTO * 0 + 0.5, PHOTO * 0 + 0.4)
    assert found["psnr_db"] == pytest.approx(20, abs=1e-3)
    assert found["gradient_error"] == pytest.approx(0, abs=1e-4)
    mask = np.zeros(PHOTO.shape[:2], bool)
    mask[:10] = True
    changed = PHOTO.copy()
    changed[20:] = 0
    assert compared(changed, PHOTO, mask)["psnr_db"] == 100


def test_ssim_is_scikit_images() -> None:
    rng = np.random.default_rng(0)
    noisy = (PHOTO + 0.1 * rng.standard_normal(PHOTO.shape)).clip(0, 1).astype(np.float32)
    grey = [p.mean(2, keepdims=True) for p in (noisy, PHOTO)]
    _, theirs = structural_similarity(
        grey[0][:, :, 0], grey[1][:, :, 0], data_range=1, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    np.testing.assert_allclose(ssim_map(*grey)[0][8:-8, 8:-8], theirs[8:-8, 8:-8], atol=1e-3)


def test_worse_is_measured_as_worse() -> None:
    rng = np.random.default_rng(1)
    noise = rng.standard_normal(PHOTO.shape).astype(np.float32)
    little, much = (compared((PHOTO + k * noise).clip(0, 1), PHOTO) for k in (0.02, 0.1))
    assert all(little[k] > much[k] for k in ("psnr_db", "ssim", "ms_ssim"))
    assert all(little[k] < much[k] for k in ("delta_e", "gradient_error"))
