"""The learned stage on blended tiles: `refine.gan`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend import namespace, to_numpy
from composer.learn.band import seam_of
from composer.learn.refining import gated
from composer.learn.runtime import HALO, TILE, changes, load_refiner
from composer.learn.simulator import planes_of, smooth
from composer.records import Locality, Rect, Tile

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
        return Locality(halo=HALO + TILE)

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
        change = changes(load_refiner(self.weights), seen, _over(tile.rect), tile.rect[:2])
        result = gated(colours, mask, change, self.strength)
        grey = result.mean(2, keepdims=True) if image.shape[2] == 1 else result
        return replace(tile, image=namespace(tile.image).asarray(grey))


def _over(area: Rect) -> Callable[[Callable[[Rect], Array], list[Rect]], list[Array]]:
    """Return what maps over windows; those that touch the halo only are left alone."""
    nothing = np.zeros((4, TILE, TILE), np.float32)
    x0, y0, x1, y1 = Rect(0, 0, area.width, area.height).grown(-HALO - TILE)

    def over(work: Callable[[Rect], Array], windows: list[Rect]) -> list[Array]:
        wanted = [w.x0 < x1 and w.x1 > x0 and w.y0 < y1 and w.y1 > y0 for w in windows]
        return [work(w) if want else nothing for w, want in zip(windows, wanted, strict=True)]

    return over
