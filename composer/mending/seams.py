"""Seams that show: a step of exposure or colour along a line on which photos were cut together.

Both sides of a seam have a constant ratio, whatever it crosses; the step is over within a pixel, where the
edges of a scene, drawn by a lens, take two or three; and it runs on through the picture. Candidates are the
lines along which the step across is of one sign, relative to what is usual around; they are then judged.

In logarithms of sRGB values plus `TOE` a gain in linear light is a step, but for the darkest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend.channels import max_channel
from composer.mending.regions import brightness, fault_of
from composer.mending.tracing import Line, longest_lines
from composer.records import Fault

Array = NDArray[Any]

__all__ = ["TOE", "find_seams"]

TOE = np.float32(0.055)
DARK = 4 / 255  # ratios say nothing below, nor at the edge of a canvas
AROUND = (31, 9)  # columns and rows in which steps are compared
CLIPPED = 3.0  # usual steps, beyond which a step counts no more
WORTH = 1.3  # usual steps, that the best line through noise has
LEAST = 60.0
TRIED = 4  # candidates that run down, and across
SHORTEST = 64  # rows
BLOCK = 16  # rows of which a median is taken
ALIKE = 0.35  # of the step, by which single rows may differ from it


@dataclass(frozen=True)
class _Limits:
    """What a seam shows: steps beyond what is usual, share of the picture's length, share of rows that are
    alike, spread of the worst channel's step, share of the step that the pixels beside it carry, step by the
    rows' spread, what is crossed, excess of change across over change along either side (logarithms)."""

    mean: float = 0.7
    long: float = 0.5
    alike: float = 0.6
    spread: float = 0.45
    beside: float = 0.12
    contrast: float = 2.5
    crossed: float = 0.08
    excess: float = 0.9


LIMITS = _Limits()


def find_seams(pixels: Array, valid: Array | None = None) -> list[Fault]:
    """Find exposure steps in (H, W, C) float32: kind "seam", its mask four pixels wide across the cut."""
    seen = max_channel(pixels) > DARK
    if valid is not None:
        seen &= valid
    logs = np.log(np.maximum(np.where(seen[:, :, None], pixels, 0), 0) + TOE).astype(np.float32)
    found = []
    for flip in (False, True):
        turned = np.ascontiguousarray(logs.swapaxes(0, 1)) if flip else logs
        mask = np.ascontiguousarray(seen.T) if flip else seen
        if turned.shape[0] < SHORTEST or turned.shape[1] < 2 * AROUND[0]:
            continue
        for line in longest_lines(_evidence(brightness(turned), mask), WORTH, LEAST, TRIED):
            if _is_seam(turned, line):
                drawn = _drawn(line, mask.shape)
                found.append(fault_of("seam", drawn.T if flip else drawn, 0.8))
    return found


def _evidence(luma: Array, seen: Array) -> Array:
    """Return the step from each pixel to the next, less the slope beside it, by what is usual around."""
    steps = np.diff(luma, axis=1)
    step = np.zeros_like(steps)
    step[:, 1:-1] = steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2
    clear = np.zeros(steps.shape, bool)
    clear[:, 2:-2] = np.logical_and.reduce([seen[:, k : seen.shape[1] - 5 + k] for k in range(6)])
    step[~clear] = 0
    share = np.maximum(cv2.blur(clear.astype(np.float32), AROUND), 0.05)
    usual = 1.25 * cv2.blur(np.abs(step), AROUND) / share + 1e-3
    return np.clip(step / usual, -CLIPPED, CLIPPED).astype(np.float32)


def _is_seam(logs: Array, line: Line) -> bool:
    """Tell whether the two sides of a line show one scene at two exposures."""
    inside = (line.columns >= 4) & (line.columns < logs.shape[1] - 6)
    rows, columns = line.rows[inside], line.columns[inside]
    if len(rows) < max(SHORTEST, LIMITS.long * logs.shape[0]) or line.mean < LIMITS.mean:
        return False
    near = logs[rows[:, None], columns[:, None] + np.arange(-1, 3)]
    left, before, after, right = brightness(near).T
    steps = after - before
    step = float(np.median(steps))
    off = np.abs(steps - step)
    size = max(abs(step), 1e-3)
    beside = abs(float(np.median(before - left)) + float(np.median(right - after))) / size
    spread = max(_spread(near[:, 2, c] - near[:, 1, c]) for c in range(near.shape[2])) / size
    crossed = float(np.std(_medians((before + after) / 2)))
    return bool(
        (off < ALIKE * size).mean() >= LIMITS.alike
        and beside <= LIMITS.beside
        and spread <= LIMITS.spread
        and crossed >= LIMITS.crossed
        and size >= LIMITS.contrast * (1.4826 * float(np.median(off)) + 1e-4)
        and _excess(left, before, after, right) < LIMITS.excess
    )


def _medians(values: Array) -> Array:
    """Return the medians of blocks of rows."""
    count = len(values) // BLOCK
    return np.asarray(np.median(values[: count * BLOCK].reshape(count, BLOCK), axis=1))


def _spread(values: Array) -> float:
    medians = _medians(values)
    return 1.4826 * float(np.median(np.abs(medians - np.median(medians))))


def _excess(left: Array, before: Array, after: Array, right: Array) -> float:
    """Return how much more changes across the line, from row to row, than beside it."""

    def changes(a: Array, b: Array) -> float:
        apart = a - b
        size = np.abs(apart[8:] - apart[:-8])
        return float(np.mean(np.minimum(size, 3 * np.median(size) + 1e-3) ** 2))

    same = (changes(before, left) + changes(right, after)) / 2
    return float(np.log((changes(before, after) + 1e-6) / (same + 1e-6))) / 2


def _drawn(line: Line, shape: tuple[int, ...]) -> Array:
    """Return the two pixels on either side of a line's cut."""
    mask = np.zeros(shape, bool)
    for k in range(-1, 3):
        mask[line.rows, np.clip(line.columns + k, 0, shape[1] - 1)] = True
    return mask
