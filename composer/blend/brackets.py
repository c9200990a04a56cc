"""Bracketed views inside a blend: they own their place together, each by how well exposed it is there.

Exposure fusion (Mertens, Kautz, Van Reeth, Pacific Graphics 2007) is a multiband blend with soft weights. So
views of one bracket need no step of their own: the blend's hard ownership is shared out among them.
"""

from __future__ import annotations

from typing import Any

from composer.backend import namespace
from composer.blend.compose import hull, place_of
from composer.records import Tile

__all__ = ["exposedness", "shared_out"]

MIDDLE, SPREAD = 0.5, 0.2
LEAST = 1e-6  # where all views are burnt out or black, they count alike


def exposedness(image: Any) -> Any:
    """Return (h, w) float32: how near (h, w, C) values are to the middle, 1 to nearly 0 (equation 1)."""
    xp = namespace(image)
    away = image - MIDDLE
    return xp.exp(xp.sum(away * away, axis=2) * (-0.5 / SPREAD**2)) + LEAST


def shared_out(tiles: list[Tile], owner: Any) -> list[Any]:
    """Return each tile's share (h, w) float32 of the blend: all where it is the owner, or by exposure.

    Parameters
    ----------
    tiles : list of Tile
        Those with the same number as `bracket` share.
    owner : (h, w) int32
        Which tile owns each pixel of their hull.
    """
    xp, rect = namespace(owner), hull(tiles)
    places = [place_of(tile.rect, rect) for tile in tiles]
    shares = [xp.astype(owner[here] == k, xp.float32) for k, here in enumerate(places)]
    for bracket in sorted({t.bracket for t in tiles if t.bracket is not None}):
        views = [k for k, tile in enumerate(tiles) if tile.bracket == bracket]
        if len(views) < 2:
            continue
        held = xp.zeros(owner.shape, dtype=xp.float32)
        total, weights = xp.zeros_like(held), {}
        for k in views:
            here, tile = places[k], tiles[k]
            weights[k] = xp.where(tile.valid, exposedness(tile.image), xp.zeros_like(shares[k]))
            held[here], total[here] = held[here] + shares[k], total[here] + weights[k]
        safe = xp.where(total > 0, total, xp.ones_like(total))
        for k, weight in weights.items():
            shares[k] = held[places[k]] * weight / safe[places[k]]
    return shares
