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

from composer.align.projection import smooth_map
from composer.align.warp import exposed, white_of
from composer.records import Composition, Layer, Tile, to_linear

Array = NDArray[Any]

__all__ = ["Overlap", "collect_overlap", "radius2", "solve_exposure", "white_level"]

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


def collect_overlap(
    pair: tuple[int, int], tiles: tuple[Tile, Tile], radii2: tuple[Array, Array]
) -> Overlap | None:
    """Sample up to 600 pixels that two warped, uncorrected layers share; None if fewer than 20.

    Parameters
    ----------
    pair : the layers' indices
    tiles : both layers' tiles on the window that they share
    radii2 : (h, w) each, `radius2` of both on that window
    """
    both = tiles[0].valid & tiles[1].valid
    for tile in tiles:
        both &= (tile.image.min(2) > DARKEST) & (tile.image.max(2) < BRIGHTEST)
    where = np.flatnonzero(both)
    if len(where) < 20:
        return None
    where = where[:: max(1, len(where) // SAMPLES)]
    light = [np.log(to_linear(t.image.reshape(-1, t.image.shape[2])[where])) for t in tiles]
    radii = [r2.ravel()[where] for r2 in radii2]
    return Overlap(*pair, light[0], light[1], radii[0], radii[1])


def radius2(composition: Composition, layer: Layer) -> Array:
    """Return on a layer's rectangle (h, w) squared distances from the photo's centre, in half diagonals."""
    u, v, _ = smooth_map(composition, layer, layer.rect)
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
    samples = _Samples.of(overlaps, count)
    grey, fall_off = samples.solve([_grey(o) for o in overlaps])
    logs = np.repeat(grey[:, None], 3, 1)
    for c in range(3):
        logs[:, c], _ = samples.solve([_channel(o, c) for o in overlaps], fall_off, grey)
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
    return white_of(brightest)


def _channel(overlap: Overlap, c: int) -> Array:
    """Return one channel's difference; between grey and colour that of all: grey has no tint to give."""
    if overlap.log_i.shape != overlap.log_j.shape:
        return _grey(overlap)
    c %= overlap.log_i.shape[1]
    return np.asarray(overlap.log_i[:, c] - overlap.log_j[:, c])


def _grey(overlap: Overlap) -> Array:
    """Return the difference of all channels together."""
    return np.asarray(overlap.log_i.mean(1) - overlap.log_j.mean(1))


@dataclass(frozen=True)
class _Samples:
    """The samples of all overlaps in one row: where each overlap's begin, its layers `i` and `j` (P,), and
    what a sample says of the fall-off, `shape` (3, S)."""

    count: int
    begin: Array
    lengths: Array
    i: Array
    j: Array
    shape: Array

    @classmethod
    def of(cls, overlaps: list[Overlap], count: int) -> _Samples:
        lengths = np.array([len(o.r2_i) for o in overlaps])
        begin = np.r_[0, np.cumsum(lengths)[:-1]]
        r2_i, r2_j = (np.concatenate([getattr(o, r) for o in overlaps]) for r in ("r2_i", "r2_j"))
        shape = np.stack([r2_i**k - r2_j**k for k in (1, 2, 3)])
        i, j = (np.array([getattr(o, k) for o in overlaps]) for k in "ij")
        return cls(count, begin, lengths, i, j, shape)

    def solve(
        self, differences: list[Array], fall_off: Array | None = None, toward: Array | None = None
    ) -> tuple[Array, Array]:
        """Solve one channel by reweighted least squares; `fall_off` is kept, gains are pulled `toward`."""
        seen = np.concatenate(differences)
        gains, falls = np.zeros(self.count), np.zeros(3) if fall_off is None else fall_off
        target = np.zeros(self.count) if toward is None else toward
        for _ in range(8):
            expected = np.repeat(gains[self.i] - gains[self.j], self.lengths) + falls @ self.shape
            weight = 1 / (1 + ((seen - expected) / 0.06) ** 2)
            matrix, vector = self._normal_equations(weight, seen)
            # weak pull of gains to the target, of the fall-off to none: worth a few samples each
            matrix += np.diag(np.r_[np.full(self.count, 4.0), np.full(3, 20.0)])
            vector += np.r_[4.0 * target, np.zeros(3)]
            if fall_off is None:
                result = np.linalg.solve(matrix, vector)
                gains, falls = result[: self.count], result[self.count :]
            else:
                rest = vector[: self.count] - matrix[: self.count, self.count :] @ fall_off
                gains = np.linalg.solve(matrix[: self.count, : self.count], rest)
        return gains, falls

    def _normal_equations(self, weight: Array, seen: Array) -> tuple[Array, Array]:
        """Return the matrix (count + 3, count + 3) and the vector of what the samples say."""
        n = self.count
        matrix, vector = np.zeros((n + 3, n + 3)), np.zeros(n + 3)
        total = self._each(weight)
        np.add.at(matrix, (np.r_[self.i, self.j], np.r_[self.i, self.j]), np.r_[total, total])
        np.add.at(matrix, (np.r_[self.i, self.j], np.r_[self.j, self.i]), -np.r_[total, total])
        light = self._each(weight * seen)
        np.add.at(vector, np.r_[self.i, self.j], np.r_[light, -light])
        for k, shape in enumerate(self.shape):
            weighted = weight * shape
            apart = self._each(weighted)
            np.add.at(matrix[:, n + k], np.r_[self.i, self.j], np.r_[apart, -apart])
            matrix[n:, n + k] = (self.shape * weighted).sum(1)
            vector[n + k] = (weighted * seen).sum()
        matrix[n:, :n] = matrix[:n, n:].T
        return matrix, vector

    def _each(self, values: Array) -> Array:
        """Return the sum over each overlap's samples."""
        return np.add.reduceat(values, self.begin)
