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
    composite, covered = _composite(small, tiles, seams)
    unit = 1 << halvings
    height, width = -(-small.height // unit), -(-small.width // unit)
    margin = min(4 << levels, width) if small.closed else 0
    total: list[Array] | None = None
    for k, tile in enumerate(tiles):
        found = _reduced(small, tile, composite, covered, seams == k, unit)
        if found is None:
            continue
        left, top, difference, weight = found
        shape = (height, width + 2 * margin)
        wide, share = np.zeros((*shape, difference.shape[2]), np.float32), np.zeros(shape, np.float32)
        for turn in (-width, 0, width) if small.closed else (0,):
            _paste(wide, difference, top, left + margin + turn)
            _paste(share, weight, top, left + margin + turn)
        bands = weighted_bands(wide, share, levels)
        bands[0] = bands[0] - wide * share[:, :, None]
        total = bands if total is None else [a + b for a, b in zip(total, bands, strict=True)]
    if total is None:
        return np.zeros((height, width, composite.shape[2]), np.float32)
    result = total[-1]
    for band in reversed(total[:-1]):
        result = pyr_up(result, band.shape[:2]) + band
    return np.ascontiguousarray(result[:, margin : margin + width], np.float32)


def _reduced(
    small: Composition, tile: Tile, composite: Array, covered: Array, mine: Array, unit: int
) -> tuple[int, int, Array, Array] | None:
    """Return a layer's difference from the composite and its ownership, `unit` times smaller.

    With them come the column and row of their first cell; None where the layer owns nothing.
    """
    around = 2 * unit
    x0, y0 = ((n - around) // unit * unit for n in (tile.rect.x0, tile.rect.y0))
    x1, y1 = (-(-(n + around) // unit) * unit for n in (tile.rect.x1, tile.rect.y1))
    y0, y1 = max(y0, 0), min(y1, -(-small.height // unit) * unit)
    rows = np.clip(np.arange(y0, y1), 0, small.height - 1)
    columns = np.arange(x0, x1)
    columns = columns % small.width if small.closed else np.clip(columns, 0, small.width - 1)
    weight = mine[np.ix_(rows, columns)].astype(np.float32)
    if not weight.any():
        return None
    place = _place(small, tile)
    both = tile.valid & covered[place]
    own = np.where(both[:, :, None], tile.image - composite[place], np.float32(0))
    difference = np.zeros((y1 - y0, x1 - x0, composite.shape[2]), np.float32)
    inner = slice(tile.rect.y0 - y0, tile.rect.y1 - y0)
    if small.closed and tile.rect.width >= small.width:  # all around: its margins are its other end
        difference[inner] = np.take(own, np.arange(x0, x1) - tile.rect.x0, 1, mode="wrap")
    else:
        difference[inner, tile.rect.x0 - x0 : tile.rect.x1 - x0] = own
    for _ in range(unit.bit_length() - 1):
        difference, weight = pyr_down(difference), pyr_down(weight)
    return x0 // unit, y0 // unit, difference, weight


def _paste(canvas: Array, part: Array, top: int, left: int) -> None:
    """Copy a part into a canvas, less what lies outside."""
    y0, x0 = max(top, 0), max(left, 0)
    y1 = min(top + part.shape[0], canvas.shape[0])
    x1 = min(left + part.shape[1], canvas.shape[1])
    if y0 < y1 and x0 < x1:
        canvas[y0:y1, x0:x1] = part[y0 - top : y1 - top, x0 - left : x1 - left]


def _place(small: Composition, tile: Tile) -> tuple[slice, Array]:
    """Return the canvas rows and columns of a tile."""
    return slice(tile.rect.y0, tile.rect.y1), np.arange(tile.rect.x0, tile.rect.x1) % small.width


def _composite(small: Composition, tiles: list[Tile], seams: Array) -> tuple[Array, Array]:
    """Return the hard composite on the small canvas, and where it has a photo."""
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
