"""Projections: which way each canvas pixel looks, and where on the canvas a direction is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.records import FLAT, Composition, Projection, Rect

Array = NDArray[Any]

__all__ = ["ROUND", "canvas_directions", "directions_at", "directions_to_canvas", "shown", "widest_gap"]

ROUND = ("sphere", "cylinder", "mercator")  # x is the longitude: these can close
_LIMITS = {
    "plane": 4.0,  # 76 degrees from the centre
    "cylinder": 3.0,  # 71.6 degrees above the horizon
    "mercator": 2.5,  # 80.6 degrees
    "pannini": 3.5,  # 60 degrees in each half of the angle: 120 to either side
    "stereographic": 4.3,  # 130 degrees from the centre
}


def canvas_directions(xp: Any, composition: Composition, rect: Rect, turn: Array) -> tuple[Any, Any, Any]:
    """Return the directions of a rectangle's pixels, turned by a (3, 3) matrix.

    Every projection is separable: component k is rows[k] * columns[k], and stereographic adds a term of
    the row to z. Only correctly rounded operations are left for the device.

    Returns
    -------
    x, y, z : (h, w) float32, of any length
    """
    rows, columns, lift = _axes(composition, rect)
    across = [xp.asarray(columns[k])[None, :] for k in range(3)]

    def component(axis: int) -> Any:
        terms = rows * turn[axis].astype(np.float32)[:, None]
        first, second, third = (xp.asarray(terms[k])[:, None] * across[k] for k in range(3))
        total = first + second + third
        if lift is None:
            return total
        return total + xp.asarray(lift * np.float32(turn[axis][2]))[:, None]

    return component(0), component(1), component(2)


def directions_at(composition: Composition, x: Array, y: Array, turn: Array) -> tuple[Array, Array, Array]:
    """Return the directions, turned, of the pixels in columns x and rows y: three (rows, columns) float64."""
    rows, columns, lift = _separated(composition, x, y)
    found = []
    for axis in turn:
        first, second, third = (axis[k] * rows[k][:, None] * columns[k] for k in range(3))
        total = first + second + third
        found.append(total if lift is None else total + (axis[2] * lift)[:, None])
    return found[0], found[1], found[2]


def _axes(composition: Composition, rect: Rect) -> tuple[Array, Array, Array | None]:
    """Return rows (3, h), columns (3, w), and what rows add to z (h,) or None; float32."""
    rows, columns, lift = _separated(composition, np.arange(rect.x0, rect.x1), np.arange(rect.y0, rect.y1))
    return (
        rows.astype(np.float32),
        columns.astype(np.float32),
        lift if lift is None else lift.astype(np.float32),
    )


def _separated(composition: Composition, x: Array, y: Array) -> tuple[Array, Array, Array | None]:
    """Return what `_axes` does for any columns and rows, float64."""
    x = (x + composition.origin[0]) / composition.scale
    y = (y + composition.origin[1]) / composition.scale
    one_x, one_y = np.ones_like(x), np.ones_like(y)
    lift = None
    rows, columns = np.stack([one_y, y, one_y]), np.stack([np.sin(x), one_x, np.cos(x)])
    if composition.projection == "sphere":
        rows = np.stack([np.cos(y), np.sin(y), np.cos(y)])
    elif composition.projection == "mercator":
        rows = np.stack([one_y, np.sinh(y), one_y])
    elif composition.projection == "pannini":
        half = 2 * np.arctan(x / 2)
        columns = np.stack([np.sin(half), np.cos(half / 2) ** 2, np.cos(half)])
    elif composition.projection == "stereographic":
        columns = np.stack([x, one_x, 1 - x * x / 4])
        lift = -y * y / 4
    elif composition.projection != "cylinder":
        columns = np.stack([x, one_x, one_x])
    return rows, columns, lift


def directions_to_canvas(directions: Array, projection: Projection) -> Array:
    """Project (N, 3) directions to canvas coordinates (N, 2), clipped to what the projection can show."""
    x, y, z = directions.T
    level = np.maximum(np.hypot(x, z), 1e-9)
    if projection == "sphere":
        return np.stack([np.arctan2(x, z), np.arctan2(y, level)], 1)
    if projection in FLAT:
        return np.stack([x / z, y / z], 1)
    limit = _LIMITS[projection]
    if projection == "cylinder":
        return np.stack([np.arctan2(x, z), np.clip(y / level, -limit, limit)], 1)
    if projection == "mercator":
        return np.stack([np.arctan2(x, z), np.clip(np.arcsinh(y / level), -limit, limit)], 1)
    if projection == "pannini":
        half = np.arctan2(x, z) / 2
        flat = np.stack([2 * np.tan(half), y / level / np.maximum(np.cos(half), 1e-6) ** 2], 1)
        return np.clip(flat, -limit, limit)
    away = np.hypot(x, y)
    angle = np.arctan2(away, z)
    if projection == "plane":
        flat = directions[:, :2] / np.maximum(z, 1e-9 * np.maximum(away, 1e-9))[:, None]
        return np.clip(flat, -limit, limit)
    radius = np.minimum(2 * np.tan(np.minimum(angle, 3.1) / 2), limit)
    return directions[:, :2] * (radius / np.maximum(away, 1e-9))[:, None]


def shown(directions: Array, projection: Projection) -> Array:
    """Tell which of (N, 3) directions a projection can show (N,) bool."""
    x, y, z = directions.T
    if projection == "plane":
        return np.asarray((z > 1e-3) & (np.abs(x) < _LIMITS["plane"] * z))
    if projection in ("pannini", "stereographic"):
        away = x if projection == "pannini" else np.hypot(x, y)
        reach = 2 * np.tan(np.minimum(np.abs(np.arctan2(away, z)), 3.1) / 2)
        return np.asarray(reach < _LIMITS[projection])
    return np.ones(len(directions), bool)


def widest_gap(angles: Array) -> tuple[float, float]:
    """Return where the widest gap between angles on a circle starts, and its width (radians)."""
    ordered = np.sort(angles)
    gaps = np.diff(np.r_[ordered, ordered[0] + 2 * np.pi])
    widest = int(gaps.argmax())
    return float(ordered[widest]), float(gaps[widest])
