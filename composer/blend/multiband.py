"""Multiband blending (Burt and Adelson, ACM TOG 1983) of tiles with any valid shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from composer.backend import choose, namespace, pyr_down, pyr_up, to_numpy, weighted
from composer.blend.brackets import shared_out
from composer.blend.compose import hull, owners, place_of
from composer.records import Locality, Rect, Tile

__all__ = ["multiband", "multiband_locality", "weighted_bands"]


def multiband_locality(levels: int) -> Locality:
    """Return what tiles need so that their blend equals the whole frame's: 4 * 2^levels around."""
    return Locality(halo=4 << levels, align=1 << levels)


def multiband(tiles: list[Tile], levels: int) -> Any:
    """Blend layers.

    With C the hard composite, every layer's difference D from it is zero outside the layer's photo,
    so no pyramid ever sees a photo's edge against nothing: the result is C plus the differences,
    each band of D weighted by the blurred ownership of its layer.

    Parameters
    ----------
    tiles : list of Tile
        Warped layers with `weight`, their rectangles on multiples of 2^levels. A rectangle that leaves out
        what lies 4 * 2^levels or more from all that its layer owns changes nothing.
    levels : int
        Number of halvings.

    Returns
    -------
    (h, w, C) float32 on the hull of the tiles, meaningless where no tile is valid.
    """
    owner, composite = owners(tiles)
    rect, parts = hull(tiles), []
    for k, (tile, share) in enumerate(zip(tiles, shared_out(tiles, owner), strict=True)):
        xp, theirs = namespace(share), tile.valid & (owner[place_of(tile.rect, rect)] != k)
        apart = _around(theirs, tile.rect, levels)
        if apart is None or not bool(xp.any(share > 0)):
            continue
        here, there = place_of(apart, tile.rect), place_of(apart, rect)
        difference = tile.image[*here, :] - composite[*there, :]
        difference = choose(tile.valid[here], difference, xp.zeros_like(difference))
        parts.append(Tile(apart, difference, tile.valid[here], share[here]))
    if not parts:
        return composite
    here = place_of(hull(parts), rect)
    composite[*here, :] = composite[*here, :] + _joined(parts, levels)
    return composite


def _around(mask: Any, rect: Rect, levels: int) -> Rect | None:
    """Return as much of a mask's rectangle as pyramids carry what is True to; None if nothing is."""
    xp, halo, unit = namespace(mask), 4 << levels, max(16, 1 << levels)  # OpenCV rounds odd ends otherwise
    ends = []
    for axis, (start, stop) in ((1, (rect.y0, rect.y1)), (0, (rect.x0, rect.x1))):
        there = np.flatnonzero(to_numpy(xp.any(mask, axis=axis)))
        if not len(there):
            return None
        low, high = start + int(there[0]) - halo, start + int(there[-1]) + 1 + halo
        ends.append((max(low // unit * unit, start), min(-(-high // unit) * unit, stop)))
    (y0, y1), (x0, x1) = ends
    return Rect(x0, y0, x1, y1)


def _joined(parts: list[Tile], levels: int) -> Any:
    """Return the sum of pictures, each band weighted, on the hull of their rectangles."""
    xp, rect = namespace(parts[0].image), hull(parts)
    channels = parts[0].image.shape[2]
    bands = [
        xp.zeros((-(-rect.height >> level), -(-rect.width >> level), channels), dtype=xp.float32)
        for level in range(levels + 1)
    ]
    for part in parts:
        x, y = part.rect.x0 - rect.x0, part.rect.y0 - rect.y0
        for level, band in enumerate(weighted_bands(part.image, part.weight, levels)):
            top, left = y >> level, x >> level
            here = slice(top, top + band.shape[0]), slice(left, left + band.shape[1])
            bands[level][*here, :] = bands[level][*here, :] + band
    blended = bands[-1]
    for band in reversed(bands[:-1]):
        blended = pyr_up(blended, band.shape[:2]) + band
    return blended


def weighted_bands(image: Any, weight: Any, levels: int) -> list[Any]:
    """Return the Laplacian pyramid of `image`, each level times the Gaussian pyramid of `weight`."""
    bands = []
    for _ in range(levels):
        smaller = pyr_down(image)
        bands.append(weighted(image - pyr_up(smaller, image.shape[:2]), weight))
        image, weight = smaller, pyr_down(weight)
    bands.append(weighted(image, weight))
    return bands
