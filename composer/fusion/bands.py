"""What rules that blend by pyramids share. A photo is a list of planes, one a colour: arrays without a
short last axis are quick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from composer.backend import namespace, pyr_up

__all__ = ["Planes", "Rule", "Split", "mean_of", "normalised", "raised"]

Planes = list[Any]


@dataclass(frozen=True)
class Split:
    """A tile's blended fine bands, and of each photo what the bands beyond need, reduced: its planes, and
    as many more as the rule says."""

    bands: Planes
    rest: list[Planes]


@dataclass(frozen=True)
class Rule:
    """How the bands of several photos become one's.

    Attributes
    ----------
    split : callable
        Takes photos, how much each may count at a pixel ((h, w) float32, or None for everything) and a
        number of levels; blends the finest bands of a tile whose origin is on a multiple of 2^levels.
    join : callable
        Takes what `split` left, of the whole frame, and the number of colours; blends all other bands.
    extra : int
        Planes of each photo that `split` hands to `join` beyond its colours.
    reach : int
        What a tile needs around it, in units of 2^levels.
    """

    split: Callable[[Sequence[Planes], Sequence[Any], int], Split]
    join: Callable[[Sequence[Planes], int], Planes]
    extra: int
    reach: int


def mean_of(planes: Sequence[Any], shares: Sequence[Any]) -> Any:
    """Return the sum of planes, each times its share."""
    first, *others = zip(planes, shares, strict=True)
    total = first[0] * first[1]
    for plane, share in others:
        total += plane * share
    return total


def normalised(weights: Sequence[Any]) -> list[Any]:
    """Return weights whose sum is one."""
    xp = namespace(*weights)
    total = reduce(add, weights)
    total = xp.maximum(total, xp.asarray(1e-20, dtype=total.dtype))
    return [weight / total for weight in weights]


def raised(planes: Planes, size: tuple[int, int], levels: int) -> Planes:
    """Enlarge planes by `levels` doublings to a size."""
    for level in reversed(range(levels)):
        shape = -(-size[0] >> level), -(-size[1] >> level)
        planes = [pyr_up(plane, shape) for plane in planes]
    return planes
