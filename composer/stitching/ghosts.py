"""Moving things: places where photos of one overlap show something else, each shown whole or left out.

Photos that are only a little out of place still agree: a pixel of one must lie outside the range of the
other's values nearby to count (cf. interval tests in stereo: Birchfield and Tomasi, PAMI 1998). What
disagrees is grouped into regions, and each is given whole to one photo (Uyttendaele, Eden, Szeliski, CVPR
2001). Where three photos or more cover a place the majority shows the background; where only two do, the
photo shows the thing in which the region's outline is an edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.warp import meeting, place_in, place_on, shared_rect, values_of, window_of
from composer.backend.parallel import together
from composer.records import Composition, Context, Rect, Tile

Array = NDArray[Any]

__all__ = ["Region", "moving_regions", "whole_regions", "without_moving"]

STRONG = 0.12  # how far beyond the other photo's range a value lies that shows another thing
WEAK = 0.05  # the same for what belongs to the thing, with half the tolerance in place
SEED = 0.2  # of such cells, that have to be strong
SMALLEST = 24  # cells of a region
LARGEST = 0.15  # of the overlap: more is not a thing but light, or photos that do not fit
REACH = 2  # cells that photos may be out of place, 0.6 % of their width
CLEARER = 1.3  # an outline so much stronger tells which of two photos shows the thing
CUT = 0.1  # of a region's cells, that others than its main owner have where the seams cut it


@dataclass(frozen=True)
class Region:
    """A place where layers i and j disagree: `mask` (h, w) bool on `window`, in i's unrolled columns;
    `outlines` say how strong an edge its outline is in i and in j."""

    i: int
    j: int
    window: Rect
    mask: Array
    outlines: tuple[float, float]


def moving_regions(
    small: Composition,
    tiles: Sequence[Tile],
    pairs: Sequence[tuple[int, int]] | None = None,
    context: Context | None = None,
) -> list[Region]:
    """Find where overlapping layers show different things.

    Parameters
    ----------
    small : Composition
        The reduced composition that the tiles were warped for.
    tiles : sequence of Tile
        Its layers, their exposure corrected.
    pairs : sequence of (i, j) or None
        The layers to compare; None compares all that overlap.
    context : Context or None
        Whose threads to use; None works alone.
    """

    def between(pair: tuple[int, int]) -> list[Region]:
        window = shared_rect(tiles[pair[0]].rect, tiles[pair[1]].rect, small)
        if window is None:
            return []
        a, b = (window_of(tiles[k], window, small) for k in pair)
        found = []
        for mask, (x, y, width, height) in _regions(a, b):
            part = Rect(window.x0 + x, window.y0 + y, window.x0 + x + width, window.y0 + y + height)
            cut = slice(y, y + height), slice(x, x + width)
            outlines = _outline(values_of(a)[cut], mask), _outline(values_of(b)[cut], mask)
            found.append(Region(*pair, part, mask, outlines))
        return found

    compared = meeting(small, tiles) if pairs is None else pairs
    return [region for found in together(context or Context(), between, compared) for region in found]


def without_moving(small: Composition, tiles: Sequence[Tile], regions: Sequence[Region]) -> list[Tile]:
    """Return layers that are not valid where they alone show a moving thing.

    A layer loses a place where it disagrees with most of the others there. Where only two cover it, the
    one loses whose outline is clearly the stronger; where neither is, the seams decide. What reaches into
    a place that no other layer covers stays.
    """
    others = [np.zeros(t.valid.shape, np.int16) for t in tiles]
    against = [np.zeros(t.valid.shape, np.int16) for t in tiles]
    for i, j in meeting(small, tiles):
        window = shared_rect(tiles[i].rect, tiles[j].rect, small)
        if window is not None:
            both = window_of(tiles[i], window, small).valid & window_of(tiles[j], window, small).valid
            for k in (i, j):
                others[k][place_in(tiles[k], window, small)] += both
    for region in regions:
        for k in (region.i, region.j):
            against[k][place_in(tiles[k], region.window, small)] += region.mask
    lost = [(o >= 2) & (2 * a > o) for o, a in zip(others, against, strict=True)]
    for region in regions:
        first, second = region.outlines
        if max(first, second) < CLEARER * min(first, second):
            continue
        loser = region.i if first > second else region.j
        there = place_in(tiles[loser], region.window, small)
        lost[loser][there] |= region.mask & (others[loser][there] == 1)
    lost = [_whole(gone, a > 0) & (o > 0) for gone, a, o in zip(lost, against, others, strict=True)]
    left = np.zeros((small.height, small.width), bool)
    places = [place_on(small, t.rect) for t in tiles]
    for k, tile in enumerate(tiles):
        lost[k] = _replaceable(lost[k], tile.valid & (others[k] == 0))
        left[places[k]] |= tile.valid & ~lost[k]
    return [
        replace(t, valid=t.valid & ~(gone & left[place]))
        for t, gone, place in zip(tiles, lost, places, strict=True)
    ]


def _whole(lost: Array, differs: Array) -> Array:
    """Return what is lost, and all of the places where a layer differs that are mostly lost."""
    count, labels = cv2.connectedComponents(differs.astype(np.uint8), connectivity=8)
    sizes, gone = (np.bincount(labels[m], minlength=count) for m in (differs, differs & lost))
    mostly = 2 * gone > sizes
    mostly[0] = False
    return np.asarray(lost | mostly[labels])


def whole_regions(
    small: Composition, tiles: Sequence[Tile], regions: Sequence[Region], seams: Array
) -> Array:
    """Return (H, W) int16: the layer that is to own regions which the seams cut, -1 elsewhere.

    Of the two layers it is the one in which the region's outline is the stronger edge: it shows the
    thing. One at whose edge the region ends does not show it whole; where both are so, the seams decide.
    """
    claims = np.full(seams.shape, -1, np.int16)
    size = 2 * (REACH + 1) + 1
    inner = [cv2.erode(t.valid.astype(np.uint8), np.ones((size, size), np.uint8)) > 0 for t in tiles]
    for region in sorted(regions, key=lambda r: max(r.outlines)):  # the clearest has the last word
        rows, columns = place_on(small, region.window)
        owner, size = seams[rows, columns], int(region.mask.sum())
        if max(int((region.mask & (owner == k)).sum()) for k in np.unique(owner)) > (1 - CUT) * size:
            continue
        able = [
            (outline, -k)
            for k, outline in zip((region.i, region.j), region.outlines, strict=True)
            if inner[k][place_in(tiles[k], region.window, small)][region.mask].all()
        ]
        if able:
            claims[rows, columns] = np.where(region.mask, np.int16(-max(able)[1]), claims[rows, columns])
    return claims


def _regions(a: Tile, b: Tile) -> list[tuple[Array, tuple[int, int, int, int]]]:
    """Return regions of an overlap where two layers disagree: mask and (x, y, width, height)."""
    both = (a.valid & b.valid).astype(np.uint8)
    strong = _differ(a, b, REACH, STRONG)
    if not strong.any():
        return []
    seeds = cv2.dilate(strong, np.ones((5, 5), np.uint8))
    weak = cv2.dilate(_differ(a, b, REACH // 2, WEAK), np.ones((3, 3), np.uint8))
    _, labels = cv2.connectedComponents(weak, connectivity=4)
    sizes = np.bincount(labels.ravel())
    share = np.bincount(labels[(strong > 0) & (weak > 0)], minlength=len(sizes)) / sizes
    share[0] = 0
    joined = seeds | cv2.dilate((share >= SEED)[labels].astype(np.uint8), np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for outline in sorted(outlines, key=lambda o: tuple(cv2.boundingRect(o))):
        x, y, width, height = cv2.boundingRect(outline)
        mask = np.zeros((height, width), np.uint8)
        cv2.drawContours(mask, [outline], -1, 1, cv2.FILLED, offset=(-x, -y))
        mask &= both[y : y + height, x : x + width]
        if SMALLEST <= mask.sum() <= LARGEST * both.sum():
            found.append((mask > 0, (x, y, width, height)))
    return found


def _differ(a: Tile, b: Tile, reach: int, least: float) -> Array:
    """Return (h, w) uint8: where either layer lies beyond the other's values within `reach` cells."""
    around = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    both = (a.valid & b.valid).astype(np.uint8)
    inner = cv2.erode(both, around, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    seen_a, seen_b = values_of(a), values_of(b)
    beyond = np.maximum(_beyond(seen_a, seen_b, around), _beyond(seen_b, seen_a, around))
    differ = ((beyond > least) & (inner > 0)).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(differ, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))


