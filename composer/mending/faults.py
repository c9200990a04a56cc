"""What is wrong with a picture, kind by kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.mending.banding import find_banding
from composer.mending.blocks import find_blocking
from composer.mending.echoes import find_ghosts
from composer.mending.fading import find_fading
from composer.mending.fringes import find_fringes
from composer.mending.gaps import find_holes
from composer.mending.impulses import find_bad_pixels, find_impulses
from composer.mending.lines import find_lines
from composer.mending.noise import find_noise
from composer.mending.regions import covered
from composer.mending.restoring import Setting
from composer.mending.scans import LAID_OVER, find_laid_over
from composer.mending.seams import find_seams
from composer.records import Fault

Array = NDArray[Any]

__all__ = ["AUTO", "KINDS", "find_faults", "without_specks"]

Finder = Callable[[Array, Array | None], list[Fault]]

FINDERS: dict[str, Finder] = {
    "hole": find_holes,
    "impulse": find_impulses,
    "pixel": find_bad_pixels,
    "line": find_lines,
    "blocking": find_blocking,
    "banding": find_banding,
    "noise": find_noise,
    "fringe": find_fringes,
    "fading": find_fading,
    "seam": find_seams,
    "ghost": find_ghosts,
}
KINDS = (*FINDERS, *LAID_OVER)
BY_NAME = ("fringe", "fading", "seam", "ghost", *LAID_OVER)  # looked for only where it is named
AUTO = tuple(k for k in KINDS if k not in BY_NAME)
SPECKLED = ("impulse", "pixel", "line")  # what would be taken for noise


def find_faults(
    pixels: Array,
    valid: Array | None = None,
    kinds: Sequence[str] = AUTO,
    setting: Setting | None = None,
) -> list[Fault]:
    """Find what is wrong with a picture.

    Parameters
    ----------
    pixels : (H, W, C) float32, 0..1
    valid : (H, W) bool or None
        Where the picture shows something; None is everywhere.
    kinds : sequence of str
        Some of `KINDS`.
    setting : Setting or None
        None is the defaults.

    Returns
    -------
    Faults, by kind in the order of `KINDS`. Salt-and-pepper noise hides single pixels.
    """
    found: list[Fault] = []
    setting = setting or Setting()
    finders = FINDERS | _set(setting)
    for kind in (k for k in FINDERS if k in kinds):
        if kind == "pixel" and any(f.kind == "impulse" for f in found):
            continue
        if kind == "noise":
            pixels = without_specks(pixels, found)
        found += finders[kind](pixels, valid)
    laid_over = [k for k in LAID_OVER if k in kinds]  # all told by one look
    return found + find_laid_over(pixels, valid, laid_over, setting.sensitivity) if laid_over else found


def _set(setting: Setting) -> dict[str, Finder]:
    """Return the finders that depend on the setting."""
    return {
        "blocking": partial(find_blocking, coding=setting.coding),
        "noise": partial(find_noise, least=setting.grain),
    }


def without_specks(pixels: Array, faults: Sequence[Fault]) -> Array:
    """Return the picture with medians in place of what is a pixel wide."""
    specks = covered([f for f in faults if f.kind in SPECKLED], pixels.shape[:2])
    if not specks.any():
        return pixels
    medians = [cv2.medianBlur(np.ascontiguousarray(p), 5) for p in np.moveaxis(pixels, 2, 0)]
    return np.where(specks[:, :, None], np.dstack(medians), pixels)
