"""Warp layers onto rectangles of the canvas, their exposure corrected."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.canvas import directions_at
from composer.align.lens import seen_at
from composer.align.projection import magnification, on_nodes, photo_map, smooth_map
from composer.backend import lookup, namespace, remap, split_alpha, weighted
from composer.backend.parallel import over
from composer.media.decode import store_of
from composer.media.masks import mask_of
from composer.records import Composition, Context, Layer, Rect, Tile

Array = NDArray[Any]

__all__ = [
    "compact",
    "meeting",
    "place_in",
    "place_on",
    "seam_step",
    "shared_rect",
    "source_shrink",
    "values_of",
    "warp_all",
    "warp_layer",
    "warp_mask",
    "warp_small",
    "white_of",
    "window_of",
]

EXACT = 1e-3  # of a pixel: what lies nearer to whole pixels is not resampled
EVEN = 1.05  # gains of the channels that differ less leave white as it is
BLOCK = 64  # canvas pixels: tiles that share no block do not meet
SEAM_CELLS = 80_000  # cells of the seam grid a photo, about

_OPAQUE = {"uint8": 127, "uint16": 32767, "float32": 0.5}  # alpha above it counts
_NEARLY = 0.94  # stored values beyond this may have been clipped
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
    shift = _whole_shift(composition, layer, pixels)
    if shift is not None:
        found, valid = _moved(pixels, rect, shift)
        return Tile(
            rect,
            *_as_seen(layer, found, valid, composition.white if correct else None),
            bracket=layer.bracket,
        )
    maps = photo_map(namespace(pixels), composition, layer, rect)
    sampled = _sampled(layer, pixels, maps, composition.white if correct else None)
    return Tile(rect, *sampled, bracket=layer.bracket)


def _whole_shift(composition: Composition, layer: Layer, pixels: Any) -> tuple[int, int] | None:
    """Return (dx, dy) where canvas pixel (x, y) is exactly pixel (x + dx, y + dy) of a photo: of a layer
    that lies in its place already. None elsewhere, and where its brightness depends on the place.
    """
    photo, camera = layer.photo, layer.camera
    plain = layer.mesh is None and layer.factors is None and layer.vignetting == (0.0, 0.0, 0.0)
    if composition.projection != "affine" or not plain or camera.distortion != (0.0, 0.0, 0.0):
        return None
    if pixels.shape[:2] != (photo.height, photo.width):
        return None
    x, y = (np.array([a, b - 1]) for a, b in zip(layer.rect[:2], layer.rect[2:], strict=True))
    u, v, _ = seen_at(photo, camera, directions_at(composition, x, y, camera.rotation))
    dx, dy = u - x, v - y[:, None]
    whole = round(float(dx[0, 0])), round(float(dy[0, 0]))
    off = max(float(np.abs(dx - whole[0]).max()), float(np.abs(dy - whole[1]).max()))
    return whole if off < EXACT else None


def _moved(pixels: Any, rect: Rect, shift: tuple[int, int]) -> tuple[Any, Any]:
    """Return the pixels (h, w, C) of a photo that a rectangle shows after a shift, and where it has some."""
    xp, (height, width) = namespace(pixels), pixels.shape[:2]
    left, top = rect.x0 + shift[0], rect.y0 + shift[1]
    x0, y0, x1, y1 = (
        min(max(a, 0), size)
        for a, size in zip(
            (left, top, left + rect.width, top + rect.height), (width, height) * 2, strict=True
        )
    )
    part = pixels[y0:y1, x0:x1, :]
    if part.shape[:2] == (rect.height, rect.width):
        return part, xp.ones(part.shape[:2], dtype=xp.bool)
    found = xp.zeros((rect.height, rect.width, pixels.shape[2]), dtype=pixels.dtype)
    valid = xp.zeros((rect.height, rect.width), dtype=xp.bool)
    there = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    if x0 < x1 and y0 < y1:
        found[*there, :], valid[there] = part, True
    return found, valid


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
    xp, photo = namespace(pixels), layer.photo
    u, v, valid = maps
    kx, ky = pixels.shape[1] / photo.width, pixels.shape[0] / photo.height
    same = kx == 1 and ky == 1
    found = remap(pixels, u if same else (u + 0.5) * kx - 0.5, v if same else (v + 0.5) * ky - 0.5)
    if white is None:
        return _as_seen(layer, found, valid, None)
    image, valid = _as_seen(layer, found, valid, white if layer.factors is None else 1.0)
    if layer.vignetting != (0.0, 0.0, 0.0):
        image = weighted(image, _brightening(xp, layer, u, v))
    if layer.factors is not None:  # bent at last: before, it would be brightened past white
        image = _bent(image * on_nodes(xp, layer.photo, layer.factors, (u, v)), white)
    return image, valid


def _as_seen(layer: Layer, found: Any, valid: Any, white: float | None) -> tuple[Any, Any]:
    """Return stored values as float32 0..1, corrected by the gain unless `white` is None, and validity."""
    photo = layer.photo
    if found.shape[2] > photo.channels:
        found, alpha = split_alpha(found)
        valid = valid & (alpha > _OPAQUE[photo.dtype])
    gain = layer.gain if white is not None else (1.0, 1.0, 1.0)
    return _exposed(namespace(found), found, gain if photo.channels == 3 else gain[:1], white or 1.0), valid


def exposed(encoded: Any, gain: float, white: float = 1.0) -> Any:
    """Multiply the light of sRGB-encoded values 0..1 by a gain, and bend what exceeds white below it.

    Above the toe sRGB is 1.055 L^(1/2.4) - 0.055, so a factor G in light is the affine map
    v -> v G' + 0.055 (G' - 1) with G' = G^(1/2.4); below it a straight line leads on to black.
    Where `white` exceeds 1, values above 0.7 are bent so that `white` becomes 1, with slope 1 at 0.7.
    """
    xp = namespace(encoded)
    factor = gain ** (1 / 2.4)
    lift = 0.055 * (factor - 1)
    return _bent(xp.where(encoded < _TOE, encoded * (factor + lift / _TOE), encoded * factor + lift), white)


def _bent(values: Any, white: float) -> Any:
    """Bend values above the knee so that `white`, where it exceeds 1, becomes 1."""
    if white <= 1:
        return values
    xp, room, reach = namespace(values), 1 - _KNEE, white - _KNEE
    above = xp.maximum(values - _KNEE, xp.zeros_like(values))
    return values - above + above / (1 + above * ((reach - room) / (room * reach)))


def white_of(brightest: Sequence[Array]) -> float:
    """Return the value, 1 to 2, that 99.7 % of the largest channels of layers, (N,) each, do not exceed."""
    every = np.concatenate(brightest)
    return float(np.clip(np.percentile(every, 99.7), 1, 2)) if len(every) else 1.0


def _exposed(xp: Any, found: Any, gain: tuple[float, ...], white: float) -> Any:
    """Turn stored values into float32 0..1 and correct their exposure: by table for integers."""
    if found.dtype == xp.float32:
        if set(gain) == {1.0} and white <= 1:
            return found
        return xp.stack([exposed(found[:, :, c], g, white) for c, g in enumerate(gain)], axis=-1)
    top = int(xp.iinfo(found.dtype).max)
    values = lookup(found, _table(top, gain, white))
    if max(gain) > EVEN * min(gain):
        _bleach(xp, values, found, top)
    return values


def _bleach(xp: Any, values: Any, found: Any, top: int) -> None:
    """Raise channels of `values` (h, w, 3) that were clipped to the brightest at their pixel, in place.

    How much light there was is not known: what was white would take the colour of the gains, a blue sky
    that of the channels that were not clipped.
    """
    limit = int(_NEARLY * top)
    (rows,) = xp.nonzero(xp.max(found, axis=(1, 2)) > limit)
    if rows.shape[0] == 0:
        return
    down = slice(int(rows[0]), int(rows[-1]) + 1)
    (columns,) = xp.nonzero(xp.max(found[down, :, :], axis=(0, 2)) > limit)
    across = slice(int(columns[0]), int(columns[-1]) + 1)
    part, clipped = values[down, across, :], lookup(found[down, across, :], _clipping(top))
    brightest = xp.maximum(xp.maximum(part[:, :, 0], part[:, :, 1]), part[:, :, 2])
    rise = weighted(clipped, brightest)
    rise -= clipped * part
    values[down, across, :] = part + rise


@functools.cache
def _clipping(top: int) -> Array:
    """Return how far stored codes (top + 1, 3) are clipped, 0 to 1: JPEG and noise lead some below white."""
    codes = np.arange(top + 1, dtype=np.float32) / top
    return np.repeat(np.clip((codes - _NEARLY) / (1 - _NEARLY), 0, 1)[:, None], 3, 1)


@functools.lru_cache(maxsize=16)
def _table(top: int, gain: tuple[float, ...], white: float) -> Array:
    """Return the float32 values (top + 1, C) of stored codes, corrected: every tile asks for its photo's."""
    codes = np.arange(top + 1, dtype=np.float32) / top
    return np.stack([exposed(codes, g, white) for g in gain], -1).astype(np.float32)


