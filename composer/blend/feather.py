"""Feathering: a soft change from one layer to the next across each seam."""

from __future__ import annotations

from typing import Any

from composer.backend import gaussian, namespace
from composer.blend.compose import owners
from composer.records import Tile

__all__ = ["feather"]


def feather(tiles: list[Tile], radius: int) -> Any:
    """Blend layers by their ownership blurred over `radius` pixels, normalised where photos end.

    Returns
    -------
    (h, w, C) float32, meaningless where no tile is valid.
    """
    xp = namespace(tiles[0].image)
    owner, composite = owners(tiles)
    nothing = xp.zeros_like(tiles[0].weight)
    weights, own, mixed = nothing, nothing, xp.zeros_like(composite)
    for k, tile in enumerate(tiles):
        mine = owner == k
        if not bool(xp.any(mine)):
            continue
        weight = gaussian(xp.astype(mine, xp.float32), radius / 3)
        weight = xp.where(tile.valid, weight, nothing)
        mixed = mixed + tile.image * weight[:, :, None]
        weights, own = weights + weight, xp.where(mine, weight, own)
    alone = own == weights  # exactly that photo, whatever the weights were rounded to
    safe = xp.where(alone, xp.ones_like(weights), weights)
    return xp.where(alone[:, :, None], composite, mixed / safe[:, :, None])
