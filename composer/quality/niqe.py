"""NIQE: how far a picture's statistics are from those of clean photographs, without a reference.

Mittal, Soundararajan and Bovik, "Making a Completely Blind Image Quality Analyzer", IEEE SPL 2013. The model
of clean photographs is our own: benchmarks/fit_niqe.py fitted `niqe.npz` (mean and covariance of 36 features)
on 36 free photographs, 1024 pixels long: wallpapers of Budgie (CC0), Pop!_OS (Unsplash), elementary OS
(Unsplash and CC) and Lomiri (CC0, CC BY, CC BY-SA). So its figures compare with each other only, not with
those of other implementations.
"""

from __future__ import annotations

import importlib.resources
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Array = NDArray[Any]

__all__ = ["BLOCK", "block_features", "fitted", "niqe"]

BLOCK = 96  # pixels across and down, at full size
LEAST = 9  # blocks
TOGETHER = 128  # blocks at a time: a panorama has thousands
SHARP = 0.75  # of the sharpest block: blocks that clean photographs are judged by
_SHAPES = np.arange(0.2, 10.0005, 0.001)
_RATIOS = np.exp(2 * gammaln(2 / _SHAPES) - gammaln(1 / _SHAPES) - gammaln(3 / _SHAPES))
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


def niqe(picture: Array, where: Array | None = None) -> float | None:
    """Return the distance from clean photographs: lower is more natural; about 2 to 4 for good ones.

    Parameters
    ----------
    picture : (H, W, C) float32, 0..1
    where : (H, W) bool or None
        Blocks of 96 x 96 pixels count that lie wholly in it.

    Returns
    -------
    None where fewer than nine blocks can be judged: their mean would scatter too much.
    """
    features, _ = block_features(picture, where)
    if len(features) < LEAST:
        return None
    mean, covariance = _model()
    pooled = (covariance + np.cov(features, rowvar=False)) / 2
    gap = mean - features.mean(0)
    return float(np.sqrt(gap @ np.linalg.pinv(pooled) @ gap))


def fitted(pictures: list[Array]) -> tuple[Array, Array]:
    """Return mean (36,) and covariance (36, 36) of the features of clean photographs' sharp blocks."""
    found = []
    for picture in pictures:
        features, sharpness = block_features(picture)
        found.append(features[sharpness > SHARP * sharpness.max()])
    every = np.concatenate(found)
    return every.mean(0), np.cov(every, rowvar=False)


def block_features(picture: Array, where: Array | None = None) -> tuple[Array, Array]:
    """Return the features (N, 36) of a picture's blocks at two scales, and each block's sharpness (N,)."""
    rows, columns = (length // BLOCK * BLOCK for length in picture.shape[:2])
    if not rows or not columns:
        return np.zeros((0, 36)), np.zeros(0)
    grey = _grey(picture[:rows, :columns])
    half = cv2.resize(grey, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
    normal, spread = _normalised(grey)
    features = np.hstack([_features(normal, BLOCK), _features(_normalised(half)[0], BLOCK // 2)])
    usable = np.isfinite(features).all(1)
    if where is not None:
        usable &= _blocks(where[:rows, :columns], BLOCK).all((1, 2))
    return features[usable], _blocks(spread, BLOCK).mean((1, 2))[usable]


def _grey(picture: Array) -> Array:
    if picture.shape[2] == 1:
        return np.ascontiguousarray(255 * picture[:, :, 0], np.float32)
    return cv2.cvtColor(np.ascontiguousarray(picture, np.float32), cv2.COLOR_RGB2GRAY) * np.float32(255)


def _normalised(grey: Array) -> tuple[Array, Array]:
    """Return grey levels less their local mean over their local spread, and that spread."""
    mean, square = (cv2.GaussianBlur(p, (7, 7), 7 / 6) for p in (grey, grey * grey))
    spread = np.sqrt(np.maximum(square - mean * mean, 0))
    return (grey - mean) / (spread + 1), spread


def _blocks(plane: Array, side: int) -> Array:
    """Return a plane's blocks (N, side, side)."""
    rows, columns = (length // side for length in plane.shape)
    return plane.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)


def _features(normal: Array, side: int) -> Array:
    """Return the 18 features (N, 18) of blocks at one scale; not finite where a block is flat."""
    blocks = _blocks(normal, side)
    parts = (blocks[k : k + TOGETHER].astype(np.float64) for k in range(0, len(blocks), TOGETHER))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.concatenate([_features_of(part) for part in parts])


def _features_of(blocks: Array) -> Array:
    shape, left, right, _ = _gaussian_like(blocks)
    found = [shape, (left + right) / 2]
    for step in _NEIGHBOURS:
        shape, left, right, mean = _gaussian_like(blocks * np.roll(blocks, step, (1, 2)))
        found += [shape, mean, left**2, right**2]
    return np.stack(found, 1)


def _gaussian_like(values: Array) -> tuple[Array, Array, Array, Array]:
    """Fit asymmetric generalised Gaussians by moments (Lasmar et al., 2009): shape, both spreads, mean."""
    values = values.reshape(len(values), -1)
    squares = values * values
    left, right = (np.sqrt((squares * side).sum(1) / side.sum(1)) for side in (values < 0, values > 0))
    ratio = left / right
    flatness = np.abs(values).mean(1) ** 2 / squares.mean(1)
    flatness *= (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shape = np.interp(flatness, _RATIOS, _SHAPES)
    to_scale = np.exp((gammaln(1 / shape) - gammaln(3 / shape)) / 2)
    mean = (right - left) * to_scale * np.exp(gammaln(2 / shape) - gammaln(1 / shape))
    return shape, left, right, mean


@lru_cache(maxsize=1)
def _model() -> tuple[Array, Array]:
    with importlib.resources.files(__package__).joinpath("niqe.npz").open("rb") as file:
        kept = np.load(file)
        return kept["mean"], kept["covariance"]
