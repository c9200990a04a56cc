"""The lines that run longest through a picture from row to row, by dynamic programming.

Local alignment (Smith and Waterman, 1981) in place of sequences: a line begins where its evidence is worth
it, moves at most two columns a row, and ends where its sum is largest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

__all__ = ["Line", "longest_lines"]

REACH = 2  # columns that a line may move from one row to the next
TURN = np.float32(0.25)  # what a column of a move costs
BESIDE = 4  # columns beside a line that are taken
SHARED = 0.3  # of a line that may be taken by better ones
TRIED = 40  # ends that are followed back for either sign


@dataclass(frozen=True)
class Line:
    """A line: its rows and columns, (N,) each, and the mean of its evidence."""

    rows: Array = field(repr=False)
    columns: Array = field(repr=False)
    mean: float


@dataclass(frozen=True)
class _Sums:
    """For every row, sign and column: the best sum that ends here, its first pixel, its last move."""

    best: Array
    first: Array
    move: Array


def longest_lines(evidence: Array, worth: float, least: float, most: int) -> list[Line]:
    """Return up to `most` lines along which evidence keeps its sign, best first.

    Parameters
    ----------
    evidence : (H, W) float32
    worth : float
        Evidence that speaks neither for nor against a line.
    least : float
        Sum of what is beyond `worth`, that a line needs.
    most : int
    """
    sums = _summed(evidence, np.float32(worth))
    taken = np.zeros(evidence.shape, bool)
    found: list[Line] = []
    for total, sign, end in _ends(sums, least):
        rows, columns = _followed(sums, sign, end)
        if taken[rows, columns].mean() > SHARED:
            continue
        for k in range(-BESIDE, BESIDE + 1):
            taken[rows, np.clip(columns + k, 0, evidence.shape[1] - 1)] = True
        found.append(Line(rows, columns, total / len(rows)))
        if len(found) == most:
            break
    return found


def _summed(evidence: Array, worth: Any) -> _Sums:
    height, width = evidence.shape
    best = np.zeros((height, 2, width), np.float32)
    first = np.zeros((height, 2, width), np.int32)
    move = np.zeros((height, 2, width), np.int8)
    sums = np.full((2, width + 2 * REACH), -np.inf, np.float32)
    starts = np.zeros(sums.shape, np.int32)
    inner = slice(REACH, REACH + width)
    sums[:, inner] = 0
    for y in range(height):
        total, start = sums[:, inner].copy(), starts[:, inner].copy()
        for k in (-1, 1, -2, 2):
            other = sums[:, REACH + k : REACH + k + width] - TURN * abs(k)
            better = other > total
            np.copyto(total, other, where=better)
            np.copyto(start, starts[:, REACH + k : REACH + k + width], where=better)
            move[y][better] = k
        fresh = total <= 0
        total[fresh] = 0
        np.copyto(start, np.arange(y * width, (y + 1) * width, dtype=np.int32), where=fresh)
        total += np.stack([evidence[y], -evidence[y]]) - worth
        sums[:, inner] = np.maximum(total, 0)
        starts[:, inner] = start
        best[y], first[y] = sums[:, inner], start
    return _Sums(best, first, move)


def _ends(sums: _Sums, least: float) -> Iterator[tuple[float, int, int]]:
    """Yield the sum, sign and last pixel of the best line from each start, best first."""
    found = []
    for sign in (0, 1):
        best, first = sums.best[:, sign].ravel(), sums.first[:, sign].ravel()
        ends = np.flatnonzero(best > least)
        ends = ends[np.argsort(-best[ends], kind="stable")]
        once = np.sort(np.unique(first[ends], return_index=True)[1])[:TRIED]
        found += [(float(best[end]), sign, int(end)) for end in ends[once]]
    yield from sorted(found, key=lambda f: (-f[0], f[1], f[2]))


def _followed(sums: _Sums, sign: int, end: int) -> tuple[Array, Array]:
    """Return the rows and columns of the line that ends at a pixel."""
    width = sums.best.shape[2]
    y, x = divmod(end, width)
    last = int(sums.first[y, sign, x]) // width
    columns = [x]
    for row in range(y, last, -1):
        columns.append(columns[-1] + int(sums.move[row, sign, columns[-1]]))
    return np.arange(last, y + 1), np.array(columns[::-1])
