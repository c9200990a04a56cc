"""Guidance fields (Pérez, Gangnet and Blake, 2003), as what they have beyond the source's own gradient.

A field gives a value to each pair of neighbouring pixels p and q; its excess is what it asks of f(q) - f(p)
less the source's difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from composer.backend import dst, namespace

Array = Any
Rule = Callable[[Array, Array, Array, Array], Array]

__all__ = ["Field", "divergence", "edges_of", "flatten", "illumination", "mixed", "particular"]


@dataclass(frozen=True)
class Field:
    """A guidance field.

    Attributes
    ----------
    rule : callable
        Gives the excess (...) of the source's difference, the target's, and the plane's values at p and q.
    plane : (H, W) or (H, W, C) array
        What the rule wants to know of pixels, or of each channel's.
    """

    rule: Rule
    plane: Array


def mixed(known: Array) -> Field:
    """Take the stronger difference of the two pictures, channel by channel (equation 13).

    Where the target is not `known`, (H, W) bool, the source's.
    """

    def rule(own: Array, other: Array, p: Array, q: Array) -> Array:
        xp = namespace(own)
        stronger = (xp.abs(other) > xp.abs(own)) & p & q
        return (other - own) * xp.astype(stronger, own.dtype)  # faster than where

    return Field(rule, known)


def flatten(edges: Array) -> Field:
    """Keep only differences at an edge's pixels, (H, W) bool (equation 14)."""

    def rule(own: Array, other: Array, p: Array, q: Array) -> Array:
        return namespace(own).where(p | q, namespace(own).zeros_like(own), -own)

    return Field(rule, edges)


def illumination(picture: Array, mask: Array, strength: float, exponent: float) -> Field:
    """Weaken large differences and amplify small ones (equation 16); for logarithms.

    Differences are multiplied by (a / |gradient|)^exponent, with a = `strength` times the mean length of the
    gradient of `picture` (H, W, C) in the mask, each channel by itself: highlights that have clipped one
    channel turn to its colour if all are weakened alike.
    """
    xp = namespace(picture)
    length = _gradient_length(picture)
    inside = xp.where(mask[:, :, None], length, xp.zeros_like(length))
    mean = xp.sum(inside, axis=(0, 1)) / xp.sum(xp.astype(mask, xp.float32))
    factor = (strength * mean / xp.maximum(length, 0.01 * mean + 1e-12)) ** exponent

    def rule(own: Array, other: Array, p: Array, q: Array) -> Array:
        return own * ((p + q) / 2 - 1)

    return Field(rule, factor)


def divergence(source: Array, target: Array, part: Array, field: Field) -> Array:
    """Return what a field's excess adds to the right side for one channel, (H, W) float32.

    Parameters
    ----------
    source, target : (H, W) float32
    part : (H, W) bool
        Pixels that have differences with their neighbours at all.
    """
    xp = namespace(source)
    total, whole = xp.zeros_like(source), bool(xp.all(part))
    before, after = (slice(None, -1), slice(None)), (slice(1, None), slice(None))
    for p, q in ((before, after), (before[::-1], after[::-1])):
        planes = field.plane[p], field.plane[q]
        step = field.rule(source[q] - source[p], target[q] - target[p], *planes)
        if not whole:
            step = xp.where(part[p] & part[q], step, xp.zeros_like(step))
        total[p] -= step
        total[q] += step
    return total


def particular(right: Array) -> Array:
    """Solve for the sum of differences to four neighbours, `right` (H, W), on a rectangle.

    The result is zero on a frame around the rectangle, or around a somewhat larger one whose sine
    transforms are fast.
    """
    from scipy.fft import next_fast_len

    xp = namespace(right)
    height, width = right.shape[:2]
    sizes = [next_fast_len(n + 1) - 1 for n in (height, width)]
    eigenvalues = [2 - 2 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1)) for n in sizes]
    down, across = (xp.asarray(e.astype(np.float32)) for e in eigenvalues)
    large = xp.zeros(tuple(sizes), dtype=xp.float32)
    large[:height, :width] = right
    waves = dst(dst(large, 0), 1)
    waves /= down[:, None] + across
    return dst(dst(waves, 1, inverse=True), 0, inverse=True)[:height, :width]


def edges_of(picture: Array, low: float, high: float) -> Array:
    """Find edges (Canny) with thresholds for gradients in grey levels, white being 1; (H, W) bool."""
    codes = np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)
    return np.asarray(cv2.Canny(np.ascontiguousarray(codes), low, high)) > 0


def _gradient_length(picture: Array) -> Array:
    """Return the length of the gradient by central differences, (H, W, C)."""
    xp = namespace(picture)
    squares = xp.zeros_like(picture)
    squares[1:-1, ...] += (picture[2:, ...] - picture[:-2, ...]) ** 2
    squares[:, 1:-1, ...] += (picture[:, 2:, ...] - picture[:, :-2, ...]) ** 2
    return xp.sqrt(squares) / 2
