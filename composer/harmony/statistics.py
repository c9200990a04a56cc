"""Colours of a region and of what lies around it, as weighted samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend import distance_transform
from composer.media.picture import as_float

Array = NDArray[Any]

__all__ = ["Samples", "around", "covariance", "mean", "quantiles", "samples"]

MOST_SAMPLES = 200_000
RING = 0.15  # the surroundings' weight falls by e at this share of the region's size
LEAST_RING_PX = 3.0


@dataclass(frozen=True)
class Samples:
    """Colours (N, 3) float64, sRGB-encoded (grey three times), and how much each counts (N,), in sum one."""

    colours: Array
    weights: Array


def around(mask: Array, usable: Array) -> Array:
    """Return how much each pixel outside a region counts as its surroundings: less with distance.

    Parameters
    ----------
    mask : (H, W) float32, the region
    usable : (H, W) float32, 0 where there is no picture

    Returns
    -------
    (H, W) float32, zero inside the region.
    """
    outside = mask == 0
    reach = max(LEAST_RING_PX, RING * math.sqrt(float(mask.sum(dtype=np.float64))))
    near = np.exp(-distance_transform(outside) / np.float32(reach))
    return np.asarray(np.where(outside, near * usable, 0), np.float32)


def samples(pixels: Array, weights: Array) -> Samples | None:
    """Take colours of stored (H, W, C) where weights (H, W) are positive, evenly thinned; None if none."""
    where = np.flatnonzero(weights > 0)
    where = where[:: max(1, len(where) // MOST_SAMPLES)]
    found = as_float(pixels[np.unravel_index(where, weights.shape)])
    good = np.isfinite(found).all(axis=1)
    if not good.any():
        return None
    share = weights.reshape(-1)[where[good]].astype(np.float64)
    colours = found[good].astype(np.float64)
    return Samples(np.repeat(colours, 3, 1) if colours.shape[1] == 1 else colours, share / share.sum())


def mean(colours: Array, weights: Array) -> Array:
    """Return the weighted mean (C,)."""
    return np.asarray(weights @ colours)


def covariance(colours: Array, weights: Array) -> Array:
    """Return the weighted covariance (C, C)."""
    apart = colours - mean(colours, weights)
    return np.asarray((apart * weights[:, None]).T @ apart)


def quantiles(values: Array, weights: Array, at: Array) -> Array:
    """Return the weighted quantiles of (N,) values."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) - weights[order] / 2
    return np.interp(at, reached, values[order])
