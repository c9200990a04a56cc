"""Denoising by overlapping cosine transforms, in two passes.

Every block of a grid that moves by a few pixels is transformed, small coefficients are dropped, and all
blocks that cover a pixel are averaged, those that need few coefficients counting more (Yaroslavsky et al.,
2001). What comes out tells a second pass, on larger blocks, what each coefficient of the scene may be, and
how much of the noisy one to keep (empirical Wiener filter, as in BM3D's second step; Dabov et al., 2007).
Colours are turned so that brightness stands alone.

A tile's result does not depend on the tile: blocks lie on absolute places.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend import namespace

Array = NDArray[Any]

__all__ = [
    "ALIGN", "HALO", "coefficients", "denoised", "dropping", "from_opponent", "overlapped", "to_opponent",
    "values", "wiener",
]  # fmt: skip

FIRST = 8, 2  # pixels of a block, and by how many the grid moves
SECOND = 16, 4
ALIGN = 16  # pixels on whose multiples tiles begin
HALO = 32  # pixels around a tile, of which the outermost are computed from fewer blocks
DROPPED = 2.7  # deviations of the noise, below which a coefficient is dropped
_R2, _R3, _R6 = (1 / math.sqrt(n) for n in (2, 3, 6))
OPPONENT = ((_R3, _R3, _R3), (_R2, 0.0, -_R2), (_R6, -2 * _R6, _R6))  # orthonormal: noise stays what it is

Shrink = Callable[[Any, Any], tuple[Any, Any]]


def denoised(planes: Any, variance: Callable[[Any], Any], spectrum: Array) -> Any:
    """Take the noise out of a tile.

    Parameters
    ----------
    planes : (C, H, W) float32
        Opponent colours, brightness first; sizes are multiples of 16.
    variance : callable
        Turns the mean of the first plane over blocks, an array of any shape, into the noise's variance in
        each plane, (C, ...).
    spectrum : (C, 15)
        By how much a coefficient's variance differs, by the sum of its numbers in blocks of 8 x 8.

    Returns
    -------
    (C, H, W) float32; less than 32 pixels from the edges it is not what a larger tile would give.
    """
    xp = namespace(planes)
    first, second = (xp.asarray(_spread(spectrum, size)) for size, _ in (FIRST, SECOND))
    limit = dropping(lambda b: _per_block(variance(_means(b))) * (DROPPED**2 * first))
    pilot = overlapped((planes,), limit, *FIRST)
    return overlapped((planes, pilot), wiener(lambda b: _per_block(variance(_means(b))) * second), *SECOND)


def _spread(spectrum: Array, size: int) -> Array:
    """Spread powers (C, 15), by sums of waves' numbers in blocks of 8, over (C, 1, size, 1, size)."""
    sums = np.add.outer(np.arange(size), np.arange(size)) * (8 / size)
    powers = np.array([np.interp(sums, np.arange(spectrum.shape[1]), p) for p in spectrum])
    return powers.astype(np.float32)[:, None, :, None, :]


def dropping(limit: Callable[[Any], Any]) -> Shrink:
    """Drop coefficients whose square is not above a limit, which is made from them; means stay."""

    def shrink(noisy: Any, _: Any) -> tuple[Any, Any]:
        xp = namespace(noisy)
        keep = xp.astype(noisy * noisy > limit(noisy), xp.float32)
        keep[:, :, 0, :, 0] = 1.0
        return noisy * keep, 1 / xp.sum(keep, axis=(2, 4))

    return shrink


def wiener(variance: Callable[[Any], Any]) -> Shrink:
    """Keep of each coefficient the share that a pilot's square has in it and the noise; means stay."""

    def shrink(noisy: Any, pilot: Any) -> tuple[Any, Any]:
        xp = namespace(noisy, pilot)
        power = pilot * pilot
        gain = power / (power + variance(pilot))
        gain[:, :, 0, :, 0] = 1.0
        return noisy * gain, 1 / xp.sum(gain * gain, axis=(2, 4))

    return shrink


def _means(blocks: Any) -> Any:
    """Return the mean of the first plane in each block (rows, columns)."""
    return blocks[0, :, 0, :, 0] / blocks.shape[2]


def _per_block(values: Any) -> Any:
    """Spread (C, rows, columns) over the coefficients (C, rows, n, columns, n)."""
    return values[:, :, None, :, None]


def overlapped(planes: tuple[Any, ...], shrink: Shrink, size: int, step: int) -> Any:
    """Change blocks of one picture, or by another one, and average what overlaps.

    Rows are transformed once for all columns in which blocks may begin. `shrink` is given coefficients
    (C, rows, n, columns, n) of each picture, and returns new ones and block's weights (C, rows, columns).
    """
    xp = namespace(*planes)
    basis = xp.asarray(_basis(size))
    count, height, width = planes[0].shape
    total, weights = xp.zeros_like(planes[0]), xp.zeros_like(planes[0])
    for y in range(0, size, step):
        rows = (height - y) // size
        inside = slice(y, y + rows * size)
        bands = [basis @ xp.reshape(p[:, inside, :], (count, rows, size, width)) for p in planes]
        band = xp.zeros_like(bands[0])
        counted = xp.zeros((count, rows, width), dtype=xp.float32)
        for x in range(0, size, step):
            columns = (width - x) // size
            shape = count, rows, size, columns, size
            across = slice(x, x + columns * size)
            blocks = [xp.reshape(b[:, :, :, across], shape) @ basis.T for b in bands]
            changed, weight = shrink(blocks[0], blocks[-1])
            back = (changed * _per_block(weight)) @ basis
            band[:, :, :, across] += xp.reshape(back, (count, rows, size, columns * size))
            counted[:, :, across] += xp.repeat(weight, size, axis=2)
        total[:, inside, :] += xp.reshape(basis.T @ band, (count, rows * size, width))
        weights[:, inside, :] += xp.repeat(counted, size, axis=1)
    return total / weights


def _basis(size: int) -> Array:
    """Return the orthonormal cosine transform of type 2 as a matrix."""
    k, x = np.mgrid[:size, :size]
    waves = np.cos(np.pi * k * (2 * x + 1) / (2 * size)) * math.sqrt(2 / size)
    waves[0] = math.sqrt(1 / size)
    return waves.astype(np.float32)


def coefficients(blocks: Any) -> Any:
    """Transform blocks (..., n, n)."""
    basis = namespace(blocks).asarray(_basis(blocks.shape[-1]))
    return basis @ blocks @ basis.T


def values(blocks: Any) -> Any:
    """Undo `coefficients`."""
    basis = namespace(blocks).asarray(_basis(blocks.shape[-1]))
    return basis.T @ blocks @ basis


def to_opponent(pixels: Array) -> Array:
    """Turn (h, w, C) into planes (C, h, w): brightness times the root of 3, two differences of colours."""
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return planes if len(planes) == 1 else np.tensordot(np.array(OPPONENT, np.float32), planes, 1)


def from_opponent(planes: Array) -> Array:
    """Turn planes (C, h, w) back into (h, w, C)."""
    back = planes if len(planes) == 1 else np.tensordot(np.array(OPPONENT, np.float32).T, planes, 1)
    return np.ascontiguousarray(back.transpose(1, 2, 0))
