"""Gradient-domain blending as one coarse field a layer (Szeliski, Uyttendaele, Steedly, ICCP 2011).

Blending gradients asks for the picture whose gradients are the layers' own, also across seams. Less the hard
composite, that picture is smooth wherever no seam runs: so it is enough to solve for one field a layer, on a
coarse grid over its photo, all layers at once. Across seams corrected values shall meet; within what a layer
owns its field is as flat as can be, and pulled to nothing.

Values are logarithms, so the fields are factors. Photos differ by exposure; and sums that make skies meet
would drive shadows beneath them into black.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.projection import photo_map
from composer.backend.parallel import over
from composer.records import Composition, Context, Layer, Tile

Array = NDArray[Any]

__all__ = ["solve_factors"]

NODES = 32  # steps between nodes along a photo's longer side
REACH = 0.5  # longer sides from a seam at which the pull has taken a field back to 1/e: it bounds drift
UNUSED = 1e-3  # what flatness counts where a layer owns nothing: enough to carry the field on
LOOSE = 0.02  # differences that smooth fields may leave at a seam: beyond, photos show different things
SOFT = 0.1  # what seams count at first, so that fields stay smooth and such places stand out
DARK = 0.2  # values below which ratios are less and less to be trusted
FLOOR = 0.01  # added to values before logarithms are taken
ROUNDS = 3


@dataclass(frozen=True)
class _Sheet:
    """A layer's unknowns: rows and columns of nodes and the number of the first; where the tile's cells
    lie on them, in steps between nodes; which share of each step by step square the layer owns."""

    shape: tuple[int, int]
    first: int
    x: Array
    y: Array
    owned: Array


@dataclass(frozen=True)
class _Meeting:
    """N places where a cell of one layer meets a cell of another: the nodes around both (N, 8), and shares
    (N, 8) that add up to the one field less the other; what that shall be (N, C), and the value (N,)."""

    nodes: Array
    shares: Array
    apart: Array
    value: Array


def solve_factors(
    small: Composition, seams: Array, tiles: Sequence[Tile], context: Context, least: float = 0.0
) -> list[Array | None] | None:
    """Return by what to multiply each layer's encoded values so that layers meet across seams.

    Parameters
    ----------
    small : Composition
        Reduced to the grid of `seams`.
    seams : (H, W) int16
    tiles : sequence of Tile
        Every layer, warped for `small`.
    context : Context
    least : float
        Step across seams, 0..1 in the mean over their length, below which nothing needs to be done.

    Returns
    -------
    list of (rows, columns, C) float32 or None
        At nodes spread evenly from one edge of the photo to the other; None for layers that own nothing.
        None in place of the list where layers meet.
    """
    firsts = np.cumsum([0, *(int(np.prod(_shape(la))) for la in small.layers)]).tolist()
    sheets = over(context, "gradient", lambda k: _sheet(small, k, firsts[k], seams), range(len(tiles)))
    channels = max(t.image.shape[2] for t in tiles)
    found = [
        _meeting(small, (tiles[i], tiles[j]), (sheets[i], sheets[j]), cells, channels=channels)
        for i, j, cells in _along(seams, small.closed)
    ]
    met = [m for m in found if m is not None]
    if not met or _step(met) < least:
        return None
    parts = np.split(np.exp(_solved(met, _flatness(sheets))), firsts[1:-1])
    return [
        part.reshape(*s.shape, -1).astype(np.float32) if s.owned.any() else None
        for s, part in zip(sheets, parts, strict=True)
    ]


def _step(met: Sequence[_Meeting]) -> float:
    """Return by how much values differ across the seams, in the mean over their length.

    Of each two layers' seam it is the median that counts: things that differ, or lie apart, are no step.
    """
    steps = [abs(float(np.median(m.apart.mean(1)))) * float(np.median(m.value)) for m in met]
    return float(np.average(steps, weights=[len(m.value) for m in met]))


def _shape(layer: Layer) -> tuple[int, int]:
    """Return the rows and columns of a photo's nodes."""
    step = max(layer.photo.width, layer.photo.height) / NODES
    return max(2, round(layer.photo.height / step) + 1), max(2, round(layer.photo.width / step) + 1)


def _sheet(small: Composition, k: int, first: int, seams: Array) -> _Sheet:
    layer = small.layers[k]
    rows, columns = _shape(layer)
    u, v, inside = photo_map(np, small, layer, layer.rect)
    x, y = (u + 0.5) * ((columns - 1) / layer.photo.width), (v + 0.5) * ((rows - 1) / layer.photo.height)
    across = np.arange(layer.rect.x0, layer.rect.x1) % small.width
    mine = inside & (seams[layer.rect.y0 : layer.rect.y1, across] == k)
    square = np.clip(y, 0, rows - 1.5).astype(int) * (columns - 1) + np.clip(x, 0, columns - 1.5).astype(int)
    seen, owned = (np.bincount(square[c], minlength=(rows - 1) * (columns - 1)) for c in (inside, mine))
    return _Sheet((rows, columns), first, x, y, owned / np.maximum(seen, 1))


