"""Which operator fills which hole, where, and with what options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from composer.backend import gaussian, to_device, to_numpy
from composer.errors import OptionError
from composer.media.picture import as_float
from composer.mending.diffusion import biharmonic, harmonic, navier_stokes, telea
from composer.mending.donor import Donor, covers, from_donor
from composer.mending.filling import CUT_PX, Fill, Place, Region, group_regions, local_regions, single_regions
from composer.mending.holes import Hole, clipped
from composer.mending.patches import SIZE, copy_patches
from composer.mending.transport import coherence_transport
from composer.records import Rect

Array = NDArray[Any]
Fills = Literal["harmonic", "biharmonic", "telea", "navier-stokes", "edges", "mixed", "patches", "donor"]

__all__ = ["Fills", "choose", "operators", "regions_of"]


def mixed(image: Array, hole: Array, valid: Array) -> Array:
    """Fill a hole with the mean of biharmonic and edges, whose errors have little in common."""
    return (biharmonic(image, hole, valid) + coherence_transport(image, hole, valid)) / 2


LOCAL: dict[str, Callable[[Array, Array, Array], Array]] = {
    "harmonic": harmonic,
    "biharmonic": biharmonic,
    "telea": telea,
    "navier-stokes": navier_stokes,
    "edges": coherence_transport,
    "mixed": mixed,
}
THIN_PX = 16.0  # up to this width nothing beats "mixed"
WIDE_PX = 48.0  # up to this width it does where the surroundings are smooth
SOLVED = 250_000  # pixels of one hole that are solved for at once, at most
SMOOTH = 0.008  # mean departure from their own blur, of white


def choose(
    holes: Sequence[Hole],
    able: Array,
    fill: str,
    *,
    pixels: Array,
    labels: Array,
    valid: Array,
    donors: Sequence[Donor],
) -> list[str]:
    """Return each hole's operator; "" for those that nothing valid touches (`able` (holes + 1,) is False).

    "auto" and "donor" take a donor that covers the hole, else go by its width and what surrounds it.

    Raises
    ------
    OptionError
        A hole is too large for the operator named.
    """
    names = []
    for k, (hole, touches) in enumerate(zip(holes, able[1:], strict=True), 1):
        heavy = hole.widest_px > CUT_PX and hole.area > SOLVED
        if fill not in ("auto", "donor"):
            if heavy and fill in ("harmonic", "biharmonic", "mixed"):
                raise OptionError(
                    f"the hole at {hole.rect.x0}, {hole.rect.y0} has {hole.area} pixels, {fill} takes "
                    f"{SOLVED}; fill it with patches"
                )
            names.append(fill if touches else "")
        elif _donor_of(donors, labels, hole.rect, k) is not None:
            names.append("donor")
        elif not touches:
            names.append("")
        elif hole.width_px <= THIN_PX:
            names.append("mixed")
        else:
            wide = heavy or hole.width_px > WIDE_PX or _roughness(pixels, labels, valid, hole) > SMOOTH
            names.append("patches" if wide else "mixed")
    return names


def _roughness(pixels: Array, labels: Array, valid: Array, hole: Hole) -> float:
    """Return how much the surroundings of a hole depart from their own blur, of white."""
    around = clipped(hole.rect.grown(int(hole.width_px)), labels.shape[1], labels.shape[0])
    part = slice(around.y0, around.y1), slice(around.x0, around.x1)
    seen = valid[part] & (labels[part] == 0)
    image = np.where(seen[:, :, None], np.nan_to_num(as_float(pixels[part])), 0)
    stacked = np.dstack([image, seen]).astype(np.float32)
    blurred = gaussian(stacked, 2.0)
    mean = blurred[:, :, :-1] / np.maximum(blurred[:, :, -1:], 1e-6)
    return float(np.abs(image - mean)[seen].mean()) if seen.any() else 0.0


def _donor_of(donors: Sequence[Donor], labels: Array, rect: Rect, k: int) -> Donor | None:
    """Return the first donor that shows all of hole k."""
    if not donors:
        return None
    y, x = np.nonzero(labels[rect.y0 : rect.y1, rect.x0 : rect.x1] == k)
    return next((d for d in donors if covers(d, x + rect.x0, y + rect.y0)), None)


def operators(
    source: Array | None, donors: Sequence[Donor], device: str, *, seed: int, variants: Sequence[str]
) -> Mapping[str, Fill]:
    """Return all operators by name; patches are taken from `source` (H, W) bool, where it is given, and
    from `variants` of it.

    Patches are sought on the device; for all else, thin holes, the host is quicker.
    """

    def local(fill: Callable[[Array, Array, Array], Array]) -> Fill:
        return lambda image, hole, valid, place: fill(image, hole, valid)

    def patches(image: Array, hole: Array, valid: Array, place: Place) -> Array:
        where = place.rect
        part = None if source is None else source[where.y0 : where.y1, where.x0 : where.x1]
        found = copy_patches(
            to_device(image, device), hole, valid, part, seed=seed, variants=variants, tell=place.tell
        )
        return to_numpy(found)

    def donor(image: Array, hole: Array, valid: Array, place: Place) -> Array:
        where, (y, x) = place.rect, np.nonzero(hole)
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
