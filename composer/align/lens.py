"""The lens: how it draws angles, Hugin's radial polynomial, and the inverse of both."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.errors import ComposerError
from composer.records import Camera, Optics, Photo

Array = NDArray[Any]

__all__ = [
    "STEEP",
    "drawn_at",
    "pixel_to_plane",
    "polynomial",
    "project",
    "ray_of",
    "rays",
    "seen_at",
    "steepest",
]


WIDEST = {"rectilinear": math.inf, "equidistant": math.pi, "equisolid": 2.0}  # ideal radius, focal lengths
STEEP = 10.0  # tangent of the angle off its axis from which on a rectilinear camera is taken to see nothing
Distortion = tuple[float | Array, float | Array, float | Array]


def polynomial(r: Array, distortion: Distortion) -> tuple[Array, Array]:
    """Return g(r) = a r^3 + b r^2 + c r + 1 - a - b - c and its derivative; a, b, c one or one a point."""
    a, b, c = distortion
    return ((a * r + b) * r + c) * r + (1 - a - b - c), (3 * a * r + 2 * b) * r + c


def pixel_to_plane(points: Array, distortion: Distortion, half_px: float | Array) -> Array:
    """Undo radial distortion: (N, 2) pixels from the centre to the ideal plane, by Newton's method.

    Raises
    ------
    ComposerError
        The polynomial folds back before it reaches a point.
    """
    seen = np.hypot(points[:, 0], points[:, 1]) / half_px
    r = seen.copy()
    for _ in range(12):
        g, slope = polynomial(r, distortion)
        fall = g + r * slope
        if (fall <= 0.05).any():
            raise ComposerError("the lens polynomial folds back inside the photograph")
        step = (r * g - seen) / fall
        r = r - step
        if np.abs(step).max(initial=0.0) < 1e-9:  # the next one would be less than rounding
            break
    return points * np.where(seen > 1e-9, r / np.maximum(seen, 1e-9), 1)[:, None]


def project(xp: Any, photo: Photo, camera: Camera, directions: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """Return where a camera sees directions given in its own frame.

    Parameters
    ----------
    xp : array namespace
    photo : Photo
    camera : Camera
    directions : x, y, z, float32 arrays of one shape

    Returns
    -------
    u, v : float32, photo pixels; inside : bool, whether the photo has that point.
    A rectilinear lens takes correctly rounded operations only, so every device computes the same.
    """
    half = min(photo.width, photo.height) / 2
    factor, ahead = _drawn(xp, camera, directions, half)
    x, y = directions[0] * factor, directions[1] * factor
    r2 = x * x + y * y
    limit = _outermost(photo, camera, half)
    inside = ahead & (r2 < limit * limit)
    a, b, c = (float(k) for k in camera.distortion)
    g = r2 * b + (1 - a - b - c)
    if a or c:
        r = xp.sqrt(r2)
        g = g + r2 * r * a + r * c
    g = g * half
    u = x * g + ((photo.width - 1) / 2 + camera.offset[0])
    v = y * g + ((photo.height - 1) / 2 + camera.offset[1])
    inside = inside & (u >= -0.5) & (u <= photo.width - 0.5) & (v >= -0.5) & (v <= photo.height - 0.5)
    return u, v, inside


def _drawn(xp: Any, camera: Camera, directions: tuple[Any, Any, Any], half: float) -> tuple[Any, Any]:
    """Return what takes x and y to the ideal image, in units of `half` pixels, and where it exists."""
    x, y, z = directions
    scale = camera.focal_px / half
    if camera.optics == "rectilinear":
        ahead = z > 1e-3
        return scale / xp.where(ahead, z, xp.ones_like(z)), ahead
    away = xp.sqrt(x * x + y * y)
    angle = xp.atan2(away, z)
    radius = angle if camera.optics == "equidistant" else 2 * xp.sin(angle / 2)
    off_axis = away > 1e-6
    straight = xp.ones_like(z) / xp.where(z > 1e-3, z, xp.ones_like(z))
    factor = xp.where(off_axis, radius / xp.where(off_axis, away, xp.ones_like(away)), straight) * scale
    return factor, off_axis | (z > 0)


def seen_at(
    photo: Photo, camera: Camera, directions: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array]:
    """Return where a rectilinear camera sees directions: u, v and if they are less than STEEP off its axis.

    As `project` in float64, but smooth beyond the photo's corners, where the lens goes on as it ends there.
    """
    half = min(photo.width, photo.height) / 2
    x, y, z = directions
    away = np.hypot(x, y)
    ahead = z * STEEP > away
    factor = camera.focal_px / half / np.where(ahead, z, 1)
    r = away * factor
    near = np.minimum(r, _outermost(photo, camera, half))
    g, slope = polynomial(near, camera.distortion)
    beyond = r > near
    g = np.where(beyond, (near * g + (r - near) * (g + near * slope)) / np.where(beyond, r, 1), g)
    factor = factor * g * half
    u, v = x * factor + camera.offset[0], y * factor + camera.offset[1]
    return u + (photo.width - 1) / 2, v + (photo.height - 1) / 2, ahead


def steepest(photo: Photo, camera: Camera) -> float:
    """Return the tangent of the angle from a rectilinear camera's axis to its photo's farthest corner."""
    half = min(photo.width, photo.height) / 2
    return _outermost(photo, camera, half) * half / camera.focal_px


def _outermost(photo: Photo, camera: Camera, half: float) -> float:
    """Return the ideal radius (in half shorter sides) beyond which nothing of the photo lies."""
    dx, dy = camera.offset
    corner = math.hypot(photo.width / 2 + abs(dx), photo.height / 2 + abs(dy)) * 1.001
    limit = corner if camera.circle_px is None else min(corner, camera.circle_px)
    widest = WIDEST[camera.optics]
    if math.isfinite(widest) and limit > widest * camera.focal_px:
        return widest * camera.focal_px / half
    return _undistorted(limit, camera.distortion, half)


@functools.lru_cache(maxsize=1024)
def _undistorted(radius: float, distortion: tuple[float, float, float], half: float) -> float:
    """Return the ideal radius of one of the photo, in units of `half`: every tile asks for its photo's."""
    return float(pixel_to_plane(np.array([[radius, 0.0]]), distortion, half)[0, 0]) / half


