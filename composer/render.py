"""Render a composition at full resolution, tile by tile, to an array or to a file."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.warp import source_shrink, warp_layer
from composer.backend import choose, namespace, to_device, to_numpy
from composer.backend.parallel import AHEAD, in_order
from composer.blend.compose import place_of, with_sources
from composer.blend.lowbands import low_field
from composer.blend.ownership import Cells, cells_of, share_of, window_owned
from composer.errors import Cancelled
from composer.media.decode import store_of
from composer.records import Composition, Context, Event, Locality, Rect, Tile

Array = NDArray[Any]

__all__ = [
    "BlendStage",
    "TileStage",
    "canvas_channels",
    "layers_of",
    "output_dtype",
    "owners_of",
    "quantised",
    "render",
    "render_bands",
    "render_tile",
    "tiles_of",
    "warped",
]

TILE = {"cpu": 256, "cuda": 1024}  # what caches hold; what launching kernels is little beside


class BlendStage(Protocol):
    """A local operator that makes one tile of several."""

    def locality(self) -> Locality:
        """Return what it needs around a tile."""

    def blend(self, tiles: list[Tile]) -> Tile:
        """Blend warped layers, each with what it owns and the halo around; return the hull of their tiles."""


class TileStage(Protocol):
    """A local operator on one blended tile."""

    def locality(self) -> Locality:
        """Return what it needs around a tile."""

    def apply(self, tile: Tile) -> Tile:
        """Change one tile."""


def output_dtype(composition: Composition) -> str:
    """Return the widest sample type among the photos: what goes in as 16-bit comes out as 16-bit."""
    order = ["uint8", "uint16", "float32"]
    return max((la.photo.dtype for la in composition.layers), key=order.index)


def render(
    composition: Composition,
    blend: BlendStage,
    context: Context,
    stages: tuple[TileStage, ...] = (),
    tile_size: int | None = None,
) -> tuple[Array, Array]:
    """Render the whole canvas into memory.

    Returns
    -------
    image : (H, W, C) of the photos' type
    valid : (H, W) bool
    """
    channels = canvas_channels(composition)
    image = np.zeros((composition.height, composition.width, channels), output_dtype(composition))
    valid = np.zeros(image.shape[:2], bool)
    for top, rows, covered in render_bands(composition, blend, context, stages, tile_size):
        image[top : top + len(rows)], valid[top : top + len(rows)] = rows, covered
    return image, valid


def render_bands(
    composition: Composition,
    blend: BlendStage,
    context: Context,
    stages: tuple[TileStage, ...] = (),
    tile_size: int | None = None,
) -> Iterator[tuple[int, Array, Array]]:
    """Render the canvas in rows of tiles, from the top; photos are dropped when nothing below shows them.

    Parameters
    ----------
    composition : Composition
    blend : BlendStage
    context : Context
    stages : tuple of TileStage
        Applied to each blended tile, in order.
    tile_size : int or None
        Pixels, a multiple of the blend's alignment; None: what suits the device. The result does not depend
        on it.

    Yields
    ------
    (top, image (h, W, C), valid (h, W))

    Raises
    ------
    Cancelled
    PhotoError
        A photo is damaged, missing or changed.
    """
    align = math.lcm(blend.locality().align, *(stage.locality().align for stage in stages))
    tile_size = max(align, (tile_size or TILE[context.device]) // align * align)
    tops = range(0, composition.height, tile_size)
    lefts = range(0, composition.width, tile_size)
    total, done, started = len(tops) * len(lefts), 0, time.perf_counter()
    channels, dtype = canvas_channels(composition), output_dtype(composition)
    for layer in composition.layers:
        if source_shrink(composition, layer) == 1:
            store_of(context).forget(layer.photo, but=1)

    def work(rect: Rect) -> tuple[Array, Array]:
        if context.cancelled():
            raise Cancelled("stopped on request; nothing was written")
        tile = render_tile(composition, rect, blend, context, stages)
        return quantised(to_numpy(tile.image), dtype), to_numpy(tile.valid)

    with ThreadPoolExecutor(context.workers) as pool:
        canvas = Rect(0, 0, composition.width, composition.height)
        ahead = min(AHEAD, max(len(lefts), 2 * context.workers))  # a row: those below need further photos
        results = in_order(pool, work, tiles_of(canvas, tile_size), ahead)
        for y in tops:
            height = min(tile_size, composition.height - y)
            image = np.zeros((height, composition.width, channels), dtype)
            valid = np.zeros((height, composition.width), bool)
            for x in lefts:
                part, covered = next(results)
                image[:, x : x + part.shape[1]], valid[:, x : x + part.shape[1]] = part, covered
                done += 1
            context.observe(Event("render", done / total))
            below = Rect(0, y + tile_size, tile_size, y + 2 * tile_size)
            _forget_above(composition, blend.locality().needed(_areas(below, stages)[0]).y0, context)
            yield y, image, valid
    context.observe(Event("render", 1.0, time.perf_counter() - started))


def _forget_above(composition: Composition, top: int, context: Context) -> None:
    """Drop the photos that no row from `top` on shows."""
    for layer in composition.layers:
        if layer.rect.y1 <= top:
            store_of(context).forget(layer.photo)


def tiles_of(rect: Rect, size: int) -> Iterator[Rect]:
    """Cut a rectangle into tiles, row by row."""
    for y in range(rect.y0, rect.y1, size):
        for x in range(rect.x0, rect.x1, size):
            yield Rect(x, y, min(x + size, rect.x1), min(y + size, rect.y1))


def _areas(rect: Rect, stages: tuple[TileStage, ...]) -> list[Rect]:
    """Return what each stage is to be handed so that the last makes a rectangle, and that rectangle."""
    areas = [rect]
    for stage in reversed(stages):
        areas.insert(0, stage.locality().needed(areas[0]))
    return areas


def render_tile(
    composition: Composition,
    rect: Rect,
    blend: BlendStage,
    context: Context,
    stages: tuple[TileStage, ...] = (),
) -> Tile:
    """Render one rectangle: warp what touches it and its halo, blend, apply the stages, crop."""
    areas = _areas(rect, stages)
    around = blend.locality().needed(areas[0])
    cells = cells_of(composition, around)
    owners = _near(composition, around, cells)
    if len(owners) == 1:
        around = areas[0]  # nothing to blend
    windows = None if stages else blend.locality()  # stages ask for every layer's pixels
    tiles = _tiles(composition, owners, around, cells, context, windows)
    if tiles:
        tile = blend.blend(tiles)
        if stages:
            tile = with_sources(tile, tiles)
    else:
        tile = _empty(composition, around, context)
    tile = _fitted(tile, composition, areas[0], context)
    tile = _pasted(_zeroed(_with_low_bands(tile, composition)), composition)
    for stage, area in zip(stages, areas[1:], strict=True):
        tile = _cropped(stage.apply(tile), area)
    return tile


def _empty(composition: Composition, rect: Rect, context: Context) -> Tile:
    """Return a tile that no photo touches."""
    size = (rect.height, rect.width)
    nothing = np.zeros((*size, canvas_channels(composition)), np.float32), np.zeros(size, bool)
    return Tile(rect, *(to_device(plane, context.device) for plane in nothing))


def _fitted(tile: Tile, composition: Composition, rect: Rect, context: Context) -> Tile:
    """Return a rectangle of which a tile covers all or a part."""
    x0, y0 = max(tile.rect.x0, rect.x0), max(tile.rect.y0, rect.y0)
    x1, y1 = min(tile.rect.x1, rect.x1), min(tile.rect.y1, rect.y1)
    if (x0, y0, x1, y1) == rect:
        return _cropped(tile, rect)
    whole = _empty(composition, rect, context)
    if x0 < x1 and y0 < y1:
        part = _cropped(tile, Rect(x0, y0, x1, y1))
        here = place_of(part.rect, rect)
        whole.image[*here, :], whole.valid[here] = part.image, part.valid
    return whole


def owners_of(composition: Composition, rect: Rect) -> list[int]:
    """Return the layers that own something in or next to a rectangle and can touch it."""
    return _near(composition, rect, cells_of(composition, rect))


def _near(composition: Composition, rect: Rect, cells: Cells | None) -> list[int]:
    owners = list(range(len(composition.layers)))
    if cells is not None:
        named = set(np.unique(cells.seams).tolist())
        owners = [k for k in owners if _standing(composition, k) in named]
        owners.sort(key=lambda k: (_standing(composition, k), k != _standing(composition, k)))
    return [k for k in owners if _touches(composition.layers[k].rect, rect, composition)]


def _standing(composition: Composition, k: int) -> int:
    """Return the layer that stands for layer k in the seams: of a bracket one, else itself."""
    bracket = composition.layers[k].bracket
    return k if bracket is None else bracket


def layers_of(composition: Composition, owners: list[int], rect: Rect, context: Context) -> list[Tile]:
    """Warp layers onto a rectangle, each weighed by its share of the seam cells."""
    return _tiles(composition, owners, rect, cells_of(composition, rect), context)


def _tiles(
    composition: Composition,
    owners: list[int],
    rect: Rect,
    cells: Cells | None,
    context: Context,
    windows: Locality | None = None,
) -> list[Tile]:
    """Warp layers onto a rectangle in that of the cells.

    With `windows`, what a blend needs, a tile covers only as much as its layer has a say in: what
    it owns and the halo around that, as far as its photo reaches.
    """
    tiles = []
    for k in owners:
        window: Rect | None = rect
        if windows is not None and len(owners) > 1:
            window = _window(composition, k, cells, rect, windows)
        if window is None:
            continue
        tile = warped(composition, k, window, context)
        if tile.image.shape[2] < canvas_channels(composition):
            tile = replace(tile, image=namespace(tile.image).concat([tile.image] * 3, axis=2))
        weight = _weight(composition, k, cells, window)
        tiles.append(replace(tile, weight=to_device(weight, context.device)))
    return tiles


def _window(
    composition: Composition, k: int, cells: Cells | None, rect: Rect, needs: Locality
) -> Rect | None:
    """Return the part of a rectangle in which layer k has a say, None if in none."""
    owned = rect if cells is None else window_owned(cells, _standing(composition, k))
    if owned is None:
        return None
    reach = composition.layers[k].rect
    turns = [t * composition.width for t in ((-1, 0, 1) if composition.closed else (0,))]
    ends = [(max(owned.x0, reach.x0 + t), min(owned.x1, reach.x1 + t)) for t in turns]
    ends = [(x0, x1) for x0, x1 in ends if x0 < x1]
    y0, y1 = max(owned.y0, reach.y0), min(owned.y1, reach.y1)
    if not ends or y0 >= y1:
        return None
    shown = Rect(min(x0 for x0, _ in ends), y0, max(x1 for _, x1 in ends), y1)
    x0, y0, x1, y1 = needs.needed(shown)
    return Rect(max(x0, rect.x0), max(y0, rect.y0), min(x1, rect.x1), min(y1, rect.y1))


def warped(composition: Composition, k: int, rect: Rect, context: Context) -> Tile:
    """Warp one layer onto a rectangle, and let go of its photo's scratch file."""
    layer, store = composition.layers[k], store_of(context)
    shrink = source_shrink(composition, layer)
    tile = warp_layer(composition, layer, rect, store.pixels(layer.photo, shrink, context.device))
    store.rest(layer.photo, shrink)
    return tile


