"""Holes filled from patches of the rest."""

from __future__ import annotations

from typing import Any

import array_api_strict as strict
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from composer.backend import to_device, to_numpy
from composer.mending.diffusion import biharmonic
from composer.mending.nearest import basis, best_match, described, ground_of, search
from composer.mending.patches import SIZE, copy_patches
from composer.samples import picture

Array = NDArray[Any]


def checks(size: int = 128, period: int = 16) -> Array:
    """Return soft checks (size, size, 3): any hole in them has one right answer."""
    y, x = np.mgrid[:size, :size] * (2 * np.pi / period)
    wave = 0.5 + 0.4 * np.clip(2 * np.sin(x) * np.sin(y), -1, 1)
    return np.dstack([wave, 1 - wave, wave**2]).astype(np.float32)


def disc(size: int, radius: float) -> Array:
    y, x = np.mgrid[:size, :size] - size / 2
    return np.hypot(x, y) < radius


def roughness(image: Array, where: Array) -> float:
    """Return how much brightness changes from pixel to pixel."""
    grey = image.mean(2)
    return float(np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))[where].mean())


def test_a_pattern_goes_on() -> None:
    truth, mask = checks(), disc(128, 20)
    damaged = np.where(mask[:, :, None], np.float32(np.nan), truth)
    found = copy_patches(damaged, mask, ~mask)
    assert np.array_equal(found[~mask], truth[~mask])
    assert np.abs(found - truth)[mask].mean() < 0.03


def test_texture_goes_on_where_smooth_fills_smear() -> None:
    truth = picture("gravel.png")[:256, :256].astype(np.float32) / 255
    mask = disc(256, 30)
    found = copy_patches(truth, mask, ~mask)
    wanted = roughness(truth, mask)
    assert 0.55 < roughness(found, mask) / wanted < 1.3
    assert roughness(biharmonic(truth, mask, ~mask), mask) / wanted < 0.3


def test_patches_come_from_the_source_only() -> None:
    image = np.zeros((96, 96, 3), np.float32)
    image[:, 48:] = [1, 0, 0]
    mask = disc(96, 12)
    source = np.zeros((96, 96), bool)
    source[:, 60:] = True
    found = copy_patches(image, mask, ~mask, source)
    np.testing.assert_allclose(found[mask], np.broadcast_to([1, 0, 0], (mask.sum(), 3)), atol=1e-5)


def test_where_no_patch_fits_edges_are_carried_on() -> None:
    image = np.full((12, 12, 1), 0.3, np.float32)
    mask = disc(12, 3)
    np.testing.assert_allclose(copy_patches(image, mask, ~mask), 0.3, atol=1e-6)


def test_the_seed_decides() -> None:
    image = picture("gravel.png")[:160, :160].astype(np.float32) / 255
    mask = disc(160, 30)
    first, again = (copy_patches(image, mask, ~mask, seed=3) for _ in range(2))
    assert np.array_equal(first, again)


def test_search_finds_most_of_what_trying_all_finds() -> None:
    image = picture("gravel.png")[:160, :160].astype(np.float32) / 255
    values = np.concatenate([image, np.zeros_like(image[:, :, :2])], 2).reshape(-1, 5)
    mask = disc(160, 25)
    ground = ground_of(mask, ~mask, SIZE)
    how = basis(SIZE, 5, 1.0)
    wanted = described(values, ground.targets, ground.steps, how)
    offered = described(values, ground.sources, ground.steps, how)
    _, least = best_match(wanted, offered, 0.0)
    random = np.random.default_rng(0)
    match = ground.sources[random.integers(0, len(ground.sources), len(ground.targets))]
    padded = np.concatenate([offered, np.full((1, offered.shape[1]), 1e4, np.float32)])
    before = None
    for _ in range(6):
        match, away = search(ground, wanted, padded, np.zeros(len(padded), np.float32), match, random)
        assert before is None or (away <= before).all()
        before = away
    assert np.isin(match, ground.sources).all()
    assert (away >= least - 1e-4).all()
    assert away.mean() < 1.8 * least.mean()


def test_distances_of_patches_are_those_of_their_descriptions() -> None:
    image = cv2.GaussianBlur(picture("coffee.png")[100:140, 100:140], None, 2).astype(np.float32) / 255
    values = np.concatenate([image, np.zeros_like(image[:, :, :2])], 2).reshape(-1, 5)
    ground = ground_of(np.zeros((40, 40), bool), np.ones((40, 40), bool), SIZE)
    patches = values[ground.sources[:, None] + ground.steps].reshape(len(ground.sources), -1)
    short = described(values, ground.sources, ground.steps, basis(SIZE, 5, 1.0))
    far = ((patches[::7, None] - patches[None, ::11]) ** 2).sum(2)
    near = ((short[::7, None] - short[None, ::11]) ** 2).sum(2)
    assert (near <= far + 1e-4).all()
    assert near.mean() > 0.97 * far.mean()


def test_keeps_to_the_standard() -> None:
    truth, mask = checks(64), disc(64, 9)
    valid = ~mask
    valid[:, :4] = False
    plain = copy_patches(truth, mask, valid)
    found = copy_patches(strict.asarray(truth), mask, valid)
    assert isinstance(found, type(strict.asarray(0)))
    np.testing.assert_allclose(to_numpy(found), plain, atol=1e-3)


@pytest.mark.gpu
def test_gpu_fills_as_the_cpu_does() -> None:
    truth, mask = checks(), disc(128, 20)
    plain = copy_patches(truth, mask, ~mask)
    found = to_numpy(copy_patches(to_device(truth, "cuda"), mask, ~mask))
    assert np.abs(found - plain)[mask].mean() < 0.01
    assert np.abs(found - truth)[mask].mean() < 0.03