def _beyond(image: Array, other: Array, around: Array) -> Array:
    """Return how far values lie outside the range of the other image's values around them."""
    image, other = np.ascontiguousarray(image), np.ascontiguousarray(other)
    low, high = (f(other, around).reshape(other.shape) for f in (cv2.erode, cv2.dilate))
    beyond = np.maximum(low - image, image - high)
    return np.maximum.reduce([beyond[:, :, c] for c in range(beyond.shape[2])])  # faster than .max(2)


def _outline(image: Array, mask: Array) -> float:
    """Return the mean strength of edges along a region's outline."""
    grey = np.ascontiguousarray(image.mean(2))
    slope = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    inside = cv2.erode(mask.astype(np.uint8), np.ones((9, 9), np.uint8), borderValue=0)
    ring = mask & (inside == 0)
    return float(slope[ring].mean()) if ring.any() else 0.0


def _replaceable(lost: Array, alone: Array) -> Array:
    """Return what a layer loses less the things that reach into where it is alone: they would be cut."""
    size = 2 * (REACH + 2) + 1
    near = cv2.dilate(alone.astype(np.uint8), np.ones((size, size), np.uint8)) > 0
    things = cv2.dilate(lost.astype(np.uint8), np.ones((7, 7), np.uint8))  # limbs belong to bodies
    _, labels = cv2.connectedComponents(things, connectivity=8)
    return np.asarray(lost & ~np.isin(labels, np.unique(labels[lost & near])))
