"""The hard composite: every pixel from the layer that owns it."""

from __future__ import annotations

from typing import Any

from composer.backend import namespace
from composer.records import Tile

__all__ = ["owners"]


def owners(tiles: list[Tile]) -> tuple[Any, Any]:
    """Return which tile owns each pixel and the picture that makes.

    The owner is the valid tile with the largest weight, the first of equals.

    Returns
    -------
    owner : (h, w) int32, -1 where no tile is valid
    composite : (h, w, C) float32, meaningless there
    """
    xp = namespace(tiles[0].image)
    best = xp.where(tiles[0].valid, tiles[0].weight, xp.full_like(tiles[0].weight, -1.0))
    owner = xp.where(tiles[0].valid, xp.zeros_like(best), xp.full_like(best, -1.0))
    composite = tiles[0].image
    for k, tile in enumerate(tiles[1:], 1):
        wins = tile.valid & (tile.weight > best)
        best = xp.where(wins, tile.weight, best)
        owner = xp.where(wins, xp.full_like(owner, float(k)), owner)
        composite = xp.where(wins[:, :, None], tile.image, composite)
    return xp.astype(owner, xp.int32), composite
