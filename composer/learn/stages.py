"""The learned stage on blended tiles: `refine.gan`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend import namespace, to_numpy
from composer.learn.band import seam_of
from composer.learn.refining import gated
from composer.learn.runtime import HALO, TILE, changes, load_refiner
from composer.learn.simulator import planes_of, smooth
from composer.records import Locality, Tile

Array = NDArray[Any]

__all__ = ["RefineGan"]


@dataclass(frozen=True)
class RefineGan:
    """Mend what is wrong along seams, with the other photo at hand; elsewhere nothing changes.

    Options: `reach`, how far from a seam, in pixels; `strength`, the share of each change that is made;
    `weights`, a file of others than those that come with the package.
    """

    reach: float = 24.0
    strength: float = 1.0
    weights: str = ""

    def locality(self) -> Locality:
        return Locality(halo=HALO + math.ceil(self.reach), align=TILE)

    def apply(self, tile: Tile) -> Tile:
        if tile.seam_distance is None:
            return tile
        distance, valid = to_numpy(tile.seam_distance), to_numpy(tile.valid)
        mask = smooth(2 * (1 - np.abs(distance) / self.reach)).astype(np.float32) * valid
        if not mask.any():
            return tile
        image = to_numpy(tile.image)
        colours, other = (np.broadcast_to(p, (*mask.shape, 3)) for p in (image, to_numpy(tile.runner_up)))
        seen = planes_of(
            colours, mask, seam_of(distance, self.reach), valid, other, to_numpy(tile.runner_up_valid),
            to_numpy(tile.synthetic),
        )  # fmt: skip
        change = changes(
            load_refiner(self.weights), seen, lambda work, windows: [work(w) for w in windows],
            corner=tile.rect[:2], margin=self.locality().halo,
        )  # fmt: skip
        result = gated(colours, mask, change, self.strength)
        grey = result.mean(2, keepdims=True) if image.shape[2] == 1 else result
        return replace(tile, image=namespace(tile.image).asarray(grey))
