"""Overlays: captions, date stamps, watermarks, frames, a bonnet: what every photo shows at the same place.

Its matches say that nothing has turned, and they are many and sharp: photos from all around would be laid on
each other. It is told from views that are the same (brackets) by other matches, which move.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.features import Features
from composer.align.homography import Pair, find_homography
from composer.records import Photo

Array = NDArray[Any]

__all__ = ["find_overlays", "outside_overlay"]

CELLS = 64  # of the map of where in a photo an overlay is, across and down
LEAST = 6  # matches that stay where they are
APART = 4.0  # times the tolerance: what moves takes the others at least so far from where they stay
LARGEST = 0.5  # of a photo: more than that is no overlay


def find_overlays(
    pairs: Sequence[Pair], photos: Sequence[Photo], tolerances: Sequence[float]
) -> dict[tuple[int, int], Array]:
    """Find what stays at one place in photos of one size while the scene behind it moves.

    Parameters
    ----------
    pairs : sequence of Pair
    photos : sequence of Photo
        Those that the pairs name.
    tolerances : sequence of float
        Of each pair, how exact its matches are, in pixels.

    Returns
    -------
    dict of (width, height) of photos that have one to (CELLS, CELLS) bool, where in them it is.
    """
    counts: dict[tuple[int, int], Array] = {}
    moving = set()
    for pair, tolerance in zip(pairs, tolerances, strict=True):
        size, other = ((photos[k].width, photos[k].height) for k in (pair.i, pair.j))
        here, there = np.r_[pair.points_i, pair.rest_i], np.r_[pair.points_j, pair.rest_j]
        stays = np.hypot(*(there - here).T) < tolerance
        if size != other or stays.sum() < LEAST:
            continue
        rows, columns = np.unique(_cells(here[stays], size), axis=0).T
        counts.setdefault(size, np.zeros((CELLS, CELLS), int))[rows, columns] += 1
        if size not in moving and _moves(here, there, stays, tolerance):
            moving.add(size)
    grown = {size: cv2.dilate(_often(counts[size]), np.ones((5, 5), np.uint8)) > 0 for size in moving}
    return {size: overlay for size, overlay in grown.items() if overlay.mean() < LARGEST}


def _often(count: Array) -> Array:
    """Return where matches of two pairs stay, of one where there are no more."""
    return (count >= min(2, count.max())).astype(np.uint8)


def outside_overlay(features: Features, photo: Photo, overlays: dict[tuple[int, int], Array]) -> Features:
    """Keep the features that lie outside what `find_overlays` found in photos of this size."""
    overlay = overlays.get((photo.width, photo.height))
    if overlay is None:
        return features
    rows, columns = _cells(features.points, (photo.width, photo.height)).T
    return features.only(~overlay[rows, columns])


def _moves(here: Array, there: Array, stays: Array, tolerance: float) -> bool:
    """Tell whether the matches that do not stay agree on a homography under which the others would not."""
    found = find_homography(here[~stays], there[~stays], tolerance)
    if found is None:
        return False
    taken = cv2.perspectiveTransform(here[stays][None], found[0])[0]
    return bool(np.median(np.hypot(*(taken - there[stays]).T)) > APART * tolerance)


def _cells(points: Array, size: tuple[int, int]) -> Array:
    """Return the (row, column) (N, 2) of the map's cells that points of a photo lie in."""
    across = (points + 0.5) * CELLS / size
    return np.clip(across.astype(int), 0, CELLS - 1)[:, ::-1]
