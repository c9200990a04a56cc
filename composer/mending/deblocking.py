"""Pictures without the blocks and the ringing of JPEG compression.

What is coded says of each coefficient of each block between which values it was. Blocks on a grid that moves
by a few pixels are denoised as those of `cosine`, noise being a share of the steps; the result is brought
back between those values (projection onto the quantisation constraint set; Yang et al., 1993), so that it
might be the picture which the file was made of. Without a file, steps are looked for in the coefficients.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend import namespace, resize, to_device, to_numpy
from composer.media.jpeg import Coding
from composer.mending.cosine import coefficients, dropping, overlapped, values, wiener
from composer.mending.tiling import Grid, by_tiles
from composer.records import Context

Array = NDArray[Any]

__all__ = ["COARSE", "deblock", "estimate_coding", "quality_of", "standard_steps"]

BLOCK = 8
COARSE = 50  # quality up to which compression is a fault
MOVED = 2  # pixels
DROPPED = 0.8  # of a step, below which a coefficient is dropped
NOISE = 0.02, 0.05  # of a step's square: the noise of brightness, and of colours
SLACK = 0.4  # of a step, to either side: a little within what rounds to the value that is stored
TILE, HALO = 768, 64
SURE = 0.6  # of the cosines of coefficients over steps, which would be 1 where these are theirs
ENOUGH = 10_000  # blocks
TURN = np.array(  # JFIF
    ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312)), np.float32
)
BACK = np.linalg.inv(TURN)
# ISO/IEC 10918-1, annex K: brightness and colours, at quality 50
LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
CHROMA = np.full((8, 8), 99)
CHROMA[:4, :4] = (17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99)


def standard_steps(quality: float) -> tuple[Array, Array]:
    """Return the steps (8, 8) of brightness and colours of the IJG's encoder for a quality of 1 to 100."""
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    luma, chroma = (
        np.clip(np.floor(np.array(t) * scale + 0.5), 1, 255).astype(np.float32) for t in (LUMA, CHROMA)
    )
    return luma, chroma


def quality_of(coding: Coding) -> int:
    """Return the quality, 1 to 100, whose standard steps are closest to those of brightness."""
    apart = [float(np.abs(standard_steps(q)[0] - coding.steps[0]).sum()) for q in range(1, 101)]
    return 1 + int(np.argmin(apart))


def estimate_coding(luma: Array, origin: tuple[int, int], channels: int) -> Coding | None:
    """Find the quality, up to `COARSE`, at which a picture was once compressed; None if that cannot be told.

    Parameters
    ----------
    luma : (H, W) float32, 0..1
    origin : (y, x)
        Where its blocks begin.
    channels : 1 or 3
        Colours are taken for those of every other row and column, as encoders do.
    """
    y0, x0 = (o % BLOCK for o in origin)
    rows, columns = ((n - o) // BLOCK for n, o in zip(luma.shape, (y0, x0), strict=True))
    cut = luma[y0 : y0 + rows * BLOCK, x0 : x0 + columns * BLOCK] * 255
    blocks = cut.reshape(rows, BLOCK, columns, BLOCK).transpose(0, 2, 1, 3).reshape(-1, BLOCK, BLOCK)
    found = coefficients(blocks[:: max(1, len(blocks) // ENOUGH)])[:, _LOW]
    scores = [_agreement(found, standard_steps(q)[0][_LOW]) for q in range(1, COARSE + 1)]
    best = int(np.argmax(scores))
    if scores[best] < SURE:
        return None
    luma_steps, chroma_steps = standard_steps(best + 1)
    sampling = ((1, 1), (2, 2), (2, 2))[:channels]
    return Coding((luma_steps, chroma_steps, chroma_steps)[:channels], sampling, (y0, x0))


_LOW = np.add.outer(np.arange(BLOCK), np.arange(BLOCK)) <= 5
_LOW[0, 0] = False


def _agreement(found: Array, steps: Array) -> float:
    """Return how close coefficients (n, k) are to multiples of steps (k,), zero aside: at most 1."""
    ratio = found / steps
    told = np.abs(ratio) > 0.5
    if int(told.sum()) < 100:
        return 0.0
    return float(np.cos(2 * np.pi * ratio[told]).mean())


def deblock(pixels: Array, valid: Array, coding: Coding, context: Context) -> Array:
    """Take blocks and ringing out of a picture, tile by tile.

    Parameters
    ----------
    pixels : (H, W, C) uint8, uint16 or float32
        As decoded.
    valid : (H, W) bool
        What is looked at; the rest stays.
    coding : Coding
        Of as many channels.
    context : Context

    Returns
    -------
    (H, W, C) of the same type.
    """

    def clean(around: Array) -> Array:
        planes = around.transpose(2, 0, 1) * np.float32(255)
        if len(coding.steps) == 3:
            planes = np.tensordot(TURN, planes, 1)
        changes = to_numpy(_changes(to_device(planes, context.device), coding))
        if len(coding.steps) == 3:
            changes = np.tensordot(BACK, changes, 1)
        return around + changes.transpose(1, 2, 0) / np.float32(255)

    align = BLOCK * max(n for sides in coding.sampling for n in sides)
    return by_tiles(pixels, valid, clean, Grid(TILE, HALO, align, coding.origin), context)


def _changes(planes: Any, coding: Coding) -> Any:
    """Return what deblocking adds to planes (C, h, w) of 0..255 whose blocks begin at the corner."""
    xp = namespace(planes)
    changes = []
    for k, (steps, (down, across)) in enumerate(zip(coding.steps, coding.sampling, strict=True)):
        plane = planes[k, :, :]
        height, width = plane.shape
        if (down, across) != (1, 1):
            shape = height // down, down, width // across, across
            plane = xp.mean(xp.reshape(plane, shape), axis=(1, 3))
        change = _without_blocks(plane, xp.asarray(steps), NOISE[min(k, 1)]) - plane
        changes.append(change if change.shape == (height, width) else resize(change, (height, width)))
    return xp.stack(changes)


def _without_blocks(plane: Any, steps: Any, noise: float) -> Any:
    """Return a plane (h, w) of 0..255 without blocks, its coefficients within the steps of those it has."""
    xp = namespace(plane, steps)
    stored = xp.round(_into_blocks(plane) / steps)
    limit = (DROPPED * steps)[:, None, :] ** 2
    variance = noise * steps[:, None, :] ** 2

    def within(found: Any) -> Any:
        low, high = (stored - SLACK) * steps, (stored + SLACK) * steps
        return _out_of_blocks(xp.minimum(xp.maximum(_into_blocks(found), low), high))

    whole = plane[None, :, :]
    pilot = overlapped((whole,), dropping(lambda _: limit), BLOCK, MOVED)
    pilot = within(pilot[0, :, :])
    found = overlapped((whole, pilot[None, :, :]), wiener(lambda _: variance), BLOCK, MOVED)
    return within(found[0, :, :])


def _into_blocks(plane: Any) -> Any:
    """Transform the blocks of a plane (h, w): coefficients (rows, columns, 8, 8)."""
    xp = namespace(plane)
    height, width = plane.shape
    cut = xp.reshape(plane, (height // BLOCK, BLOCK, width // BLOCK, BLOCK))
    return coefficients(xp.permute_dims(cut, (0, 2, 1, 3)))


def _out_of_blocks(blocks: Any) -> Any:
    """Undo `_into_blocks`."""
    xp = namespace(blocks)
    rows, columns = blocks.shape[:2]
    return xp.reshape(xp.permute_dims(values(blocks), (0, 2, 1, 3)), (rows * BLOCK, columns * BLOCK))
