"""The hard composite: every pixel from the layer that owns it, and who comes second."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from composer.backend import choose, distance_transform, namespace
from composer.records import Rect, Tile

__all__ = ["hull", "owners", "place_of", "with_sources"]


def hull(tiles: list[Tile]) -> Rect:
    """Return the smallest rectangle that holds all tiles."""
    x0, y0, x1, y1 = zip(*(tile.rect for tile in tiles), strict=True)
    return Rect(min(x0), min(y0), max(x1), max(y1))


def place_of(part: Rect, rect: Rect) -> tuple[slice, slice]:
    """Return the rows and columns of a rectangle that a part of it covers."""
    x, y = part.x0 - rect.x0, part.y0 - rect.y0
    return slice(y, y + part.height), slice(x, x + part.width)


def owners(tiles: list[Tile]) -> tuple[Any, Any]:
    """Return which tile owns each pixel of their hull, and the picture that makes.

    The owner is the valid tile with the largest weight, the first of equals.

    Returns
    -------
    owner : (h, w) int32, -1 where no tile is valid
    composite : (h, w, C) float32, meaningless there
    """
    xp, rect = namespace(tiles[0].image), hull(tiles)
    size = rect.height, rect.width
    best, owner = xp.full(size, -1.0, dtype=xp.float32), xp.full(size, -1, dtype=xp.int32)
    composite = xp.zeros((*size, tiles[0].image.shape[2]), dtype=xp.float32)
    for k, tile in enumerate(tiles):
        here = place_of(tile.rect, rect)
        wins = tile.valid & (tile.weight > best[here])
        best[here] = xp.where(wins, tile.weight, best[here])
        owner[here] = xp.where(wins, xp.full_like(owner[here], k), owner[here])
        composite[*here, :] = choose(wins, tile.image, composite[*here, :]) if k else tile.image
    return owner, composite


def with_sources(tile: Tile, tiles: list[Tile]) -> Tile:
    """Add to a blended tile what repair and refinement need to know of where it came from.

    All tiles cover the same rectangle.

    Returns
    -------
    Tile
        With `runner_up` (of the layers that are valid there, the one whose own part is nearest, so that
        across a seam the two change places) and its validity, `seam_distance` (to that part, negative on
        the side of the layer with the lower index; limited by the tile) and `synthetic` (none: every pixel
        is a photograph's).
    """
    xp = namespace(tile.image)
    owner, _ = owners(tiles)
    far = xp.full_like(tiles[0].weight, float(max(tile.rect.width, tile.rect.height)))
    to_rival, to_any = far, far
    rival, runner_up = xp.full_like(owner, -1), xp.zeros_like(tiles[0].image)
    for k, layer in enumerate(tiles):
        elsewhere = (owner != k) & (owner >= 0)
        away = xp.minimum(distance_transform(owner != k) - 0.5, far)
        to_any = xp.where(elsewhere, xp.minimum(to_any, away), to_any)
        better = elsewhere & layer.valid & ((rival < 0) | (away < to_rival))
        to_rival = xp.where(better, away, to_rival)
        rival = xp.where(better, xp.full_like(rival, k), rival)
        runner_up = choose(better, layer.image, runner_up)
    distance = xp.where(rival >= 0, to_rival, to_any)
    signed = xp.where((rival >= 0) & (rival > owner), -distance, distance)
    return replace(
        tile,
        runner_up=runner_up,
        runner_up_valid=rival >= 0,
        seam_distance=signed,
        synthetic=xp.zeros_like(tile.valid),
    )
