"""Warp layers onto rectangles of the canvas, their exposure corrected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.projection import magnification, on_nodes, photo_map, smooth_map
from composer.backend import lookup, namespace, remap, scaled
from composer.backend.parallel import over
from composer.media.decode import store_of
from composer.media.masks import mask_of
from composer.records import Composition, Context, Layer, Rect, Tile

Array = NDArray[Any]

__all__ = [
    "meeting",
    "place_in",
    "place_on",
    "seam_step",
    "shared_rect",
    "source_shrink",
    "warp_all",
    "warp_layer",
    "warp_mask",
    "warp_small",
    "window_of",
]

BLOCK = 64  # canvas pixels: tiles that share no block do not meet
SEAM_CELLS = 80_000  # cells of the seam grid a photo, about

_OPAQUE = {"uint8": 127, "uint16": 32767, "float32": 0.5}  # alpha above it counts
_TOE = 0.04045  # below this sRGB is linear
_KNEE = 0.7  # above this highlights are bent to fit below white


def warp_layer(composition: Composition, layer: Layer, rect: Rect, pixels: Any, correct: bool = True) -> Tile:
    """Warp a layer's photo onto a rectangle of the canvas.

    Parameters
    ----------
    composition : Composition
    layer : Layer
    rect : Rect
    pixels : (h, w, C) or (h, w, C + 1) array
        The photo, whole, at any resolution; on the device where the work is to be done.
    correct : bool
        Whether to apply the layer's gain, vignetting and factors.

    Returns
    -------
    Tile
        `image` (h, w, C) float32; where `valid` is False it says nothing.
    """
    maps = photo_map(namespace(pixels), composition, layer, rect)
    sampled = _sampled(layer, pixels, maps, composition.white if correct else None)
    return Tile(rect, *sampled, bracket=layer.bracket)


def warp_small(
    composition: Composition, layer: Layer, rect: Rect, pixels: Array, correct: bool = True
) -> Tile:
    """Warp a layer as `warp_layer` does, but for plans: by `smooth_map`.

    Returns
    -------
    Tile
        Its `weight` is 0 at the photo's edges to 1 at its centre: the distance to the nearest edge.
    """
    u, v, inside = smooth_map(composition, layer, rect)
    image, valid = _sampled(layer, pixels, (u, v, inside), composition.white if correct else None)
    across = 1 - np.abs(u * (2 / layer.photo.width) + (1 / layer.photo.width - 1))
    down = 1 - np.abs(v * (2 / layer.photo.height) + (1 / layer.photo.height - 1))
    weight = np.where(valid, np.minimum(across, down), np.float32(0))
    return Tile(rect, image, valid, np.maximum(weight, 0), bracket=layer.bracket)


def _sampled(layer: Layer, pixels: Any, maps: tuple[Any, Any, Any], white: float | None) -> tuple[Any, Any]:
    """Return image and validity of a photo at maps u, v, inside; uncorrected where `white` is None."""
    xp = namespace(pixels)
    photo, correct = layer.photo, white is not None
    u, v, valid = maps
    kx, ky = pixels.shape[1] / photo.width, pixels.shape[0] / photo.height
    same = kx == 1 and ky == 1
    x, y = (u, v) if same else ((u + 0.5) * kx - 0.5, (v + 0.5) * ky - 0.5)
    found = remap(pixels, x, y)
    if pixels.shape[2] > photo.channels:
        valid = valid & (found[:, :, -1] > _OPAQUE[photo.dtype])
        found = found[:, :, :-1]
    gain = layer.gain if correct else (1.0, 1.0, 1.0)
    image = _exposed(xp, found, gain if photo.channels == 3 else gain[:1], white or 1.0)
    if correct and layer.vignetting != (0.0, 0.0, 0.0):
        image = scaled(image, _brightening(xp, layer, u, v))
    if correct and layer.factors is not None:
        image = image * on_nodes(xp, layer.photo, layer.factors, (u, v))
    return image, valid


def exposed(encoded: Any, gain: float, white: float = 1.0) -> Any:
    """Multiply the light of sRGB-encoded values 0..1 by a gain, and bend what exceeds white below it.

    Above the toe sRGB is 1.055 L^(1/2.4) - 0.055, so a factor G in light is the affine map
    v -> v G' + 0.055 (G' - 1) with G' = G^(1/2.4); below it a straight line leads on to black.
    Where `white` exceeds 1, values above 0.7 are bent so that `white` becomes 1, with slope 1 at 0.7.
    """
    xp = namespace(encoded)
    factor = gain ** (1 / 2.4)
    lift = 0.055 * (factor - 1)
    found = xp.where(encoded < _TOE, encoded * (factor + lift / _TOE), encoded * factor + lift)
    if white <= 1:
        return found
    room, reach = 1 - _KNEE, white - _KNEE
    above = xp.where(found > _KNEE, found - _KNEE, xp.zeros_like(found))
    return xp.where(found > _KNEE, _KNEE + above / (1 + above * ((reach - room) / (room * reach))), found)


def _exposed(xp: Any, found: Any, gain: tuple[float, ...], white: float) -> Any:
    """Turn stored values into float32 0..1 and correct their exposure: by table for integers."""
    if found.dtype == xp.float32:
        if set(gain) == {1.0} and white <= 1:
            return found
        return xp.stack([exposed(found[:, :, c], g, white) for c, g in enumerate(gain)], axis=-1)
    top = int(xp.iinfo(found.dtype).max)
    codes = np.arange(top + 1, dtype=np.float32) / top
    table = np.stack([exposed(codes, g, white) for g in gain], -1).astype(np.float32)
    return lookup(found, table)


def _brightening(xp: Any, layer: Layer, u: Any, v: Any) -> Any:
    """Return the factor (h, w) on encoded values that undoes the lens's fall-off.

    As sRGB is nearly a power law, a factor in light is nearly a factor in encoded values.
    """
    photo = layer.photo
    half = math.hypot(photo.width, photo.height) / 2
    x, y = (u - (photo.width - 1) / 2) * (1 / half), (v - (photo.height - 1) / 2) * (1 / half)
    r2 = x * x + y * y
    r2 = xp.where(r2 < 1, r2, xp.ones_like(r2))
    v1, v2, v3 = (-k / 2.2 for k in layer.vignetting)
    return xp.exp(((r2 * v3 + v2) * r2 + v1) * r2)


def source_shrink(composition: Composition, layer: Layer) -> int:
    """Return by what a layer's photo is reduced before it is warped: more than 1 on smaller canvases."""
    return max(1, int(1 / magnification(composition, layer)[1] + 0.05))


