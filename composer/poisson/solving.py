"""From a guidance field to pixels: a particular solution on the rectangle, and the membrane it lacks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend import label
from composer.media.masks import TOP
from composer.poisson.fields import Field, divergence, particular
from composer.poisson.membrane import Membrane, Surface

Array = NDArray[Any]

__all__ = ["Problem", "Solved", "solve"]

STRIP = 64  # rows that are put together at once
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


@dataclass(frozen=True)
class Problem:
    """What is to be solved.

    Attributes
    ----------
    base : (H, W, C)
        The picture whose differences between neighbours the result has, in the target's units.
    target : (H, W, C) uint8, uint16 or float32
    inside : (H, W) bool
        Pixels to solve for.
    known : (H, W) bool
        Others that bind them; what is neither is beyond the edge.
    field : Field or None
        What the guidance field has beyond the base's differences.
    """

    base: Array
    target: Array
    inside: Array
    known: Array
    field: Field | None = None


@dataclass(frozen=True)
class Solved:
    """A rectangle, its masked pixels solved.

    Attributes
    ----------
    pixels : (H, W, C) of the target's type
        Outside the mask the target's, bit for bit.
    residual : float
        How far, at most, pixels are estimated to lie from the solution, in the target's units.
    """

    pixels: Array = field(repr=False)
    residual: float


def solve(problem: Problem, tolerance: float, workers: int = 1) -> Solved:
    """Solve a Poisson equation in a mask, to a tolerance in the target's units.

    Raises
    ------
    SolverError
    """
    loose, pins = _unbound(problem.inside, problem.known)
    unknown, known = problem.inside & ~pins, problem.known | pins
    waves = None if problem.field is None else _waves(problem, workers)
    surface = None
    if unknown.any():
        membrane = Membrane(unknown, known, workers)
        width = unknown.shape[1]
        around = _at(problem.target, membrane.ring, width) - _at(problem.base, membrane.ring, width)
        if waves is not None:
            around -= _at(waves, membrane.ring, width)
        around[pins.ravel()[membrane.ring]] = 0
        right = None if waves is None else _edge_terms(problem, waves, membrane.cells)
        surface = membrane.solve(around, tolerance, right)
    values = _values(problem.base, waves, surface)
    shifts = None if loose is None else _shifts(problem, values, loose)
    pixels = problem.target.copy()
    top = TOP[pixels.dtype.name]

    def put(start: int) -> None:
        rows = slice(start, min(start + STRIP, len(pixels)))
        within = problem.inside[rows]
        if not within.any():
            return
        found = values(rows.start, rows.stop)
        if shifts is not None and loose is not None:
            found += shifts[loose[rows]]
        if pixels.dtype != np.float32:
            found = np.clip(np.rint(found, out=found), 0, top, out=found).astype(pixels.dtype)
        cv2.copyTo(found, within.view(np.uint8), pixels[rows])

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(put, range(0, len(pixels), STRIP)))
    return Solved(pixels, 0.0 if surface is None else surface.residual)


def _at(picture: Array, places: Array, width: int) -> Array:
    """Return values at flat positions of a picture so wide, (n, C) float32."""
    y, x = np.divmod(places, np.int32(width))
    return picture[y, x].astype(np.float32)


def _unbound(inside: Array, known: Array) -> tuple[Array | None, Array]:
    """Find the mask's parts that touch no known pixel.

    Returns
    -------
    Their labels, 0 elsewhere (None if there are none), and (H, W) bool, one pixel of each.
    """
    pins = np.zeros_like(inside)
    if (inside | known).all() and not inside.all():
        return None, pins
    labels, count = label(inside)
    bound = cv2.dilate(known.view(np.uint8), CROSS) > 0
    loose = np.ones(count + 1, bool)
    loose[np.unique(labels[bound])] = False
    loose[0] = False
    if not loose.any():
        return None, pins
    labels *= loose[labels]
    found, first = np.unique(labels, return_index=True)
    pins.ravel()[first[found > 0]] = True
    return labels, pins


def _waves(problem: Problem, workers: int) -> Array:
    """Return a function with the excess's divergence, (H + 1, W + 1, C), that is 0 left and above."""
    height, width, channels = problem.target.shape
    assert problem.field is not None
    excess, part = problem.field, problem.inside | problem.known
    waves = np.empty((height + 1, width + 1, channels), np.float32)

    def channel(c: int) -> None:
        right = np.zeros((height + 1, width + 1), np.float32)
        for start in range(0, height, STRIP):
            stop, above = min(start + STRIP, height), max(start - 1, 0)
            rows = slice(above, min(stop + 1, height))
            base, target = (p[rows, :, c].astype(np.float32) for p in (problem.base, problem.target))
            plane = excess.plane if excess.plane.ndim == 2 else excess.plane[:, :, c]
            field = replace(excess, plane=plane[rows])
            found = divergence(base, target, part[rows], field)[start - above : stop - above]
            right[start:stop, :-1] = found * problem.inside[start:stop]
        waves[:, :, c] = particular(right)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(channel, range(channels)))
    return waves


def _edge_terms(problem: Problem, waves: Array, cells: Array) -> Array:
    """Return the differences of `waves` to neighbours that have no part in the picture."""
    width = problem.inside.shape[1]
    part = np.pad(problem.inside | problem.known, 1)
    y, x = np.divmod(cells, np.int32(width))
    right = np.zeros((len(cells), waves.shape[2]), np.float32)
    for down, along in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        none = np.flatnonzero(~part[y + down + 1, x + along + 1])
        j, i = y[none] + down, x[none] + along
        outside = waves[np.maximum(j, 0), np.maximum(i, 0)] * ((j >= 0) & (i >= 0))[:, None]
        right[none] += waves[y[none], x[none]] - outside
    return right


def _values(base: Array, waves: Array | None, surface: Surface | None) -> Callable[[int, int], Array]:
    """Return the function that gives rows of the solution, (rows, W, C) float32."""
    half = None if surface is None else surface.half()

    def rows(start: int, stop: int) -> Array:
        found = base[start:stop].astype(np.float32) if surface is None else surface.rows(start, stop, half)
        if surface is not None:
            found += base[start:stop]
        if waves is not None:
            found += waves[start:stop, :-1]
        return found

    return rows


def _shifts(problem: Problem, values: Callable[[int, int], Array], loose: Array) -> Array:
    """Return what each loose part lacks to have the target's mean, (labels, C)."""
    count = int(loose.max()) + 1
    sums = np.zeros((count, problem.target.shape[2]))
    for start in range(0, len(loose), STRIP):
        rows = slice(start, start + STRIP)
        lack = problem.target[rows] - values(start, min(start + STRIP, len(loose)))
        flat = loose[rows].ravel()
        for c in range(sums.shape[1]):
            sums[:, c] += np.bincount(flat, lack[:, :, c].ravel(), count)
    sizes = np.maximum(np.bincount(loose.ravel(), minlength=count), 1)
    shifts = np.nan_to_num(sums / sizes[:, None])
    shifts[0] = 0
    return shifts.astype(np.float32)
