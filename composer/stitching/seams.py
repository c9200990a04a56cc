"""Seams: which layer owns each cell of the canvas.

Every cell starts with the layer that sees it nearest to its photo's centre. Then the border between
each two neighbouring layers is moved to the minimum cut through their overlap (Kwatra et al., 2003):
alpha-beta swaps, on a coarse grid first and in a band around the seam on finer ones (banded graph
cuts, Lombaert et al., ICCV 2005). Any shape of overlap will do, rings included.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.warp import place_in, place_on, shared_rect, values_of, window_of
from composer.backend.parallel import in_turn, together
from composer.records import Composition, Context, Rect, Tile

Array = NDArray[Any]

__all__ = [
    "DETAIL",
    "Differences",
    "find_seams",
    "nearest_centre",
    "neighbours",
    "with_claims",
]

NOISE = 0.03  # differences below this are noise, not structure
SHORT = 0.004  # what a cell's length of seam costs where the layers agree
LEVELS = 3
BAND = 4
CORE = 0.25
DETAIL = 2  # how much finer than the seams' grid layers are compared


def find_seams(
    composition: Composition,
    tiles: Sequence[Tile],
    between: Differences | None = None,
    context: Context | None = None,
    seams: Array | None = None,
) -> Array:
    """Assign every cell of a (reduced) canvas to a layer.

    Parameters
    ----------
    composition : Composition
        The reduced composition that the tiles were warped for.
    tiles : list of Tile
        The layers warped at that resolution, `weight` from edge to centre; a rectangle may run past
        the edge of a closed canvas.
    between : Differences or None
        How visible a seam would be, found before for the same layers, whichever of their cells are valid.
    context : Context or None
        Whose threads to use; None works alone, to the same end.
    seams : (H, W) int16 or None
        Found before, when more or less of the layers was valid: only what that changes is decided anew.

    Returns
    -------
    (H, W) int16 array; cells that no layer covers belong to the nearest layer.
    """
    labels, anew = nearest_centre(composition, tiles), set(range(len(tiles)))
    if seams is not None:
        labels, anew = _revised(composition, tiles, labels, seams)
    between, context = between or Differences(composition, tiles), context or Context()
    for level in range(LEVELS - 1, -1, -1):

        def move(pair: tuple[int, int], level: int = level) -> None:
            overlap = between.of(pair)
            if overlap is not None:
                one, other = (tiles[k].valid[place_in(tiles[k], overlap.window, composition)] for k in pair)
                _swap(labels, overlap, pair, one & other, level)

        pairs = [pair for pair in neighbours(labels, composition.closed) if anew.intersection(pair)]
        between.prepare(pairs, context)
        in_turn(context, move, _spread(pairs), lambda pair: pair)
    return _extend(labels)


def _revised(
    composition: Composition, tiles: Sequence[Tile], nearest: Array, seams: Array
) -> tuple[Array, set[int]]:
    """Return seams in which only layers that are valid own cells, and the layers that this concerns."""
    kept = np.zeros(seams.shape, bool)
    for k, tile in enumerate(tiles):
        place = place_on(composition, tile.rect)
        kept[place] |= tile.valid & (seams[place] == k)
    lost = ~kept & (nearest >= 0)
    return np.where(kept, seams, nearest), {
        *np.unique(seams[lost]).tolist(),
        *np.unique(nearest[lost]).tolist(),
    }


def _spread(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Order pairs so that those of one layer, which touch the same cells, lie apart but keep their order."""
    after: Counter[int] = Counter()  # how many pairs come before a layer's next one
    place = {}
    for pair in pairs:
        place[pair] = max(after[k] for k in pair)
        after.update({k: place[pair] + 1 - after[k] for k in pair})
    return sorted(pairs, key=place.__getitem__)


def with_claims(composition: Composition, tiles: Sequence[Tile], claims: Array) -> list[Tile]:
    """Return tiles that are not valid where another has a claim and is valid itself.

    Parameters
    ----------
    composition : Composition
        The reduced composition that the tiles were warped for.
    tiles : sequence of Tile
    claims : (H, W) int16
        Index of the layer that is to own each cell, -1 where the seams decide.
    """
    held = np.zeros(claims.shape, bool)
    places = [place_on(composition, t.rect) for t in tiles]
    for k, (tile, place) in enumerate(zip(tiles, places, strict=True)):
        held[place] |= tile.valid & (claims[place] == k)
    return [
        replace(tile, valid=tile.valid & (~held[place] | (claims[place] == k)))
        for k, (tile, place) in enumerate(zip(tiles, places, strict=True))
    ]


@dataclass(frozen=True)
class _Overlap:
    """Where two layers meet: window, canvas rows and columns; there, how visible a seam would be, and
    which photo's centre is nearer (-127 the second's to 127 the first's). One is kept for each two
    neighbours, so it is kept small."""

    window: Rect
    rows: slice
    columns: slice | Array
    difference: Array
    core: Array


