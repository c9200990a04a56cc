"""The hard composite: every pixel from the layer that owns it, and who comes second."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from composer.backend import distance_transform, namespace
from composer.records import Tile

__all__ = ["owners", "with_sources"]


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


def with_sources(tile: Tile, tiles: list[Tile]) -> Tile:
    """Add to a blended tile what repair and refinement need to know of where it came from.

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
    rival, runner_up = xp.full_like(owner, -1), xp.zeros_like(tile.image)
    for k, layer in enumerate(tiles):
        elsewhere = (owner != k) & (owner >= 0)
        away = xp.minimum(distance_transform(owner != k) - 0.5, far)
        to_any = xp.where(elsewhere, xp.minimum(to_any, away), to_any)
        better = elsewhere & layer.valid & ((rival < 0) | (away < to_rival))
        to_rival = xp.where(better, away, to_rival)
        rival = xp.where(better, xp.full_like(rival, k), rival)
        runner_up = xp.where(better[:, :, None], layer.image, runner_up)
    distance = xp.where(rival >= 0, to_rival, to_any)
    signed = xp.where((rival >= 0) & (rival > owner), -distance, distance)
    return replace(
        tile,
        runner_up=runner_up,
        runner_up_valid=rival >= 0,
        seam_distance=signed,
        synthetic=xp.zeros_like(tile.valid),
    )
