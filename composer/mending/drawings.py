"""Pictures that were drawn, not photographed: text, screenshots, plots, pixel art, dithered prints, masks.

Their lines, dots and rows of letters are what faults of a photograph look like. What tells them apart is what
lies beside sudden steps: a colour that repeats exactly, where a photograph has grain. JPEG compression makes
that colour ring, but steps stay sudden: a lens, and any resizing, spreads them over two pixels and more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend.channels import max_channel
from composer.mending.regions import brightness

Array = NDArray[Any]

__all__ = ["is_drawn", "is_sudden"]

BLOCK = 32  # pixels
STRIP = 2 * BLOCK  # rows looked at together
ENOUGH = 1 << 20  # pixels; of larger pictures some strips are looked at
SMALL, SUDDEN = 8.5 / 255, 24 / 255  # steps from pixel to pixel that a photograph is full of; and a drawing
SUDDEN_SHARE = 0.01  # of the pairs of a block, in which something is drawn
REPEATED = 4.0  # times as many pixels that are like their next, or next but one, as small steps
MOST = 0.4  # of the blocks with any steps: no photograph had one, with faults planted a quarter at most
STRONG = 48 / 255  # step of brightness
REACH = 7  # pixels within which a step is all of the change
AT_ONCE = 0.86  # of the change, that one step is (median): 0.82 at most in photographs, up to 1 in noise
QUIET = 6 / 255  # range of 3 x 3 pixels
QUIET_SHARE = 0.05  # of the surroundings of steps: none where there is noise
STEPS = 0.006  # per pixel: fewer tell nothing


def is_drawn(pixels: Array) -> bool:
    """Tell whether (H, W, C) float32, 0..1, is mostly drawn."""
    side = min(BLOCK, *pixels.shape[:2])
    if side < 3:
        return False
    drawn = lively = 0
    for part in _strips(pixels, side):
        down, across = (_steps(part, axis, 1) for axis in (0, 1))
        small, sudden = (
            _per_block([mask(down), mask(across)], side) for mask in (_is_small, lambda s: s > SUDDEN)
        )
        alike = _per_block([down == 0, across == 0], side)
        alternating = _per_block([_steps(part, 0, 2) == 0, _steps(part, 1, 2) == 0], side)
        some = small + sudden > SUDDEN_SHARE * 2 * side**2
        clear = (sudden > SUDDEN_SHARE * side**2) & (small < sudden)
        drawn += int((some & clear & (REPEATED * small < np.maximum(alike, alternating))).sum())
        lively += int(some.sum())
    return drawn > MOST * lively


def is_sudden(pixels: Array) -> bool:
    """Tell whether steps in (H, W, C) float32, 0..1, are over at once and what is beside them is quiet.

    Salt-and-pepper noise is so, too: look at a picture without it.
    """
    shares, around, quiet, size = [np.zeros(0, np.float32)], 0, 0, 0
    for part in _strips(brightness(pixels), 3):
        strong = np.zeros(part.shape, np.uint8)
        for axis in (0, 1):
            steps = _steps(part[:, :, None], axis, 1)
            along = (1, REACH) if axis else (REACH, 1)
            change = cv2.dilate(part, np.ones(along)) - cv2.erode(part, np.ones(along))
            largest = steps >= cv2.dilate(steps, np.ones((1, 3) if axis else (3, 1)))
            found = steps > STRONG
            shares.append((steps / np.maximum(change, QUIET))[found & largest])
            strong |= found
        near = cv2.dilate(strong, np.ones((9, 9), np.uint8)) > 0
        range_ = cv2.dilate(part, np.ones((3, 3))) - cv2.erode(part, np.ones((3, 3)))
        around, quiet = around + int(near.sum()), quiet + int((near & (range_ < QUIET)).sum())
        size += part.size
    found_shares = np.concatenate(shares)
    if len(found_shares) <= STEPS * size:
        return False
    return bool(np.median(found_shares) > AT_ONCE) and quiet > QUIET_SHARE * around


def _strips(pixels: Array, least: int) -> Iterator[Array]:
    """Yield strips of rows, no fewer than `least` each, all over the picture."""
    every = max(1, pixels.shape[0] * pixels.shape[1] // ENOUGH)
    for y in range(0, len(pixels) - least + 1, STRIP * every):
        yield pixels[y : y + STRIP]


def _is_small(steps: Array) -> Array:
    return (steps > 0) & (steps < SMALL)


def _steps(pixels: Array, axis: int, apart: int) -> Array:
    """Return the largest difference of a channel between pixels some way apart; less than 0 at the end."""
    steps = np.full(pixels.shape[:2], -1, np.float32)
    if axis == 0:
        steps[:-apart] = max_channel(np.abs(pixels[apart:] - pixels[:-apart]))
    else:
        steps[:, :-apart] = max_channel(np.abs(pixels[:, apart:] - pixels[:, :-apart]))
    return steps


def _per_block(masks: list[Array], side: int) -> Array:
    """Return how many pixels of each whole block the masks (H, W) mark."""
    height, width = (n // side for n in masks[0].shape)
    whole = [m[: height * side, : width * side].reshape(height, side, width, side) for m in masks]
    return np.asarray(sum(np.count_nonzero(w, axis=(1, 3)) for w in whole))
