"""Affine mosaics of flat scans: every photo's place on one plane, by linear least squares.

Each photo k has an affine map B_k from its pixels to the plane; a match asks that B_i p_i = B_j p_j.
One photo is held in place, the rest are solved together, reweighted for outliers (Huber).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.homography import Pair
from composer.records import Camera, Photo

Array = NDArray[Any]

__all__ = ["adjust_affine", "affine_errors"]


def adjust_affine(photos: tuple[Photo, ...], pairs: list[Pair], huber_px: float) -> list[Camera]:
    """Solve for affine maps; the photo with most matches is held upright and in scale.

    Returns
    -------
    list of Camera
        `rotation` maps the plane to the photo, both in units of `focal_px` (the longer side).
    """
    n, unit = len(photos), float(max(photos[0].width, photos[0].height))
    matches = np.zeros(n)
    for p in pairs:
        matches[[p.i, p.j]] += len(p.points_i)
    held = int(matches.argmax())
    maps = np.tile(np.array([[1.0, 0], [0, 1], [0, 0]]), (n, 1, 1))
    i, j = (np.array(ends) for ends in zip(*((p.i, p.j) for p in pairs), strict=True))
    sides = (
        [_rows(p.points_i, photos[p.i], unit) for p in pairs],
        [_rows(p.points_j, photos[p.j], unit) for p in pairs],
    )
    a, b = (np.ascontiguousarray(np.concatenate(rows).T) for rows in sides)
    counts = [len(p.points_i) for p in pairs]
    of, begin = np.repeat(np.arange(len(pairs)), counts), np.r_[0, np.cumsum(counts)[:-1]]
    both, weight = np.concatenate([a, -b]), np.ones(len(of))
    where = np.concatenate([3 * i[:, None] + np.arange(3), 3 * j[:, None] + np.arange(3)], 1)
    free = np.array([3 * k + c for k in range(n) if k != held for c in range(3)])
    fixed = np.arange(3 * held, 3 * held + 3)
    for _ in range(10):
        matrix = np.zeros((3 * n, 3 * n))
        blocks = np.add.reduceat(both[:, None] * (both * weight), begin, axis=2).transpose(2, 0, 1)
        np.add.at(matrix, (where[:, :, None], where[:, None, :]), blocks)
        right = -matrix[np.ix_(free, fixed)] @ maps[held]
        inner = matrix[np.ix_(free, free)]
        inner[np.diag_indices_from(inner)] *= 1 + 1e-12  # matches on one line leave it singular
        maps.reshape(-1, 2)[free] = np.linalg.solve(inner, right)
        ends = (np.einsum("kn,nkc->cn", rows, maps[k[of]]) for rows, k in ((a, i), (b, j)))
        distance = np.hypot(*np.subtract(*ends)) * unit
        weight = np.minimum(1, huber_px / np.maximum(distance, 1e-9))
    cameras = []
    for m in maps:
        to_plane = np.eye(3)
        to_plane[:2] = m.T
        cameras.append(Camera(np.linalg.inv(to_plane), unit))
    return cameras


def affine_errors(pair: Pair, cameras: list[Camera], photos: tuple[Photo, ...]) -> Array:
    """Return each match's distance on the plane, in pixels (N,)."""
    ends = []
    for k, points in ((pair.i, pair.points_i), (pair.j, pair.points_j)):
        unit = cameras[k].focal_px
        ends.append(_rows(points, photos[k], unit) @ np.linalg.inv(cameras[k].rotation).T[:, :2])
    return np.asarray(np.linalg.norm(ends[0] - ends[1], axis=1) * cameras[pair.i].focal_px)


def _rows(points: Array, photo: Photo, unit: float) -> Array:
    """Return homogeneous coordinates from the photo's centre, in `unit` pixels."""
    centre = np.array([(photo.width - 1) / 2, (photo.height - 1) / 2])
    return np.c_[(points - centre) / unit, np.ones(len(points))]
