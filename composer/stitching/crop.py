"""Crop a canvas to the largest rectangle that photographs fill."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.projection import photo_map, placed, reduced
from composer.align.warp import place_on
from composer.records import Composition, Rect

Array = NDArray[Any]

__all__ = ["coverage", "has_holes", "largest_full_rectangle", "largest_rectangle"]

CELLS = 400_000
CELL_REACH = 0.75  # cells from a cell's centre to its corner, and a little


def coverage(composition: Composition, margin: float = 0.0) -> Array:
    """Return (H, W) bool: which canvas pixels any photo covers, `margin` canvas pixels from its edges."""
    covered = np.zeros((composition.height, composition.width), bool)
    for layer in composition.layers:
        u, v, inside = photo_map(np, composition, layer, layer.rect)
        if margin:
            width, height = layer.photo.width, layer.photo.height
            edge = margin * layer.camera.focal_px / composition.scale - 0.5
            inside &= (np.minimum(u, width - 1 - u) >= edge) & (np.minimum(v, height - 1 - v) >= edge)
        covered[place_on(composition, layer.rect)] |= inside
    return covered


def has_holes(composition: Composition) -> bool:
    """Tell whether some of the canvas lies outside every photo, or a photo has alpha or excluded parts.

    Looks at cells first, and at every pixel of those that no photo covers with room to spare.
    """
    if any(la.photo.alpha or la.photo.exclude for la in composition.layers):
        return True
    step = _step(composition)
    small = reduced(composition, step)
    if not coverage(small).all():
        return True
    unsure = ~coverage(small, CELL_REACH)
    return step > 1 and not all(_covered(composition, rect) for rect in _runs(unsure, step, composition))


def _runs(cells: Array, step: int, composition: Composition) -> Iterator[Rect]:
    """Yield the canvas rectangles of cells that are True and follow each other in a row."""
    for y in np.flatnonzero(cells.any(1)).tolist():
        edges = np.flatnonzero(np.diff(cells[y].astype(np.int8), prepend=0, append=0))
        for start, stop in edges.reshape(-1, 2).tolist():
            right, bottom = min(stop * step, composition.width), min((y + 1) * step, composition.height)
            yield Rect(start * step, y * step, right, bottom)


def _covered(composition: Composition, rect: Rect) -> bool:
    """Tell whether photos together cover every pixel of a rectangle."""
    covered = np.zeros((rect.height, rect.width), bool)
    for layer in composition.layers:
        if layer.rect.y0 < rect.y1 and rect.y0 < layer.rect.y1 and not covered.all():
            covered |= photo_map(np, composition, layer, rect)[2]
    return bool(covered.all())


def _step(composition: Composition) -> int:
    """Return how many pixels a cell may have for the canvas to be small."""
    return max(1, math.ceil(math.sqrt(composition.width * composition.height / CELLS)))


def largest_full_rectangle(covered: Array) -> tuple[int, int, int, int]:
    """Return (x0, y0, x1, y1) of the largest rectangle of True, by the stack of the histogram method."""
    best, area = (0, 0, 0, 0), 0
    heights = np.zeros(covered.shape[1] + 1, int)
    for y, row in enumerate(covered):
        heights[:-1] = np.where(row, heights[:-1] + 1, 0)
        stack: list[tuple[int, int]] = []
        for x, height in enumerate(heights.tolist()):
            start = x
            while stack and stack[-1][1] >= height:
                start, tall = stack.pop()
                if tall * (x - start) > area:
                    area, best = tall * (x - start), (start, y + 1 - tall, x, y + 1)
            stack.append((start, height))
    return best


def largest_rectangle(composition: Composition) -> Composition:
    """Crop a composition; a closed circle keeps its whole width and loses ragged rows only."""
    step = _step(composition)
    covered = coverage(reduced(composition, step))
    if composition.closed:
        full = np.flatnonzero(covered.all(1))
        x0, x1 = 0, composition.width
        y0, y1 = (int(full[0]), int(full[-1]) + 1) if len(full) else (0, covered.shape[0])
    else:
        x0, y0, x1, y1 = largest_full_rectangle(covered)
        if x1 <= x0:
            return composition
        x0, x1 = _inside(x0, x1, covered.shape[1], step, composition.width)
    y0, y1 = _inside(y0, y1, covered.shape[0], step, composition.height)
    origin = (composition.origin[0] + x0, composition.origin[1] + y0)
    return placed(replace(composition, width=x1 - x0, height=y1 - y0, origin=origin))


def _inside(low: int, high: int, cells: int, step: int, size: int) -> tuple[int, int]:
    """Turn cells into pixels, a cell inward on ragged sides: a cell's centre speaks for all of it."""
    start = low * step + (step if low > 0 and step > 1 else 0)
    stop = min(size, high * step) - (step if high < cells and step > 1 else 0)
    return start, max(stop, start + 1)
