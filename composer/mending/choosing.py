"""Which operator fills which hole, where, and with what options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from composer.mending.diffusion import biharmonic, harmonic, navier_stokes, telea
from composer.mending.donor import Donor, covers, from_donor
from composer.mending.filling import Fill, Region, group_regions, local_regions, single_regions
from composer.mending.holes import Hole
from composer.mending.patches import SIZE, copy_patches
from composer.mending.transport import coherence_transport
from composer.records import Rect

Array = NDArray[Any]
Fills = Literal["harmonic", "biharmonic", "telea", "navier-stokes", "edges", "patches", "donor"]

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


def choose(
    labels: Array, holes: Sequence[Hole], able: Array, fill: str, donors: Sequence[Donor]
) -> list[str]:
    """Return each hole's operator; "" for those that nothing valid touches (`able` (holes + 1,) is False).

    "auto" and "donor" take a donor that covers the hole, else go by its width.
    """
    names = []
    for k, (hole, touches) in enumerate(zip(holes, able[1:], strict=True), 1):
        if fill not in ("auto", "donor"):
            names.append(fill if touches else "")
        elif _donor_of(donors, labels, hole.rect, k) is not None:
            names.append("donor")
        elif not touches:
            names.append("")
        else:
            slender, broad = hole.width_px < SLENDER_PX, hole.width_px >= BROAD_PX
            names.append("biharmonic" if slender else "patches" if broad else "edges")
    return names


def _donor_of(donors: Sequence[Donor], labels: Array, rect: Rect, k: int) -> Donor | None:
    """Return the first donor that shows all of hole k."""
    if not donors:
        return None
    y, x = np.nonzero(labels[rect.y0 : rect.y1, rect.x0 : rect.x1] == k)
    return next((d for d in donors if covers(d, x + rect.x0, y + rect.y0)), None)


def operators(source: Array | None, seed: int, donors: Sequence[Donor]) -> Mapping[str, Fill]:
    """Return all operators by name; patches are taken from `source` (H, W) bool, where it is given."""

    def local(fill: Callable[[Array, Array, Array], Array]) -> Fill:
        return lambda image, hole, valid, where: fill(image, hole, valid)

    def patches(image: Array, hole: Array, valid: Array, where: Rect) -> Array:
        part = None if source is None else source[where.y0 : where.y1, where.x0 : where.x1]
        return np.asarray(copy_patches(image, hole, valid, part, seed))

    def donor(image: Array, hole: Array, valid: Array, where: Rect) -> Array:
        y, x = np.nonzero(hole)
        giver = next(d for d in donors if covers(d, x + where.x0, y + where.y0))
        return from_donor(image, hole, valid, where, giver)

    return {**{name: local(fill) for name, fill in LOCAL.items()}, "patches": patches, "donor": donor}


def regions_of(
    names: Sequence[str], labels: Array, holes: Sequence[Hole], source: Array | None
) -> dict[str, list[Region]]:
    """Return where each operator works: patches come last, and may look at what the others filled."""
    regions = {}
    for name in ("donor", *LOCAL, "patches"):
        which = np.array([False, *(n == name for n in names)])
        if not which.any():
            continue
        if name == "donor":
            regions[name] = single_regions(labels, holes, which)
        elif name in LOCAL:
            regions[name] = local_regions(labels, holes, which)
        else:
            regions[name] = group_regions(labels, holes, which, 2 * SIZE, source)
    return regions
