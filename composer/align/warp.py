"""Warp layers onto rectangles of the canvas, their exposure corrected."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.projection import photo_map
from composer.backend import namespace, remap
from composer.media.decode import store_of
from composer.records import Composition, Context, Layer, Rect, Tile

Array = NDArray[Any]

__all__ = ["seam_step", "shared_rect", "source_pixels", "warp_layer", "warp_reduced", "window_of"]

SEAM_CELLS = 80_000  # cells of the seam grid a photo, about

_FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0}
_TOE = 0.04045  # below this sRGB is linear


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
        Whether to apply the layer's gain and vignetting.

    Returns
    -------
    Tile
        `image` (h, w, C) float32, zero where `valid` is False.
    """
    xp = namespace(pixels)
    photo = layer.photo
    u, v, valid = photo_map(xp, composition, layer, rect)
    kx, ky = pixels.shape[1] / photo.width, pixels.shape[0] / photo.height
    source_u, source_v = u, v
    if kx != 1 or ky != 1:
        source_u, source_v = (u + 0.5) * kx - 0.5, (v + 0.5) * ky - 0.5
    outside = xp.full_like(u, -9.0)
    found = remap(pixels, xp.where(valid, source_u, outside), xp.where(valid, source_v, outside))
    full = _FULL_SCALE.get(photo.dtype)
    image = xp.astype(found, xp.float32) if found.dtype != xp.float32 else found
    if full is not None:
        image = image * (1 / full)
    if photo.alpha:
        valid = valid & (image[:, :, -1] > 0.5)
        image = image[:, :, :-1]
    if correct:
        image = _expose(xp, image, layer, u, v)
    return Tile(rect, xp.where(valid[:, :, None], image, xp.zeros_like(image)), valid)


def _expose(xp: Any, image: Any, layer: Layer, u: Any, v: Any) -> Any:
    """Multiply the light of sRGB-encoded values by the layer's gain over its vignetting.

    Above the toe sRGB is 1.055 L^(1/2.4) - 0.055, so a factor G in light is the affine map
    v -> v G' + 0.055 (G' - 1) with G' = G^(1/2.4); below it a straight line leads on to black.
    """
    channels = image.shape[2]
    gain = layer.gain if channels == 3 else layer.gain[:1]
    if gain == (1.0,) * channels and layer.vignetting == (0.0, 0.0, 0.0):
        return image
    factor = xp.asarray([g ** (1 / 2.4) for g in gain], dtype=xp.float32)[None, None, :]
    if layer.vignetting != (0.0, 0.0, 0.0):
        photo = layer.photo
        half = math.hypot(photo.width, photo.height) / 2
        x, y = (u - (photo.width - 1) / 2) / half, (v - (photo.height - 1) / 2) / half
        r2 = x * x + y * y
        r2 = xp.where(r2 < 1, r2, xp.ones_like(r2))
        v1, v2, v3 = (-k / 2.4 for k in layer.vignetting)
        factor = factor * xp.exp(((r2 * v3 + v2) * r2 + v1) * r2)[:, :, None]
    lift = (factor - 1) * 0.055
    toe = image * (factor + lift / _TOE)
    return xp.where(image < _TOE, toe, image * factor + lift)


def source_pixels(composition: Composition, layer: Layer, context: Context) -> Array:
    """Return a layer's photo at the resolution the canvas needs: reduced where the canvas is smaller."""
    shrink = max(1, int(layer.camera.focal_px / composition.scale + 0.05))
    return store_of(context).pixels(layer.photo, shrink)


def seam_step(composition: Composition) -> int:
    """Return the power of two at which a photo covers about 80,000 cells of the seam grid."""
    areas = [
        la.photo.width * la.photo.height * (composition.scale / la.camera.focal_px) ** 2
        for la in composition.layers
    ]
    step = 1
    while np.median(areas) / step**2 > SEAM_CELLS:
        step *= 2
    return step


def warp_reduced(small: Composition, k: int, context: Context, correct: bool = True) -> Tile:
    """Warp the whole of layer k for a reduced composition.

    Returns
    -------
    Tile
        Its `weight` is 0 at the photo's edges to 1 at its centre: the distance to the nearest edge.
    """
    layer = small.layers[k]
    tile = warp_layer(small, layer, layer.rect, source_pixels(small, layer, context), correct)
    u, v, _ = photo_map(np, small, layer, layer.rect)
    across = 1 - np.abs(2 * (u + 0.5) / layer.photo.width - 1)
    down = 1 - np.abs(2 * (v + 0.5) / layer.photo.height - 1)
    weight = np.where(tile.valid, np.minimum(across, down), 0).astype(np.float32)
    return replace(tile, weight=np.maximum(weight, 0))


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
    x = window.x0 - tile.rect.x0
    if composition.closed and not 0 <= x < tile.rect.width:
        x %= composition.width
    y = window.y0 - tile.rect.y0
    cut = slice(y, y + window.height), slice(x, x + window.width)
    weight = tile.weight[cut] if tile.weight is not None else None
    return Tile(window, tile.image[cut], tile.valid[cut], weight)