def rays(points: Array, photo: Photo, camera: Camera) -> Array:
    """Return the directions (M, 3), in the camera's frame, of those (N, 2) pixels that see one."""
    centre = np.array([(photo.width - 1) / 2, (photo.height - 1) / 2]) + camera.offset
    half = min(photo.width, photo.height) / 2
    from_centre = points - centre
    if camera.circle_px is not None:
        from_centre = from_centre[np.hypot(*from_centre.T) <= camera.circle_px]
    plane = pixel_to_plane(from_centre, camera.distortion, half) / camera.focal_px
    return ray_of(plane[np.hypot(*plane.T) <= WIDEST[camera.optics]].T, camera.optics)[0].T


def ray_of(plane: Array, optics: Optics) -> tuple[Array, Array]:
    """Return the directions (3, N) of points (2, N) of the ideal image, in focal lengths; the derivative.

    The derivative (3, 2, N) is by the point. Angles are t = atan r, t = r or t = 2 asin(r/2).
    """
    derivative = np.zeros((3, 2, plane.shape[1]))
    derivative[[0, 1], [0, 1]] = 1
    if optics == "rectilinear":
        return np.concatenate([plane, np.ones_like(plane[:1])]), derivative
    r = np.maximum(np.hypot(plane[0], plane[1]), 1e-9)
    if optics == "equidistant":
        angle, by_r = r, np.ones_like(r)
    else:
        angle = 2 * np.arcsin(np.minimum(r / 2, 1))
        by_r = 1 / np.sqrt(np.maximum(1 - r * r / 4, 1e-6))
    stretch = np.sin(angle) / r
    away = plane / r
    radial = np.cos(angle) * by_r - stretch
    derivative[:2] = stretch * derivative[:2] + radial * (away[:, None] * away)
    derivative[2] = -(np.sin(angle) * by_r) * away
    return np.concatenate([plane * stretch, np.cos(angle)[None]]), derivative


def drawn_at(directions: Array, optics: Optics) -> tuple[Array, Array]:
    """Return where directions (3, N) are drawn in the ideal image, in focal lengths (2, N); the derivative.

    The derivative (2, 3, N) is by the direction. Behind a rectilinear lens the nearest point is meant.
    """
    flat, z = directions[:2], directions[2]
    derivative = np.zeros((2, 3, len(z)))
    if optics == "rectilinear":
        z = np.maximum(z, 0.05)
        drawn = flat / z
        derivative[[0, 1], [0, 1]] = 1 / z
        derivative[:, 2] = -drawn / z
        return drawn, derivative
    away = np.maximum(np.hypot(flat[0], flat[1]), 1e-9)
    angle, length2 = np.arctan2(away, z), away * away + z * z
    half = 0.5 if optics == "equisolid" else 0.0
    radius = 2 * np.sin(angle / 2) if half else angle
    by_angle = np.cos(angle * half)
    unit = flat / away
    outer = unit[:, None] * unit
    stretch, radial = radius / away, by_angle * z / length2
    derivative[:, :2] = stretch * (np.eye(2)[:, :, None] - outer) + radial * outer
    derivative[:, 2] = -(by_angle * away / length2) * unit
    return flat * stretch, derivative
