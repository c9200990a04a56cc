"""Multiband blending (Burt and Adelson, ACM TOG 1983) of tiles with any valid shape."""

from __future__ import annotations

from typing import Any

from composer.backend import namespace, pyr_down, pyr_up
from composer.blend.brackets import shared_out
from composer.blend.compose import owners
from composer.records import Locality, Tile

__all__ = ["multiband", "multiband_locality", "weighted_bands"]


def multiband_locality(levels: int) -> Locality:
    """Return what tiles need so that their blend equals the whole frame's: 4 * 2^levels around."""
    return Locality(halo=4 << levels, align=1 << levels)


def multiband(tiles: list[Tile], levels: int) -> Any:
    """Blend layers of one rectangle.

    With C the hard composite, every layer's difference D from it is zero outside the layer's photo,
    so no pyramid ever sees a photo's edge against nothing: the result is C plus the differences,
    each band of D weighted by the blurred ownership of its layer.

    Parameters
    ----------
    tiles : list of Tile
        Warped layers with `weight`; their rectangle's origin on a multiple of 2^levels.
    levels : int
        Number of halvings.

    Returns
    -------
    (h, w, C) float32, meaningless where no tile is valid.
    """
    xp = namespace(tiles[0].image)
    owner, composite = owners(tiles)
    bands: list[Any] | None = None
    for k, (tile, share) in enumerate(zip(tiles, shared_out(tiles, owner), strict=True)):
        if not bool(xp.any(share > 0)):
            continue
        if not bool(xp.any(tile.valid & (owner != k))):
            continue
        difference = xp.where(tile.valid[:, :, None], tile.image - composite, xp.zeros_like(composite))
        found = weighted_bands(difference, share, levels)
        bands = found if bands is None else [a + b for a, b in zip(bands, found, strict=True)]
    if bands is None:
        return composite
    blended = bands[-1]
    for band in reversed(bands[:-1]):
        blended = pyr_up(blended, band.shape[:2]) + band
    return composite + blended


def weighted_bands(image: Any, weight: Any, levels: int) -> list[Any]:
    """Return the Laplacian pyramid of `image`, each level times the Gaussian pyramid of `weight`."""
    bands = []
    for _ in range(levels):
        smaller = pyr_down(image)
        bands.append((image - pyr_up(smaller, image.shape[:2])) * weight[:, :, None])
        image, weight = smaller, pyr_down(weight)
    bands.append(image * weight[:, :, None])
    return bands
