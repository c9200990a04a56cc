"""Blend a stack by pyramids, tile by tile: fine bands locally, those beyond once for the whole frame.

The tiles' fine bands add up in one float32 canvas; the photos themselves are seen a tile at a time, and
whole only eight times smaller. The frame is those tiles, so nothing depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend.parallel import over
from composer.fusion.bands import Planes, Rule, raised
from composer.fusion.stack import Stack, as_stored, blocks, part
from composer.media.picture import as_float
from composer.records import Context, Locality, Rect

Array = NDArray[Any]
Clean = Callable[[int, Rect, Planes, Planes], Planes]

__all__ = ["LEVELS", "Clean", "blend_tiles", "locality"]

LEVELS = 3
TILE = 384
MANY, SMALL_TILE = 8, 256  # photos in memory at once, a tile of each


def locality(rule: Rule) -> Locality:
    """Return what tiles need so that they equal the whole frame."""
    return Locality(halo=rule.reach << LEVELS, align=1 << LEVELS)


def blend_tiles(stack: Stack, rule: Rule, context: Context, clean: Clean | None = None) -> Array:
    """Blend a stack.

    Parameters
    ----------
    stack : Stack
    rule : Rule
    context : Context
    clean : callable or None
        Called with k, a rectangle, and what photo k and the reference show there: returns what to take for
        photo k.

    Returns
    -------
    (H, W, C) of the reference's type.
    """
    height, width, channels = stack.shape
    halo = locality(rule).halo
    fine = np.empty((channels, height, width), np.float32)
    small = channels + rule.extra, -(-height >> LEVELS), -(-width >> LEVELS)
    rest = [np.empty(small, np.float32) for _ in stack.photos]

    def work(rect: Rect) -> None:
        around = _around(rect, halo, stack.shape)
        parts = [_planes(stack, k, around, context) for k in range(len(stack.photos))]
        if clean is not None:
            frame = parts[stack.reference][0]
            parts = [(clean(k, around, planes, frame), share) for k, (planes, share) in enumerate(parts)]
        images = [p[0] for p in parts]
        for k, photo in enumerate(stack.photos):
            if photo.alpha or photo.dtype == "float32":
                images[k] = _filled(k, parts)
        found = rule.split(images, [p[1] for p in parts], LEVELS)
        cells, cells_around = _reduced(rect), _reduced(around)
        for plane, band in zip(fine, found.bands, strict=True):
            plane[_at(rect)] = band[_within(rect, around)]
        for k, planes in enumerate(found.rest):
            for whole, plane in zip(rest[k], planes, strict=True):
                whole[_at(cells)] = plane[_within(cells, cells_around)]

    tile = TILE if len(stack.photos) <= MANY else SMALL_TILE
    over(context, "blend", work, blocks(stack.shape, tile, tile))
    return _finished(stack, fine, rule.join([list(planes) for planes in rest], channels), context)


def _finished(stack: Stack, fine: Array, coarse: Planes, context: Context) -> Array:
    """Return fine bands plus the field of the coarse ones, as the reference stores values."""
    result = np.empty(stack.shape, stack.frame.dtype)

    def finish(rect: Rect) -> None:
        around = _around(rect, 4 << LEVELS, stack.shape)
        fields = [plane[_at(_reduced(around))] for plane in coarse]
        fields = raised(fields, (around.height, around.width), LEVELS)
        for field, band in zip(fields, fine, strict=True):
            field[_within(rect, around)] += band[_at(rect)]
        wholes = [as_stored(field[_within(rect, around)], stack.frame.dtype) for field in fields]
        result[_at(rect)] = np.atleast_3d(cv2.merge(wholes))

    over(context, "finish", finish, blocks(stack.shape, TILE, TILE))
    return result


def _planes(stack: Stack, k: int, rect: Rect, context: Context) -> tuple[Planes, Array | None]:
    """Return a photo's part as planes of float32 0..1, and how much it may count."""
    pixels, valid = part(stack, k, rect, context)
    share = None if valid is None else valid.astype(np.float32)
    return [as_float(plane) for plane in cv2.split(pixels)], share


def _filled(k: int, parts: list[tuple[Planes, Array | None]]) -> Planes:
    """Return a photo with its holes filled from the others: pyramids would see their edges."""
    planes, holes = parts[k]
    for other, shown in parts:
        if holes is None or holes.all():
            break
        known = np.ones_like(holes) if shown is None else shown
        planes = [np.where((holes == 0) & (known > 0), b, a) for a, b in zip(planes, other, strict=True)]
        holes = np.maximum(holes, known)
    return planes


def _around(rect: Rect, halo: int, shape: tuple[int, ...]) -> Rect:
    """Return a tile with what it needs around it, within the frame."""
    (height, width), grown = shape[:2], rect.grown(halo)
    return Rect(max(grown.x0, 0), max(grown.y0, 0), min(grown.x1, width), min(grown.y1, height))


def _reduced(rect: Rect) -> Rect:
    """Return a tile in pixels of the reduced frame."""
    return Rect(rect.x0 >> LEVELS, rect.y0 >> LEVELS, -(-rect.x1 >> LEVELS), -(-rect.y1 >> LEVELS))


def _at(rect: Rect) -> tuple[slice, slice]:
    return slice(rect.y0, rect.y1), slice(rect.x0, rect.x1)


def _within(rect: Rect, origin: Rect) -> tuple[slice, slice]:
    return _at(Rect(rect.x0 - origin.x0, rect.y0 - origin.y0, rect.x1 - origin.x0, rect.y1 - origin.y0))
