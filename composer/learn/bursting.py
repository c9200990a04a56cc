"""The recurrent network at work: from a burst's aligned photos to one without noise, tile by tile."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend.parallel import over
from composer.fusion.methods import Settings
from composer.fusion.stack import Stack, alpha_of, as_stored, blocks, part
from composer.learn.burst_noise import KNOTS, deviations, noise_table
from composer.learn.runtime import Network, opened, outputs_of, shipped, torch_network
from composer.learn.weights import read_weights
from composer.media.decode import store_of
from composer.media.picture import as_float
from composer.mending.cosine import ALIGN, denoised, from_opponent, to_opponent
from composer.mending.cosine import HALO as NOISE_HALO
from composer.mending.noise import TILE as NOISE_TILE
from composer.mending.noise import Noise, estimate
from composer.mending.tiling import Grid, by_tiles
from composer.records import Context, Rect, to_encoded, to_linear

Array = NDArray[Any]

__all__ = ["HALO", "TILE", "begun", "load_burst", "merged_burst", "merging_of", "picture_of", "without_noise"]

TILE, HALO, MEMORY = 512, 32, 8  # pixels of a tile and around it; planes that the network remembers
PROBES, PROBE = 5, 96  # squares each way that noise is told from, and their side
FEW = 5  # photos that do
SMOOTH = 9  # pixels over which weights are averaged before noise is taken out: its blocks are larger


@lru_cache(maxsize=2)
def load_burst(path: str = "", runtime: str = "auto") -> Network:
    """Return the network: from a frame and what is remembered (23, H, W) to what then is (13, H, W).

    Parameters
    ----------
    path : str
        Weights (.safetensors, its .onnx beside it); "" for those that come with the package.
    runtime : "auto", "onnx" or "torch"

    Raises
    ------
    WeightsError
        Neither onnxruntime nor torch is installed, or the weights cannot be used.
    """
    home = Path(path) if path else shipped("burst")
    run = opened(home, runtime, "merging a burst", lambda: _merge(home))
    return lambda planes: run(planes)[0]


def _merge(path: Path) -> Any:
    from composer.learn.burst_network import Merge

    arrays, about = read_weights(path, "burst")
    return torch_network(Merge(int(about["width"])), arrays, path)


def merging_of(net: Any) -> Network:
    """Return the recurrent network's torch module as `load_burst` does."""
    run = outputs_of(net)
    return lambda planes: run(planes)[0]


def begun(first: Array) -> Array:
    """Return what is remembered when only the first frame (3, H, W) has been seen."""
    one = np.ones((1, *first.shape[1:]), np.float32)
    return np.concatenate([to_linear(first), one, one, np.repeat(0 * one, MEMORY, 0)])


def picture_of(state: Array) -> Array:
    """Return the weighted mean (H, W, 3) that is remembered."""
    return np.ascontiguousarray(np.moveaxis(to_encoded(state[:3] / state[3:4]), 0, 2))


def merged_burst(stack: Stack, settings: Settings, context: Context) -> Array:
    """Merge a burst: what the reference shows, without its noise, (H, W, C) of its type.

    The network weighs the photos; the rule that takes noise out of single pictures then takes what is left
    of it in their mean, place by place as much as the weights have left there. Values beyond 0..1 that a
    reference of floats has are added again.
    """
    merge, table = load_burst(settings.weights), _noise(stack, context)
    height, width, channels = stack.shape
    order = [stack.reference, *(k for k in range(len(stack.photos)) if k != stack.reference)]
    found = np.empty((height, width, channels + 1), np.float32)

    def work(tile: Rect) -> None:
        around = Rect(*tile[:2], tile.x1 + tile.width % 2, tile.y1 + tile.height % 2).grown(HALO)
        state = _merged(merge, [_padded(stack, k, around, context) for k in order], table)
        state = state[:5, HALO : HALO + tile.height, HALO : HALO + tile.width]
        place = np.s_[tile.y0 : tile.y1, tile.x0 : tile.x1]
        picture = picture_of(state)
        found[place][..., :channels] = picture if channels == 3 else picture.mean(2, keepdims=True)
        found[place][..., channels] = state[4] / state[3] ** 2
        for photo in stack.photos:
            store_of(context).rest(photo)

    over(context, "burst", work, list(blocks(stack.shape, TILE, TILE)))
    return _stored(without_noise(found, table, context), stack, context)


def _merged(merge: Network, parts: list[tuple[Array, Array]], table: Array) -> Array:
    """Return what is remembered of photos' parts, each (h, w, 3) with where it shows something."""
    first, known = parts[0]
    for frame, shown in parts[1:]:  # what the reference does not show
        first, known = np.where(known[:, :, None], first, frame), known | shown
    noise, seen = np.moveaxis(deviations(first, table), 2, 0), np.moveaxis(first, 2, 0)
    state = begun(seen)
    for frame, shown in parts[1:]:
        state = merge(
            np.concatenate([seen, np.moveaxis(frame, 2, 0), noise, shown[None], state], dtype=np.float32)
        )
    return state


