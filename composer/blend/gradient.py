"""Gradient-domain blending as one coarse field of offsets a layer (Szeliski, Uyttendaele, Steedly, ICCP 2011).

Blending gradients asks for the picture whose gradients are the layers' own, also across seams. Less the hard
composite, that picture is smooth wherever no seam runs: so what is to be added to each layer is solved for on
a coarse grid over its photo, bilinear between nodes, for all layers at once. Across a seam corrected values
shall meet; within what a layer owns its field is as flat as can be, and pulled to zero a little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.projection import magnification, photo_map
from composer.backend.parallel import over
from composer.records import Composition, Context, Layer, Tile

Array = NDArray[Any]

__all__ = ["solve_offsets"]

SPACING = 1 / 32  # of the photo's longer side, between nodes
REACH = 4.0  # longer sides over which the pull to zero is felt
UNUSED = 1e-3  # what flatness counts where a layer owns nothing: enough to carry fields on
ROUNDS = 3
LOOSE = 0.05  # differences at a seam that a smooth field leaves: beyond, the photos show different things


@dataclass(frozen=True)
class _Sheet:
    """A layer's grid: rows and columns of nodes, where canvas cells lie on it (in nodes, from the first),
    and which share of each of the grid's cells the layer owns."""

    shape: tuple[int, int]
    x: Array
    y: Array
    owned: Array


def solve_offsets(small: Composition, seams: Array, tiles: Sequence[Tile], context: Context) -> list[Array | None]:
    """Return what to add to each layer's encoded values so that layers meet across seams.

    Parameters
    ----------
    small : Composition
        Reduced to the grid of `seams`.
    seams : (H, W) int16
    tiles : sequence of Tile
        Every layer, warped for `small`.
    context : Context

    Returns
    -------
    list of (rows, columns, C) float32 or None
        At nodes spread evenly from one edge of the photo to the other; None for layers that own nothing.
    """
    sheets = over(context, "offsets", lambda k: _sheet(small, k, seams), range(len(tiles)))
    used = [bool(s.owned.any()) for s in sheets]
    starts = np.cumsum([0, *(s.shape[0] * s.shape[1] for s in sheets)])
    nodes, shares, apart = _equations(small, seams, tiles, sheets, starts)
    if not len(nodes):
        return [None] * len(tiles)
    found = _solved(nodes, shares, apart, _flatness(sheets, starts))
    return [
        found[a:b].reshape(*s.shape, -1).astype(np.float32) if u else None
        for s, u, a, b in zip(sheets, used, starts[:-1], starts[1:], strict=True)
    ]


def _sheet(small: Composition, k: int, seams: Array) -> _Sheet:
    """Lay a grid over a layer's photo."""
    layer = small.layers[k]
    rows, columns = shape = _shape(layer)
    u, v, inside = photo_map(np, small, layer, layer.rect)
    x = (u + 0.5) * ((columns - 1) / layer.photo.width)
    y = (v + 0.5) * ((rows - 1) / layer.photo.height)
    mine = inside & (seams[layer.rect.y0 : layer.rect.y1, _columns(small, layer)] == k)
    at = np.floor(y[mine]).clip(0, rows - 2) * (columns - 1) + np.floor(x[mine]).clip(0, columns - 2)
    counts = np.bincount(at.astype(int), minlength=(rows - 1) * (columns - 1)).reshape(rows - 1, columns - 1)
    full = layer.photo.width * layer.photo.height * magnification(small, layer)[0] ** 2 / counts.size
    return _Sheet(shape, x, y, np.minimum(counts / full, 1))


def _columns(small: Composition, layer: Layer) -> Array:
    return np.arange(layer.rect.x0, layer.rect.x1) % small.width


def _shape(layer: Layer) -> tuple[int, int]:
    """Return the rows and columns of a photo's grid of nodes."""
    spacing = SPACING * max(layer.photo.width, layer.photo.height)
    return max(2, round(layer.photo.height / spacing) + 1), max(2, round(layer.photo.width / spacing) + 1)


def _equations(
    small: Composition, seams: Array, tiles: Sequence[Tile], sheets: Sequence[_Sheet], starts: Array
) -> tuple[Array, Array, Array]:
    """Return a row for each cell beside a seam that both layers show: nodes, their shares, what is apart.

    Returns
    -------
    nodes (N, 8) int, shares (N, 8), apart (N, C): the offsets of the one layer less the other's shall be it
    """
    channels = max(t.image.shape[2] for t in tiles)
    nodes, shares, apart = [np.zeros((0, 8), int)], [np.zeros((0, 8))], [np.zeros((0, channels))]
    for i, j, y, x in _along(seams, small.closed):
        places = [_place(small, tiles[k], y, x) for k in (i, j)]
        both = np.logical_and(*(tiles[k].valid[p] & inside for k, (p, inside) in zip((i, j), places, strict=True)))
        (at_i, at_j) = ((p[0][both], p[1][both]) for p, _ in places)
        parts = [_bilinear(sheets[k], at) for k, at in ((i, at_i), (j, at_j))]
        nodes.append(np.concatenate([parts[0][0] + starts[i], parts[1][0] + starts[j]], 1))
        shares.append(np.concatenate([parts[0][1], -parts[1][1]], 1))
        difference = (tiles[j].image[at_j] - tiles[i].image[at_i]).astype(float)
        apart.append(np.broadcast_to(difference, (len(difference), channels)))
    return np.concatenate(nodes), np.concatenate(shares), np.concatenate(apart)


