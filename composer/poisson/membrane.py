"""Membranes: functions that are harmonic inside a mask and given around it.

Multigrid over grids that are fine only along the boundary (the full approximation scheme on composite
grids: A. Brandt, 1977), with nested iteration and W-cycles. Coarse weights near the boundary are what
crosses the cells' sides, so masks of any shape, islands, holes and single pixels are nothing special.
Cost and memory follow the boundary's length.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from composer.errors import SolverError
from composer.poisson.levels import HARMONIC, Level, build_levels

Array = NDArray[Any]

__all__ = ["Membrane", "Surface"]

ALONE = 50_000  # cells from which on each channel is solved by itself
MOST_CYCLES = 40
FIRST_RATE = 0.25  # assumed until two cycles have shown how fast they converge


@dataclass(frozen=True)
class Surface:
    """A membrane that was solved: values of each level's cells.

    Attributes
    ----------
    residual : float
        How far, at most, its values are estimated to lie from those that more cycles would lead to.
    """

    levels: list[Level]
    values: list[Array]
    residual: float

    def half(self) -> Array | None:
        """Return the function on the grid of level 1, for `rows`; None if there is only level 0."""
        if len(self.levels) == 1:
            return None
        field = np.zeros((*self.levels[-1].shape, self.values[0].shape[1]), np.float32)
        for level, values in zip(self.levels[:0:-1], self.values[:0:-1], strict=True):
            if level is not self.levels[-1]:
                field = _doubled(field, level.shape)
            field.reshape(-1, field.shape[2])[level.cells] = values[: level.n]
        return field

    def rows(self, start: int, stop: int, half: Array | None) -> Array:
        """Return the function's rows `start` (even) to `stop`, (rows, W, C), meaningless outside the mask."""
        level, values = self.levels[0], self.values[0]
        width, channels = level.shape[1], values.shape[1]
        if half is None:
            field = np.zeros((stop - start, width, channels), np.float32)
        else:
            above = max(start // 2 - 1, 0)
            part = half[above : stop // 2 + 2]
            field = _doubled(part, (2 * len(part), width))[start - 2 * above : stop - 2 * above]
        flat = field.reshape(-1, channels)
        for first, last in ((0, level.reds), (level.reds, level.n)):
            a, b = first + np.searchsorted(level.cells[first:last], (start * width, stop * width))
            flat[level.cells[a:b] - start * width] = values[a:b]
        return field


def _doubled(field: Array, shape: tuple[int, ...]) -> Array:
    """Return a field interpolated on a grid twice as fine, cut to a shape."""
    height, width, channels = field.shape
    large = np.empty((height, 2, width, 2, channels), np.float32)
    for j, i in ((0, 0), (0, 1), (1, 0), (1, 1)):
        taps = HARMONIC[:: 1 if j else -1, :: 1 if i else -1]
        part = cv2.filter2D(field, cv2.CV_32F, np.ascontiguousarray(taps), borderType=cv2.BORDER_REPLICATE)
        large[:, j, :, i] = part.reshape(field.shape)
    return np.ascontiguousarray(large.reshape(2 * height, 2 * width, channels)[: shape[0], : shape[1]])


class Membrane:
    """The equations of a mask, ready to be solved for any values around it.

    Parameters
    ----------
    unknown : (H, W) bool
        Pixels to solve for; each connected part of them must touch a known one.
    known : (H, W) bool
        Other pixels whose values are given. Where there is neither, and beyond the picture, the
        derivative is zero (Neumann).
    workers : int
        Threads. The result does not depend on it.

    Attributes
    ----------
    ring : (m,) int32
        Flat positions of the pixels whose values bind.
    cells : (n,) int32
        Flat positions of the pixels that can have a right side.
    """

    def __init__(self, unknown: Array, known: Array, workers: int = 1) -> None:
        self._workers = workers
        self.levels, self.ring, self._bind = build_levels(unknown, known, workers)
        self.cells = self.levels[0].cells
        last = self.levels[-1]
        mean = sparse.vstack([last.red, last.black]).astype(np.float64)
        matrix = sparse.diags(last.diagonal[:, 0].astype(np.float64)) @ (sparse.identity(last.n) - mean)
        self._direct = splu(matrix.tocsc())

    def solve(self, values: Array, tolerance: float, right: Array | None = None) -> Surface:
        """Solve for values (m, C) on the ring, until they are right to `tolerance`.

        Parameters
        ----------
        right : (n, C) float32 or None
            What the sum of differences to all neighbours is to be at `cells`, in place of zero.

        Raises
        ------
        SolverError
        """
        channels = values.shape[1]
        step = channels if self.levels[0].n < ALONE else 1  # alone they can be solved beside each other
        parts = [slice(c, c + step) for c in range(0, channels, step)]
        rights = [None if right is None else right[:, p] for p in parts]
        with ThreadPoolExecutor(self._workers) as pool:
            solved = list(pool.map(self._solved, [values[:, p] for p in parts], repeat(tolerance), rights))
        states = zip(*(state for state, _ in solved), strict=True)
        return Surface(self.levels, [np.hstack(s) for s in states], max(residual for _, residual in solved))

    def _solved(self, values: Array, tolerance: float, right: Array | None) -> tuple[list[Array], float]:
        """Return all levels' values and the residual."""
        given = self._bind @ np.ascontiguousarray(values, np.float32)
        right = np.zeros_like(given) if right is None else right
        state = self._nested(given, right)
        wanted = (given + right) / self.levels[0].diagonal
        change, rate = np.inf, FIRST_RATE
        for cycle in range(MOST_CYCLES):
            before = [v.copy() for v in state]
            self._cycle(0, state, wanted, again=True, relaxed=True)
            previous, change = change, max(_distance(a, b) for a, b in zip(state, before, strict=True))
            rate = min(change / previous, 0.95) if cycle and previous else rate
            residual = change * rate / (1 - rate)
            if residual <= tolerance:
                return state, residual
        raise SolverError(f"the solver stands at a residual of {residual:.3g}, not {tolerance:.3g}", residual)

    def _nested(self, given: Array, right: Array) -> list[Array]:
        """Return a first solution, from the coarsest level to the finest."""
        levels, bound, free = self.levels, [given], [right]
        for finer, level in pairwise(levels):
            scale = level.pull / np.maximum(level.gather @ finer.pull, np.float32(1e-20))
            bound.append((level.gather @ bound[-1]) * scale)
            free.append(level.gather @ free[-1])
        state = [np.zeros((lv.red.shape[1], given.shape[1]), np.float32) for lv in levels]
        state[-1][:] = self._direct.solve((bound[-1] + free[-1]).astype(np.float64))
        for k in range(len(levels) - 2, -1, -1):
            coarse = state[k + 1][: levels[k + 1].n]
            state[k][:] = np.concatenate([levels[k].up @ coarse, levels[k].over @ coarse])
            self._cycle(k, state, (bound[k] + free[k]) / levels[k].diagonal)
        return state

    def _cycle(
        self, k: int, state: list[Array], wanted: Array, again: bool = False, relaxed: bool = False
    ) -> None:
        """Improve levels k and coarser; `wanted` is level k's right side over its diagonal.

        An F-cycle improves the next level `again` by a V-cycle. A level that a cycle for the same right side
        has just left is `relaxed`: its reds are what their neighbours ask for.
        """
        level, u = self.levels[k], state[k]
        if k == len(self.levels) - 1:
            if relaxed:
                return
            u[:] = self._direct.solve((wanted * level.diagonal).astype(np.float64))
            return
        coarser, v = self.levels[k + 1], state[k + 1]
        _relax(level, u, wanted, (1, 0, 1) if relaxed else (0, 1, 0, 1))
        solved = v[: coarser.n]
        solved[:] = np.where(coarser.covered, (coarser.gather @ u[: level.n]) * coarser.share, solved)
        before = solved.copy()
        missing = np.zeros_like(wanted)  # of the blacks, just relaxed, nothing
        reds = slice(level.reds)
        missing[reds] = (wanted[reds] - u[reds] + level.red @ u) * level.diagonal[reds]
        moved = before - _mean(coarser, v) + (coarser.gather @ missing) / coarser.diagonal
        target = np.where(coarser.covered, moved, np.float32(0))
        self._cycle(k + 1, state, target, again)
        if again:
            self._cycle(k + 1, state, target, relaxed=True)
        u[: level.n] += level.up @ (solved - before)
        u[level.n :] = level.over @ solved
        _relax(level, u, wanted, (1, 0))


def _relax(level: Level, u: Array, wanted: Array, colours: tuple[int, ...]) -> None:
    """Set all cells of each colour in turn to what their neighbours ask for (Gauss-Seidel)."""
    for colour in colours:
        if colour:
            u[level.reds : level.n] = level.black @ u + wanted[level.reds :]
        else:
            u[: level.reds] = level.red @ u + wanted[: level.reds]


def _mean(level: Level, u: Array) -> Array:
    return np.concatenate([level.red @ u, level.black @ u])


def _distance(a: Array, b: Array) -> float:
    return float(np.abs(a - b).max(initial=0))
