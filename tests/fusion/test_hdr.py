"""HDR: brackets of a known scene with a known response give the scene's light back, up to scale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.data import coffee

from composer.errors import OptionError
from composer.fusion.hdr import METHODS, estimated_seconds, exposure_seconds, merge
from composer.media.header import read_photo
from composer.records import to_encoded

Array = NDArray[Any]
SECONDS = (1 / 16, 1 / 4, 1.0, 4.0)


def scene() -> Array:
    """Return linear light over four decades."""
    base = cv2.resize(coffee(), (300, 200)).astype(np.float32) / 255
    ramp = np.exp(4 * (np.arange(300, dtype=np.float32) / 200 - 0.75))
    return np.asarray((base**2.2 + 0.01) * ramp[None, :, None] * np.float32([1, 0.8, 0.6]), np.float32)


def s_curve(light: Array) -> Array:
    """Return what a camera with contrast makes of light."""
    value = light ** (1 / 2.2)
    return np.asarray(0.6 * value + 0.4 * (3 * value**2 - 2 * value**3))


def bracket(response: Callable[[Array], Array], dtype: str = "uint8", noise: float = 0.002) -> list[Array]:
    rng, white = np.random.default_rng(0), np.iinfo(dtype).max
    light = scene()
    shots = [response(np.clip(light * t, 0, 1)) + rng.normal(0, noise, light.shape) for t in SECONDS]
    return [np.rint(np.clip(s, 0, 1) * white).astype(dtype) for s in shots]


def misfit(found: Array) -> float:
    """Return the root mean square of logarithms, apart from each channel's scale."""
    apart = np.log(found / scene())
    return float(np.std(apart - np.median(apart, axis=(0, 1))))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(("method", "most"), [("debevec", 0.05), ("robertson", 0.08)])
def test_light_and_response_are_recovered(method: str, most: float, dtype: str) -> None:
    found = merge(bracket(s_curve, dtype), SECONDS, method)
    assert found.dtype == np.float32
    assert misfit(found) < most < 0.1 < misfit(merge(bracket(s_curve, dtype), SECONDS, "srgb"))


@pytest.mark.parametrize("method", METHODS)
def test_srgb_photos(method: str) -> None:
    assert misfit(merge(bracket(to_encoded), SECONDS, method)) < 0.05


def test_better_than_the_library() -> None:
    shots = bracket(s_curve)
    times = np.float32(SECONDS)
    response = cv2.createCalibrateDebevec().process(shots, times)
    theirs = cv2.createMergeDebevec().process(shots, times, response)
    assert misfit(merge(shots, SECONDS)) < misfit(np.maximum(theirs, 1e-6))


def test_exposures_are_estimated() -> None:
    np.testing.assert_allclose(estimated_seconds(bracket(to_encoded)), [1, 4, 16, 64], rtol=0.03)
    order = [2, 0, 3, 1]
    shots = bracket(to_encoded)
    estimated = merge([shots[k] for k in order], None)
    assert misfit(estimated) < 0.05


def test_exposures_far_apart_are_estimated_by_what_they_barely_share() -> None:
    light = 0.5 * (1 + np.random.default_rng(3).random((100, 100, 1)))
    far = [np.rint(255 * to_encoded(np.clip(light * t, 0, 1))).astype(np.uint8) for t in (0.004, 0.95)]
    assert estimated_seconds(far)[1] == pytest.approx(0.95 / 0.004, rel=0.2)


@pytest.mark.parametrize("method", METHODS)
def test_photos_without_times_are_taken_as_they_say(method: str) -> None:
    shots = bracket(s_curve)[::3]  # of two photos, and no times, any response can be made
    np.testing.assert_array_equal(merge(shots, None, method), merge(shots, None, "srgb"))


def test_colours_come_from_one_photo_where_photos_differ() -> None:
    light = np.float32([0.4, 0.15, 0.1]) * np.linspace(0.8, 1.2, 200, dtype=np.float32)[None, :, None]
    warm = np.float32([4, 4 * 1.4, 4])  # white balanced otherwise; its red is white
    dark, bright = (
        np.rint(255 * to_encoded(np.clip(np.repeat(light * k, 200, 0), 0, 1))).astype(np.uint8)
        for k in (np.float32(1), warm)
    )
    found = merge([dark, bright], (1.0, 4.0), "srgb")
    np.testing.assert_allclose(found[:, :, 1] / found[:, :, 0], 0.15 / 0.4, rtol=0.03)


@pytest.mark.parametrize("method", METHODS)
def test_white_and_black_everywhere_is_finite(method: str) -> None:
    shots = bracket(to_encoded)
    for shot in shots:
        shot[:20], shot[-20:] = 255, 0
    found = merge(shots, SECONDS, method)
    assert np.isfinite(found).all()
    assert found.min() > 0
    assert found[:20].min() > 4 * 0.5
    assert found[-20:].max() < 0.01


def test_what_only_the_longest_shows_is_finite_where_it_is_white() -> None:
    shots = bracket(to_encoded)
    shots[-1][:20] = 255
    shown = [np.ones(s.shape[:2], bool) for s in shots]
    for part in shown[:-1]:
        part[:20] = False
    found = merge(shots, SECONDS, shown=shown)
    assert np.isfinite(found).all()
    assert found[:20].min() > 0


def test_one_photo_is_its_light() -> None:
    shot = bracket(to_encoded, noise=0)[2]
    found = merge([shot], None)
    inside = (shot > 5) & (shot < 250)
    np.testing.assert_allclose(found[inside], np.clip(scene(), 0, 1)[inside], rtol=0.12)


@pytest.mark.parametrize(
    ("shots", "seconds", "method", "said"),
    [
        ([], None, "debevec", "0 photos"),
        ([np.zeros((8, 8, 3), np.uint8)] * 2, (1.0,), "debevec", "give one a photo"),
        ([np.zeros((8, 8, 3), np.uint8)] * 2, (1.0, -2.0), "debevec", "above 0"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)], (1.0, 2.0), "srgb", "differ"),
        ([np.zeros((8, 8, 3), np.float32)] * 2, (1.0, 2.0), "srgb", "8-bit or 16-bit"),
        ([np.zeros((8, 8, 3), np.uint8)] * 2, (1.0, 2.0), "best", "debevec, robertson, srgb"),
        ([np.zeros((8, 8, 3), np.uint8)] * 2, None, "debevec", "share too few tones"),
    ],
)
def test_mistakes_are_named(
    shots: list[Array], seconds: tuple[float, ...] | None, method: str, said: str
) -> None:
    with pytest.raises(OptionError, match=said):
        merge(shots, seconds, method)


def test_exif_says_seconds(tmp_path: Path) -> None:
    photos = []
    for k, (time, iso, aperture) in enumerate([(0.02, 100, 8.0), (0.02, 400, 8.0), (0.04, 100, 4.0)]):
        exif = Image.Exif()
        exif.get_ifd(0x8769).update({0x829A: time, 0x8827: iso, 0x829D: aperture})
        Image.new("RGB", (16, 16)).save(tmp_path / f"{k}.jpg", exif=exif)
        photos.append(read_photo(tmp_path / f"{k}.jpg"))
    found = exposure_seconds(photos)
    assert found is not None
    np.testing.assert_allclose(found, [0.02, 0.08, 0.16], rtol=1e-3)
    Image.new("RGB", (16, 16)).save(tmp_path / "none.jpg")
    assert exposure_seconds([*photos, read_photo(tmp_path / "none.jpg")]) is None
