"""The learned stage on blended tiles: `refine.gan`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from composer.backend import namespace, to_numpy
from composer.learn.refining import agreement, gated
from composer.learn.runtime import ALIGN, HALO, load_refiner
from composer.learn.simulator import FAR, planes_of, smooth
from composer.records import Locality, Tile

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
        return Locality(halo=HALO + int(FAR), align=ALIGN)

    def apply(self, tile: Tile) -> Tile:
        if tile.seam_distance is None:
            return tile
        distance, valid = to_numpy(tile.seam_distance), to_numpy(tile.valid)
        mask = smooth(2 * (1 - np.abs(distance) / min(self.reach, FAR))).astype(np.float32) * valid
        if not mask.any():
            return tile
        image = to_numpy(tile.image)
        colours, other = (np.broadcast_to(p, (*mask.shape, 3)) for p in (image, to_numpy(tile.runner_up)))
        seen = planes_of(
            colours, mask, distance, valid, other, to_numpy(tile.runner_up_valid), to_numpy(tile.synthetic)
        )
        trust = agreement(colours, other, to_numpy(tile.runner_up_valid), to_numpy(tile.synthetic))
        result = gated(colours, mask, load_refiner(self.weights)(seen), trust, self.strength)
        grey = result.mean(2, keepdims=True) if image.shape[2] == 1 else result
        return replace(tile, image=namespace(tile.image).asarray(grey))