def without_noise(merged: Array, table: Array, context: Context) -> Array:
    """Take out what noise is left in a weighted mean.

    Parameters
    ----------
    merged : (H, W, C + 1) float32
        The mean, and what share of a single photo's noise, as power, is left at each place.
    table : (C, KNOTS)
        Standard deviation of a single photo's noise. The picture tells noise too, but what photos have in
        common is none.
    context : Context

    Returns
    -------
    (H, W, C)
    """
    picture = np.ascontiguousarray(merged[:, :, :-1])
    shares = cv2.blur(np.log2(merged[:, :, -1]), (SMOOTH, SMOOTH))
    usual = _commonest(shares)
    noise = estimate(picture, usual)
    if noise is None:
        return picture
    share = float(np.mean(2 ** shares[usual]))
    most = share * np.interp(noise.brightness, np.linspace(0, 1, KNOTS), (table**2).mean(0))
    noise = replace(noise, variance=np.minimum(noise.variance, most))
    shares -= np.log2(share)

    def clean(around: Array) -> Array:
        pixels, share = np.ascontiguousarray(around[:, :, :-1]), around[:, :, -1]
        low = np.floor(share)
        made = np.zeros_like(pixels)
        for level in np.unique([low, low + 1]):
            counts = np.clip(1 - np.abs(share - level), 0, 1)[:, :, None]
            if counts.any():
                made += counts * taken_out(pixels, noise, float(2**level))
        return np.dstack([made, around[:, :, -1]])

    everywhere = np.ones(shares.shape, bool)
    grid = Grid(NOISE_TILE, NOISE_HALO, ALIGN)
    return by_tiles(np.dstack([picture, shares]), everywhere, clean, grid, context)[:, :, :-1]


def _commonest(shares: Array) -> Array:
    """Return where (h, w) values are nearly the commonest, in whole blocks of 8 x 8 and a third of them."""
    height, width = shares.shape
    blocks_ = cv2.resize(shares, (-(-width // 8), -(-height // 8)), interpolation=cv2.INTER_AREA)
    values, counts = np.unique(np.round(2 * blocks_), return_counts=True)
    away = np.abs(blocks_ - values[counts.argmax()] / 2)
    near = (away <= max(0.5, np.quantile(away, 1 / 3))).astype(np.uint8)
    return np.asarray(np.repeat(np.repeat(near, 8, 0), 8, 1)[:height, :width]) > 0


def taken_out(pixels: Array, noise: Noise, share: float) -> Array:
    """Return (h, w, C) without noise that is `share` times as strong, as power, as what is told of it."""

    def variance(means: Any) -> Any:
        at = means / np.sqrt(len(noise.variance))
        return np.stack([np.interp(at, noise.brightness, v * share) for v in noise.variance]).astype(
            np.float32
        )

    return from_opponent(denoised(to_opponent(pixels), variance, noise.spectrum))


def _stored(picture: Array, stack: Stack, context: Context) -> Array:
    """Return a picture as the reference stores it: black where no photo shows anything."""
    result = np.empty(stack.shape, stack.frame.dtype)
    for rect in blocks(stack.shape, TILE, stack.shape[1]):
        rows = slice(rect.y0, rect.y1)
        made = picture[rows]
        if stack.frame.dtype == "float32":
            first = part(stack, stack.reference, rect, context)[0]
            made = made + (first - np.clip(first, 0, 1))
        if stack.frame.alpha or stack.frame.dtype == "float32":
            made = np.where(alpha_of(stack, rect, context)[:, :, None] > 0, made, np.float32(0))
        result[rows] = as_stored(made, stack.frame.dtype)
    return result


def _padded(stack: Stack, k: int, around: Rect, context: Context) -> tuple[Array, Array]:
    """Return a photo's part (h, w, 3) float32 0..1, mirrored beyond the frame, and where it has any."""
    height, width, _ = stack.shape
    within = Rect(max(around.x0, 0), max(around.y0, 0), min(around.x1, width), min(around.y1, height))
    pixels, valid = part(stack, k, within, context)
    shown = np.ones(pixels.shape[:2], bool) if valid is None else valid
    sides = (within.y0 - around.y0, around.y1 - within.y1), (within.x0 - around.x0, around.x1 - within.x1)
    colours = np.broadcast_to(np.clip(as_float(pixels), 0, 1), (*shown.shape, 3))
    return np.pad(colours, (*sides, (0, 0)), "symmetric"), np.pad(shown, sides, "symmetric")


def _noise(stack: Stack, context: Context) -> Array:
    """Return how strong noise is (3, KNOTS), from squares all over the first few photos."""
    height, width, _ = stack.shape
    xs, ys = (np.unique(np.linspace(0, max(n - PROBE, 0), PROBES).astype(int)) for n in (width, height))
    rects = [Rect(x, y, min(x + PROBE, width), min(y + PROBE, height)) for y in ys for x in xs]
    others = [k for k in range(len(stack.photos)) if k != stack.reference][:FEW]

    def look(rect: Rect) -> list[tuple[Array, Array]]:
        found = [part(stack, k, rect, context) for k in (stack.reference, *others)]
        shown = [as_float(pixels) for pixels, valid in found if valid is None]
        return [(shown[0], p) for p in shown[1:]] if found[0][1] is None else []

    pairs = [pair for some in over(context, "burst", look, rects) for pair in some]
    table = noise_table(pairs or [(np.zeros((1, 1, 1), np.float32),) * 2])
    return np.broadcast_to(table, (3, table.shape[1]))
