"""Fusing by pyramids: tiles equal the whole, constants stay, no rims, sharpness is kept."""

from __future__ import annotations

from collections.abc import Callable

import array_api_strict as strict
import cv2
import numpy as np
import pytest

from composer.fusion import tiles
from composer.fusion.bands import Rule
from composer.fusion.exposure import Exponents, exposure_rule
from composer.fusion.focus import FOCUS
from composer.fusion.stack import Stack
from composer.fusion.tiles import blend_tiles
from composer.media.decode import PhotoStore
from composer.media.header import photo_from_array
from composer.records import Context
from composer.samples import picture

RULES = {"exposure": exposure_rule(Exponents()), "focus": FOCUS}


def fused(arrays: list[np.ndarray], rule: Rule, workers: int = 1) -> np.ndarray:
    photos = tuple(photo_from_array(a, f"photo {k}") for k, a in enumerate(arrays))
    context = Context(workers=workers, photos=PhotoStore.for_photos(photos, 1 << 28))
    return blend_tiles(Stack(photos, (None,) * len(photos)), rule, context)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_tiles_equal_the_whole_frame_for_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch, name: str, dtype: type
) -> None:
    photo = picture("coffee.png")[:331, :437]
    stack = [photo, photo // 2, 255 - photo // 3]
    stack = [a if dtype is np.uint8 else a.astype(np.float32) / 255 for a in stack]
    whole = fused(stack, RULES[name])
    monkeypatch.setattr(tiles, "TILE", 64)
    small = fused(stack, RULES[name], workers=3)
    assert np.array_equal(small, fused(stack, RULES[name]))
    off = np.abs(small.astype(np.float64) - whole).max()
    assert off <= (1 if dtype is np.uint8 else 1e-5)  # powers of vectors' ends differ in their last bit


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("size", [(1, 1), (3, 70), (17, 16), (130, 61)])
def test_equal_photos_come_through(name: str, size: tuple[int, int]) -> None:
    photo = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    found = fused([photo, photo.copy()], RULES[name])
    assert np.abs(found.astype(int) - photo).max() <= 1


@pytest.mark.parametrize("name", RULES)
def test_flat_photos_have_no_rims(name: str) -> None:
    found = fused([np.full((90, 120, 3), v, np.float32) for v in (0.2, 0.6)], RULES[name])
    assert np.ptp(found) < 1e-4
    assert 0.2 <= found.min() <= found.max() <= 0.6


def test_exposure_prefers_what_is_well_exposed() -> None:
    texture = np.random.default_rng(2).normal(0, 0.03, (64, 128, 1)).astype(np.float32)
    scene = np.full((64, 128, 3), 0.5, np.float32) + texture
    dark, bright = scene.copy(), scene.copy()
    dark[:, :64] *= 0.05
    bright[:, 64:] = 1.0
    found = fused([dark, bright], exposure_rule(Exponents(1, 0, 1)))
    for side in (np.s_[:, :48], np.s_[:, 80:]):
        assert found[side].std() > 0.8 * texture.std()


def test_16_bits_stay_16_bits() -> None:
    ramp = np.linspace(5000, 40000, 300 * 200).reshape(200, 300, 1).repeat(3, 2)
    found = fused([ramp.astype(np.uint16), (ramp * 1.5).astype(np.uint16)], RULES["exposure"])
    assert found.dtype == np.uint16
    assert len(np.unique(found)) > 5000


def blurred_halves(photo: np.ndarray, sigma: float) -> list[np.ndarray]:
    soft = cv2.GaussianBlur(photo, (0, 0), sigma)
    half = photo.shape[1] // 2
    a, b = photo.copy(), photo.copy()
    a[:, half:] = soft[:, half:]
    b[:, :half] = soft[:, :half]
    return [a, b]


@pytest.mark.parametrize("sigma", [1.5, 4.0])
def test_focus_restores_what_either_photo_shows_sharp(sigma: float) -> None:
    photo = picture("coffee.png")
    parts = blurred_halves(photo, sigma)
    found = fused(parts, FOCUS)

    def error(a: np.ndarray) -> float:
        return float(np.abs(a.astype(float) - photo).mean())

    assert error(found) < 0.1 * min(error(p) for p in parts)
    edge = slice(photo.shape[1] // 2 - 8, photo.shape[1] // 2 + 8)
    assert np.abs(found[:, edge].astype(float) - photo[:, edge]).mean() < 2


def test_focus_averages_noise() -> None:
    rng = np.random.default_rng(3)
    stack = [(0.5 + rng.normal(0, 0.004, (96, 96, 1))).astype(np.float32) for _ in range(4)]
    assert fused(stack, FOCUS).std() < 0.9 * stack[0].std()


@pytest.mark.parametrize("name", RULES)
def test_strict_arrays_agree_with_numpy(name: str) -> None:
    rng = np.random.default_rng(4)
    images = [[rng.random((24, 40), np.float32) for _ in range(3)] for _ in range(2)]
    shown = [None, np.ones((24, 40), np.float32)]
    shown[1][:, :7] = 0
    rule = RULES[name]

    def run(convert: Callable[[np.ndarray], object]) -> list[np.ndarray]:
        planes = [[convert(p) for p in image] for image in images]
        found = rule.split(planes, [None if s is None else convert(s) for s in shown], 2)
        return [np.asarray(p) for p in (*found.bands, *rule.join(found.rest, 3))]

    for a, b in zip(run(strict.asarray), run(np.asarray), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