def _along(seams: Array, closed: bool) -> Iterator[tuple[int, int, Array]]:
    """Yield for each two layers that touch the rows and columns (2, N, 2) of their cells along the seam."""
    found = []
    for down, across in ((0, 1), (1, 0)):
        one = seams[: len(seams) - down, : None if closed else seams.shape[1] - across]
        other = np.roll(seams, (-down, -across), (0, 1))[: one.shape[0], : one.shape[1]]
        y, x = np.nonzero(one != other)
        here = np.stack([one[y, x].astype(int), y, x], 1)
        there = np.stack([other[y, x].astype(int), y + down, (x + across) % seams.shape[1]], 1)
        first = here[:, :1] < there[:, :1]
        found.append(np.stack([np.where(first, here, there), np.where(first, there, here)]))
    every = np.concatenate(found, 1)
    pairs, number = np.unique(every[:, :, 0].T, axis=0, return_inverse=True)
    for n, (i, j) in enumerate(pairs.tolist()):
        yield i, j, every[:, number.ravel() == n, 1:]


def _meeting(
    small: Composition, tiles: Sequence[Tile], sheets: Sequence[_Sheet], cells: Array, *, channels: int
) -> _Meeting | None:
    """Return what two layers have to agree on along their seam, None where they share nothing there.

    How far they are apart is the mean of what the cells on either side say, where both layers show them.
    """
    logs = np.stack([[_logs(small, t, c, channels) for t in tiles] for c in cells])  # (cell, layer, N, C)
    gaps = logs[:, 1] - logs[:, 0]
    use = np.isfinite(gaps).all(2).any(0)
    if not use.any():
        return None
    value = np.exp(np.nanmin(logs[:, :, use], (0, 1)).mean(1))
    nodes, shares = [], []
    for sheet, tile, own, sign in zip(sheets, tiles, cells, (1, -1), strict=True):
        y, x, _ = _within(small, tile, own[use])
        around, share = _bilinear(sheet, (y, x))
        nodes.append(around)
        shares.append(sign * share)
    return _Meeting(np.concatenate(nodes, 1), np.concatenate(shares, 1), np.nanmean(gaps[:, use], 0), value)


def _within(small: Composition, tile: Tile, cells: Array) -> tuple[Array, Array, Array]:
    """Return the rows and columns in a tile of canvas cells (N, 2), and whether the tile has them."""
    y, x = cells[:, 0] - tile.rect.y0, cells[:, 1] - tile.rect.x0
    x = x % small.width if small.closed else x
    inside = (y >= 0) & (y < tile.rect.height) & (x >= 0) & (x < tile.rect.width)
    return np.where(inside, y, 0), np.where(inside, x, 0), inside


def _logs(small: Composition, tile: Tile, cells: Array, channels: int) -> Array:
    """Return the logarithms (N, C) of a tile's values at canvas cells, NaN where it has none."""
    y, x, inside = _within(small, tile, cells)
    found = np.log(np.maximum(tile.image[y, x], 0).astype(float) + FLOOR)
    found[~(inside & tile.valid[y, x])] = np.nan
    return np.broadcast_to(found, (len(cells), channels))


def _bilinear(sheet: _Sheet, at: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the four nodes (N, 4) around cells of a tile, and their shares (N, 4)."""
    rows, columns = sheet.shape
    x, y = (np.clip(p[at].astype(float), 0, n - 1) for p, n in ((sheet.x, columns), (sheet.y, rows)))
    left, top = np.minimum(x.astype(int), columns - 2), np.minimum(y.astype(int), rows - 2)
    x, y = x - left, y - top
    first = sheet.first + top * columns + left
    nodes = np.stack([first, first + 1, first + columns, first + columns + 1], 1)
    return nodes, np.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], 1)


def _flatness(sheets: Sequence[_Sheet]) -> Any:
    """Return the sparse matrix of what slopes and distance from nothing cost.

    A bilinear square's squared slope, integrated, depends on its corners alone and not on its size.
    """
    from scipy.sparse import coo_array

    slope, mass = np.array([[1.0, -1], [-1, 1]]), np.array([[2.0, 1], [1, 2]]) / 6
    flat = np.kron(mass, slope) + np.kron(slope, mass)
    places, values = [], []
    for sheet in sheets:
        rows, columns = sheet.shape
        pull = 1 / (REACH * (max(sheet.shape) - 1)) ** 2
        first = (sheet.first + np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
        corners = np.stack([first, first + 1, first + columns, first + columns + 1], 1)
        places.append(np.stack(np.broadcast_arrays(corners[:, :, None], corners[:, None, :])).reshape(2, -1))
        weight = np.maximum(sheet.owned, UNUSED)[:, None, None]
        values.append((weight * (flat + pull * np.kron(mass, mass))).ravel())
    size = sheets[-1].first + int(np.prod(sheets[-1].shape))
    return coo_array((np.concatenate(values), np.concatenate(places, 1)), (size, size)).tocsc()


def _solved(met: Sequence[_Meeting], flatness: Any) -> Array:
    """Solve by reweighted least squares: what smooth fields cannot bring together loses its say."""
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import splu

    nodes, shares, apart, value = (
        np.concatenate([getattr(m, name) for m in met]) for name in ("nodes", "shares", "apart", "value")
    )
    rows = np.repeat(np.arange(len(nodes)), nodes.shape[1])
    data = csr_array((shares.ravel(), (rows, nodes.ravel())), (len(nodes), flatness.shape[0]))
    full = np.minimum(value / DARK, 1) ** 2
    weight = full * SOFT
    for _ in range(ROUNDS):
        weighted = data.multiply(weight[:, None]).T.tocsr()
        matrix = (weighted @ data + flatness).tocsc()
        factors = splu(matrix, "MMD_AT_PLUS_A", diag_pivot_thresh=0, options={"SymmetricMode": True})
        found = factors.solve(weighted @ apart)
        rest = ((data @ found - apart) ** 2).mean(1) * value**2
        weight = full / (1 + rest / LOOSE**2)
    return np.asarray(found)
