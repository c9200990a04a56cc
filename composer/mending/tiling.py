"""A picture changed tile by tile, each with what lies around it: the same as whole, at a tile's memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend.parallel import over
from composer.media.picture import as_float, as_stored
from composer.records import Context

Array = NDArray[Any]

__all__ = ["Grid", "by_tiles", "mirrored"]


class Grid(NamedTuple):
    """Tiles of `size` pixels, on multiples of `align` from `origin`, with `halo` around each."""

    size: int
    halo: int
    align: int
    origin: tuple[int, int] = (0, 0)


def by_tiles(
    pixels: Array, valid: Array, change: Callable[[Array], Array], grid: Grid, context: Context
) -> Array:
    """Change a picture.

    Parameters
    ----------
    pixels : (H, W, C) uint8, uint16 or float32
    valid : (H, W) bool
        What is looked at; the rest counts as what is nearest to it, and stays.
    change : callable
        Turns (h, w, C) float32 with sides that are multiples of `grid.align` into as much; what it makes of
        the outermost `grid.halo` pixels is not used. Beyond its edges the picture is mirrored.
    grid : Grid
    context : Context
        Threads take whole tiles.

    Returns
    -------
    (H, W, C) of the same type; integers are rounded and clipped.
    """
    result = pixels.copy()
    nearest = None if valid.all() else _nearest(valid)
    starts = [range(-(-o % grid.align), n, grid.size) for o, n in zip(grid.origin, valid.shape, strict=True)]

    def work(corner: tuple[int, int]) -> Array:
        ys, xs = (_places(at, n, grid) for at, n in zip(corner, valid.shape, strict=True))
        if nearest is None:
            around = pixels[np.ix_(ys, xs)]
        else:
            around = pixels.reshape(-1, pixels.shape[2])[nearest[np.ix_(ys, xs)]]
        inner = slice(grid.halo, -grid.halo)
        return as_stored(change(as_float(around))[inner, inner], pixels.dtype)

    corners = [(y, x) for y in starts[0] for x in starts[1]]
    for (y, x), values in zip(corners, over(context, "restore", work, corners), strict=True):
        ys, xs = (slice(max(at, 0), at + grid.size) for at in (y, x))
        inside = valid[ys, xs]
        kept = values[ys.start - y :, xs.start - x :][: inside.shape[0], : inside.shape[1]]
        result[ys, xs][inside] = kept[inside]
    return result


def _places(at: int, size: int, grid: Grid) -> Array:
    """Return where a tile's rows (or columns) come from, with those around it."""
    side = min(grid.size, -(-(size - at) // grid.align) * grid.align)
    return mirrored(at - grid.halo, at + side + grid.halo, size)


def mirrored(first: int, last: int, size: int) -> Array:
    """Return the places first..last - 1 of a row of `size`, mirrored at its ends without repeating them."""
    period = max(2 * size - 2, 1)
    places = np.arange(first, last) % period
    return np.minimum(places, period - places)


def _nearest(valid: Array) -> Array:
    """Return the place (y * W + x) of the valid pixel that is nearest to each, (H, W) int."""
    _, labels = cv2.distanceTransformWithLabels(
        (~valid).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    places = np.zeros(int(labels.max()) + 1, np.int64)
    places[labels[valid]] = np.flatnonzero(valid)
    return places[labels]