def _brightening(xp: Any, layer: Layer, u: Any, v: Any) -> Any:
    """Return the factor (h, w) on encoded values that undoes the lens's fall-off.

    As sRGB is nearly a power law, a factor in light is nearly a factor in encoded values.
    """
    photo = layer.photo
    r2, across = u - (photo.width - 1) / 2, v - (photo.height - 1) / 2
    r2 *= r2
    across *= across
    r2 += across
    r2 *= 4 / (photo.width**2 + photo.height**2)
    r2 = xp.clip(r2, 0, 1)
    v1, v2, v3 = (-k / 2.2 for k in layer.vignetting)
    power = r2 * v3
    for term in (v2, v1):
        power += term
        power *= r2
    return xp.exp(power)


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


def warp_all(
    small: Composition, context: Context, stage: str, correct: bool = True, compacted: bool = False
) -> list[Tile]:
    """Warp every layer, whole, for a reduced composition, telling progress as `stage`.

    Returns
    -------
    list of Tile
        Each `weight` is 0 at the photo's edges to 1 at its centre: the distance to the nearest edge. Tiles
        are as `compact` returns them where that is asked for.
    """

    def warp(k: int) -> Tile:
        layer = small.layers[k]
        pixels = store_of(context).pixels(layer.photo, source_shrink(small, layer))
        tile = warp_small(small, layer, layer.rect, pixels, correct)
        return compact(tile) if compacted else tile

    return over(context, stage, warp, range(len(small.layers)))


def compact(tile: Tile) -> Tile:
    """Return a tile in a third of its memory, image uint8, weight float16: enough to compare layers."""
    weight = None if tile.weight is None else tile.weight.astype(np.float16)
    image = cv2.convertScaleAbs(np.maximum(tile.image, 0), alpha=255).reshape(tile.image.shape)
    return replace(tile, image=image, weight=weight)


def values_of(tile: Tile) -> Array:
    """Return a tile's image as float32, 0..1, also of a compact tile."""
    return tile.image * np.float32(1 / 255) if tile.image.dtype == np.uint8 else np.asarray(tile.image)


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
