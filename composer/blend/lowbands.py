"""The low bands of a multiband blend, computed once for the whole canvas at low resolution.

A pyramid of N levels differs from one of L < N levels only in bands wider than 2^L pixels. Those are
blended here, on a canvas 2^L times smaller, and added back by render: exposure that does not quite
agree is spread over hundreds of pixels, while render's tiles need only the halo of L levels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend import pyr_down, pyr_up
from composer.blend.multiband import weighted_bands
from composer.records import Composition, Tile

Array = NDArray[Any]

__all__ = ["low_bands"]


def low_bands(small: Composition, seams: Array, tiles: list[Tile], halvings: int, levels: int) -> Array:
    """Return what `levels` bands more would add to a blend.

    Parameters
    ----------
    small : Composition
        Reduced to the grid of `seams`.
    seams : (H, W) int16
    tiles : list of Tile
        Every layer, warped for `small`.
    halvings : int
        Pyramid levels from `small` to the widest band that render blends itself.
    levels : int
        Bands to blend beyond.

    Returns
    -------
    (ceil(H / 2^halvings), ceil(W / 2^halvings), C) float32.
    """
    margin = _margin(small, halvings + levels)
    columns = np.arange(-margin, small.width + margin)
    columns = columns % small.width if small.closed else np.clip(columns, 0, small.width - 1)
    rows = np.clip(np.arange(-margin, small.height + margin), 0, small.height - 1)
    owner = seams[np.ix_(rows, columns)]
    composite, covered = _composite(small, tiles, seams)
    total: list[Array] | None = None
    for k, tile in enumerate(tiles):
        mine = owner == k
        if not mine.any():
            continue
        difference = _difference(small, tile, composite, covered)[np.ix_(rows, columns)]
        weight = mine.astype(np.float32)
        for _ in range(halvings):
            difference, weight = pyr_down(difference), pyr_down(weight)
        bands = weighted_bands(difference, weight, levels)
        bands[0] = bands[0] - difference * weight[:, :, None]
        total = bands if total is None else [a + b for a, b in zip(total, bands, strict=True)]
    assert total is not None
    result = total[-1]
    for band in reversed(total[:-1]):
        result = pyr_up(result, band.shape[:2]) + band
    start = margin >> halvings
    height, width = -(-small.height // (1 << halvings)), -(-small.width // (1 << halvings))
    return np.ascontiguousarray(result[start : start + height, start : start + width], np.float32)


def _margin(small: Composition, depth: int) -> int:
    """Return a margin on the pyramid's grid, wide enough that no band sees the canvas end."""
    whole = 1 << depth
    wanted = min(4 * whole, max(small.width, small.height))
    return -(-wanted // whole) * whole


def _place(small: Composition, tile: Tile) -> tuple[slice, Array]:
    """Return the canvas rows and columns of a tile."""
    return slice(tile.rect.y0, tile.rect.y1), np.arange(tile.rect.x0, tile.rect.x1) % small.width


def _composite(small: Composition, tiles: list[Tile], seams: Array) -> tuple[Array, Array]:
    """Return the hard composite on the small canvas, and where any photo covers it."""
    channels = max(t.image.shape[2] for t in tiles)
    composite = np.zeros((small.height, small.width, channels), np.float32)
    covered = np.zeros(composite.shape[:2], bool)
    for k, tile in enumerate(tiles):
        rows, columns = _place(small, tile)
        mine = (seams[rows, columns] == k) & tile.valid
        part = composite[rows, columns]
        composite[rows, columns] = np.where(mine[:, :, None], tile.image, part)
        covered[rows, columns] |= mine
    return composite, covered


def _difference(small: Composition, tile: Tile, composite: Array, covered: Array) -> Array:
    """Return the layer less the composite on the small canvas, zero where either is missing."""
    difference = np.zeros_like(composite)
    rows, columns = _place(small, tile)
    gap = tile.image - composite[rows, columns]
    difference[rows, columns] = np.where(
        (tile.valid & covered[rows, columns])[:, :, None], gap, np.float32(0)
    )
    return difference
