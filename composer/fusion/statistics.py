"""Pixel by pixel over a stack: sorted values, medians, means without outliers.

Order statistics come from a sorting network (Batcher, AFIPS 1968): minima and maxima of whole arrays,
which are quick for every type and need no axis to sort along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add
from typing import Any

from composer.backend import namespace

__all__ = ["clipped", "median", "middle", "sort_stack"]

MAD_TO_SIGMA = 1.4826  # a normal distribution's standard deviation over its median absolute deviation


def sort_stack(layers: Sequence[Any]) -> list[Any]:
    """Sort arrays of one shape element by element: the first holds every place's smallest value."""
    xp = namespace(*layers)
    found = list(layers)
    for i, j in _comparators(len(found)):
        found[i], found[j] = xp.minimum(found[i], found[j]), xp.maximum(found[i], found[j])
    return found


def median(layers: Sequence[Any], valid: Sequence[Any]) -> Any:
    """Return the median of float32 arrays over the places where each is valid; 0 where none is.

    Parameters
    ----------
    layers : sequence of (h, w, C) float32
    valid : sequence of (h, w) bool
    """
    xp = namespace(*layers)
    absent = xp.asarray(xp.inf, dtype=xp.float32)
    known = [xp.where(seen[:, :, None], layer, absent) for layer, seen in zip(layers, valid, strict=True)]
    count = sum(xp.astype(seen, xp.int32) for seen in valid)
    ordered = sort_stack(known)
    result = xp.zeros_like(layers[0])
    for n in range(1, len(ordered) + 1):
        here = xp.broadcast_to((count == n)[:, :, None], result.shape)
        result = xp.where(here, middle(ordered[:n]), result)
    return result


def middle(ordered: Sequence[Any]) -> Any:
    """Return the middle of sorted float32 arrays: the mean of the two in the middle where they are even."""
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return low if low is high else (low + high) / 2


def clipped(layers: Sequence[Any], valid: Sequence[Any], sigmas: float, least: float) -> list[Any]:
    """Return where each pixel lies within so many standard deviations of the median.

    The deviation is estimated by the median absolute deviation, which a few outliers do not move. Channels
    stay together, by their root mean square: chosen one by one, they would make colours that no photo has.
    Where every photo is beyond, the nearest stays.

    Parameters
    ----------
    layers : sequence of (h, w, C) float32
    valid : sequence of (h, w) bool
    sigmas : float
    least : float
        The smallest deviation to assume: values come in steps.

    Returns
    -------
    list of (h, w, 1) bool
    """
    xp = namespace(*layers)
    centre = median(layers, valid)
    away = [_away(layer, centre) for layer in layers]
    limit = median(away, valid) * (MAD_TO_SIGMA * sigmas)
    limit = xp.maximum(limit, xp.asarray(least * sigmas, dtype=limit.dtype))
    beyond = xp.asarray(xp.inf, dtype=limit.dtype)
    known = [xp.where(seen[:, :, None], a, beyond) for a, seen in zip(away, valid, strict=True)]
    limit = xp.maximum(limit, reduce(xp.minimum, known))
    return [(k <= limit) & seen[:, :, None] for k, seen in zip(known, valid, strict=True)]


def _away(layer: Any, centre: Any) -> Any:
    """Return how far (h, w, 1) pixels lie from others, channel by channel: a short last axis is slow."""
    xp, count = namespace(layer), layer.shape[2]
    squares = [(layer[:, :, c] - centre[:, :, c]) ** 2 for c in range(count)]
    return xp.sqrt(reduce(add, squares) / count)[:, :, None]


def _comparators(count: int) -> Iterator[tuple[int, int]]:
    """Yield the comparators of Batcher's odd-even merge sort."""
    p = 1
    while p < count:
        k = p
        while k >= 1:
            for j in range(k % p, count - k, 2 * k):
                for i in range(j, min(j + k, count - k)):
                    if i // (2 * p) == (i + k) // (2 * p):
                        yield i, i + k
            k //= 2
        p *= 2
