"""Fit a region's colours to its surroundings: find the change, apply it to pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from composer.backend import namespace
from composer.harmony.colour import luma, softly_within
from composer.harmony.statistics import Samples, mean
from composer.harmony.transfer import METHODS, ColourMap

__all__ = ["Fit", "fit", "mean_colour"]


@dataclass(frozen=True)
class Fit:
    """A change of colours: how they move, and the range that they stay in.

    Attributes
    ----------
    moved : callable
        Colours (..., 3) to colours.
    strength : float
        How far they go there, 0..1.
    reached : (float, float)
        The darkest and the lightest luma that they come to.
    limits : (float, float)
        The darkest and the lightest that the picture can show.
    """

    moved: ColourMap
    strength: float
    reached: tuple[float, float]
    limits: tuple[float, float]

    def __call__(self, colours: Any) -> Any:
        """Return encoded colours (..., C), C 1 or 3, as they look in their surroundings."""
        xp = namespace(colours)
        grey = colours.shape[-1] == 1
        own = xp.concat([colours] * 3, axis=-1) if grey else colours
        there = softly_within(own + (self.moved(own) - own) * self.strength, self.reached, self.limits)
        return there[..., :1] if grey else there


def fit(
    region: Samples, surroundings: Samples, method: str, strength: float, limits: tuple[float, float]
) -> Fit:
    """Find the change of colours that makes a region fit its surroundings, by one of `METHODS`."""
    moved = METHODS[method](region, surroundings)
    colours = region.colours + (moved(region.colours) - region.colours) * strength
    reached = luma(colours)
    return Fit(moved, strength, (float(np.min(reached)), float(np.max(reached))), limits)


def mean_colour(taken: Samples) -> tuple[float, float, float]:
    """Return the mean encoded colour of samples."""
    red, green, blue = (float(k) for k in mean(taken.colours, taken.weights))
    return red, green, blue
