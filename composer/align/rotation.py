"""The rotation between two photographs whose lens is known: for fisheyes, which no homography relates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.lens import rays
from composer.records import Camera, Photo

Array = NDArray[Any]

__all__ = ["find_fisheye_pair", "find_rotation", "rotation_onto"]

TRIALS = 400
REFINEMENTS = 3
FOCAL_DOUBT = 3.0  # times the threshold, as a focal length believed is a few per cent off


def find_rotation(rays_i: Array, rays_j: Array, threshold: float) -> tuple[Array, Array] | None:
    """Fit the rotation that takes directions (N, 3) to others, robustly, from pairs of matches (RANSAC).

    Parameters
    ----------
    rays_i, rays_j : (N, 3) unit vectors that correspond
    threshold : float
        Radians by which a match may be off.

    Returns
    -------
    rotation (3, 3) and inliers (N,) bool; None where no more than 8 + 0.3 N matches agree.
    """
    n = len(rays_i)
    if n < 8:
        return None
    drawn = np.random.default_rng(n).integers(0, n, (TRIALS, 2))
    turns = _frames(rays_j, drawn) @ _frames(rays_i, drawn).transpose(0, 2, 1)
    limit = np.cos(threshold)
    likeness = np.einsum("tab,nb,na->tn", turns, rays_i, rays_j, optimize=True)
    inside = likeness[int((likeness > limit).sum(1).argmax())] > limit
    for _ in range(REFINEMENTS):
        turn = rotation_onto(rays_i[inside], rays_j[inside])
        inside = ((rays_i @ turn.T) * rays_j).sum(1) > limit
    return (turn, inside) if inside.sum() > 8 + 0.3 * n else None


def find_fisheye_pair(
    photos: tuple[Photo, Photo], points_i: Array, points_j: Array, threshold_px: float
) -> tuple[Array, Array] | None:
    """Fit the rotation between two photos of known focal length.

    Returns
    -------
    K_j R K_i^-1 (3, 3), as a homography would be for lenses that draw straight lines straight, and
    inliers (N,) bool; None where the matches do not support one.
    """
    ends, scales = [], []
    for photo, points in zip(photos, (points_i, points_j), strict=True):
        focal = photo.focal_px or max(photo.width, photo.height)
        camera = Camera(np.eye(3), focal, photo.distortion, optics=photo.optics)
        ends.append(rays(points, photo, camera))
        scales.append(
            np.array([[focal, 0, (photo.width - 1) / 2], [0, focal, (photo.height - 1) / 2], [0, 0, 1]])
        )
    if len(ends[0]) != len(ends[1]):
        return None  # a point outside what the lens can show
    found = find_rotation(ends[0], ends[1], FOCAL_DOUBT * threshold_px / scales[1][0, 0])
    if found is None:
        return None
    return scales[1] @ found[0] @ np.linalg.inv(scales[0]), found[1]


def _frames(rays: Array, drawn: Array) -> Array:
    """Return for each pair of rays an orthonormal frame (T, 3, 3), columns, that turns with them."""
    first, second = rays[drawn[:, 0]], rays[drawn[:, 1]]
    normal = np.cross(first, second)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    return np.stack([first, normal, np.cross(first, normal)], 2)


def rotation_onto(rays_i: Array, rays_j: Array) -> Array:
    """Return the rotation that brings directions nearest to others (Kabsch, 1976)."""
    u, _, vt = np.linalg.svd(rays_j.T @ rays_i)
    return np.asarray(u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt)
