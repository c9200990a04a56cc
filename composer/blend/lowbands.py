"""The low bands of a multiband blend, computed once for the whole canvas at low resolution.

A pyramid of N levels differs from one of L < N levels only in bands wider than 2^L pixels. Those are
blended here, on a canvas 2^L times smaller, and added back by render: exposure that does not quite
agree is spread over hundreds of pixels, while render's tiles need only the halo of L levels.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.nodes import image_between_nodes, nodes_around
from composer.align.warp import place_on
from composer.backend import pyr_down, pyr_up, remap
from composer.backend.channels import max_channel
from composer.blend.brackets import exposedness
from composer.blend.multiband import weighted_bands
from composer.records import Composition, Rect, Tile

Array = NDArray[Any]

__all__ = ["low_bands", "low_field"]

LEAST, TIMES = 0.2, 4.0  # a difference of things, not of light: at least, and in usual ones
SMALLEST, LARGEST = 24, 0.15  # cells of a thing, and share of where its layer differs
RISE = 0.328  # cells squared: the blur of three pyramid levels upwards, which interpolation does not give


def low_bands(
    small: Composition, seams: Array, tiles: list[Tile], halvings: int, levels: int, *, soften: float = 0.0
) -> Array:
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
    soften : float
        Variance, in cells squared, by which the tiles' and seams' cells are sharper than the pyramid of
        the full resolution would be there: without it a ridge of that width follows the seams.

    Returns
    -------
    (ceil(H / 2^halvings), ceil(W / 2^halvings), C) float32.
    """
    composite, covered = _composite(small, tiles, seams)
    unit = 1 << halvings
    height, width = -(-small.height // unit), -(-small.width // unit)
    margin = min(4 << levels, width) if small.closed else 0
    frame = (height, width + 2 * margin)
    total = [
        np.zeros((-(-frame[0] >> level), -(-frame[1] >> level), composite.shape[2]), np.float32)
        for level in range(levels + 1)
    ]
    for k in range(len(tiles)):
        found = _reduced(small, tiles, composite, covered, (seams, k), unit, soften)
        if found is not None:
            left, top, difference, weight = found
            turns = (-width, 0, width) if small.closed else (0,)
            columns = [left + margin + turn for turn in turns]
            for window in _windows(columns, top, weight.shape, frame, levels):
                _add(total, window, (difference, weight), columns, top)
    result = total[-1]
    for band in reversed(total[:-1]):
        result = pyr_up(result, band.shape[:2]) + band
    return np.ascontiguousarray(_blurred(result, RISE)[:, margin : margin + width], np.float32)


def low_field(xp: Any, composition: Composition, rect: Rect) -> Any:
    """Return what a composition's low bands add to the pixels of a rectangle: (h, w, C) float32.

    Cells are sampled bicubically at nodes of the canvas, so what is found does not depend on the rectangle.
    """
    cells, offset = composition.low_bands, (composition.seam_step - 1) / 2
    assert cells is not None
    x, y = nodes_around(rect)
    if composition.closed:
        x = x % composition.width
    u, v = ((a - offset) / composition.low_bands_step for a in (x, y))
    height, width = cells.shape[:2]
    columns, rows = _span(u), _span(v)
    inner = columns % width if composition.closed else np.clip(columns, 0, width - 1)
    near = cells[np.ix_(np.clip(rows, 0, height - 1), inner)]
    u, v = np.meshgrid((u - columns[0]).astype(np.float32), (v - rows[0]).astype(np.float32))
    return image_between_nodes(xp, np.moveaxis(remap(near, u, v), -1, 0), rect)


def _span(where: Array) -> Array:
    """Return the numbers of the cells that interpolating at positions touches, and one more at either end."""
    return np.arange(math.floor(where.min()) - 2, math.floor(where.max()) + 4)


def _blurred(image: Array, variance: float) -> Array:
    """Blur by three taps of a variance in pixels squared, up to a half."""
    kernel = np.array([variance / 2, 1 - variance, variance / 2], np.float32)
    found = cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
    return found.reshape(image.shape)


def _add(total: list[Array], window: Rect, part: tuple[Array, Array], columns: list[int], top: int) -> None:
    """Add the bands of a part's copies at some columns, within a window, to the frame's; in place."""
    size = window.height, window.width
    difference = np.zeros((*size, part[0].shape[2]), np.float32)
    weight = np.zeros(size, np.float32)
    for x in columns:
        _paste(difference, part[0], top - window.y0, x - window.x0)
        _paste(weight, part[1], top - window.y0, x - window.x0)
    bands = weighted_bands(difference, weight, len(total) - 1)
    bands[0] = bands[0] - difference * weight[:, :, None]
    for level, band in enumerate(bands):
        y, x = window.y0 >> level, window.x0 >> level
        total[level][y : y + band.shape[0], x : x + band.shape[1]] += band


def _windows(
    columns: list[int], top: int, shape: tuple[int, ...], frame: tuple[int, int], levels: int
) -> list[Rect]:
    """Return windows of a frame outside which a pyramid of a part's copies is zero, apart from each other.

    They start on multiples of 2^levels, so that their pyramids are cut-outs of the frame's.
    """
    unit, reach = 1 << levels, 4 << levels
    y0, y1 = (top - reach) // unit * unit, -(-(top + shape[0] + reach) // unit) * unit
    windows: list[Rect] = []
    for x in sorted(columns):
        x0, x1 = (x - reach) // unit * unit, -(-(x + shape[1] + reach) // unit) * unit
        if x + shape[1] <= 0 or x >= frame[1]:
            continue
        if windows and x0 < windows[-1].x1:
            x0 = windows.pop().x0
        windows.append(Rect(max(x0, 0), max(y0, 0), min(x1, frame[1]), min(y1, frame[0])))
    return windows


def _reduced(
    small: Composition,
    tiles: list[Tile],
    composite: Array,
    covered: Array,
    owned: tuple[Array, int],
    unit: int,
    soften: float,
) -> tuple[int, int, Array, Array] | None:
    """Return a layer's difference from the composite and its ownership, `unit` times smaller.

    With them come the column and row of their first cell; None where the layer owns nothing.
    """
    tile, around = tiles[owned[1]], 2 * unit
    x0, y0 = ((n - around) // unit * unit for n in (tile.rect.x0, tile.rect.y0))
    x1, y1 = (-(-(n + around) // unit) * unit for n in (tile.rect.x1, tile.rect.y1))
    y0, y1 = max(y0, 0), min(y1, -(-small.height // unit) * unit)
    rows = np.clip(np.arange(y0, y1), 0, small.height - 1)
    columns = np.arange(x0, x1)
    columns = columns % small.width if small.closed else np.clip(columns, 0, small.width - 1)
    weight = _ownership(small, tiles, owned, (rows, columns))
    if not weight.any():
        return None
    place = place_on(small, tile.rect)
    both = tile.valid & covered[place]
    own = _of_light(np.where(both[:, :, None], tile.image - composite[place], np.float32(0)), both)
    difference = np.zeros((y1 - y0, x1 - x0, composite.shape[2]), np.float32)
    inner = slice(tile.rect.y0 - y0, tile.rect.y1 - y0)
    if small.closed and tile.rect.width >= small.width:  # all around: its margins are its other end
        difference[inner] = np.take(own, np.arange(x0, x1) - tile.rect.x0, 1, mode="wrap")
    else:
        difference[inner, tile.rect.x0 - x0 : tile.rect.x1 - x0] = own
    difference, weight = _blurred(difference, soften), _blurred(weight, soften)
    for _ in range(unit.bit_length() - 1):
        difference, weight = pyr_down(difference), pyr_down(weight)
    return x0 // unit, y0 // unit, difference, weight


def _of_light(difference: Array, both: Array) -> Array:
    """Return a difference (h, w, C) less that of things which moved: spread over hundreds of pixels, their
    light would lie over the scene like a veil. What is larger than things, or reaches the end of `both`
    (h, w), where there is something to compare, is light, such as a burnt sky's.
    """
    size = max_channel(np.abs(difference))
    differs = size > 0
    if not differs.any():
        return difference
    far = (size > max(LEAST, TIMES * float(np.median(size[differs])))).astype(np.uint8)
    far = cv2.morphologyEx(far, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))  # edges that hardly meet are thin
    far = cv2.morphologyEx(far, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(far, connectivity=8)
    thing = (stats[:, 4] >= SMALLEST) & (stats[:, 4] <= LARGEST * differs.sum())
    inner = cv2.erode(both.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0)
    thing[np.unique(labels[inner == 0])] = False
    moved = cv2.dilate(thing[labels].astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    return np.where(moved[:, :, None], np.float32(0), difference)


def _ownership(
    small: Composition, tiles: list[Tile], owned: tuple[Array, int], cells: tuple[Array, Array]
) -> Array:
    """Return a layer's share (h, w) float32 of rows and columns of cells: in a bracket, a part."""
    seams, k = owned
    bracket = tiles[k].bracket
    mine = (seams[np.ix_(*cells)] == (k if bracket is None else bracket)).astype(np.float32)
    if bracket is None or not mine.any():
        return mine
    views = {n: _exposed(small, t, cells) for n, t in enumerate(tiles) if t.bracket == bracket}
    total = sum(views.values())
    return mine * np.where(total > 0, views[k] / np.where(total > 0, total, 1), np.float32(k == bracket))


def _exposed(small: Composition, tile: Tile, cells: tuple[Array, Array]) -> Array:
    """Return how well exposed a tile shows rows and columns of cells (h, w), 0 where it does not."""
    y, x = cells[0] - tile.rect.y0, cells[1] - tile.rect.x0
    x = x % small.width if small.closed else x
    down, across = (y >= 0) & (y < tile.rect.height), (x >= 0) & (x < tile.rect.width)
    found = np.zeros((len(y), len(x)), np.float32)
    there = np.ix_(y[down], x[across])
    found[np.ix_(down, across)] = exposedness(tile.image[there]) * tile.valid[there]
    return found


def _paste(canvas: Array, part: Array, top: int, left: int) -> None:
    """Copy a part into a canvas, less what lies outside."""
    y0, x0 = max(top, 0), max(left, 0)
    y1 = min(top + part.shape[0], canvas.shape[0])
    x1 = min(left + part.shape[1], canvas.shape[1])
    if y0 < y1 and x0 < x1:
        canvas[y0:y1, x0:x1] = part[y0 - top : y1 - top, x0 - left : x1 - left]


def _composite(small: Composition, tiles: list[Tile], seams: Array) -> tuple[Array, Array]:
    """Return the hard composite on the small canvas, and where it has a photo."""
    channels = max(t.image.shape[2] for t in tiles)
    composite = np.zeros((small.height, small.width, channels), np.float32)
    covered = np.zeros(composite.shape[:2], bool)
    for k, tile in enumerate(tiles):
        rows, columns = place_on(small, tile.rect)
        mine = (seams[rows, columns] == k) & tile.valid
        part = composite[rows, columns]
        composite[rows, columns] = np.where(mine[:, :, None], tile.image, part)
        covered[rows, columns] |= mine
    return composite, covered
