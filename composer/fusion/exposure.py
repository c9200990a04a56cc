"""Exposure fusion (Mertens, Kautz, Van Reeth, Pacific Graphics 2007): the best of each exposure.

Weights are measured at half the resolution and blended from there on; the finest band is that of the photos'
weighted mean. For weights that smooth it is the same as the weighted mean of their finest bands, and saves
most of the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any

from composer.backend import namespace, pyr_down, pyr_up
from composer.fusion.bands import Planes, Rule, Split, mean_of, normalised, raised

__all__ = ["Exponents", "exposure_rule", "join", "split", "weigh"]

SPREAD = 0.2  # of well-exposed values about one half (Mertens et al.)
TINY = 1e-8  # of every weight: what no photo shows well is averaged


@dataclass(frozen=True)
class Exponents:
    """How much each measure of quality counts; 0 leaves it out."""

    contrast: float = 1.0
    saturation: float = 1.0
    exposedness: float = 1.0


def exposure_rule(exponents: Exponents) -> Rule:
    """Return the rule that blends bands by a photo's quality."""
    return Rule(partial(split, exponents=exponents), join, extra=1, reach=4)


def split(images: Sequence[Planes], shown: Sequence[Any | None], levels: int, exponents: Exponents) -> Split:
    """Blend the `levels` finest bands of a tile; see `bands.Rule`."""
    smaller = [[pyr_down(plane) for plane in image] for image in images]
    weights = []
    for half, seen in zip(smaller, shown, strict=True):
        weight = weigh(half, exponents)
        weights.append(weight if seen is None else weight * pyr_down(seen))
    weights = normalised(weights)
    fine, small, reduced = _blended(smaller, weights, levels - 1)
    size = images[0][0].shape
    shares = [pyr_up(weight, size) for weight in weights]
    bands = []
    for c, below in enumerate(fine):
        low = below - mean_of([half[c] for half in smaller], weights)
        bands.append(mean_of([image[c] for image in images], shares) + pyr_up(low, size))
    return Split(bands, [[*image, weight] for image, weight in zip(small, reduced, strict=True)])


def join(rest: Sequence[Planes], colours: int) -> Planes:
    """Blend the bands that are left, of the whole frame."""
    size = rest[0][0].shape
    depth = min(size).bit_length() - 1
    fine, small, reduced = _blended([r[:colours] for r in rest], [r[-1] for r in rest], depth)
    last = [mean_of([image[c] for image in small], reduced) for c in range(colours)]
    return [a + b for a, b in zip(fine, raised(last, size, depth), strict=True)]


def weigh(half: Planes, exponents: Exponents) -> Any:
    """Return the quality (h, w) float32 of a photo's pixels, given as planes at half the resolution."""
    xp = namespace(half[0])
    count = len(half)
    weight = xp.full_like(half[0], 1.0)
    mean = reduce(add, half) / count
    if exponents.contrast:
        weight = xp.abs(_laplacian(mean)) ** exponents.contrast
    if exponents.saturation and count == 3:
        spread = reduce(add, [(plane - mean) ** 2 for plane in half]) / count
        weight = weight * spread ** (exponents.saturation / 2)
    if exponents.exposedness:
        away = reduce(add, [(plane - 0.5) ** 2 for plane in half]) * (3 / count)
        weight = weight * xp.exp(away * (-exponents.exposedness / (2 * SPREAD**2)))
    return weight + TINY


def _laplacian(plane: Any) -> Any:
    """Return the four neighbours less four times the pixel, edges repeated."""
    xp = namespace(plane)
    rows = xp.concat([plane[:1, :], plane[:-1, :]], axis=0) + xp.concat([plane[1:, :], plane[-1:, :]], axis=0)
    across = xp.concat([plane[:, :1], plane[:, :-1]], axis=1) + xp.concat(
        [plane[:, 1:], plane[:, -1:]], axis=1
    )
    return rows + across - 4 * plane


def _blended(
    images: Sequence[Planes], weights: Sequence[Any], levels: int
) -> tuple[Planes, list[Planes], list[Any]]:
    """Return the sum of `levels` weighted bands, and the images and weights that are left below."""
    xp = namespace(weights[0])
    if not levels:
        return [xp.zeros_like(plane) for plane in images[0]], list(images), list(weights)
    size = weights[0].shape
    smaller = [[pyr_down(plane) for plane in image] for image in images]
    below, small, reduced = _blended(smaller, [pyr_down(weight) for weight in weights], levels - 1)
    total = []
    for c, rest in enumerate(below):
        bands = [image[c] - pyr_up(half[c], size) for image, half in zip(images, smaller, strict=True)]
        total.append(mean_of(bands, weights) + pyr_up(rest, size))
    return total, small, reduced
