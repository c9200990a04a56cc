"""A composition taken apart, for retouching elsewhere: each photo warped, and where it is used."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend import to_numpy
from composer.backend.parallel import in_order
from composer.blend.compose import owners
from composer.errors import Cancelled
from composer.media.tiff_write import TIFF_TILE, Page, alpha_plane
from composer.records import Composition, Context, Event, Rect
from composer.render import layers_of, output_dtype, owners_of, quantised, tiles_of, warped

Array = NDArray[Any]

__all__ = ["layer_pages"]


def layer_pages(composition: Composition, context: Context) -> list[Page]:
    """Return two pages for each layer, to be read in order: the photo with alpha, and its seam mask.

    Photos are warped and their exposure corrected, but not blended; a mask is white where the hard
    composite shows the photo. A page covers the layer's rectangle, or the canvas's whole width where
    that runs across the edge of a closed canvas.

    Raises
    ------
    Cancelled
        While the pages are read.
    """
    pages = []
    for k, layer in enumerate(composition.layers):
        rect, photo = layer.rect, layer.photo
        if rect.x1 > composition.width:
            rect = Rect(0, rect.y0, composition.width, rect.y1)
        masks: list[Array] = []  # packed; filled while the photo's page is read
        tiles = _photo(composition, k, rect, context, masks)
        pages += [
            Page(photo.name, rect, photo.channels + 1, output_dtype(composition), tiles),
            Page(f"mask of {photo.name}", rect, 1, "uint8", _mask(rect, masks)),
        ]
    return pages


def _photo(
    composition: Composition, k: int, rect: Rect, context: Context, masks: list[Array]
) -> Iterator[Array]:
    """Yield the tiles of a layer with alpha, and note where it owns the canvas."""
    dtype = output_dtype(composition)

    def work(tile: Rect) -> tuple[Array, Array]:
        if context.cancelled():
            raise Cancelled("stopped on request; nothing was written")
        image, valid, mine = _shown(composition, k, tile, context)
        return np.concatenate([quantised(image, dtype), alpha_plane(valid, dtype)], 2), np.packbits(mine)

    with ThreadPoolExecutor(context.workers) as pool:
        for pixels, mine in in_order(pool, work, tiles_of(rect, TIFF_TILE)):
            masks.append(mine)
            yield pixels
    context.observe(Event("layers", (k + 1) / len(composition.layers)))


def _mask(rect: Rect, masks: list[Array]) -> Iterator[Array]:
    """Yield the tiles of a layer's mask."""
    for tile, packed in zip(tiles_of(rect, TIFF_TILE), masks, strict=True):
        mine = np.unpackbits(packed, count=tile.width * tile.height)
        yield mine.reshape(tile.height, tile.width) * np.uint8(255)


def _shown(composition: Composition, k: int, rect: Rect, context: Context) -> tuple[Array, Array, Array]:
    """Return a layer's pixels (h, w, C), where they are valid, and where no other layer comes first."""
    near = owners_of(composition, rect)
    if k not in near:
        tile = warped(composition, k, rect, context)
        return to_numpy(tile.image), to_numpy(tile.valid), np.zeros((rect.height, rect.width), bool)
    tiles = layers_of(composition, near, rect, context)
    tile = tiles[near.index(k)]
    mine = owners(tiles)[0] == near.index(k)
    channels = composition.layers[k].photo.channels
    return to_numpy(tile.image)[:, :, :channels], to_numpy(tile.valid), to_numpy(mine)
