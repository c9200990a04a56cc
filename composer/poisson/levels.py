"""The grids on which a membrane is solved: fine along the boundary, ever coarser away from it.

Level 0 is the picture; a cell of level k + 1 is two by two cells of level k, and its value stands at its
centre. A level holds the cells with some pixel to solve in them, except where the next level is fine enough:
`REACH` cells and more from everything else. There the function is smooth, and follows from the next level by
bilinear interpolation, whose error on harmonic functions is of third order only: at a quarter of a cell from
the centre, along both axes, the second differences cancel. So do they in the mean of four cells.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[Any]
Side = tuple[int, int]  # down, right

__all__ = ["HARMONIC", "Level", "build_levels"]

REACH = 9  # errors stay below 0.06 grey levels even on white noise, below 0.02 for steps of 255
FEWEST = 1500  # cells that are solved directly
SPREAD = 0.09
# weights of the three by three cells around the nearest one, rows and columns outwards: inner, nearest, outer
BILINEAR = np.array([[0, 0, 0], [0, 9, 3], [0, 3, 1]], np.float32) / 16
SIDES: tuple[Side, ...] = (0, 1), (0, -1), (1, 0), (-1, 0)
CORNERS: tuple[Side, ...] = (1, 1), (1, -1), (-1, 1), (-1, -1)


def harmonic_taps() -> Array:
    """Return the smallest weights that are right for harmonic polynomials up to the fourth degree."""

    def polynomials(z: complex) -> list[float]:
        return [1.0, *(part for k in range(1, 5) for part in ((z**k).real, (z**k).imag))]

    nodes = [polynomials(complex(x, y)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    taps = np.linalg.lstsq(np.array(nodes).T, np.array(polynomials(0.25 + 0.25j)), rcond=None)[0]
    return taps.reshape(3, 3).astype(np.float32)


HARMONIC = harmonic_taps()


@dataclass(frozen=True)
class Level:
    """One grid of `n` cells, the `reds` of a checkerboard first, and its ghosts: cells of the next level's.

    Attributes
    ----------
    shape : (h, w)
    cells : (n,) int32
        Flat positions in the grid.
    red, black : (reds, n + ghosts) and (n - reds, n + ghosts) sparse
        What neighbours weigh in a cell's mean.
    diagonal, pull : (n, 1) float32
        Sum of a cell's weights, and the boundary's part of it.
    covered : (n, 1) bool
        Cells of which a finer level knows more.
    gather : (n, finer n) sparse, or None on level 0
        Adds up the finer level's cells in each cell.
    share : (n, 1) float32
        One over how many these are, or 0.
    up, over : (n, coarser n) and (ghosts, coarser n) sparse, or None on the last level
        Interpolate from the next level, cells and ghosts.
    """

    shape: tuple[int, int]
    cells: Array
    reds: int
    red: Any
    black: Any
    diagonal: Array
    pull: Array
    covered: Array
    gather: Any
    share: Array
    up: Any = None
    over: Any = None

    @property
    def n(self) -> int:
        """How many cells are solved for."""
        return len(self.cells)


def build_levels(unknown: Array, known: Array, workers: int = 1) -> tuple[list[Level], Array, Any]:
    """Build the grids for a mask.

    Parameters
    ----------
    unknown : (H, W) bool
        Pixels to solve for.
    known : (H, W) bool
        Other pixels whose values bind their neighbours; what is neither counts as beyond the edge.

    Returns
    -------
    The levels, the flat positions of all pixels that bind, and a sparse matrix that adds their values up at
    the cells of level 0.
    """
    some = regular = unknown.astype(np.uint8)
    owned = np.zeros_like(some)
    grids: list[_Grid] = []
    ring, bind = np.zeros(0, np.int32), None
    while True:
        last = cv2.countNonZero(some) <= FEWEST
        coarser = np.zeros_like(_halved(some, True)) if last else _halved(_shrunk(regular), False)
        grid = _Grid(some, _doubled(coarser, some.shape), owned)
        if grids:
            grid.link_cells(grids[-1])
        else:
            ring, bind = grid.link_pixels(some, known)
        grids.append(grid)
        if last:
            break
        some, regular, owned = _halved(some, True), _halved(regular, False), coarser
    with ThreadPoolExecutor(workers) as pool:
        levels = list(pool.map(_Grid.level, grids, count(), [None, *grids], [*grids[1:], None]))
    return levels, ring, bind


def _shrunk(mask: Array) -> Array:
    """Return what lies farther than `REACH` inside."""
    kernel = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)
    return np.asarray(cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0))


def _halved(mask: Array, some: bool) -> Array:
    """Return for each two by two cells of a uint8 mask whether some (or all) are set."""
    rows, columns = mask.shape
    if rows % 2 or columns % 2:
        mask = cv2.copyMakeBorder(mask, 0, rows % 2, 0, columns % 2, cv2.BORDER_CONSTANT, value=0)
    join = cv2.bitwise_or if some else cv2.bitwise_and
    mask = join(mask[::2], mask[1::2])
    return np.asarray(join(np.ascontiguousarray(mask[:, ::2]), np.ascontiguousarray(mask[:, 1::2])))


def _doubled(mask: Array, shape: tuple[int, ...]) -> Array:
    """Return a mask twice as large, cut to a shape."""
    large = cv2.resize(mask, (2 * mask.shape[1], 2 * mask.shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray(large[: shape[0], : shape[1]])


def _sparse(weights: Array, columns: Array, width: int) -> Any:
    """Return the matrix that has (n, k) weights other than 0 in its n rows."""
    used = weights != 0
    starts = np.zeros(len(weights) + 1, np.int32)
    np.cumsum(np.count_nonzero(used, 1), out=starts[1:])
    return sparse.csr_matrix((weights[used], columns[used], starts), (len(weights), width))


@dataclass
class _Grid:
    """A level in the making: cells with `some` pixel to solve, less the next level's."""

    some: Array
    next_ones: Array
    owned_map: Array
    weights: dict[Side, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shape: tuple[int, int] = self.some.shape
        width = np.int32(self.shape[1])
        held = np.flatnonzero(self.some > self.next_ones).astype(np.int32)
        red = (held // width + held % width) % 2 == 0
        self.reds = int(np.count_nonzero(red))
        self.cells = np.concatenate([held[red], held[~red]])
        self.y, self.x = np.divmod(self.cells, width)
        self.n = len(held)
        self.number = np.full(self.some.size, -1, np.int32)
        self.number[self.cells] = np.arange(self.n, dtype=np.int32)
        self.owned = self.owned_map.ravel()[self.cells] > 0
        self.pull = np.zeros(self.n, np.float32)
        self.parent = np.zeros(0, np.int32)

    def beside(self, side: Side) -> tuple[Array, Array]:
        """Return the flat positions of the cells' neighbours on a side, and which exist."""
        y, x = self.y + side[0], self.x + side[1]
        exists = (y >= 0) & (y < self.shape[0]) & (x >= 0) & (x < self.shape[1])
        return np.where(exists, y * np.int32(self.shape[1]) + x, 0), exists

    def link_pixels(self, inside: Array, known: Array) -> tuple[Array, Any]:
        """Weigh a picture's neighbours, 1 each (Pérez 2003, equation 7); return what binds, and where."""
        rows, places = [], []
        for side in SIDES:
            at, exists = self.beside(side)
            free = exists & (inside.ravel()[at] > 0)
            bound = exists & ~free & known.ravel()[at]
            self.weights[side] = free.astype(np.float32)
            self.pull += bound
            rows.append(np.flatnonzero(bound))
            places.append(at[bound])
        ring, columns = np.unique(np.concatenate(places), return_inverse=True)
        ones = np.ones(len(columns), np.float32)
        return ring, sparse.csr_matrix((ones, (np.concatenate(rows), columns)), (self.n, len(ring)))

    def link_cells(self, finer: _Grid) -> None:
        """Weigh neighbours by what crosses the side between them, halved, since they are twice as far."""
        finer.parent = self.number[finer.y // 2 * self.shape[1] + finer.x // 2]
        for side in SIDES:
            down, right = side
            outer = finer.x % 2 == (right > 0) if right else finer.y % 2 == (down > 0)
            sums = np.bincount(finer.parent, finer.weights[side] * outer, self.n)
            self.weights[side] = np.where(self.owned, 1, sums / 2).astype(np.float32)
        pulls = np.bincount(finer.parent, finer.pull, self.n)
        self.pull = (pulls / (1 + SPREAD * pulls)).astype(np.float32)

    def level(self, k: int, finer: _Grid | None, coarser: _Grid | None) -> Level:
        """Put the matrices together."""
        # as much of the diagonal stencil as gives all levels the error of five points on level 0
        slanted = np.float32((1 - 0.25**k) / 3)
        sides = SIDES + CORNERS if self.owned.any() else SIDES
        weights = np.zeros((self.n, len(sides)), np.float32)
        places = np.empty(weights.shape, np.int32)
        for i, side in enumerate(sides):
            straight = side in SIDES
            weights[:, i] = self.weights[side] if straight else 0
            weights[self.owned, i] = 1 - slanted if straight else slanted / 2
            places[:, i] = self.beside(side)[0]
        columns = self.number[places]
        ghosts = np.unique(places[(columns < 0) & (weights > 0)])
        self.number[ghosts] = np.arange(self.n, self.n + len(ghosts), dtype=np.int32)
        diagonal = self.pull + weights.sum(1)
        diagonal[diagonal == 0] = 1
        weights /= diagonal[:, None]
        columns, width = self.number[places], self.n + len(ghosts)
        gather, share = (None, np.zeros(self.n)) if finer is None else self.gathering(finer)
        return Level(
            self.shape, self.cells, self.reds,
            _sparse(weights[: self.reds], columns[: self.reds], width),
            _sparse(weights[self.reds :], columns[self.reds :], width),
            diagonal[:, None], self.pull[:, None], ~self.owned[:, None], gather,
            share.astype(np.float32)[:, None],
            None if coarser is None else self.interpolation(coarser, self.cells),
            None if coarser is None else self.interpolation(coarser, ghosts, HARMONIC),
        )  # fmt: skip

    def gathering(self, finer: _Grid) -> tuple[Any, Array]:
        """Return the matrix that adds up the finer level's cells, and one over how many there are."""
        places = finer.parent, np.arange(finer.n)
        count = np.bincount(finer.parent, minlength=self.n)
        gather = sparse.csr_matrix((np.ones(finer.n, np.float32), places), (self.n, finer.n))
        return gather, (count > 0) / np.maximum(count, 1)

    def interpolation(self, coarser: _Grid, cells: Array, taps: Array = BILINEAR) -> Any:
        """Return the interpolation at some cells; 0 where the coarser level has no cell."""
        y, x = np.divmod(cells, np.int32(self.shape[1]))
        used = np.transpose(np.nonzero(taps))
        columns = np.empty((len(cells), len(used)), np.int32)
        for t, (j, i) in enumerate(used.tolist()):  # whole numbers of NumPy's would widen the arrays
            down = np.clip(y // 2 + (j - 1) * (y % 2 * 2 - 1), 0, coarser.shape[0] - 1)
            along = np.clip(x // 2 + (i - 1) * (x % 2 * 2 - 1), 0, coarser.shape[1] - 1)
            columns[:, t] = coarser.number[down * np.int32(coarser.shape[1]) + along]
        weights = ((columns >= 0) & (columns < coarser.n)) * taps[tuple(used.T)]
        return _sparse(weights.astype(np.float32), columns, coarser.n)
