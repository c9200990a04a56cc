"""Which operator fills which hole, where, and with what options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from composer.mending.diffusion import biharmonic, harmonic, navier_stokes, telea
from composer.mending.filling import Fill, Region, group_regions, local_regions
from composer.mending.holes import Hole
from composer.mending.patches import SIZE, copy_patches
from composer.mending.transport import coherence_transport
from composer.records import Rect

Array = NDArray[Any]
Fills = Literal["harmonic", "biharmonic", "telea", "navier-stokes", "edges", "patches"]

__all__ = ["Fills", "choose", "operators", "regions_of"]

LOCAL: dict[str, Callable[[Array, Array, Array], Array]] = {
    "harmonic": harmonic,
    "biharmonic": biharmonic,
    "telea": telea,
    "navier-stokes": navier_stokes,
    "edges": coherence_transport,
}
SLENDER_PX = 6.0  # wider than this, what runs across a hole must be carried on
BROAD_PX = 12.0  # wider than this, nothing but texture will do


def choose(holes: Sequence[Hole], able: Array, fill: str) -> list[str]:
    """Return each hole's operator; "" for those that nothing valid touches (`able` (holes + 1,) is False)."""
    names = []
    for hole, touches in zip(holes, able[1:], strict=True):
        by_width = (
            "biharmonic" if hole.width_px < SLENDER_PX else "edges" if hole.width_px < BROAD_PX else "patches"
        )
        names.append("" if not touches else by_width if fill == "auto" else fill)
    return names


def operators(source: Array | None, seed: int) -> Mapping[str, Fill]:
    """Return all operators by name; patches are taken from `source` (H, W) bool, where it is given."""

    def local(fill: Callable[[Array, Array, Array], Array]) -> Fill:
        return lambda image, hole, valid, where: fill(image, hole, valid)

    def patches(image: Array, hole: Array, valid: Array, where: Rect) -> Array:
        part = None if source is None else source[where.y0 : where.y1, where.x0 : where.x1]
        return np.asarray(copy_patches(image, hole, valid, part, seed))

    return {**{name: local(fill) for name, fill in LOCAL.items()}, "patches": patches}


def regions_of(
    names: Sequence[str], labels: Array, holes: Sequence[Hole], source: Array | None
) -> dict[str, list[Region]]:
    """Return where each operator works: diffusions first, so that patches may look at what they filled."""
    regions = {}
    for name in (*LOCAL, "patches"):
        which = np.array([False, *(n == name for n in names)])
        if which.any() and name in LOCAL:
            regions[name] = local_regions(labels, holes, which)
        elif which.any():
            regions[name] = group_regions(labels, holes, which, 2 * SIZE, source)
    return regions
