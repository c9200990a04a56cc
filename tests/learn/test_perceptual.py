"""ST-LPIPS: the package's own figures, parts of pictures, and weights that are not the known ones."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data

from composer.errors import WeightsError
from composer.learn.published import ST_LPIPS, absent, read_published
from tests.learn.published import needs_st_lpips

PHOTO = skimage.data.chelsea()[:, :331].astype(np.float32) / 255


def test_what_is_missing_is_named() -> None:
    gone = replace(ST_LPIPS, module="no_such_module", package="no-such-package==1")
    assert "no-such-package==1" in absent(gone)
    with pytest.raises(WeightsError, match=r"composer-cv\[metrics\]"):
        read_published(gone)


@needs_st_lpips
def test_another_file_is_not_read() -> None:
    with pytest.raises(WeightsError, match="not the file that is known"):
        read_published(replace(ST_LPIPS, sha256="0" * 64))


@needs_st_lpips
def test_figures_are_the_packages_own() -> None:
    # stlpips_pytorch 0.0.2, LPIPS(net="alex", variant="shift_tolerant"), torch 2.13.0
    from composer.learn.perceptual import st_lpips

    blurred = cv2.GaussianBlur((255 * PHOTO + 0.5).astype(np.uint8), None, 2).astype(np.float32) / 255
    assert st_lpips(PHOTO, np.roll(PHOTO, 2, 1)) == pytest.approx(0.0108150, abs=5e-6)
    assert st_lpips(PHOTO, blurred) == pytest.approx(0.4375563, abs=5e-6)
    assert st_lpips(PHOTO, PHOTO[:, ::-1]) == pytest.approx(0.4429666, abs=5e-6)


@needs_st_lpips
def test_parts_and_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    from composer.learn import perceptual

    photo = PHOTO[:192, :256]
    spoiled = photo.copy()
    spoiled[:, 128:] = cv2.GaussianBlur(photo, None, 2)[:, 128:]
    whole = perceptual.st_lpips(photo, spoiled)
    left = np.zeros(photo.shape[:2], bool)
    left[:, :112] = True
    right = np.zeros_like(left)
    right[:, 144:] = True
    inside, beside = (perceptual.st_lpips(photo, spoiled, where) for where in (right, left))
    assert beside < 0.1 * whole < whole < inside
    monkeypatch.setattr(perceptual, "TILE", 128)
    assert perceptual.st_lpips(photo, spoiled) == pytest.approx(whole, rel=0.1)
    assert perceptual.st_lpips(photo, photo) == 0
    assert perceptual.st_lpips(photo[:24, :24], photo[1:25, :24]) > 0
