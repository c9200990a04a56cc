"""Guidance fields (Pérez, Gangnet and Blake, 2003), as what they have beyond the source's own gradient.

A field gives a value to each pair of neighbouring pixels. `step` arrays hold the difference from each pixel
to the next along an axis; a field's excess is what it asks for less the source's difference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from composer.backend import dst, namespace

Array = Any
Excess = Callable[[Array, Array, int], Array]

__all__ = ["Excess", "divergence", "edges_of", "flatten", "illumination", "mixed", "particular"]


def mixed(source: Array, target: Array, axis: int) -> Array:
    """Take the stronger difference of the two pictures, channel by channel (equation 13)."""
    xp = namespace(source)
    own, other = _step(source, axis), _step(target, axis)
    return xp.where(xp.abs(other) > xp.abs(own), other - own, xp.zeros_like(own))


def flatten(edges: Array) -> Excess:
    """Keep only differences at an edge's pixels, (H, W) bool (equation 14)."""

    def excess(source: Array, target: Array, axis: int) -> Array:
        xp = namespace(source)
        kept = edges[1:] | edges[:-1] if axis == 0 else edges[:, 1:] | edges[:, :-1]
        own = _step(source, axis)
        return xp.where(kept[:, :, None], xp.zeros_like(own), -own)

    return excess


def illumination(picture: Array, mask: Array, strength: float, exponent: float) -> Excess:
    """Weaken large differences and amplify small ones (equation 16); for logarithms.

    Differences are multiplied by (a / |gradient|)^exponent, with a = `strength` times the mean length of the
    gradient of `picture` (H, W, C) in the mask. Lengths are of all channels together: colours keep their hue.
    """
    xp = namespace(picture)
    length = _gradient_length(picture)
    mean = xp.sum(xp.where(mask, length, xp.zeros_like(length))) / xp.sum(xp.astype(mask, xp.float32))
    factor = (strength * mean / xp.maximum(length, 0.01 * mean + 1e-12)) ** exponent

    def excess(source: Array, target: Array, axis: int) -> Array:
        both = factor[1:] + factor[:-1] if axis == 0 else factor[:, 1:] + factor[:, :-1]
        return _step(source, axis) * (both / 2 - 1)[:, :, None]

    return excess


def divergence(source: Array, target: Array, part: Array, excess: Excess) -> Array:
    """Return what a field's excess adds to the right side, (H, W, C) float32.

    `part` (H, W) bool says which pixels have differences with their neighbours at all.
    """
    xp = namespace(source)
    total = xp.zeros(source.shape, dtype=xp.float32)
    for axis in (0, 1):
        both = part[1:] & part[:-1] if axis == 0 else part[:, 1:] & part[:, :-1]
        step = excess(source, target, axis)
        step = xp.where(both[:, :, None], step, xp.zeros_like(step))
        if axis == 0:
            total[:-1] -= step
            total[1:] += step
        else:
            total[:, :-1] -= step
            total[:, 1:] += step
    return total


def particular(right: Array) -> Array:
    """Solve for the sum of differences to four neighbours, `right` (H, W, C), on a rectangle.

    The result is zero on a frame around the rectangle, or around a somewhat larger one whose sine
    transforms are fast.
    """
    from scipy.fft import next_fast_len

    xp = namespace(right)
    height, width = right.shape[:2]
    sizes = [next_fast_len(n + 1) - 1 for n in (height, width)]
    eigenvalues = [2 - 2 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1)) for n in sizes]
    down, across = (xp.asarray(e.astype(np.float32)) for e in eigenvalues)
    large = xp.zeros((*sizes, *right.shape[2:]), dtype=xp.float32)
    large[:height, :width] = right
    waves = dst(dst(large, 0), 1)
    waves /= xp.reshape(down[:, None] + across, (*sizes, *(1 for _ in right.shape[2:])))
    return dst(dst(waves, 1, inverse=True), 0, inverse=True)[:height, :width]


def edges_of(picture: Array, low: float, high: float) -> Array:
    """Find edges (Canny) with thresholds for gradients in grey levels, white being 1; (H, W) bool."""
    codes = np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)
    return np.asarray(cv2.Canny(np.ascontiguousarray(codes), low, high)) > 0


def _step(picture: Array, axis: int) -> Array:
    return picture[1:] - picture[:-1] if axis == 0 else picture[:, 1:] - picture[:, :-1]


def _gradient_length(picture: Array) -> Array:
    """Return the length of the gradient by central differences, (H, W)."""
    xp = namespace(picture)
    squares = xp.zeros_like(picture)
    squares[1:-1] += (picture[2:] - picture[:-2]) ** 2
    squares[:, 1:-1] += (picture[:, 2:] - picture[:, :-2]) ** 2
    return xp.sqrt(xp.mean(squares, axis=2)) / 2
