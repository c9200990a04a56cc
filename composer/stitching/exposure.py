"""Exposure, white balance and vignetting, solved together over the overlaps in linear light.

In logarithms a pixel seen by two photos gives one linear equation: log I_i - log I_j =
g_i - g_j + V(r_i) - V(r_j), with gains g (what the photo is brighter by) and a fall-off
V(r) = v1 r^2 + v2 r^4 + v3 r^6 that photos of one lens share (Goldman and Chen, ICCV 2005, in
logarithms). Reweighted least squares keep moving things and false overlaps out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.projection import photo_map
from composer.align.warp import exposed
from composer.records import Composition, Layer, Rect, Tile, to_linear

Array = NDArray[Any]

__all__ = ["Overlap", "collect_overlap", "solve_exposure", "white_level"]

DARKEST, BRIGHTEST = 0.04, 0.97
SAMPLES = 600


@dataclass(frozen=True)
class Overlap:
    """What two layers saw of the same places: log light (N, C) of each, and radii squared (N,)."""

    i: int
    j: int
    log_i: Array
    log_j: Array
    r2_i: Array
    r2_j: Array


def collect_overlap(composition: Composition, i: int, j: int, tile_i: Tile, tile_j: Tile) -> Overlap | None:
    """Sample up to 600 pixels that two warped, uncorrected layers share; None if fewer than 20."""
    both = tile_i.valid & tile_j.valid
    for tile in (tile_i, tile_j):
        both &= (tile.image.min(2) > DARKEST) & (tile.image.max(2) < BRIGHTEST)
    where = np.flatnonzero(both)
    if len(where) < 20:
        return None
    where = where[:: max(1, len(where) // SAMPLES)]
    light = [np.log(to_linear(t.image.reshape(-1, t.image.shape[2])[where])) for t in (tile_i, tile_j)]
    radii = [_radius2(composition, composition.layers[k], tile_i.rect).ravel()[where] for k in (i, j)]
    return Overlap(i, j, light[0], light[1], radii[0], radii[1])


def _radius2(composition: Composition, layer: Layer, rect: Rect) -> Array:
    """Return squared distances from the photo's centre in units of half its diagonal."""
    u, v, _ = photo_map(np, composition, layer, rect)
    photo = layer.photo
    half = math.hypot(photo.width, photo.height) / 2
    squared = ((u - (photo.width - 1) / 2) / half) ** 2 + ((v - (photo.height - 1) / 2) / half) ** 2
    return np.asarray(squared)


def solve_exposure(
    overlaps: list[Overlap], count: int, anchor: int | None = None
) -> tuple[Array, tuple[float, float, float]]:
    """Solve for gains and vignetting.

    Parameters
    ----------
    overlaps : list of Overlap
    count : int
        Number of layers.
    anchor : int or None
        The layer that keeps its exposure and white balance; None keeps the median exposure.

    Returns
    -------
    gains (count, 3) : factors in linear light that bring every layer to the anchor's exposure.
    vignetting (3,) : v1, v2, v3 of the logarithm of the fall-off.
    """
    if not overlaps:
        return np.ones((count, 3)), (0.0, 0.0, 0.0)
    grey, fall_off = _solve(overlaps, count, lambda o: o.log_i.mean(1) - o.log_j.mean(1), None)
    logs = np.repeat(grey[:, None], 3, 1)
    for c in range(3):
        logs[:, c], _ = _solve(overlaps, count, _channel(c), fall_off, grey)
    logs -= np.median(logs.mean(1)) if anchor is None else logs[anchor]
    v1, v2, v3 = (float(k) for k in fall_off)
    return np.exp(-logs), (v1, v2, v3)


def white_level(tiles: list[Tile], gains: Array) -> float:
    """Return the corrected value, 1 to 2, that 99.7 % of the layers' pixels do not exceed.

    Parameters
    ----------
    tiles : list of Tile
        Layers warped without correction.
    gains : (count, 3) factors in linear light.
    """
    brightest = []
    for tile, gain in zip(tiles, gains, strict=True):
        seen = tile.image[tile.valid]
        corrected = [exposed(seen[:, c], float(gain[c])) for c in range(seen.shape[1])]
        brightest.append(np.max(corrected, axis=0))
    every = np.concatenate(brightest)
    return float(np.clip(np.percentile(every, 99.7), 1, 2)) if len(every) else 1.0


def _channel(c: int) -> Any:
    """Return the function that takes an overlap to one channel's difference; grey stands for all three."""
    return lambda o: o.log_i[:, c % o.log_i.shape[1]] - o.log_j[:, c % o.log_j.shape[1]]


def _solve(
    overlaps: list[Overlap], count: int, difference: Any, fall_off: Array | None, toward: Array | None = None
) -> tuple[Array, Array]:
    """Solve one channel by reweighted least squares; a given `fall_off` is kept, gains pulled `toward`."""
    size = count + 3
    result = np.zeros(size)
    if fall_off is not None:
        result[count:] = fall_off
    target = np.zeros(count) if toward is None else toward
    for _ in range(8):
        # weak pull of gains to the target, of the fall-off to none: worth a few samples each
        matrix = np.diag(np.r_[np.full(count, 4.0), np.full(3, 20.0)])
        vector = np.r_[4.0 * target, np.zeros(3)]
        for o in overlaps:
            shape = _shape(o.r2_i) - _shape(o.r2_j)
            seen = difference(o)
            rest = seen - (result[o.i] - result[o.j]) - shape @ result[count:]
            weight = 1 / (1 + (rest / 0.06) ** 2)
            rows = np.zeros((len(seen), 5))
            rows[:, 0], rows[:, 1], rows[:, 2:] = 1, -1, shape
            where = np.r_[o.i, o.j, count : count + 3]
            weighted = rows * weight[:, None]
            matrix[np.ix_(where, where)] += weighted.T @ rows
            vector[where] += weighted.T @ seen
        if fall_off is not None:
            gains = np.linalg.solve(
                matrix[:count, :count], vector[:count] - matrix[:count, count:] @ fall_off
            )
            result = np.r_[gains, fall_off]
        else:
            result = np.linalg.solve(matrix, vector)
    return result[:count], result[count:]


def _shape(r2: Array) -> Array:
    return np.stack([r2, r2**2, r2**3], 1)
