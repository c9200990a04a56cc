"""Smooth functions of the canvas: found at nodes, cubic in between."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.records import Rect

Array = NDArray[Any]

__all__ = ["STEP", "all_around", "between_nodes", "image_between_nodes", "nodes_around"]

STEP = 8  # canvas pixels between nodes, which lie on its multiples whatever the rectangle


def nodes_around(rect: Rect) -> tuple[Array, Array]:
    """Return the columns and rows of the nodes that a rectangle's pixels need."""
    x, y = (
        STEP * np.arange(start // STEP - 1, (stop - 1) // STEP + 3)
        for start, stop in ((rect.x0, rect.x1), (rect.y0, rect.y1))
    )
    return x, y


def between_nodes(xp: Any, values: Array, rect: Rect) -> Any:
    """Interpolate n functions from (n, rows, columns) nodes to (n, h, w) float32 pixels.

    Each pixel lies on the cubic through the four nodes around it, in either direction (Lagrange).
    """
    lines = _across(values)
    found = _spread(xp, xp.asarray(lines.astype(np.float32)))
    top, left = rect.y0 % STEP, rect.x0 % STEP
    return found[:, top : top + rect.height, left : left + rect.width]


def image_between_nodes(xp: Any, values: Array, rect: Rect) -> Any:
    """Interpolate a picture from (C, rows, columns) nodes to (h, w, C) float32 pixels, as `between_nodes`."""
    lines = np.moveaxis(_across(values), 0, -1).astype(np.float32)
    found = _spread(xp, xp.asarray(lines.reshape(1, len(lines), -1)))
    top, left = rect.y0 % STEP, rect.x0 % STEP
    whole = xp.reshape(found, (-1, *lines.shape[1:]))
    return whole[top : top + rect.height, left : left + rect.width, :]


def _across(values: Array) -> Array:
    """Interpolate (n, rows, columns) nodes along their rows: (n, rows, pixels)."""
    count, rows, columns = values.shape
    spread = _spread(np, values.reshape(1, -1, columns).swapaxes(1, 2))
    return np.asarray(spread[0].T.reshape(count, rows, -1))


def _spread(xp: Any, lines: Any) -> Any:
    """Interpolate (n, nodes, w) along the nodes: (n, pixels, w).

    A product of matrices for each cell. Its shape is the same in all tiles but for w, which changes no sum's
    order; were it 1, BLAS would take another way, so whole cells are asked for.
    """
    cells = lines.shape[1] - 3
    four = xp.stack([lines[:, k : k + cells, :] for k in range(4)], axis=2)
    found = xp.matmul(xp.asarray(_weights(), dtype=lines.dtype), four)
    return xp.reshape(found, (lines.shape[0], cells * STEP, -1))


@functools.cache
def _weights() -> Array:
    """Return the weights (STEP, 4) of the nodes before, at and after each place in a cell."""
    t = np.arange(STEP) / STEP
    before, after, beyond = t + 1, t - 1, t - 2
    terms = (
        -t * after * beyond / 6,
        before * after * beyond / 2,
        -before * t * beyond / 2,
        before * t * after / 6,
    )
    return np.stack(terms, 1)


def all_around(nodes: Array, rect: Rect) -> Array:
    """Return (h, w) bool: the pixels for which all nodes that they are interpolated from are True."""
    cells = np.asarray(np.lib.stride_tricks.sliding_window_view(nodes, (4, 4)).all((2, 3)))
    rows, columns = np.arange(rect.y0, rect.y1) // STEP, np.arange(rect.x0, rect.x1) // STEP
    return cells[np.ix_(rows - rows[0], columns - columns[0])]