def _along(seams: Array, closed: bool) -> list[tuple[int, int, Array, Array]]:
    """Return for each two layers whose cells touch the rows and columns of the cells beside their seam."""
    height, width = seams.shape
    y, x = np.indices(seams.shape)
    found = []
    for down, right in ((0, 1), (1, 0)):
        reach = width if closed else width - right
        a, b = seams[: height - down, :reach], np.roll(seams, (-down, -right), (0, 1))[: height - down, :reach]
        where = a != b
        pairs = np.stack([a[where], b[where]], 1).astype(int)
        rows, columns = y[: height - down, :reach][where], x[: height - down, :reach][where]
        for shift in (0, 1):
            found.append(np.column_stack([np.sort(pairs, 1), rows + shift * down, (columns + shift * right) % width]))
    every = np.concatenate(found)
    pairs, which = np.unique(every[:, :2], axis=0, return_inverse=True)
    which = which.ravel()
    return [
        (int(i), int(j), every[which == k, 2], every[which == k, 3]) for k, (i, j) in enumerate(pairs)
    ]


def _place(small: Composition, tile: Tile, y: Array, x: Array) -> tuple[tuple[Array, Array], Array]:
    """Return where canvas cells lie in a tile, and whether they do."""
    row, column = y - tile.rect.y0, x - tile.rect.x0
    if small.closed:
        column = column % small.width
    inside = (row >= 0) & (row < tile.rect.height) & (column >= 0) & (column < tile.rect.width)
    return (np.where(inside, row, 0), np.where(inside, column, 0)), inside


def _bilinear(sheet: _Sheet, at: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the four nodes (N, 4) around places of a sheet, and their shares (N, 4)."""
    rows, columns = sheet.shape
    x, y = (np.clip(p[at].astype(float), 0, n - 1) for p, n in ((sheet.x, columns), (sheet.y, rows)))
    left, top = np.minimum(x.astype(int), columns - 2), np.minimum(y.astype(int), rows - 2)
    x, y = x - left, y - top
    first = top * columns + left
    nodes = np.stack([first, first + 1, first + columns, first + columns + 1], 1)
    return nodes, np.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], 1)


def _flatness(sheets: Sequence[_Sheet], starts: Array) -> tuple[Array, Array, Array]:
    """Return what slopes and distance from zero cost, as entries of the normal matrix: rows, columns, values.

    A bilinear cell's squared gradient, integrated, depends on its nodes alone and not on its size.
    """
    slope = np.array([[1.0, -1], [-1, 1]])
    mass = np.array([[2.0, 1], [1, 2]]) / 6
    cell = np.kron(mass, slope) + np.kron(slope, mass)
    rows, columns, values = [], [], []
    for sheet, start in zip(sheets, starts, strict=False):
        height, width = sheet.shape
        share = UNUSED + sheet.owned.ravel()
        pull = 1 / (REACH * (max(sheet.shape) - 1)) ** 2
        first = (np.arange(height - 1)[:, None] * width + np.arange(width - 1)).ravel() + start
        corners = np.stack([first, first + 1, first + width, first + width + 1], 1)
        block = share[:, None, None] * (cell + pull * np.kron(mass, mass))
        rows.append(np.repeat(corners, 4, 1).ravel())
        columns.append(np.tile(corners, (1, 4)).ravel())
        values.append(block.ravel())
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(values)


def _solved(nodes: Array, shares: Array, apart: Array, flat: tuple[Array, Array, Array]) -> Array:
    """Solve by reweighted least squares: differences that no smooth field explains lose their say."""
    from scipy.sparse import coo_array, csr_array
    from scipy.sparse.linalg import splu

    size = int(flat[0].max()) + 1
    smooth = coo_array((flat[2], (flat[0], flat[1])), (size, size)).tocsc()
    rows = np.repeat(np.arange(len(nodes)), nodes.shape[1])
    data = csr_array((shares.ravel(), (rows, nodes.ravel())), (len(nodes), size))
    weight = np.full(len(nodes), 0.5)  # two rows, one on each side, for a cell's length of seam
    for _ in range(ROUNDS):
        weighted = data.multiply(weight[:, None]).tocsr()
        matrix = (data.T @ weighted + smooth).tocsc()
        factors = splu(matrix, "MMD_AT_PLUS_A", diag_pivot_thresh=0, options={"SymmetricMode": True})
        found = factors.solve(weighted.T @ apart)
        rest = ((data @ found - apart) ** 2).mean(1)
        weight = 0.5 / (1 + rest / LOOSE**2)
    return np.asarray(found)
