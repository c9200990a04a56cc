"""Noise of sensors and film: how strong it is at each brightness, and a picture without it.

The level comes from the finest waves of the smoothest blocks (Ponomarenko et al., 2007): which blocks are
smooth is told by their coarse waves, so that the choice does not favour quiet ones. It is measured brightness
by brightness: photons make light parts noisier, the encoding of photographs dark ones. Foliage and gravel may
fill a photograph too, but their waves weaken as they get finer, they differ from block to block, and some
brightness is without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend import namespace, to_device, to_numpy
from composer.backend.channels import mean_channel
from composer.mending.cosine import (
    ALIGN,
    HALO,
    coefficients,
    denoised,
    from_opponent,
    to_opponent,
)
from composer.mending.tiling import Grid, by_tiles
from composer.records import Context, Fault, Rect

Array = NDArray[Any]

__all__ = ["GRAIN", "Noise", "denoise", "estimate", "find_noise"]

GRAIN = 5.0  # of 255, up to which noise is a photo's grain
TILE = 512
BLOCK = 8
WAVES = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))
COARSE, FINE = 4, 8  # sums of a wave's two numbers: coarse up to, fine from
SMOOTHEST = 0.1  # of the blocks of each brightness
EVEN = (
    2.7  # times as much in the tenth loudest block as in the tenth quietest: 1.9 for noise, and 3 for grass
)
WHITE = 2.0  # times the fine waves' power: what middle ones have at most where both are noise
COLOURED = 1.0  # times the noise of both colours, up to which that of brightness is trusted
MOST = 0.33  # of the brightnesses, that must show nothing but noise
CLIPPED = 1 / 255  # from black and white, where noise is cut off
CUT_OFF = 0.03  # of a block's values
BANDS = 12  # of brightness, at most
QUIET = 0.2  # of the brightnesses, that may have less than half of the noise that is told
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
    spectrum : (C, 15) float64
        Power, relative to its mean, by the sum of a wave's two numbers in blocks of 8 x 8: 1 for white noise.
        That of colours falls where these were stored at half the resolution.
    typical : float
        Standard deviation of a channel in the middle of all blocks.
    """

    brightness: Array
    variance: Array
    spectrum: Array
    typical: float


def find_noise(pixels: Array, valid: Array | None = None, least: float = GRAIN) -> list[Fault]:
    """Find noise of a standard deviation of at least `least` of 255 in (H, W, C) float32: kind "noise".

    Its strength is that deviation.
    """
    noise = estimate(pixels, valid)
    if noise is None or 255 * noise.typical < least:
        return []
    quiet = 255 * float(np.sqrt(np.quantile(noise.variance.mean(0), QUIET)))
    if quiet < least / 2:
        return []
    height, width = pixels.shape[:2]
    sure = 1 - 0.5 * least / (255 * noise.typical) if least else 1.0
    return [Fault("noise", Rect(0, 0, width, height), sure, strength=255 * noise.typical)]


def estimate(pixels: Array, valid: Array | None = None) -> Noise | None:
    """Estimate the noise of (H, W, C) float32; None where too few blocks show nothing else."""
    blocks = _blocks(pixels, valid)
    count = blocks.shape[1] if blocks.ndim == 4 else 0
    if count < 2 * FEWEST:
        return None
    bands = int(np.clip(count * SMOOTHEST / FEWEST, 1, BANDS))
    squares = blocks * blocks
    coarse = squares[0][:, (WAVES > 0) & (WAVES <= COARSE)].mean(1)
    middle = squares[0][:, (WAVES > COARSE) & (WAVES < FINE)].mean(1)
    fine = squares[:, :, WAVES >= FINE].mean(2)
    means = blocks[0, :, 0, 0] / (BLOCK * np.sqrt(len(blocks)))
    groups = np.array_split(np.argsort(means, kind="stable"), bands)
    smooth = [g[np.argsort(coarse[g], kind="stable")[: max(FEWEST, int(len(g) * SMOOTHEST))]] for g in groups]
    finest = np.array([np.median(fine[:, g], axis=1) / MEDIAN for g in smooth]).T
    white = np.array([_like_noise(middle[g], fine[0, g]) for g in smooth])
    white |= finest[0] <= COLOURED * finest[1:].sum(0)  # no texture is as strong in colours
    if white.sum() < bands * MOST:
        return None
    colours = squares[1:, :, WAVES > 1].mean(2)
    variance = np.vstack([finest[:1], np.array([np.median(colours[:, g], axis=1) for g in smooth]).T])
    brightness = np.array([means[g].mean() for g in smooth])
    trusted = np.array([np.interp(brightness, brightness[white], v[white]) for v in variance])
    variance = np.minimum(variance, trusted)
    chosen = np.concatenate([g for g, w in zip(smooth, white, strict=True) if w])
    spectrum = np.stack([np.ones(WAVES.max() + 1), *(_spectrum(c) for c in squares[1:, chosen])])
    return Noise(brightness, variance, spectrum, float(np.sqrt(np.median(variance.mean(0)))))


def _like_noise(middle: Array, fine: Array) -> bool:
    """Tell whether the power of middle and fine waves (n,) in smooth blocks is that of noise."""
    low, usual, high = np.quantile(fine, (0.1, 0.5, 0.9))
    return bool(np.median(middle) <= WHITE * usual and high <= EVEN * low)


def _spectrum(squares: Array) -> Array:
    """Return the relative power of a colour's noise (15,) by the sum of a wave's numbers, from (n, 8, 8)."""
    sums = np.arange(WAVES.max() + 1)
    counts = np.bincount(WAVES.ravel())
    centre = (1 - 2 / (9 * counts)) ** 3  # of the median of so many squares, to their mean
    power = np.array([np.median(squares[:, s == WAVES].mean(1)) for s in sums]) / centre
    power[:2] = power[2]
    mean = float((power * counts)[2:].sum() / counts[2:].sum())
    return power / mean if mean > 0 else np.ones(len(sums))


def _blocks(pixels: Array, valid: Array | None) -> Array:
    """Return the transforms (C, n, 8, 8) of blocks all over the picture that are valid and least cut off."""
    height, width = (n // BLOCK for n in pixels.shape[:2])
    if not height or not width:
        return np.zeros(0)
    cut_off = mean_channel((pixels < CLIPPED) | (pixels > 1 - CLIPPED))
    if valid is not None:
        cut_off[~valid] = np.inf
    whole = cut_off[: height * BLOCK, : width * BLOCK]
    shares = whole.reshape(height, BLOCK, width, BLOCK).mean((1, 3))
    most = max(CUT_OFF, np.quantile(np.minimum(shares, 2), 0.25))  # differences of infinities are none
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
    table = to_device(_table(noise), context.device)
    scale = (table.shape[1] - 1) / table.shape[0] ** 0.5

    def variance(means: Any) -> Any:
        xp = namespace(means)
        codes = xp.astype(xp.clip(means * scale, 0, table.shape[1] - 1), xp.int32)
        found = xp.take(table, xp.reshape(codes, (-1,)), axis=1)
        return xp.reshape(found, (table.shape[0], *means.shape))

    def clean(around: Array) -> Array:
        planes = to_device(to_opponent(around), context.device)
        return from_opponent(to_numpy(denoised(planes, variance, noise.spectrum)))

    return by_tiles(pixels, valid, clean, Grid(TILE, HALO, ALIGN), context)


def _table(noise: Noise) -> Array:
    """Return the variances (C, 256) at brightnesses 0..1."""
    at = np.arange(256) / 255
    return np.array([np.interp(at, noise.brightness, v) for v in noise.variance], np.float32)