class Differences:
    """How visible a seam between two layers would be, found once for each two.

    Parameters
    ----------
    composition, tiles
        As for `find_seams`.
    finer : callable or None
        Gives a layer DETAIL times as fine, on a rectangle DETAIL times as large. Photos that differ in
        thin lines or by little misplacement agree when reduced; here the seams see it. A layer is held
        only while pairs are looked at that it is in.
    """

    def __init__(
        self, composition: Composition, tiles: Sequence[Tile], finer: Callable[[int], Tile] | None = None
    ) -> None:
        self._composition, self._tiles, self._finer = composition, tiles, finer
        self._found: dict[tuple[int, int], _Overlap | None] = {}
        self._fine: dict[int, Tile] = {}
        self._uses: Counter[int] = Counter()
        self._locks = [threading.Lock() for _ in tiles]

    def prepare(self, pairs: Sequence[tuple[int, int]], context: Context) -> None:
        """Look at pairs that are new on the context's threads, from left to right."""
        new = [pair for pair in pairs if pair not in self._found]
        self._uses.update(k for pair in new for k in pair)
        order = sorted(new, key=lambda ij: (max(self._tiles[k].rect.x0 for k in ij), ij))
        self._found.update(zip(order, together(context, self._made, order), strict=True))

    def of(self, pair: tuple[int, int]) -> _Overlap | None:
        """Return how two layers differ where they meet, None where they do not."""
        if pair not in self._found:
            self.prepare([pair], Context())
        return self._found[pair]

    def _made(self, pair: tuple[int, int]) -> _Overlap | None:
        one, other = (self._tiles[k] for k in pair)
        window = shared_rect(one.rect, other.rect, self._composition)
        tiles = [self._tile(k) for k in pair]
        if window is None:
            return None
        near_a, near_b = (
            np.asarray(window_of(t, window, self._composition).weight, np.float32) for t in (one, other)
        )
        core = (near_a - near_b) / np.maximum(np.maximum(near_a, near_b), 1e-6)
        step = 1 if self._finer is None else DETAIL
        scaled = replace(self._composition, width=step * self._composition.width)
        a, b = (window_of(t, Rect(*(step * side for side in window)), scaled) for t in tiles)
        difference = _blocks(_difference(a, b), step, "mean").astype(np.float16)
        rows, columns = place_on(self._composition, window)
        return _Overlap(window, rows, columns, difference, np.rint(core * 127).astype(np.int8))

    def _tile(self, k: int) -> Tile:
        """Return a layer as it is compared, and let go of it at its last use."""
        if self._finer is None:
            return self._tiles[k]
        with self._locks[k]:
            tile = self._fine[k] if k in self._fine else self._finer(k)
            self._uses[k] -= 1
            if self._uses[k]:
                self._fine[k] = tile
            else:
                self._fine.pop(k, None)
        return tile


def nearest_centre(composition: Composition, tiles: Sequence[Tile]) -> Array:
    """Return for each cell the layer that sees it nearest to its photo's centre (H, W) int16, -1 for none."""
    labels = np.full((composition.height, composition.width), -1, np.int16)
    best = np.full(labels.shape, -1.0, np.float32)
    for k, tile in enumerate(tiles):
        place = place_on(composition, tile.rect)
        wins = tile.valid & (tile.weight > best[place])
        best[place] = np.where(wins, tile.weight, best[place])
        labels[place] = np.where(wins, np.int16(k), labels[place])
    return labels


def neighbours(labels: Array, closed: bool) -> list[tuple[int, int]]:
    """Return the pairs of layers whose cells touch."""
    beside = np.roll(labels, -1, 1) if closed else labels[:, 1:]
    left = labels if closed else labels[:, :-1]
    touching = [(left, beside), (labels[:-1], labels[1:])]
    found: set[tuple[int, int]] = set()
    for a, b in touching:
        differ = (a != b) & (a >= 0) & (b >= 0)
        pairs = np.unique(np.sort(np.stack([a[differ], b[differ]], 1), 1), axis=0)
        found.update((int(p), int(q)) for p, q in pairs)
    return sorted(found)


def _swap(labels: Array, overlap: _Overlap, pair: tuple[int, int], both: Array, level: int) -> None:
    """Move the border between two layers to the minimum cut, in place, on cells of 2^level; `both` are
    valid there. The first cut may run anywhere, later ones in a band around it."""
    i, j = pair
    owner = labels[overlap.rows, overlap.columns]
    free = both & ((owner == i) | (owner == j))
    if not free.any():
        return
    step = 1 << level
    chosen = _cut(
        _blocks(free, step, "all"),
        _blocks(overlap.difference, step, "mean"),
        _blocks(owner == i, step, "half"),
        _blocks(owner == j, step, "half"),
        _blocks(overlap.core * np.float32(1 / 127), step, "mean"),
        level < LEVELS - 1,
    )
    if chosen is None:
        return
    open_cells, takes_i = (_whole(c, step, owner.shape) for c in chosen)
    y, x = np.nonzero(open_cells & free)  # others may be changed by other threads
    first = overlap.rows.start
    columns = np.arange(labels.shape[1])[overlap.columns][x]
    labels[first + y, columns] = np.where(takes_i[y, x], np.int16(i), np.int16(j))


