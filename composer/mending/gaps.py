"""Canvas that no photo covers, and blocks that a damaged JPEG has lost.

Holes are black, or without alpha, and end in a single pixel. What is black in a photograph fades in over a
few pixels, since no lens and no film is that sharp: so the step to the first pixel outside is compared with
that to the third. JPEG compression lets a hole ring along its border: there it is nearly black, as far as a
block reaches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend.channels import max_channel
from composer.mending.regions import covered, regions
from composer.records import Fault

Array = NDArray[Any]

__all__ = ["clear_holes", "find_holes"]

BLACK = 0.5 / 255
RINGING = 8 / 255, 16 / 255, 32 / 255  # how bright a hole may be near its border, tried in this order
BLOCK = 8  # pixels: some part of a hole that rings is as large, and exactly black
REACH = 16  # pixels that ringing reaches, where colours have half the resolution
SMALLEST = 25  # pixels
VISIBLE = 12 / 255  # of the step to the third pixel outside
SEEN = 0.5  # of the outline, that has to be visible
SUDDEN = 0.6  # of the step, that is over at the first pixel (median along the outline)
KERNEL = np.ones((3, 3), np.uint8)
STRAIGHT = 0.97  # of its rectangle, that a bar fills: ringing takes the rest
MOST = 0.1  # of the picture, that is filled without being asked for: more would be made up


def find_holes(pixels: Array, valid: Array | None = None) -> list[Fault]:
    """Find uncovered canvas in (H, W, C) float32: kind "hole".

    With `valid` (H, W) bool, that is where it is False; without, what is black and ends suddenly.
    """
    if valid is not None and not valid.all():
        return regions("hole", ~valid)
    top = max_channel(pixels)
    black = (top <= BLACK).astype(np.uint8)
    core = cv2.dilate(cv2.erode(black, KERNEL, borderValue=1), KERNEL) & black  # no thin threads
    if not core.any():
        return []
    found = np.zeros(top.shape, bool)
    for candidates in _candidates(top, core):
        new = regions("hole", candidates & ~found, smallest=SMALLEST)
        found |= covered([fault for fault in new if _sudden(top, fault)], top.shape)
    return regions("hole", found, smallest=SMALLEST)


def clear_holes(faults: Sequence[Fault], shape: tuple[int, ...]) -> list[Fault]:
    """Return those black holes of an (H, W) picture that nobody can have meant.

    Bars and frames, and rectangles that somebody blacked out, are left; so is all that is black where it is
    more than a tenth of the picture, as around a cut-out or a round window of an instrument.
    """
    black = covered(faults, shape)
    if black.mean() > MOST or _framed(black):
        return []
    return [f for f in faults if not _is_bar(f, shape)]


def _framed(black: Array) -> bool:
    """Tell whether what is not black is a rectangle."""
    rows, columns = np.flatnonzero(~black.all(1)), np.flatnonzero(~black.all(0))
    if not len(rows) or (len(rows), len(columns)) == black.shape:
        return False
    inside = black[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return bool(1 - inside.mean() > STRAIGHT)


def _is_bar(fault: Fault, shape: tuple[int, ...]) -> bool:
    """Tell whether a hole is a rectangle, other than in a corner, as between photos that lie side by side."""
    if fault.mask is not None and fault.mask.mean() < STRAIGHT:
        return False
    x0, y0, x1, y1 = fault.rect
    ends = (x0 == 0) + (x1 == shape[1]), (y0 == 0) + (y1 == shape[0])
    return ends != (1, 1)


def _candidates(top: Array, core: Array) -> Iterator[Array]:
    """Yield what is exactly black, then that with what is nearly black around it."""
    yield core > 0
    block = np.ones((BLOCK, BLOCK), np.uint8)
    large = cv2.dilate(cv2.erode(core, block, borderValue=1), block)
    if not large.any():
        return
    near = cv2.dilate(large, np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)) > 0
    for bright in RINGING:
        nearly = near & (top <= bright)
        _, labels = cv2.connectedComponents(nearly.astype(np.uint8), connectivity=8)
        joined = np.zeros(labels.max() + 1, bool)
        joined[labels[large > 0]] = True
        joined[0] = False
        yield joined[labels]


def _sudden(top: Array, fault: Fault) -> bool:
    """Tell whether the picture begins within a pixel of the region."""
    margin, (x0, y0, x1, y1) = 4, fault.rect
    ys = slice(max(y0 - margin, 0), y1 + margin)
    xs = slice(max(x0 - margin, 0), x1 + margin)
    part, mask = top[ys, xs], np.zeros(top[ys, xs].shape, np.uint8)
    mask[y0 - ys.start : y1 - ys.start, x0 - xs.start : x1 - xs.start] = fault.mask  # type: ignore[assignment]
    first = cv2.dilate(mask, KERNEL)
    third = cv2.dilate(first, KERNEL, iterations=2)
    inner = cv2.dilate(np.where(mask > 0, part, 0).astype(np.float32), KERNEL)
    outer = cv2.dilate(np.where(third > mask, part, 0).astype(np.float32), KERNEL, iterations=2)
    line = first > mask
    if not line.any():
        return False
    begun, whole = (part - inner)[line], (outer - inner)[line]
    seen = whole > VISIBLE
    return bool(seen.mean() > SEEN) and float(np.median(begun[seen] / whole[seen])) > SUDDEN
