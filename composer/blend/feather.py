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
    total, weights = xp.zeros_like(tiles[0].weight), xp.zeros_like(tiles[0].weight)
    mixed = xp.zeros_like(composite)
    for k, tile in enumerate(tiles):
        mine = owner == k
        if not bool(xp.any(mine)):
            continue
        weight = gaussian(xp.astype(mine, xp.float32), radius / 3)
        weight = xp.where(tile.valid, weight, total)
        weight = xp.where(tile.valid, weight, xp.zeros_like(weight))
        mixed = mixed + tile.image * weight[:, :, None]
        weights = weights + weight
    safe = xp.where(weights > 1e-6, weights, xp.ones_like(weights))
    return xp.where((weights > 1e-6)[:, :, None], mixed / safe[:, :, None], composite)
