"""Fill holes, each by its operator, on rectangles around them: cost follows the holes, not the photo."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend.parallel import together
from composer.errors import Cancelled
from composer.media.picture import as_float, as_stored
from composer.mending.holes import Hole, clipped, find_holes, grown
from composer.records import Context, Event, Rect

Array = NDArray[Any]

__all__ = [
    "CUT_PX",
    "Fill",
    "Place",
    "Region",
    "fill_holes",
    "group_regions",
    "local_regions",
    "reachable",
    "single_regions",
]

TILE = 512
CUT_PX = 24  # holes up to this width may be cut at tiles
HALO = 64  # beyond which the rest of a thin hole is not felt: 2.7 widths, exp(-2.7 pi) of a difference
MARGIN = 96, 320  # pixels around a large hole where patches are looked for, at least and at most


@dataclass(frozen=True)
class Region:
    """A rectangle whose holes are filled at once: where results are kept, what is looked at, which holes.

    `which` (holes + 1,) bool says so by label.
    """

    core: Rect
    around: Rect
    which: Array


@dataclass(frozen=True)
class Place:
    """Where in the picture an operator works, and whom it tells which share of its work is done."""

    rect: Rect
    tell: Callable[[float], None]


Fill = Callable[[Array, Array, Array, Place], Array]


class _Progress:
    """Adds up what regions tell, from any thread, and heeds cancel."""

    def __init__(self, context: Context, count: int) -> None:
        self._context = context
        self._shares = [0.0] * count
        self._told = 0.0
        self._lock = Lock()

    def __call__(self, number: int, share: float) -> None:
        """Take note that a share of a region is done.

        Raises
        ------
        Cancelled
        """
        if self._context.cancelled():
            raise Cancelled("stopped on request; nothing was written")
        with self._lock:
            self._shares[number] = share
            done = sum(self._shares) / len(self._shares)
            if done > self._told:
                self._told = done
                self._context.observe(Event("fill", done))


def reachable(labels: Array, count: int, valid: Array) -> Array:
    """Return which of the holes 1..count touch a valid pixel, (count + 1,) bool."""
    beside = cv2.dilate((valid & (labels == 0)).astype(np.uint8), np.ones((3, 3), np.uint8))
    found = np.zeros(count + 1, bool)
    found[labels[beside > 0]] = True
    return found


def fill_holes(
    pixels: Array,
    labels: Array,
    valid: Array,
    regions: Mapping[str, Sequence[Region]],
    fills: Mapping[str, Fill],
    context: Context,
) -> Array:
    """Fill the holes of a picture, operator by operator; later ones look at what earlier ones filled.

    Parameters
    ----------
    pixels : (H, W, C) uint8, uint16 or float32
    labels : (H, W) int32
        The number of the hole that a pixel is in, 0 outside.
    valid : (H, W) bool
        What may be looked at; holes are never, before they are filled.
    regions : mapping
        Operators, in their order, and where each works.
    fills : mapping
        What each operator does to an image (h, w, C) float32, its hole and valid pixels (h, w) bool, and
        the place that these are of the picture.
    context : Context

    Returns
    -------
    (H, W, C) of the same type, bit-equal outside the holes.
    """
    result, usable = pixels.copy(), valid & (labels == 0)
    progress, begun = _Progress(context, sum(map(len, regions.values()))), 0
    for name, places in regions.items():

        def work(k: int, name: str = name, begun: int = begun) -> Array:
            tell = partial(progress, begun + k)
            values = _filled(result, labels, usable, regions[name][k], fills[name], tell)
            tell(1.0)
            return values

        found = together(context, work, range(len(places)))  # all of them, before any is written
        begun += len(places)
        for region, values in zip(places, found, strict=True):
            core = _slices(region.core)
            inside = region.which[labels[core]]
            result[core][inside] = values
            usable[core][inside] = True
    return result


def _filled(
    pixels: Array, labels: Array, usable: Array, region: Region, fill: Fill, tell: Callable[[float], None]
) -> Array:
    """Return the new values (n, C) of the region's hole pixels inside its core."""
    x0, y0, _, _ = region.around
    around = _slices(region.around)
    hole = region.which[labels[around]]
    filled = fill(as_float(pixels[around]), hole, usable[around] & ~hole, Place(region.around, tell))
    core = _slices(Rect(*(v - o for v, o in zip(region.core, (x0, y0, x0, y0), strict=True))))
    return as_stored(filled[core][hole[core]], pixels.dtype)


def _slices(rect: Rect) -> tuple[slice, slice]:
    return slice(rect.y0, rect.y1), slice(rect.x0, rect.x1)


def local_regions(labels: Array, holes: Sequence[Hole], which: Array) -> list[Region]:
    """Return where a diffusion works: tiles on absolute places for thin holes, the others one by one.

    Tiles bound memory where a thin hole crosses the whole photo, and take many small holes at once.
    """
    size = labels.shape[1], labels.shape[0]
    thin = which & np.array([False, *(h.widest_px <= CUT_PX for h in holes)])
    regions = []
    for y in range(0, size[1], TILE):
        for x in range(0, size[0], TILE):
            inside = thin[labels[y : y + TILE, x : x + TILE]]
            if not inside.any():
                continue
            core = Rect(*(v + o for v, o in zip(_bounds(inside), (x, y, x, y), strict=True)))
            regions.append(Region(core, clipped(core.grown(HALO), *size), thin))
    return regions + single_regions(labels, holes, which & ~thin)


def single_regions(labels: Array, holes: Sequence[Hole], which: Array) -> list[Region]:
    """Return a region for each hole."""
    height, width = labels.shape
    regions = []
    for k in np.flatnonzero(which):
        rect = holes[int(k) - 1].rect
        regions.append(Region(rect, clipped(rect.grown(HALO), width, height), np.arange(len(which)) == k))
    return regions


def group_regions(
    labels: Array, holes: Sequence[Hole], which: Array, apart: int, source: Array | None
) -> list[Region]:
    """Return where patches are copied: holes nearer than `apart` together, and what they may copy from.

    That is as much around them as they measure themselves, within limits, and the `source` (H, W), if any.
    """
    height, width = labels.shape
    chosen = which[labels]
    groups, found = find_holes(grown(chosen, (apart + 1) // 2))
    group_of = np.zeros(len(which), np.int64)
    group_of[labels[chosen]] = groups[chosen]
    given = [] if source is None else [_bounds(source)]
    regions = []
    for k in range(1, len(found) + 1):
        mine = group_of == k
        core = _around([h.rect for h, m in zip(holes, mine[1:], strict=True) if m])
        margin = int(np.clip(max(core.width, core.height), *MARGIN))
        around = _around([clipped(core.grown(margin), width, height), *given])
        regions.append(Region(core, around, mine))
    return regions


def _bounds(mask: Array) -> Rect:
    """Return the rectangle around what a mask marks."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return Rect(x, y, x + width, y + height)


def _around(rects: Sequence[Rect]) -> Rect:
    """Return the rectangle around rectangles."""
    edges = np.array(rects)
    return Rect(*(int(v) for v in (*edges[:, :2].min(0), *edges[:, 2:].max(0))))
