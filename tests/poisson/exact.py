"""Poisson image editing as a sparse direct solve: equation 7 of Pérez et al. (2003), written down again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

Array = NDArray[Any]
Guidance = Callable[[Array, Array], Array]  # of pixels p and q, flat positions: (n, C) values


def solved(target: Array, inside: Array, known: Array, guidance: Guidance) -> Array:
    """Return target (H, W, C) float64 with f_p - f_q = v_pq in the mask, in the sense of least squares."""
    height, width, channels = target.shape
    places = np.flatnonzero(inside)
    number = np.full(inside.size, -1)
    number[places] = np.arange(len(places))
    flat = target.reshape(-1, channels).astype(float)
    diagonal, right = np.zeros(len(places)), np.zeros((len(places), channels))
    rows, columns = [], []
    y, x = np.divmod(places, width)
    for down, along in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        j, i = y + down, x + along
        within = np.flatnonzero((j >= 0) & (j < height) & (i >= 0) & (i < width))
        q = j[within] * width + i[within]
        used = inside.ravel()[q] | known.ravel()[q]
        p, q, row = places[within[used]], q[used], within[used]
        diagonal[row] += 1
        right[row] += guidance(p, q)
        free = inside.ravel()[q]
        rows.append(row[free])
        columns.append(number[q[free]])
        right[row[~free]] += flat[q[~free]]
    places_ = np.concatenate(rows), np.concatenate(columns)
    matrix = sparse.diags(diagonal) - sparse.csr_matrix(
        (np.ones(len(places_[0])), places_), (len(places),) * 2
    )
    found = flat.copy()
    found[places] = spsolve(matrix.tocsc(), right).reshape(len(places), channels)
    return found.reshape(target.shape)


def differences(picture: Array, factor: Callable[[Array, Array], Array] | None = None) -> Guidance:
    """Return the field of a picture's differences, times a factor (n, 1) or (n, C) for pixels p and q."""
    flat = picture.reshape(-1, picture.shape[2]).astype(float)

    def guidance(p: Array, q: Array) -> Array:
        scale = 1.0 if factor is None else factor(p, q)
        return (flat[p] - flat[q]) * scale

    return guidance


def stronger(source: Array, target: Array) -> Guidance:
    """Return the field of the stronger difference of the two."""
    own, other = differences(source), differences(target)

    def guidance(p: Array, q: Array) -> Array:
        a, b = own(p, q), other(p, q)
        return np.where(np.abs(b) > np.abs(a), b, a)

    return guidance


def blobs(shape: tuple[int, int], seed: int, sigma: float = 6, share: float = 0.5) -> Array:
    """Return an irregular mask: noise, blurred, above a threshold."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random(shape), None, sigma)
    return np.asarray(noise > np.quantile(noise, 1 - share))


def noise(shape: tuple[int, ...], seed: int) -> Array:
    """Return white noise, float32 in 0..1."""
    return np.random.default_rng(seed).random(shape, np.float32)