def _weight(composition: Composition, k: int, cells: Cells | None, rect: Rect) -> Array:
    """Return (h, w) float32: how strongly layer k owns each pixel; without seams the first goes first."""
    if cells is None:
        return np.full((rect.height, rect.width), 1 / (k + 1), np.float32)
    return share_of(cells, _standing(composition, k), rect)


def _touches(layer: Rect, rect: Rect, composition: Composition) -> bool:
    """Tell whether a layer's rectangle meets another, on a closed canvas also a turn away."""
    turns = (-1, 0, 1) if composition.closed else (0,)
    across = any(
        layer.x0 + t * composition.width < rect.x1 and rect.x0 < layer.x1 + t * composition.width
        for t in turns
    )
    return across and layer.y0 < rect.y1 and rect.y0 < layer.y1


def _with_low_bands(tile: Tile, composition: Composition) -> Tile:
    """Add the composition's low bands to a blended tile."""
    if composition.low_bands is None:
        return tile
    return replace(tile, image=tile.image + low_field(namespace(tile.image), composition, tile.rect))


def _zeroed(tile: Tile) -> Tile:
    """Make a tile black where it is not valid."""
    xp = namespace(tile.image)
    if bool(xp.all(tile.valid)):
        return tile
    return replace(tile, image=choose(tile.valid, tile.image, xp.zeros_like(tile.image)))


