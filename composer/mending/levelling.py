"""Seams levelled: gradients are kept but for the step across the cut (screened Poisson equation).

The correction is a factor for each pixel that jumps by the step at the cut and fades away from it (Bhat et
al., ECCV 2008, for the screened equation), so nothing is blurred.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.media.picture import as_float
from composer.mending.seams import DARK, TOE
from composer.records import Fault

Array = NDArray[Any]

__all__ = ["level_seam"]

REACH = 150  # pixels from the seam at which a factor has fallen to 1/e
MARGIN = 4  # of these, that are looked at
WINDOW = 49  # rows in which the step's median is taken; an end inside the picture fades out over them


def level_seam(pixels: Array, fault: Fault) -> Array:
    """Take the step across a seam out of (H, W, C) uint8, uint16 or float32; return a copy.

    The fault is one of `find_seams`: its mask is four pixels wide, the cut in the middle.
    """
    flip = fault.mask is not None and not (fault.mask.sum(1) == 4).all()
    view = pixels.swapaxes(0, 1) if flip else pixels
    first, columns = _cut(fault, flip)
    margin = MARGIN * REACH
    top, bottom = max(first - margin, 0), min(first + len(columns) + margin, view.shape[0])
    left, right = max(columns.min() - margin, 0), min(columns.max() + margin, view.shape[1])
    part = np.nan_to_num(as_float(np.ascontiguousarray(view[top:bottom, left:right])))
    logs = np.log(np.maximum(part, 0) + TOE)
    factors = np.exp(_field(logs, (first - top, columns - left), top, view.shape[0]))
    level = np.where(part > DARK, np.maximum((part + TOE) * factors - TOE, 0), part)
    out = view.copy()
    if pixels.dtype != np.float32:
        whole = np.iinfo(pixels.dtype).max
        level = np.clip(np.rint(level * whole), 0, whole)
    out[top:bottom, left:right] = level.astype(pixels.dtype)
    return np.ascontiguousarray(out.swapaxes(0, 1) if flip else out)


def _cut(fault: Fault, flip: bool) -> tuple[int, Array]:
    """Return a seam's first row, and in each row the last column before the cut."""
    mask: Any = fault.mask
    mask, (x, y) = (mask.T, fault.rect[1::-1]) if flip else (mask, fault.rect[:2])
    return y, mask.argmax(1) + 1 + x


def _field(logs: Array, cut: tuple[int, Array], top: int, height: int) -> Array:
    """Return the logarithms of factors (H, W, C): smooth but for the jump at the cut."""
    from scipy.ndimage import median_filter

    first, columns = cut
    rows = np.arange(first, first + len(columns))
    steps = logs[rows, columns + 1] - logs[rows, columns]
    steps = median_filter(steps, size=(WINDOW, 1), mode="nearest")
    ramp = np.ones(len(rows))
    if first + top > 0:
        ramp = np.minimum(ramp, np.arange(1, len(rows) + 1) / WINDOW)
    if first + top + len(rows) < height:
        ramp = np.minimum(ramp, np.arange(len(rows), 0, -1) / WINDOW)
    beyond = np.arange(logs.shape[1]) > columns[:, None]
    return np.dstack([_solved(beyond, -s * ramp, first, logs.shape[0]) for s in steps.T])


def _solved(beyond: Array, jump: Array, first: int, height: int) -> Array:
    """Solve for the field of one channel, by cosine transforms."""
    from scipy.fft import dctn, idctn

    wanted = np.where(beyond, jump[:, None], 0)
    across = np.diff(wanted, axis=1)
    down = np.where(beyond[1:] != beyond[:-1], np.diff(wanted, axis=0), 0)
    right = np.zeros((height, beyond.shape[1]))
    inner = right[first : first + len(beyond)]
    inner[:, :-1] -= across
    inner[:, 1:] += across
    inner[:-1] -= down
    inner[1:] += down
    waves = [2 - 2 * np.cos(np.pi * np.arange(n) / n) for n in right.shape]
    return np.asarray(idctn(dctn(right) / (waves[0][:, None] + waves[1] + REACH**-2)), np.float32)
