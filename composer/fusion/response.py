"""A camera's response: what exposure a stored value stands for, found from photos of known exposure ratios.

A response is (NODES, C) float64: the natural logarithm of exposure (light times seconds) at NODES values
spread evenly from black to white, in the scale of sRGB's at the middle one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.records import to_linear

Array = NDArray[Any]

__all__ = ["NODES", "debevec", "robertson", "spread_samples", "srgb", "trust"]

NODES = 256
MIDDLE = NODES // 2
SAMPLES = 6000  # pixels that a response is found from
SMOOTHNESS = 3.0  # how much a bend of the curve weighs against an average sample's misfit
ROUNDS = 4  # of reweighting: what moved between the photos loses its say
CLIPPED = 0.04  # of the hat's height
MISFIT = 0.15  # natural logarithm of exposure, at which a sample counts half
STEPS, SETTLED = 200, 1e-5


def srgb(channels: int) -> Array:
    """Return sRGB's response; black stands for half of the least value."""
    codes = np.maximum(np.arange(NODES), 0.5) / (NODES - 1)
    return np.repeat(np.log(to_linear(codes).astype(np.float64))[:, None], channels, 1)


def trust(nodes: Array) -> Array:
    """Return how far a stored value, 0..NODES-1, is from both ends: a hat, 1 half-way.

    Debevec and Malik's hat, less what noise can make of clipped values: 2 % at either end count for nothing.
    """
    hat = 1 - np.abs(nodes / (NODES - 1) * 2 - 1)
    return np.asarray(np.maximum(hat - CLIPPED, 0) / (1 - CLIPPED))


def spread_samples(images: Sequence[Array]) -> Array:
    """Take pixels spread evenly over a stack: (N, photos, C) float64 in nodes of a response."""
    height, width = images[0].shape[:2]
    step = max(1, int(np.sqrt(height * width / SAMPLES)))
    white = np.iinfo(images[0].dtype).max
    here = np.s_[step // 2 :: step, step // 2 :: step]
    taken = [i[here].reshape(-1, i.shape[2]) * ((NODES - 1) / white) for i in images]
    return np.stack(taken, axis=1)


def debevec(found: Array, log_seconds: Array) -> Array:
    """Find the response by linear least squares (Debevec and Malik, SIGGRAPH 1997, equation 3).

    The radiances are eliminated, so that thousands of samples cost no more than the curve's unknowns; values
    between nodes share the two around them; samples that do not fit are weighed down.

    Parameters
    ----------
    found : (N, photos, C), from `spread_samples`
    log_seconds : (photos,), natural logarithms
    """
    return np.stack([_debevec(found[:, :, c], log_seconds) for c in range(found.shape[2])], axis=1)


def _debevec(nodes: Array, log_seconds: Array) -> Array:
    import scipy.sparse as sparse

    count, photos = nodes.shape
    low = np.minimum(np.floor(nodes).astype(int), NODES - 2).ravel()
    share = nodes.ravel() - low
    rows = np.arange(nodes.size)
    reads = sparse.csr_array(
        (np.concatenate([1 - share, share]), (np.tile(rows, 2), np.concatenate([low, low + 1]))),
        shape=(nodes.size, NODES),
    )
    pixel = sparse.csr_array((np.ones(nodes.size), (rows // photos, rows)), shape=(count, nodes.size))
    times = np.tile(log_seconds, count)
    hat = trust(nodes.ravel()) ** 2
    weights, curve = hat, srgb(1)[:, 0]
    for _ in range(ROUNDS):
        curve = _solved(reads, pixel, times, weights)
        total = np.maximum(pixel @ weights, 1e-9)
        apart = reads @ curve - times
        apart -= pixel.T @ ((pixel @ (weights * apart)) / total)
        weights = hat / (1 + (apart / MISFIT) ** 2)
    return np.maximum.accumulate(curve)


def _solved(reads: Any, pixel: Any, times: Array, weights: Array) -> Array:
    """Solve for one channel's curve with given weights of the samples."""
    total = np.maximum(pixel @ weights, 1e-9)
    weighed = reads.multiply(weights[:, None]).tocsr()
    means = (pixel @ weighed).multiply(1 / np.sqrt(total)[:, None]).tocsr()
    matrix = (reads.T @ weighed - means.T @ means).toarray()
    right = weighed.T @ times - weighed.T @ (pixel.T @ ((pixel @ (weights * times)) / total))
    bend = np.diff(np.eye(NODES), 2, axis=0) * (SMOOTHNESS * np.sqrt(weights.sum() / NODES))
    fixed = np.zeros(NODES)
    fixed[MIDDLE] = 1
    firm = weights.sum() * np.outer(fixed, fixed)
    known = srgb(1)[:, 0]  # whose bends near black no smooth curve has: smooth is what differs from it
    return known + np.linalg.solve(matrix + bend.T @ bend + firm, right - matrix @ known)


def robertson(found: Array, log_seconds: Array) -> Array:
    """Find the response by alternating between radiances and curve (Robertson et al., JEI 2003, eq. 12-14).

    Starts from sRGB's; each value's exposure becomes the mean of what its pixels must have received.
    """
    seconds = np.exp(log_seconds)[None, :]
    curves = []
    for c in range(found.shape[2]):
        nodes = found[:, :, c]
        codes = np.rint(nodes).astype(int)
        sure = np.exp(-4 * (nodes / (NODES - 1) * 2 - 1) ** 2) * (trust(nodes) > 0)  # their Gaussian
        curve = np.exp(srgb(1)[:, 0])
        scale = curve[MIDDLE]
        counts = np.bincount(codes.ravel(), minlength=NODES)
        for _ in range(STEPS):
            before = curve
            total = np.maximum((sure * seconds**2).sum(1, keepdims=True), 1e-12)
            light = (sure * seconds * curve[codes]).sum(1, keepdims=True) / total
            sums = np.bincount(codes.ravel(), (light * seconds).ravel(), NODES)
            curve = _filled(sums, counts)
            curve = curve * (scale / curve[MIDDLE])
            if np.abs(curve - before).max() < SETTLED * curve.max():
                break
        curves.append(np.log(curve))
    return np.stack(curves, axis=1)


def _filled(sums: Array, counts: Array) -> Array:
    """Return means of values that occur, drawn through those that do not, rising."""
    seen = np.flatnonzero(counts[1:-1]) + 1  # the ends stand for whatever lies beyond them
    places = np.arange(NODES)
    curve = np.interp(places, seen, sums[seen] / counts[seen])
    for end, one, two in ((0, 1, 2), (NODES - 1, NODES - 2, NODES - 3)):
        curve[end] = 2 * curve[one] - curve[two]
    return np.maximum.accumulate(np.maximum(curve, 1e-6))