def _difference(a: Tile, b: Tile) -> Array:
    """Return how visible a seam would be at each cell: colour and edges that disagree, above noise."""
    gap = values_of(a) - values_of(b)
    channels = [gap[:, :, c] for c in range(gap.shape[2])]  # NumPy is slow over a short last axis
    colour = np.sqrt(sum(c * c for c in channels) / np.float32(len(channels)))
    grey = np.ascontiguousarray(sum(channels) / np.float32(len(channels)))
    edges = np.zeros_like(colour)
    for dx, dy in ((1, 0), (0, 1)):
        edges += np.abs(cv2.Sobel(grey, cv2.CV_32F, dx, dy, scale=0.25))
    d = colour + edges
    return d * d / (d + NOISE)


def _blocks(values: Array, step: int, how: str) -> Array:
    """Reduce step x step blocks: their mean, whether all hold, or whether at least half do."""
    if step == 1:
        return values
    height, width = (-(-n // step) * step for n in values.shape)
    beyond = 0, height - values.shape[0], 0, width - values.shape[1]
    padded = cv2.copyMakeBorder(values.astype(np.float32), *beyond, cv2.BORDER_REPLICATE)
    mean = cv2.resize(padded, (width // step, height // step), interpolation=cv2.INTER_AREA)
    return mean if how == "mean" else mean > 0.999 if how == "all" else mean >= 0.5


def _whole(blocks: Array, step: int, shape: tuple[int, ...]) -> Array:
    """Give every cell its block's value."""
    return blocks.repeat(step, 0).repeat(step, 1)[: shape[0], : shape[1]]


def _cut(
    free: Array, difference: Array, at_i: Array, at_j: Array, core: Array, banded: bool
) -> tuple[Array, Array] | None:
    """Return the cells that were open to change and which of them go to layer i; None without a cut."""
    fixed_i, fixed_j = at_i & ~free, at_j & ~free
    open_cells = free & (at_i | at_j)
    if banded:
        border = np.zeros_like(open_cells)
        border[:, 1:] |= at_i[:, 1:] != at_i[:, :-1]
        border[1:] |= at_i[1:] != at_i[:-1]
        size = 2 * BAND + 1
        near = cv2.dilate(border.astype(np.uint8), np.ones((size, size), np.uint8)) > 0
        held = open_cells & ~near
        open_cells &= near
        fixed_i, fixed_j = fixed_i | (held & at_i), fixed_j | (held & at_j)
    else:
        # what lies in the heart of one photo and near the edge of the other is settled
        fixed_i, fixed_j = (
            fixed_i | (open_cells & (core > 1 - CORE)),
            fixed_j | (open_cells & (core < CORE - 1)),
        )
        open_cells &= ~(fixed_i | fixed_j)
    if not open_cells.any() or not fixed_i.any() or not fixed_j.any():
        return None
    takes_i = _min_cut(open_cells, fixed_i, fixed_j, difference)
    return open_cells, takes_i


def _min_cut(open_cells: Array, fixed_i: Array, fixed_j: Array, difference: Array) -> Array:
    """Cut a 4-connected grid between two sets of fixed cells; returns the cells on i's side.

    OpenCV's max-flow (Boykov and Kolmogorov, PAMI 2004) cuts between two images where both are valid:
    it is given the difference as one image and nothing as the other, and counts 1 a cell besides.
    """
    rows, columns = (np.flatnonzero(open_cells.any(axis)) for axis in (1, 0))
    around = (
        slice(max(rows[0] - 1, 0), rows[-1] + 2),
        slice(max(columns[0] - 1, 0), columns[-1] + 2),
    )  # what lies further off has no say
    one = np.zeros((*difference[around].shape, 3), np.float32)
    one[:, :, 0] = difference[around] / SHORT
    side_i = ((open_cells | fixed_i)[around] * 255).astype(np.uint8)
    side_j = ((open_cells | fixed_j)[around] * 255).astype(np.uint8)
    finder = cv2.detail.GraphCutSeamFinder("COST_COLOR")
    found = finder.find([one, np.zeros_like(one)], [(0, 0), (0, 0)], [side_i, side_j])
    mine = found[0].get() if isinstance(found[0], cv2.UMat) else found[0]
    takes_i = np.zeros_like(open_cells)
    takes_i[around] = np.asarray(mine) > 0
    return open_cells & takes_i


def _extend(labels: Array) -> Array:
    """Give cells that no layer covers to the nearest layer, so that full resolution may decide."""
    empty = labels < 0
    if not empty.any() or empty.all():
        return np.maximum(labels, 0)
    _, index = cv2.distanceTransformWithLabels(
        empty.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = np.zeros(int(index.max()) + 1, np.int16)
    owner[index[~empty]] = labels[~empty]
    return owner[index]
