"""The methods by which a stack becomes one picture, by name.

Means are taken in linear light: the mean of several exposures is then what one long exposure would have
recorded. Medians, maxima and minima are the same in any light.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend import lookup, remap
from composer.backend.parallel import over
from composer.errors import OptionError
from composer.fusion.bands import Planes
from composer.fusion.exposure import Exponents, exposure_rule
from composer.fusion.focus import FOCUS
from composer.fusion.ghosts import Moved, find_moved, without_ghosts
from composer.fusion.hdr import exposure_seconds, merge
from composer.fusion.stack import Stack, as_stored, blocks, part, reduced
from composer.fusion.statistics import clipped, median, middle, sort_stack
from composer.fusion.tiles import Clean, blend_tiles
from composer.fusion.tonemap import tone_map
from composer.media.decode import coarse, store_of
from composer.media.masks import TOP
from composer.media.picture import as_float
from composer.records import Context, Event, Rect, to_encoded, to_linear

Array = NDArray[Any]

__all__ = ["METHODS", "Settings"]

BAND = 32 << 20  # bytes of all photos that a thread looks at together
ROWS = 256  # of one photo
GHOST_MP = 0.5  # at which moving things are looked for
FLAWLESS = 1.0  # steps of 8 bits: the least deviation that sigma clipping assumes


@dataclass(frozen=True)
class Settings:
    """The options of all methods.

    `exponents` of exposure fusion, `ghosts` "keep" or "remove", `sigmas` beyond which a mean leaves out;
    how the camera's `response` to light is found, and by which operator HDR is shown (`shown`, "none": not);
    a file of `weights` for the network that merges bursts ("": the package's own).
    """

    exponents: Exponents = field(default_factory=Exponents)
    ghosts: str = "keep"
    sigmas: float = 3.0
    response: str = "debevec"
    shown: str = "local-laplacian"
    weights: str = ""


def exposure(stack: Stack, settings: Settings, context: Context) -> Array:
    """Fuse exposures."""
    clean = _cleaning(stack, context) if settings.ghosts == "remove" else None
    return blend_tiles(stack, exposure_rule(settings.exponents), context, clean)


def focus(stack: Stack, settings: Settings, context: Context) -> Array:
    """Fuse what is sharp."""
    return blend_tiles(stack, FOCUS, context)


def average(stack: Stack, settings: Settings, context: Context) -> Array:
    """Return the mean in linear light; photos come and go one after another."""
    total = np.zeros(stack.shape, np.float32)
    count = np.zeros(stack.shape[:2], np.float32)

    def add(rect: Rect, pixels: Array, valid: Array | None) -> None:
        rows = slice(rect.y0, rect.y1)
        light = _light(pixels)
        total[rows] += light if valid is None else np.where(valid[:, :, None], light, np.float32(0))
        count[rows] += np.float32(1) if valid is None else valid

    _one_by_one(stack, add, context)
    result = np.empty(stack.shape, stack.frame.dtype)

    def finish(rect: Rect) -> None:
        rows = slice(rect.y0, rect.y1)
        mean = total[rows] / np.maximum(count[rows], 1)[:, :, None]
        result[rows] = as_stored(to_encoded(mean), stack.frame.dtype)

    over(context, "finish", finish, _rows(stack, ROWS))
    return result


def extreme(choose: np.ufunc) -> Method:
    """Return the method that keeps each place's largest or smallest value."""

    def method(stack: Stack, settings: Settings, context: Context) -> Array:
        limits = (-np.inf, np.inf) if stack.frame.dtype == "float32" else (0, TOP[stack.frame.dtype])
        result = np.full(stack.shape, limits[choose is np.minimum], stack.frame.dtype)
        seen = np.zeros(stack.shape[:2], bool)

        def take(rect: Rect, pixels: Array, valid: Array | None) -> None:
            part = result[rect.y0 : rect.y1]
            where = True if valid is None else valid[:, :, None]
            choose(part, pixels, out=part, where=where)
            seen[rect.y0 : rect.y1] |= True if valid is None else valid

        _one_by_one(stack, take, context)
        result[~seen] = 0
        return result

    return method


def middle_value(stack: Stack, settings: Settings, context: Context) -> Array:
    """Return each place's median."""

    def work(parts: list[Array], valid: list[Array | None]) -> Array:
        if all(v is None for v in valid):
            ordered = sort_stack(parts)
            pair = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
            return middle([as_float(p) for p in pair])
        return median([as_float(p) for p in parts], _masks(parts, valid))

    return _together(stack, work, context)


def clipped_mean(stack: Stack, settings: Settings, context: Context) -> Array:
    """Return the mean, in linear light, of the values that are no outliers."""

    def work(parts: list[Array], valid: list[Array | None]) -> Array:
        kept = clipped([as_float(p) for p in parts], _masks(parts, valid), settings.sigmas, FLAWLESS / 255)
        count = np.maximum(sum(k.astype(np.float32) for k in kept), 1)
        light = sum(np.where(k, _light(p), np.float32(0)) for k, p in zip(kept, parts, strict=True))
        return to_encoded(light / count)

    return _together(stack, work, context)


Method = Callable[[Stack, Settings, Context], Array]


def hdr(stack: Stack, settings: Settings, context: Context) -> Array:
    """Merge exposures to the scene's light: tone mapped, or as it is, encoded beyond 1 in float32."""
    if stack.frame.dtype == "float32":
        raise OptionError("hdr recovers light from 8 or 16 bits, and these photos are floats; average them")
    whole = Rect(0, 0, stack.frame.width, stack.frame.height)
    parts = over(context, "hdr", lambda k: part(stack, k, whole, context), range(len(stack.photos)))
    images, shown = [p[0] for p in parts], [p[1] for p in parts]
    if settings.ghosts == "remove":
        images = _without_ghosts(stack, images, whole, context)
    radiance = merge(images, exposure_seconds(stack.photos), settings.response, shown=shown)
    if settings.shown == "none":
        return to_encoded(radiance)
    return np.asarray(as_stored(tone_map(radiance, settings.shown), stack.frame.dtype))


def _without_ghosts(stack: Stack, images: Sequence[Array], whole: Rect, context: Context) -> list[Array]:
    """Return the photos, whole, with the reference, exposed as they are, in place of what moved."""
    clean = _cleaning(stack, context)
    frame = [as_float(plane) for plane in cv2.split(images[stack.reference])]

    def cleaned(k: int) -> Array:
        if k == stack.reference:
            return images[k]
        planes = clean(k, whole, [as_float(plane) for plane in cv2.split(images[k])], frame)
        return as_stored(np.stack(planes, -1), images[k].dtype.name)

    return over(context, "hdr", cleaned, range(len(images)))


METHODS: dict[str, Method] = {
    "exposure": exposure,
    "focus": focus,
    "hdr": hdr,
    "average": average,
    "median": middle_value,
    "sigma-clip": clipped_mean,
    "max": extreme(np.maximum),
    "min": extreme(np.minimum),
}


def _light(pixels: Array) -> Array:
    """Return stored values as linear light, float32."""
    if pixels.dtype == np.float32:
        return to_linear(pixels)
    codes = np.arange(TOP[pixels.dtype.name] + 1, dtype=np.float32) / np.float32(TOP[pixels.dtype.name])
    table = np.repeat(to_linear(codes)[:, None], pixels.shape[2], 1)
    return np.asarray(lookup(np.ascontiguousarray(pixels), table))


def _masks(parts: list[Array], valid: list[Array | None]) -> list[Array]:
    return [np.ones(p.shape[:2], bool) if v is None else v for p, v in zip(parts, valid, strict=True)]


def _rows(stack: Stack, rows: int) -> list[Rect]:
    return list(blocks(stack.shape, rows, stack.shape[1]))


def _one_by_one(stack: Stack, take: Callable[[Rect, Array, Array | None], None], context: Context) -> None:
    """Hand every photo's rows to `take`, photo after photo; a few are decoded at once, none is kept."""
    store, quiet = store_of(context), replace(context, observe=lambda event: None)
    count = len(stack.photos)

    def hand(k: int, rect: Rect) -> None:
        take(rect, *part(stack, k, rect, context))

    for start in range(0, count, context.workers):
        batch = range(start, min(start + context.workers, count))
        over(quiet, "fuse", lambda k: store.pixels(stack.photos[k]), batch)
        for k in batch:
            over(quiet, "fuse", partial(hand, k), _rows(stack, ROWS))
            store.forget(stack.photos[k])
            context.observe(Event("fuse", (k + 1) / count))


def _together(
    stack: Stack, work: Callable[[list[Array], list[Array | None]], Array], context: Context
) -> Array:
    """Return what `work` makes of all photos' rows, band by band."""
    result = np.empty(stack.shape, stack.frame.dtype)
    store = store_of(context)
    rows = BAND // (4 * len(stack.photos) * stack.shape[1] * stack.shape[2])

    def band(rect: Rect) -> None:
        found = [part(stack, k, rect, context) for k in range(len(stack.photos))]
        made = work([f[0] for f in found], [f[1] for f in found])
        result[rect.y0 : rect.y1] = as_stored(made, stack.frame.dtype)
        for photo in stack.photos:
            store.rest(photo)

    over(context, "fuse", band, _rows(stack, min(max(rows, 8), ROWS)))
    return result


def _cleaning(stack: Stack, context: Context) -> Clean:
    """Return what puts the reference in place of what moved in each photo, in any rectangle."""
    shrink = coarse(stack.frame, GHOST_MP)
    reference, _ = reduced(stack, stack.reference, shrink, context)

    def look(k: int) -> Moved | None:
        if k == stack.reference:
            return None
        photo, seen = reduced(stack, k, shrink, context)
        return find_moved(reference, photo, seen)

    everything = over(context, "ghosts", look, range(len(stack.photos)))

    def clean(k: int, rect: Rect, planes: Planes, frame: Planes) -> Planes:
        moved = everything[k]
        if moved is None:
            return planes
        share = moved.still
        x, y = (np.arange(a, b) for a, b in ((rect.x0, rect.x1), (rect.y0, rect.y1)))
        u = ((x + 0.5) * (share.shape[1] / stack.shape[1]) - 0.5).astype(np.float32)
        v = ((y + 0.5) * (share.shape[0] / stack.shape[0]) - 0.5).astype(np.float32)
        shape = rect.height, rect.width
        u, v = (np.ascontiguousarray(np.broadcast_to(a, shape)) for a in (u[None, :], v[:, None]))
        still = np.clip(remap(share[:, :, None], u, v)[:, :, 0], 0, 1)
        return without_ghosts(planes, frame, still, moved.curves)

    return clean
