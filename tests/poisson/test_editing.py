"""Every Poisson mode against a sparse direct solve, and what all modes promise."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from composer.errors import OptionError, PhotoError
from composer.poisson.editing import LUMA, MODES, Options, poisson, seamless
from composer.poisson.fields import edges_of
from tests.poisson.exact import Guidance, blobs, differences, noise, solved, stronger

Array = NDArray[Any]
GREY_LEVELS = 0.1
OPTIONS = Options(factors=(1.5, 0.5, 0.7))


def smooth(shape: tuple[int, ...], seed: int) -> Array:
    found = cv2.GaussianBlur(noise(shape, seed), None, 2).reshape(shape)
    return np.asarray((found - found.min()) / np.ptp(found), np.float32)


def illuminated(picture: Array, mask: Array) -> Guidance:
    """Return equation 16 for logarithms, pixel by pixel."""
    down, along = np.zeros_like(picture), np.zeros_like(picture)
    down[1:-1] = (picture[2:] - picture[:-2]) / 2
    along[:, 1:-1] = (picture[:, 2:] - picture[:, :-2]) / 2
    length = np.sqrt(down**2 + along**2)
    mean = length[mask].mean(0)
    factor = ((0.2 * mean) / np.maximum(length, 0.01 * mean)).reshape(-1, picture.shape[2]) ** 0.2
    return differences(picture, lambda p, q: (factor[p] + factor[q]) / 2)


def wanted(source: Array, target: Array, mask: Array, mode: str) -> Array:
    """Solve a mode directly, in grey levels."""
    known = ~mask
    if mode == "illumination":
        logs = np.log1p(255 * source.astype(float)), np.log1p(255 * target.astype(float))
        return np.expm1(solved(logs[1], mask, known, illuminated(logs[0], mask)))
    s, t = 255 * source.astype(float), 255 * target.astype(float)
    if mode == "flatten":
        edges = edges_of(source, OPTIONS.low, OPTIONS.high).ravel()
        return solved(t, mask, known, differences(s, lambda p, q: (edges[p] | edges[q])[:, None]))
    fields = {
        "normal": differences(s),
        "mixed": stronger(s, t),
        "monochrome": differences(np.repeat((s @ LUMA)[:, :, None], 3, 2)),
        "color": differences(s * OPTIONS.factors),
    }
    return solved(t, mask, known, fields[mode])


@pytest.mark.parametrize("place", ["inside", "at the edge"])
@pytest.mark.parametrize("mode", MODES)
def test_agrees_with_a_direct_solve(mode: str, place: str) -> None:
    shape = 120, 140, 3
    mask = blobs(shape[:2], 1, 8)
    if place == "inside":
        mask[[0, -1]] = mask[:, [0, -1]] = False
    make = smooth if mode in ("flatten", "illumination") else noise
    source, target = make(shape, 2), make(shape, 3)
    found = poisson(source, target, mask, mode, options=OPTIONS)
    off = np.abs(255 * found.pixels - wanted(source, target, mask, mode))
    assert off[mask].max() < GREY_LEVELS
    assert found.residual <= OPTIONS.tolerance


@pytest.mark.parametrize("mode", ["normal", "mixed"])
def test_holds_at_full_size(mode: str) -> None:
    shape = 256, 256, 3
    source, target, mask = noise(shape, 1), noise(shape, 2), blobs(shape[:2], 3, 12, 0.41)
    found = poisson(source, target, mask, mode)
    assert np.abs(255 * found.pixels - wanted(source, target, mask, mode))[mask].max() < GREY_LEVELS


@settings(max_examples=30, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    channels=st.sampled_from([1, 3]),
    shape=st.tuples(st.integers(2, 60), st.integers(2, 60)),
    seed=st.integers(0, 10**6),
)
def test_outside_nothing_changes(
    mode: str, dtype: str, channels: int, shape: tuple[int, int], seed: int
) -> None:
    white = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    source, target = ((noise((*shape, channels), seed + k) * white).astype(dtype) for k in (1, 2))
    mask = blobs(shape, seed, 2)
    before = source.copy(), target.copy()
    found = poisson(source, target, mask, mode).pixels
    assert found.dtype == target.dtype
    assert np.isfinite(found).all()
    assert np.array_equal(found[~mask], target[~mask])
    assert np.array_equal(source, before[0])
    assert np.array_equal(target, before[1])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_constant_offset_vanishes(dtype: str) -> None:
    target = (100 * smooth((90, 80, 3), 1)).astype(dtype)
    found = poisson(target + target.dtype.type(60), target, blobs((90, 80), 2)).pixels
    assert np.array_equal(found, target)


def test_sixteen_bits_are_used() -> None:
    source, target = ((65535 * smooth((90, 80, 1), k)).astype(np.uint16) for k in (1, 2))
    mask = np.zeros((90, 80), bool)
    mask[5:-5, 5:-5] = True
    assert len(np.unique(poisson(source, target, mask).pixels[mask])) > 256


def test_threads_change_nothing() -> None:
    source, target, mask = noise((150, 130, 3), 1), noise((150, 130, 3), 2), blobs((150, 130), 3)
    one, four = (poisson(source, target, mask, "mixed", options=Options(workers=n)) for n in (1, 4))
    assert np.array_equal(one.pixels, four.pixels)


@pytest.mark.parametrize("mode", ["normal", "mixed", "flatten"])
def test_what_nothing_bounds_keeps_the_mean(mode: str) -> None:
    source, target = smooth((40, 50, 3), 1), smooth((40, 50, 3), 2) + np.float32(0.5)
    found = poisson(source, target, np.ones((40, 50), bool), mode).pixels
    np.testing.assert_allclose(found.mean((0, 1)), target.mean((0, 1)), atol=1e-4)
    if mode == "normal":
        np.testing.assert_allclose(np.diff(found, axis=0), np.diff(source, axis=0), atol=1e-4)


def test_only_the_loose_part_keeps_its_mean() -> None:
    source, target = smooth((40, 60, 1), 1), smooth((40, 60, 1), 2)
    mask, known = np.ones((40, 60), bool), np.ones((40, 60), bool)
    mask[:, 30:33] = known[:, 30:33] = False  # a gap where the target has no pixels
    mask[20, 50] = False
    found = poisson(source, target, mask, "mixed", known=known).pixels
    left, right = mask.copy(), mask.copy()
    left[:, 30:] = right[:, :33] = False
    off = 255 * found - solved(255.0 * target, right, known & ~mask, stronger(255 * source, 255 * target))
    assert np.abs(off[right]).max() < GREY_LEVELS
    np.testing.assert_allclose(found[left].mean(), target[left].mean(), atol=1e-4)


def test_numbers_that_are_none() -> None:
    source, target, mask = noise((30, 30, 3), 1), noise((30, 30, 3), 2), np.zeros((30, 30), bool)
    mask[5:20, 5:20] = True
    target[2, 2] = target[5, 4] = target[10, 10] = np.nan  # outside, beside, inside
    source[4, 8] = np.nan
    found = poisson(source, target, mask).pixels
    assert np.isfinite(found[mask]).all()
    assert np.array_equal(found[~mask], target[~mask], equal_nan=True)
    with pytest.raises(PhotoError, match="target is not a number at x 10, y 10"):
        poisson(source, target, mask, "mixed")
    source[7, 6] = np.nan
    with pytest.raises(PhotoError, match="source is not a number at x 6, y 7"):
        poisson(source, target, mask)


def test_beyond_its_end_the_source_is_repeated() -> None:
    source, target, mask = noise((40, 40, 1), 1), noise((40, 40, 1), 2), np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    repeated = cv2.copyMakeBorder(source[10:30, 10:30], 10, 10, 10, 10, cv2.BORDER_REPLICATE)[:, :, None]
    found = poisson(source, target, mask, valid=mask).pixels
    np.testing.assert_allclose(found, poisson(repeated, target, mask).pixels, atol=1e-5)


def test_an_unknown_mode_is_named() -> None:
    pixels = np.zeros((3, 3, 1), np.float32)
    with pytest.raises(OptionError, match='"mixd"; give one of normal, mixed'):
        poisson(pixels, pixels, np.zeros((3, 3), bool), "mixd")


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 3), (40, 51, 3)])
def test_opposite_edges_meet(shape: tuple[int, int, int]) -> None:
    around, inside = seamless(noise(shape, 1))
    tile = poisson(noise(shape, 1), around, inside).pixels
    assert np.array_equal(tile[0], tile[-1])
    assert np.array_equal(tile[:, 0], tile[:, -1])
