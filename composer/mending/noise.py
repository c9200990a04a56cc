"""Noise of sensors and film: how strong it is at each brightness, and a picture without it.

The level comes from the finest waves of the smoothest blocks (Ponomarenko et al., 2007): which blocks are
smooth is told by their coarse waves, so that the choice does not favour quiet ones. It is measured brightness
by brightness: photons make light parts noisier, the encoding of photographs dark ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend import namespace, to_device, to_numpy
from composer.backend.parallel import over
from composer.media.picture import as_float, as_stored
from composer.mending.cosine import (
    ALIGN,
    HALO,
    coefficients,
    denoised,
    from_opponent,
    mirrored,
    to_opponent,
)
from composer.records import Context, Fault, Rect

Array = NDArray[Any]

__all__ = ["GRAIN", "Noise", "denoise", "estimate", "find_noise"]

GRAIN = 5.0  # of 255, up to which noise is a photo's grain
TILE = 512
BLOCK = 8
COARSE, FINE = 4, 8  # sums of a wave's two numbers: coarse up to, fine from
SMOOTHEST = 0.1  # of the blocks of each brightness
CLIPPED = 1 / 255  # from black and white, where noise is cut off
CUT_OFF = 0.03  # of a block's values
BANDS = 12  # of brightness, at most
FEWEST = 24  # smooth blocks that tell something about a brightness
ENOUGH = 120_000  # blocks
MEDIAN = 0.976  # of the mean of 28 squares of Gaussian numbers, over many blocks


@dataclass(frozen=True)
class Noise:
    """How strong noise is.

    Attributes
    ----------
    brightness : (n,) float64
        Increasing, 0..1.
    variance : (C, n) float64
        Of values 0..1, in each opponent colour (`cosine.to_opponent`) at these brightnesses.
    typical : float
        Standard deviation of a channel in the middle of all blocks.
    """

    brightness: Array
    variance: Array
    typical: float


def find_noise(pixels: Array, valid: Array | None = None, least: float = GRAIN) -> list[Fault]:
    """Find noise of a standard deviation of at least `least` of 255 in (H, W, C) float32: kind "noise".

    Its strength is that deviation.
    """
    noise = estimate(pixels, valid)
    if noise is None or 255 * noise.typical < least:
        return []
    height, width = pixels.shape[:2]
    sure = 1 - 0.5 * least / (255 * noise.typical) if least else 1.0
    return [Fault("noise", Rect(0, 0, width, height), sure, strength=255 * noise.typical)]


def estimate(pixels: Array, valid: Array | None = None) -> Noise | None:
    """Estimate the noise of (H, W, C) float32; None where there are too few blocks to tell."""
    blocks = _blocks(pixels, valid)
    count = blocks.shape[1] if blocks.ndim == 4 else 0
    if count < 2 * FEWEST:
        return None
    bands = int(np.clip(count * SMOOTHEST / FEWEST, 1, BANDS))
    waves = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))
    squares = blocks * blocks
    coarse = squares[:, :, (waves > 0) & (waves <= COARSE)].mean(2).sum(0)
    fine = squares[:, :, waves >= FINE].mean(2)
    means = blocks[0, :, 0, 0] / (BLOCK * np.sqrt(len(blocks)))
    groups = np.array_split(np.argsort(means, kind="stable"), bands)
    smooth = [g[np.argsort(coarse[g], kind="stable")[: max(FEWEST, int(len(g) * SMOOTHEST))]] for g in groups]
    variance = np.array([np.median(fine[:, g], axis=1) / MEDIAN for g in smooth]).T
    typical = float(np.sqrt(np.median(variance.mean(0))))
    return Noise(np.array([means[g].mean() for g in smooth]), variance, typical)


def _blocks(pixels: Array, valid: Array | None) -> Array:
    """Return the transforms (C, n, 8, 8) of blocks all over the picture that are valid and least cut off."""
    height, width = (n // BLOCK for n in pixels.shape[:2])
    if not height or not width:
        return np.zeros(0)
    cut_off = ((pixels < CLIPPED) | (pixels > 1 - CLIPPED)).mean(2)
    if valid is not None:
        cut_off[~valid] = np.inf
    whole = cut_off[: height * BLOCK, : width * BLOCK]
    shares = whole.reshape(height, BLOCK, width, BLOCK).mean((1, 3))
    most = max(CUT_OFF, np.quantile(shares, 0.25))
    kept = []
    for row in range(0, height, max(1, round(height * width / ENOUGH))):
        planes = to_opponent(pixels[row * BLOCK : (row + 1) * BLOCK, : width * BLOCK])
        good = shares[row] <= min(most, 1)
        kept.append(planes.reshape(len(planes), BLOCK, width, BLOCK).transpose(0, 2, 1, 3)[:, good])
    return coefficients(np.concatenate(kept, 1))


def denoise(pixels: Array, valid: Array, noise: Noise, context: Context) -> Array:
    """Take noise out of a picture, tile by tile.

    Parameters
    ----------
    pixels : (H, W, C) uint8, uint16 or float32
    valid : (H, W) bool
        What is looked at; the rest counts as what is nearest to it, and stays.
    noise : Noise
    context : Context

    Returns
    -------
    (H, W, C) of the same type.
    """
    result = pixels.copy()
    table = _table(noise)
    nearest = None if valid.all() else _nearest(valid)

    def work(corner: tuple[int, int]) -> Array:
        return _tile(pixels, nearest, corner, table, context.device)

    height, width = valid.shape
    corners = [(y, x) for y in range(0, height, TILE) for x in range(0, width, TILE)]
    for (y, x), values in zip(corners, over(context, "denoise", work, corners), strict=True):
        inside = valid[y : y + TILE, x : x + TILE]
        result[y : y + TILE, x : x + TILE][inside] = values[inside]
    return result


def _nearest(valid: Array) -> Array:
    """Return the place (y * W + x) of the valid pixel that is nearest to each, (H, W) int."""
    _, labels = cv2.distanceTransformWithLabels(
        (~valid).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    places = np.zeros(int(labels.max()) + 1, np.int64)
    places[labels[valid]] = np.flatnonzero(valid)
    return places[labels]


def _tile(pixels: Array, nearest: Array | None, corner: tuple[int, int], table: Array, device: str) -> Array:
    """Return a tile without noise, as it is stored."""
    sides = [min(TILE, n - at) for n, at in zip(pixels.shape, corner, strict=False)]
    ys, xs = (
        mirrored(at - HALO, at + -(-side // ALIGN) * ALIGN + HALO, n)
        for at, side, n in zip(corner, sides, pixels.shape, strict=False)
    )
    if nearest is None:
        around = pixels[np.ix_(ys, xs)]
    else:
        around = pixels.reshape(-1, pixels.shape[2])[nearest[np.ix_(ys, xs)]]
    planes = to_device(to_opponent(as_float(around)), device)
    tables = to_device(table, device)
    xp = namespace(planes)
    scale = (table.shape[1] - 1) / len(table) ** 0.5

    def variance(means: Any) -> Any:
        codes = xp.astype(xp.clip(means * scale, 0, table.shape[1] - 1), xp.int32)
        flat = xp.reshape(codes, (-1,))
        return xp.reshape(xp.take(tables, flat, axis=1), (len(table), *means.shape))

    clean = from_opponent(to_numpy(denoised(planes, variance)))
    inner = clean[HALO : HALO + sides[0], HALO : HALO + sides[1]]
    return as_stored(inner, pixels.dtype)


def _table(noise: Noise) -> Array:
    """Return the variances (C, 256) at brightnesses 0..1."""
    at = np.arange(256) / 255
    return np.array([np.interp(at, noise.brightness, v) for v in noise.variance], np.float32)
