"""Focus stacking: in every band, what is sharpest there.

A photo's sharpness in a band is the local energy of the band itself plus what the finer bands hold at that
place. Finer bands vote in coarser ones since a strong edge out of focus has much energy in coarse bands and
none in fine ones: chosen by coarse energy alone it would lay a halo over what is sharp beside it. Where no
photo shows more than noise they are averaged, so flat places show no borders between photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

from composer.backend import namespace, pyr_down, pyr_up
from composer.fusion.bands import Planes, Rule, Split, mean_of, normalised, raised

__all__ = ["FOCUS", "join", "split"]

STEEPNESS = 8  # power of sharpness relative to the sharpest photo's: near to choosing it alone
VOTE = 4.0  # weight of the energy of finer bands
NOISE = 5e-5  # energy that every photo has: about a grey level of 255, in three colours, squared


def split(images: Sequence[Planes], shown: Sequence[Any | None], levels: int) -> Split:
    """Fuse the `levels` finest bands of a tile; see `bands.Rule`."""
    xp = namespace(images[0][0])
    votes = [xp.zeros_like(image[0]) for image in images]
    shares = [xp.full_like(image[0], 1.0) if s is None else s for image, s in zip(images, shown, strict=True)]
    bands, small, votes, shares = _fused(images, votes, shares, levels)
    return Split(bands, [[*i, v, s] for i, v, s in zip(small, votes, shares, strict=True)])


def join(rest: Sequence[Planes], colours: int) -> Planes:
    """Fuse the bands that are left, of the whole frame; the last, of a few pixels, is averaged."""
    size = rest[0][0].shape
    depth = max(min(size).bit_length() - 3, 0)
    images, votes, shares = [r[:colours] for r in rest], [r[-2] for r in rest], [r[-1] for r in rest]
    fine, small, votes, shares = _fused(images, votes, shares, depth)
    weights = _chosen(votes, shares)
    last = [mean_of([image[c] for image in small], weights) for c in range(colours)]
    return [a + b for a, b in zip(fine, raised(last, size, depth), strict=True)]


def _fused(
    images: Sequence[Planes], votes: Sequence[Any], shares: Sequence[Any], levels: int
) -> tuple[Planes, list[Planes], list[Any], list[Any]]:
    """Return the sum of `levels` fused bands, and what is left below: images, votes, shares."""
    if not levels:
        return [p * 0 for p in images[0]], list(images), list(votes), list(shares)
    size = votes[0].shape
    smaller = [[pyr_down(plane) for plane in image] for image in images]
    bands = [
        [plane - pyr_up(half, size) for plane, half in zip(image, small, strict=True)]
        for image, small in zip(images, smaller, strict=True)
    ]
    below = [pyr_down(reduce(add, [b * b for b in band])) for band in bands]
    sharpness = [pyr_up(energy, size) + VOTE * vote for energy, vote in zip(below, votes, strict=True)]
    weights = _chosen(sharpness, shares)
    handed = [pyr_down(VOTE * vote) + energy for vote, energy in zip(votes, below, strict=True)]
    deeper, small, votes, rest = _fused(smaller, handed, [pyr_down(share) for share in shares], levels - 1)
    total = [
        mean_of([band[c] for band in bands], weights) + pyr_up(plane, size) for c, plane in enumerate(deeper)
    ]
    return total, small, votes, rest


def _chosen(sharpness: Sequence[Any], shares: Sequence[Any]) -> list[Any]:
    """Return weights that nearly choose the sharpest photo at each place."""
    xp = namespace(*sharpness)
    known = [(s + NOISE) * share for s, share in zip(sharpness, shares, strict=True)]
    best = xp.maximum(reduce(xp.maximum, known), xp.asarray(1e-20, dtype=known[0].dtype))
    return normalised([(k / best) ** STEEPNESS * share for k, share in zip(known, shares, strict=True)])


FOCUS = Rule(split, join, extra=2, reach=8)
