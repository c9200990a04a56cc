"""Feathering: a soft change from one layer to the next across each seam."""

from __future__ import annotations

from typing import Any

from composer.backend import choose, gaussian, namespace, weighted
from composer.blend.compose import hull, owners, place_of
from composer.records import Tile

__all__ = ["feather"]


def feather(tiles: list[Tile], radius: int) -> Any:
    """Blend layers by their ownership blurred over `radius` pixels, normalised where photos end.

    Parameters
    ----------
    tiles : list of Tile
        A rectangle that leaves out what lies farther than `radius` from all that its layer owns changes
        nothing.
    radius : int

    Returns
    -------
    (h, w, C) float32 on the hull of the tiles, meaningless where no tile is valid.
    """
    owner, composite = owners(tiles)
    xp, rect = namespace(composite), hull(tiles)
    weights, own = xp.zeros_like(composite[:, :, 0]), xp.zeros_like(composite[:, :, 0])
    mixed = xp.zeros_like(composite)
    for k, tile in enumerate(tiles):
        here = place_of(tile.rect, rect)
        mine = owner[here] == k
        if not bool(xp.any(mine)):
            continue
        weight = gaussian(xp.astype(mine, xp.float32), radius / 3)
        weight = xp.where(tile.valid, weight, xp.zeros_like(weight))
        mixed[*here, :] = mixed[*here, :] + weighted(tile.image, weight)
        weights[here] = weights[here] + weight
        own[here] = xp.where(mine, weight, own[here])
    alone = own == weights  # exactly that photo, whatever the weights were rounded to
    safe = xp.where(alone, xp.ones_like(weights), weights)
    return choose(alone, composite, mixed / safe[:, :, None])
