"""What is wrong with a picture, kind by kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from composer.mending.blocks import find_blocking
from composer.mending.gaps import find_holes
from composer.mending.impulses import find_bad_pixels, find_impulses
from composer.mending.lines import find_lines
from composer.records import Fault

Array = NDArray[Any]

__all__ = ["KINDS", "find_faults"]

FINDERS: dict[str, Callable[[Array, Array | None], list[Fault]]] = {
    "hole": find_holes,
    "impulse": find_impulses,
    "pixel": find_bad_pixels,
    "line": find_lines,
    "blocking": find_blocking,
}
KINDS = tuple(FINDERS)


def find_faults(pixels: Array, valid: Array | None = None, kinds: Sequence[str] = KINDS) -> list[Fault]:
    """Find what is wrong with a picture.

    Parameters
    ----------
    pixels : (H, W, C) float32, 0..1
    valid : (H, W) bool or None
        Where the picture shows something; None is everywhere.
    kinds : sequence of str
        Some of `KINDS`.

    Returns
    -------
    Faults, by kind in the order of `KINDS`. Salt-and-pepper noise hides single pixels.
    """
    found: list[Fault] = []
    for kind in (k for k in KINDS if k in kinds):
        if kind == "pixel" and any(f.kind == "impulse" for f in found):
            continue
        found += FINDERS[kind](pixels, valid)
    return found
