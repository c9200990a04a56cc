"""Which layer owns what of a rectangle: the cells of the seams, interpolated between their centres."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from composer.records import Composition, Rect

Array = NDArray[Any]

__all__ = ["Cells", "cells_of", "share_of", "window_owned"]


class Cells(NamedTuple):
    """The seam cells in and next to a rectangle, and how its rows and columns lie between them.

    Attributes
    ----------
    rect : Rect
    seams : (n, m) int16
    rows, columns : (first, second, share)
        The two nearest cells of each row or column, and the second one's share (float32).
    """

    rect: Rect
    seams: Array
    rows: tuple[Array, Array, Array]
    columns: tuple[Array, Array, Array]


def cells_of(composition: Composition, rect: Rect) -> Cells | None:
    """Return the seam cells of a rectangle, which may run past the canvas; None of a canvas without seams."""
    seams, step = composition.seams, composition.seam_step
    if seams is None:
        return None
    across = np.arange(rect.x0, rect.x1)
    if composition.closed:
        across = across % composition.width
    lines, rows = _between((np.arange(rect.y0, rect.y1) + 0.5) / step - 0.5, seams.shape[0], False)
    stripes, columns = _between((across + 0.5) / step - 0.5, seams.shape[1], composition.closed)
    return Cells(rect, seams[np.ix_(lines, stripes)], rows, columns)


def _between(where: Array, count: int, closed: bool) -> tuple[Array, tuple[Array, Array, Array]]:
    """Return the cells that positions lie between; and in these the first, the second and its share."""
    floor = np.floor(where)
    low, share = floor.astype(int), (where - floor).astype(np.float32)
    if closed:
        ends = low % count, (low + 1) % count
        cells = np.unique(np.concatenate(ends))
        return cells, (np.searchsorted(cells, ends[0]), np.searchsorted(cells, ends[1]), share)
    first = int(low[0])
    cells = np.clip(np.arange(first, int(low[-1]) + 2), 0, count - 1)
    return cells, (low - first, low - first + 1, share)


def window_owned(cells: Cells, k: int) -> Rect | None:
    """Return the smallest rectangle that holds all pixels of which layer k owns a share; None without any."""
    mine = cells.seams == k
    if mine.all():
        return cells.rect
    down, across = (
        np.flatnonzero(any_[low] | any_[high])
        for any_, (low, high, _) in ((mine.any(1), cells.rows), (mine.any(0), cells.columns))
    )
    if not len(down):
        return None
    x, y = cells.rect.x0, cells.rect.y0
    return Rect(x + int(across[0]), y + int(down[0]), x + int(across[-1]) + 1, y + int(down[-1]) + 1)


def share_of(cells: Cells, k: int, rect: Rect) -> Array:
    """Return (h, w) float32: the share of the cells around each pixel of a part that are layer k's."""
    mine = (cells.seams == k).astype(np.float32)
    if mine.all():
        return np.ones((rect.height, rect.width), np.float32)
    y, x = rect.y0 - cells.rect.y0, rect.x0 - cells.rect.x0
    top, bottom, down = (a[y : y + rect.height] for a in cells.rows)
    left, right, across = (a[x : x + rect.width] for a in cells.columns)
    tall = mine[top] * (1 - down[:, None]) + mine[bottom] * down[:, None]
    return np.asarray(np.take(tall, left, 1) * (1 - across) + np.take(tall, right, 1) * across)
