"""Which operator fills which hole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from composer.mending.diffusion import biharmonic, harmonic, navier_stokes, telea
from composer.mending.filling import Fill, Region, local_regions
from composer.mending.holes import Hole
from composer.mending.transport import coherence_transport

Array = NDArray[Any]
Fills = Literal["harmonic", "biharmonic", "telea", "navier-stokes", "edges"]

__all__ = ["Fills", "chosen"]

LOCAL: dict[str, Fill] = {
    "harmonic": harmonic,
    "biharmonic": biharmonic,
    "telea": telea,
    "navier-stokes": navier_stokes,
    "edges": coherence_transport,
}
SLENDER_PX = 6  # wider than this, what runs across a hole must be carried on


def chosen(
    pixels: Array, labels: Array, holes: Sequence[Hole], able: Array, valid: Array, fill: str, seed: int
) -> tuple[list[str], Mapping[str, Fill], dict[str, list[Region]]]:
    names = [
        "" if not a else fill if fill != "auto" else "biharmonic" if h.width_px < SLENDER_PX else "edges"
        for h, a in zip(holes, able[1:], strict=True)
    ]
    regions = {}
    for name in LOCAL:
        which = np.array([False, *(n == name for n in names)])
        if which.any():
            regions[name] = local_regions(labels, holes, which)
    return names, LOCAL, regions