def seam_step(composition: Composition) -> int:
    """Return the power of two at which a photo covers about 80,000 cells of the seam grid."""
    areas = [
        la.photo.width * la.photo.height * magnification(composition, la)[0] ** 2 for la in composition.layers
    ]
    step = 1
    while np.median(areas) / step**2 > SEAM_CELLS:
        step *= 2
    return step


def warp_all(small: Composition, context: Context, stage: str, correct: bool = True) -> list[Tile]:
    """Warp every layer, whole, for a reduced composition, telling progress as `stage`.

    Returns
    -------
    list of Tile
        Each `weight` is 0 at the photo's edges to 1 at its centre: the distance to the nearest edge.
    """
    return over(context, stage, lambda k: _warp_whole(small, k, context, correct), range(len(small.layers)))


def _warp_whole(small: Composition, k: int, context: Context, correct: bool) -> Tile:
    layer = small.layers[k]
    pixels = store_of(context).pixels(layer.photo, source_shrink(small, layer))
    return warp_small(small, layer, layer.rect, pixels, correct)


def warp_mask(small: Composition, layer: Layer, png: bytes) -> Array:
    """Return (h, w) bool on the layer's rectangle: cells of a reduced canvas in or beside a photo's mask.

    Two cells more on every side, so that full resolution, which looks at the cells around a pixel, finds
    the whole mask inside.
    """
    photo = layer.photo
    shrink = max(1.0, layer.camera.focal_px / small.scale)
    height, width = max(1, round(photo.height / shrink)), max(1, round(photo.width / shrink))
    mask = mask_of(png, height, width, 2).astype(np.uint8)
    u, v, inside = photo_map(np, small, layer, layer.rect)
    u, v = (u + 0.5) * (width / photo.width) - 0.5, (v + 0.5) * (height / photo.height) - 0.5
    found = cv2.remap(mask, u.astype(np.float32), v.astype(np.float32), cv2.INTER_NEAREST)
    return np.asarray((found > 0) & inside)


def shared_rect(a: Rect, b: Rect, composition: Composition) -> Rect | None:
    """Return the rectangle that two layers share, in a's unrolled columns; None where they do not meet."""
    best: Rect | None = None
    for turn in (-1, 0, 1) if composition.closed else (0,):
        shift = turn * composition.width
        x0, x1 = max(a.x0, b.x0 + shift), min(a.x1, b.x1 + shift)
        shared = Rect(x0, max(a.y0, b.y0), x1, min(a.y1, b.y1))
        wider = best is None or shared.width > best.width
        if shared.width > 0 and shared.height > 0 and wider:
            best = shared
    return best


def window_of(tile: Tile, window: Rect, composition: Composition) -> Tile:
    """Cut a window out of a layer's tile; on a closed canvas the window may lie a full turn away."""
    cut = place_in(tile, window, composition)
    weight = tile.weight[cut] if tile.weight is not None else None
    return Tile(window, tile.image[cut], tile.valid[cut], weight)


def place_in(tile: Tile, window: Rect, composition: Composition) -> tuple[slice, slice]:
    """Return the rows and columns of a tile that a window covers, also a full turn away."""
    x, y = window.x0 - tile.rect.x0, window.y0 - tile.rect.y0
    if composition.closed and not 0 <= x < tile.rect.width:
        x %= composition.width
    return slice(y, y + window.height), slice(x, x + window.width)


def place_on(composition: Composition, rect: Rect) -> tuple[slice, slice | Array]:
    """Return the canvas's rows and columns of a rectangle, which may run past the edge of a closed one."""
    rows = slice(rect.y0, rect.y1)
    if rect.x0 >= 0 and rect.x1 <= composition.width:
        return rows, slice(rect.x0, rect.x1)  # a view: gathering columns takes several times as long
    return rows, np.arange(rect.x0, rect.x1) % composition.width


def meeting(composition: Composition, tiles: Sequence[Tile]) -> list[tuple[int, int]]:
    """Return the pairs (i, j) of tiles that may overlap, sorted: those in one 64 x 64 block of the canvas."""
    blocks: dict[tuple[int, int], list[int]] = {}
    for k, tile in enumerate(tiles):
        columns = np.arange(tile.rect.x0, tile.rect.x1) % composition.width
        for y in range(tile.rect.y0 // BLOCK, -(-tile.rect.y1 // BLOCK)):
            for x in np.unique(columns // BLOCK).tolist():
                blocks.setdefault((y, x), []).append(k)
    return sorted({(i, j) for block in blocks.values() for i in block for j in block if i < j})
