"""Lay photographs of one view on each other, whatever their exposures and however sharp they are.

Photos are compared after local normalisation: grey less its local mean, by its local deviation. Such greys
are aligned at a set of well-textured pixels (inverse compositional: Baker and Matthews, IJCV 2004) with
robust weights, so that moving things and clipped highlights have no say. Where photos moved far, features
give a homography to start from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.features import Features, find_features, to_grey8
from composer.align.homography import find_homography
from composer.align.matching import distinct_places, match_descriptors

Array = NDArray[Any]

__all__ = ["MODELS", "View", "farthest", "foreign", "registered", "shared", "view_of"]

MODELS = ("translation", "similarity", "homography")
FEATURES_MP = 0.25
FINE_MP = 1.0
LOCAL_PX = 6.0  # over which grey is normalised
NOISE = 2.5  # grey levels of 255 that are no texture
CELL = 6  # one pixel of each cell of this size is compared
CLIPPED = 4, 250  # grey levels beyond which nothing is known
ROUNDS = 30
STILL = 0.002  # working pixels that a step moves nothing any more
LEAST_POINTS = 60
CERTAIN = 0.8  # correlation at which photos that hardly moved need no features
NEARLY_STILL = 0.01  # of the longer side
WORTH = 0.02  # by how much correlation must rise for a model with more freedom
AGREEMENT = 0.35  # correlation of normalised greys below which photos do not show the same
CHANCE = 0.2  # correlation of reduced greys, as they lie, that photos of different things may have


@dataclass(frozen=True)
class View:
    """A photo as registration sees it: `pyramid` of normalised greys (finest first) with masks of what is
    known, `scales` of each to the full photo, and the full size (width, height)."""

    pyramid: tuple[tuple[Array, Array], ...]
    scales: tuple[Array, ...]
    size: tuple[int, int]

    @cached_property
    def features(self) -> Features:
        """Features of the normalised grey, found when first asked for."""
        drawn = np.clip(self.pyramid[0][0] * 42 + 128, 0, 255).astype(np.uint8)
        return find_features(drawn, FEATURES_MP, 1000, self.size)


def view_of(pixels: Array, size: tuple[int, int]) -> View:
    """Return what registration needs of a photo.

    Parameters
    ----------
    pixels : (h, w, C) uint8, uint16 or float32
        The photo, perhaps reduced.
    size : (width, height)
        Of the full photo.
    """
    grey = to_grey8(pixels)
    shrink = min(1.0, math.sqrt(FINE_MP * 1e6 / grey.size))
    if shrink < 1:
        grey = cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    levels, scales = [], []
    while True:
        known = ((grey > CLIPPED[0]) & (grey < CLIPPED[1])).astype(np.float32)
        levels.append((_normalised(grey), known))
        scales.append(np.array([grey.shape[1] / size[0], grey.shape[0] / size[1]]))
        if min(grey.shape) < 128:
            break
        grey = cv2.resize(grey, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return View(tuple(levels), tuple(scales), size)


def registered(reference: View, photo: View, model: str) -> Array | None:
    """Return the matrix (3, 3) that takes the reference's pixels to a photo's; None if they do not agree.

    Parameters
    ----------
    model : "translation", "similarity" or "homography"
    """
    still, agreement = _simplest(reference, photo, np.eye(3), model)
    if agreement > CERTAIN and farthest(still, reference.size) < NEARLY_STILL * max(reference.size):
        return still
    start = _from_features(reference, photo)
    if start is not None:
        found, better = _simplest(reference, photo, start, model)
        if better > max(agreement + WORTH, AGREEMENT):
            return found
    return still if agreement > AGREEMENT else None


def foreign(reference: View, photo: View) -> bool:
    """Tell whether two photos that do not agree show different things: well exposed, and unlike as they lie.

    Of one that is too dark or too bright to be compared nothing is known.
    """
    points, values, _ = _textured(*reference.pyramid[-1])
    seen, known = (_sampled(plane, points) for plane in photo.pyramid[-1])
    inside = known > 0.99
    if inside.sum() < max(LEAST_POINTS, len(points) / 2) or photo.size != reference.size:
        return False
    return bool(np.corrcoef(seen[inside], values[inside])[0, 1] < CHANCE)


def _simplest(reference: View, photo: View, start: Array, model: str) -> tuple[Array, float]:
    """Return the matrix of the simplest model up to `model` that agrees nearly as well as the others.

    More freedom fits what moves by itself, such as clouds, where little else can be seen.
    """
    best, agreement = _refined(reference, photo, start, MODELS[0])
    for kind in MODELS[1 : MODELS.index(model) + 1]:
        found, better = _refined(reference, photo, start, kind)
        if better > agreement + WORTH:
            best, agreement = found, better
    return best, agreement


def farthest(matrix: Array, size: tuple[int, int]) -> float:
    """Return how many pixels a matrix moves that corner of a (width, height) that it moves most."""
    width, height = size
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], float)
    return float(np.hypot(*(_mapped(matrix, corners) - corners).T).max())


def shared(matrix: Array, frame: tuple[int, int], size: tuple[int, int]) -> float:
    """Return what part of the smaller of two pictures both show; `matrix` takes the frame to the other.

    `frame` and `size` are (width, height) of the two.
    """
    (w, h), (width, height) = frame, size
    seen = _mapped(matrix, np.array([[0, 0], [w, 0], [w, h], [0, h]], float)).astype(np.float32)
    other = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    common, _ = cv2.intersectConvexConvex(seen, other)
    return float(common) / max(min(cv2.contourArea(seen), width * height), 1.0)


def _normalised(grey: Array) -> Array:
    """Return (h, w) float32 grey less its local mean, by its local standard deviation."""
    values = grey.astype(np.float32)
    mean = cv2.GaussianBlur(values, (0, 0), LOCAL_PX)
    away = values - mean
    spread = cv2.GaussianBlur(away * away, (0, 0), LOCAL_PX)
    return np.asarray(away / np.sqrt(spread + NOISE**2))


def _from_features(reference: View, photo: View) -> Array | None:
    """Return the homography that matched features support."""
    a, b = reference.features, photo.features
    pairs = match_descriptors(a.descriptors, b.descriptors)
    points_a, points_b = a.points[pairs[:, 0]], b.points[pairs[:, 1]]
    kept = distinct_places(points_a, points_b)
    found = find_homography(points_a[kept], points_b[kept], 2.0 / a.scale)
    return None if found is None else found[0]


def _refined(reference: View, photo: View, start: Array, model: str) -> tuple[Array, float]:
    """Improve a matrix from coarse to fine; returns it and how well greys agree under it."""
    matrix, agreement = _constrained(start, model, reference.size), 0.0
    depth = min(len(reference.pyramid), len(photo.pyramid))
    for level in reversed(range(depth)):
        here = _scaled(matrix, reference.scales[level], photo.scales[level])
        here, agreement = _aligned(reference.pyramid[level], photo.pyramid[level], here, model)
        matrix = _scaled(here, 1 / reference.scales[level], 1 / photo.scales[level])
    return matrix / matrix[2, 2], agreement


def _constrained(matrix: Array, model: str, size: tuple[int, int]) -> Array:
    """Return the matrix of a model nearest to a homography, at points spread over the frame."""
    if model == "homography":
        return matrix
    width, height = size
    grid = np.stack(np.meshgrid(np.linspace(0, width, 5), np.linspace(0, height, 5)), -1).reshape(-1, 2)
    there = _mapped(matrix, grid)
    result = np.eye(3)
    if model == "similarity":
        z, w = (p[:, 0] + 1j * p[:, 1] for p in (grid, there))
        turn = np.vdot(z - z.mean(), w - w.mean()) / np.vdot(z - z.mean(), z - z.mean())
        result[:2, :2] = [[turn.real, -turn.imag], [turn.imag, turn.real]]
    result[:2, 2] = (there - grid @ result[:2, :2].T).mean(0)
    return result


def _aligned(
    reference: tuple[Array, Array], photo: tuple[Array, Array], matrix: Array, model: str
) -> tuple[Array, float]:
    """Align a photo's normalised grey with the reference's (inverse compositional, Tukey's weights)."""
    points, values, slopes = _textured(*reference)
    if len(points) < LEAST_POINTS:
        return matrix, 0.0
    centre, unit = points.mean(0), max(reference[0].shape) / 2
    frame = np.array([[unit, 0, centre[0]], [0, unit, centre[1]], [0, 0, 1]])
    jacobian = _jacobian((points - centre) / unit, slopes * unit, model)
    current, agreement = matrix @ frame, 0.0
    for _ in range(ROUNDS):
        there = _mapped(current, (points - centre) / unit)
        seen, known = (_sampled(plane, there) for plane in photo)
        inside = known > 0.99
        if inside.sum() < LEAST_POINTS:
            return matrix, 0.0
        rest = np.where(inside, seen - values, 0)
        spread = 1.4826 * np.median(np.abs(rest[inside])) + 1e-3
        weight = inside * np.clip(1 - (rest / (4.7 * spread)) ** 2, 0, None) ** 2
        agreement = float(np.corrcoef(seen[inside], values[inside])[0, 1])
        weighted = jacobian * weight[:, None]
        normal = weighted.T @ jacobian
        step = np.linalg.solve(normal + 1e-6 * np.trace(normal) * np.eye(len(normal)), weighted.T @ rest)
        change = _increment(step, model)
        current = current @ np.linalg.inv(change)
        if np.abs(step).max() * unit < STILL:
            break
    result = current @ np.linalg.inv(frame)
    return result / result[2, 2], agreement


def _textured(grey: Array, known: Array) -> tuple[Array, Array, Array]:
    """Return each cell's pixel of the steepest slope: points (N, 2), values (N,) and slopes (N, 2)."""
    dx = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    dy = cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    steep = (dx * dx + dy * dy) * cv2.erode(known, np.ones((3, 3)))
    steep[:2], steep[-2:], steep[:, :2], steep[:, -2:] = 0, 0, 0, 0
    high, wide = (n // CELL for n in grey.shape)
    cells = steep[: high * CELL, : wide * CELL].reshape(high, CELL, wide, CELL).swapaxes(1, 2)
    cells = cells.reshape(high, wide, CELL * CELL)
    best = cells.argmax(2)
    y, x = np.mgrid[0:high, 0:wide] * CELL + np.stack(np.divmod(best, CELL))
    kept = cells.max(2) > 0
    y, x = y[kept], x[kept]
    return np.stack([x, y], 1).astype(float), grey[y, x].astype(float), np.stack([dx[y, x], dy[y, x]], 1)


def _jacobian(points: Array, slopes: Array, model: str) -> Array:
    """Return how greys change with a model's parameters, at points in units of the frame."""
    (x, y), (gx, gy) = points.T, slopes.T
    columns = [gx, gy]
    if model == "similarity":
        columns += [gx * x + gy * y, gy * x - gx * y]
    elif model == "homography":
        columns += [gx * x, gx * y, gy * x, gy * y]
        columns += [-x * (gx * x + gy * y), -y * (gx * x + gy * y)]
    return np.stack(columns, 1).astype(float)


def _increment(step: Array, model: str) -> Array:
    """Return the matrix of a step in a model's parameters."""
    if model == "translation":
        return np.array([[1, 0, step[0]], [0, 1, step[1]], [0, 0, 1]])
    if model == "similarity":
        return np.array([[1 + step[2], -step[3], step[0]], [step[3], 1 + step[2], step[1]], [0, 0, 1]])
    tx, ty, a, b, c, d, g, h = step
    return np.array([[1 + a, b, tx], [c, 1 + d, ty], [g, h, 1]])


def _sampled(plane: Array, points: Array) -> Array:
    """Sample (h, w) float32 at (N, 2) points, 0 outside."""
    x, y = points.T.astype(np.float32)
    side = 1 << 10  # OpenCV maps hold at most 32767 columns
    full = -(-len(x) // side) * side
    x, y = (np.pad(a, (0, full - len(a)), constant_values=-9).reshape(-1, side) for a in (x, y))
    found = cv2.remap(plane, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(found).ravel()[: len(points)].astype(float)


def _mapped(matrix: Array, points: Array) -> Array:
    found = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(found[:, :2] / found[:, 2:])


def _scaled(matrix: Array, reference: Array, photo: Array) -> Array:
    """Return a matrix between full photos as one between photos so many times as large."""
    a, b = (
        np.array([[s[0], 0, s[0] / 2 - 0.5], [0, s[1], s[1] / 2 - 0.5], [0, 0, 1]])
        for s in (reference, photo)
    )
    return np.asarray(b @ matrix @ np.linalg.inv(a))
