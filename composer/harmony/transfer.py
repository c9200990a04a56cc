"""Colour transfer: from two sets of samples to a function that moves one's colours to the other's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend import namespace
from composer.harmony.colour import from_linear, from_oklab, to_linear_light, to_oklab
from composer.harmony.statistics import Samples, covariance, mean, quantiles

Array = NDArray[Any]
ColourMap = Callable[[Any], Any]

__all__ = ["METHODS", "ColourMap", "histogram", "likely", "linear", "reinhard"]

MOST_STRETCH = 3.0  # contrasts change by no more, either way: noise and blocks would show
FLAT = 0.004  # a standard deviation below this, of 0..1, says nothing
VARIANCE = 1e-4  # of a regularised covariance, in units of 0..1 squared
FLOOR = 0.02  # of linear light: the logarithm of less is noise
# Standard deviations of natural logarithms of light, of brightness and of two colour ratios: how far pasted
# things are off, and how far things differ from what is around them anyway (43 photographs, 84 segments)
OFF, CONTENT = (0.7, 0.2, 0.2), (0.8, 0.4, 0.4)
DOUBT = 1 / 3  # of a difference is taken for content the more, the larger it is
_RATIOS = np.array([[1 / 3, 1 / 3, 1 / 3], [1.0, -1.0, 0.0], [-0.5, -0.5, 1.0]])
_QUANTILES = np.linspace(0.005, 0.995, 67)
_STEPS = 1024


def likely(region: Samples, surroundings: Samples) -> ColourMap:
    """Return the change of exposure and white balance that most likely went wrong with a region.

    Things differ from their surroundings by nature, so that matching their colours whole makes most
    composites worse. Of the difference of mean light, in logarithms, the share is undone that is expected
    to be error, as the mean of a Gaussian posterior: x OFF^2 / (OFF^2 + CONTENT^2 + (DOUBT x)^2). Gains in
    linear light (von Kries) leave textures and the order of hues as they are.
    """
    found = [
        np.log(np.maximum(mean(to_linear_light(s.colours), s.weights), 0) + FLOOR)
        for s in (region, surroundings)
    ]
    apart = _RATIOS @ (found[1] - found[0])
    off, content = np.square(OFF), np.square(CONTENT)
    undone = apart * off / (off + content + (DOUBT * apart) ** 2)
    gains = np.exp(np.linalg.solve(_RATIOS, undone))

    def moved(colours: Any) -> Any:
        return from_linear(to_linear_light(colours) * namespace(colours).asarray(gains.astype(np.float32)))

    return moved


def reinhard(region: Samples, surroundings: Samples) -> ColourMap:
    """Match mean and standard deviation of each channel of Oklab (Reinhard et al. 2001, eq. 10, 11)."""
    lab = [to_oklab(s.colours) for s in (region, surroundings)]
    centres = [mean(v, s.weights) for v, s in zip(lab, (region, surroundings), strict=True)]
    spreads = [
        np.sqrt(np.diag(covariance(v, s.weights))) for v, s in zip(lab, (region, surroundings), strict=True)
    ]
    known = (spreads[0] > FLAT) & (spreads[1] > FLAT)
    ratio = np.where(known, spreads[1] / np.maximum(spreads[0], FLAT), 1)
    ratio = np.clip(ratio, 1 / MOST_STRETCH, MOST_STRETCH)
    shift = centres[1] - ratio * centres[0]

    def moved(colours: Any) -> Any:
        xp = namespace(colours)
        scale, offset = (xp.asarray(k.astype(np.float32)) for k in (ratio, shift))
        return from_oklab(to_oklab(colours) * scale + offset)

    return moved


def linear(region: Samples, surroundings: Samples) -> ColourMap:
    """Match mean and covariance by the map that moves colours least.

    The closed form of Monge-Kantorovich's problem between Gaussians (Pitie and Kokaram, CVMP 2007),
    on encoded RGB, its covariances regularised and its stretch limited.
    """
    own, theirs = (covariance(s.colours, s.weights) + VARIANCE * np.eye(3) for s in (region, surroundings))
    root, inverse = _power(own, 0.5), _power(own, -0.5)
    stretch = inverse @ _power(root @ theirs @ root, 0.5) @ inverse
    sizes, axes = np.linalg.eigh((stretch + stretch.T) / 2)
    matrix = (axes * np.clip(sizes, 1 / MOST_STRETCH, MOST_STRETCH)) @ axes.T
    offset = mean(surroundings.colours, surroundings.weights) - matrix @ mean(region.colours, region.weights)

    def moved(colours: Any) -> Any:
        xp = namespace(colours)
        parts = [colours[..., k : k + 1] * xp.asarray(matrix[:, k].astype(np.float32)) for k in range(3)]
        return parts[0] + parts[1] + parts[2] + xp.asarray(offset.astype(np.float32))

    return moved


def histogram(region: Samples, surroundings: Samples) -> ColourMap:
    """Match the histogram of each channel of Oklab, by monotone curves through 67 quantiles."""
    lab = [to_oklab(s.colours) for s in (region, surroundings)]
    curves = [
        _curve(*(quantiles(v[:, c], s.weights, _QUANTILES)
                 for v, s in zip(lab, (region, surroundings), strict=True)))
        for c in range(3)
    ]  # fmt: skip

    def moved(colours: Any) -> Any:
        found = to_oklab(colours)
        xp = namespace(colours)
        return from_oklab(xp.stack([_drawn(found[..., c], curves[c]) for c in range(3)], axis=-1))

    return moved


METHODS: dict[str, Callable[[Samples, Samples], ColourMap]] = {
    "auto": likely,
    "reinhard": reinhard,
    "linear": linear,
    "histogram": histogram,
}


def _power(matrix: Array, exponent: float) -> Array:
    """Return a power of a symmetric positive matrix."""
    sizes, axes = np.linalg.eigh(matrix)
    return np.asarray((axes * np.maximum(sizes, VARIANCE**2) ** exponent) @ axes.T)


def _curve(own: Array, theirs: Array) -> tuple[float, float, Array]:
    """Return the curve through pairs of quantiles as (start, step, values), its steepness limited."""
    steps, wanted = np.diff(own), np.diff(theirs)
    steep = np.where(steps > 1e-6, wanted / np.maximum(steps, 1e-6), 1)
    rises = np.clip(steep, 1 / MOST_STRETCH, MOST_STRETCH) * steps
    middle = len(own) // 2
    heights = np.concatenate([[0], np.cumsum(rises)])
    heights += theirs[middle] - heights[middle]
    span = max(float(own[-1] - own[0]), FLAT)
    grid = own[0] + span * np.linspace(0, 1, _STEPS + 1)
    return float(own[0]), span / _STEPS, np.interp(grid, own, heights)


def _drawn(values: Any, curve: tuple[float, float, Array]) -> Any:
    """Apply a curve by linear interpolation; beyond its ends colours move as the ends do."""
    xp = namespace(values)
    start, step, heights = curve
    place = xp.clip((values - start) / step, 0.0, _STEPS - 1e-3)
    first = xp.astype(xp.floor(place), xp.int64)
    table = xp.asarray(heights.astype(np.float32))
    low, high = (xp.reshape(xp.take(table, xp.reshape(k, (-1,))), values.shape) for k in (first, first + 1))
    share = place - xp.floor(place)
    return low + (high - low) * share + (values - (start + place * step))