def _pasted(tile: Tile, composition: Composition) -> Tile:
    """Paste the composition's patches over a tile."""
    xp = namespace(tile.image)
    for patch in composition.patches:
        x0, y0 = max(tile.rect.x0, patch.rect.x0), max(tile.rect.y0, patch.rect.y0)
        x1, y1 = min(tile.rect.x1, patch.rect.x1), min(tile.rect.y1, patch.rect.y1)
        if x0 >= x1 or y0 >= y1:
            continue
        there = slice(y0 - tile.rect.y0, y1 - tile.rect.y0), slice(x0 - tile.rect.x0, x1 - tile.rect.x0)
        here = slice(y0 - patch.rect.y0, y1 - patch.rect.y0), slice(x0 - patch.rect.x0, x1 - patch.rect.x0)
        image, valid = xp.asarray(tile.image, copy=True), xp.asarray(tile.valid, copy=True)
        pixels, alpha = xp.asarray(patch.pixels[here]), xp.asarray(patch.alpha[here])
        covering = alpha[:, :, None]
        image[*there, :] = image[*there, :] * (1 - covering) + pixels * covering
        valid[there] = valid[there] | (alpha > 0.5)
        tile = replace(tile, image=image, valid=valid)
    return tile


def _cropped(tile: Tile, rect: Rect) -> Tile:
    """Cut a rectangle out of a tile."""
    if tile.rect == rect:
        return tile
    y, x = rect.y0 - tile.rect.y0, rect.x0 - tile.rect.x0
    cut = (slice(y, y + rect.height), slice(x, x + rect.width), ...)
    names = ("image", "valid", "weight", "runner_up", "runner_up_valid", "seam_distance", "synthetic")
    parts = {n: getattr(tile, n)[cut] for n in names if getattr(tile, n) is not None}
    return Tile(rect, **parts)


def quantised(image: Array, dtype: str) -> Array:
    """Turn float32 0..1 into the output's type, rounded and clipped; floats stay as they are."""
    if dtype == "float32":
        return image
    top = float(np.iinfo(dtype).max)
    if dtype == "uint8":
        found = cv2.convertScaleAbs(np.maximum(image, 0), alpha=top)  # a sixth of the time of multiply
    else:
        found = cv2.multiply(image, (top, top, top, top), dtype=cv2.CV_16U)
    return np.asarray(found if found.ndim == 3 else found[:, :, None])


def canvas_channels(composition: Composition) -> int:
    """Return 3, or 1 where all photos are grey."""
    return max(la.photo.channels for la in composition.layers)
