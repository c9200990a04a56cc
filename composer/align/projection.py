"""Canvas and photographs: where a canvas pixel lies in a photo, and the other way round."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.lens import pixel_to_plane
from composer.records import Camera, Composition, Layer, Photo, Projection, Rect

Array = NDArray[Any]

__all__ = [
    "canvas_axes",
    "directions_to_canvas",
    "layer_rect",
    "magnification",
    "photo_directions",
    "photo_map",
    "placed",
    "reduced",
    "widest_gap",
]

MAX_PLANE_TANGENT = 4.0  # 76 degrees from the centre
MAX_CYLINDER_TANGENT = 3.0  # 71.6 degrees above the horizon


def canvas_axes(composition: Composition, rect: Rect) -> tuple[Array, Array]:
    """Return rows (3, h) and columns (3, w), float32, whose products are the canvas's directions.

    The direction of pixel (X, Y) is rows[:, Y] * columns[:, X], element by element: plane, cylinder
    and sphere are all separable.
    """
    x = (np.arange(rect.x0, rect.x1) + composition.origin[0]) / composition.scale
    y = (np.arange(rect.y0, rect.y1) + composition.origin[1]) / composition.scale
    one_x, one_y = np.ones_like(x), np.ones_like(y)
    if composition.projection == "sphere":
        rows = np.stack([np.cos(y), np.sin(y), np.cos(y)])
        columns = np.stack([np.sin(x), one_x, np.cos(x)])
    elif composition.projection == "cylinder":
        rows = np.stack([one_y, y, one_y])
        columns = np.stack([np.sin(x), one_x, np.cos(x)])
    else:
        rows = np.stack([one_y, y, one_y])
        columns = np.stack([x, one_x, one_x])
    return rows.astype(np.float32), columns.astype(np.float32)


def photo_map(xp: Any, composition: Composition, layer: Layer, rect: Rect) -> tuple[Any, Any, Any]:
    """Return where each canvas pixel of `rect` lies in the layer's photo.

    Parameters
    ----------
    xp : array namespace

    Returns
    -------
    u, v : (h, w) float32, photo pixels; inside : (h, w) bool, whether the photo has that point.
    Only correctly rounded operations are used, so every device computes the same map.
    """
    photo, camera = layer.photo, layer.camera
    half = min(photo.width, photo.height) / 2
    rows, columns = canvas_axes(composition, rect)
    across = [xp.asarray(columns[k])[None, :] for k in range(3)]

    def seen(axis: int) -> Any:
        terms = rows * camera.rotation[axis].astype(np.float32)[:, None]
        first, second, third = (xp.asarray(terms[k])[:, None] * across[k] for k in range(3))
        return first + second + third

    x, y, z = seen(0), seen(1), seen(2)
    ahead = z > 1e-3
    factor = (camera.focal_px / half) / xp.where(ahead, z, xp.ones_like(z))
    x, y = x * factor, y * factor
    r2 = x * x + y * y
    limit = _outermost(photo, camera)
    inside = ahead & (r2 < limit * limit)
    a, b, c = (float(k) for k in camera.distortion)
    g = r2 * b + (1 - a - b - c)
    if a or c:
        r = xp.sqrt(r2)
        g = g + r2 * r * a + r * c
    g = g * half
    u, v = x * g + (photo.width - 1) / 2, y * g + (photo.height - 1) / 2
    inside = inside & (u >= -0.5) & (u <= photo.width - 0.5) & (v >= -0.5) & (v <= photo.height - 0.5)
    return u, v, inside


def _outermost(photo: Photo, camera: Camera) -> float:
    """Return the ideal radius (in half shorter sides) beyond which nothing of the photo lies."""
    half = min(photo.width, photo.height) / 2
    corner = np.array([[photo.width / 2, photo.height / 2]])
    plane = pixel_to_plane(corner, camera.distortion, half)
    return float(np.hypot(*plane[0])) / half * 1.001


def photo_directions(photo: Photo, camera: Camera, steps: int = 33) -> Array:
    """Return (steps^2, 3) world directions of a grid that covers a photo, edges included."""
    x = np.linspace(-photo.width / 2, photo.width / 2, steps)
    y = np.linspace(-photo.height / 2, photo.height / 2, steps)
    points = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    plane = pixel_to_plane(points, camera.distortion, min(photo.width, photo.height) / 2)
    rays = np.c_[plane / camera.focal_px, np.ones(len(plane))]
    return rays @ np.linalg.inv(camera.rotation).T


def directions_to_canvas(directions: Array, projection: Projection) -> Array:
    """Project (N, 3) directions to canvas coordinates (N, 2) in radians or tangents.

    Directions that a plane cannot show come out as NaN; those near a cylinder's poles are clipped.
    """
    x, y, z = directions.T
    if projection == "sphere":
        return np.stack([np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))], 1)
    if projection == "cylinder":
        tangent = y / np.maximum(np.hypot(x, z), 1e-9)
        clipped = np.clip(tangent, -MAX_CYLINDER_TANGENT, MAX_CYLINDER_TANGENT)
        return np.stack([np.arctan2(x, z), clipped], 1)
    ahead = z > 1e-3
    safe = np.where(ahead, z, np.nan)
    flat = np.stack([x / safe, y / safe], 1)
    if projection == "plane":
        flat = np.clip(flat, -MAX_PLANE_TANGENT, MAX_PLANE_TANGENT)
    return flat


def widest_gap(angles: Array) -> tuple[float, float]:
    """Return where the widest gap between angles on a circle starts, and its width (radians)."""
    ordered = np.sort(angles)
    gaps = np.diff(np.r_[ordered, ordered[0] + 2 * np.pi])
    widest = int(gaps.argmax())
    return float(ordered[widest]), float(gaps[widest])


def layer_rect(composition: Composition, layer: Layer) -> Rect:
    """Return the canvas rectangle that a layer can touch, unrolled past the edge of a closed canvas."""
    steps = 33
    directions = photo_directions(layer.photo, layer.camera, steps)
    points = directions_to_canvas(directions, composition.projection)
    x, y = points.T * composition.scale
    if composition.projection in ("cylinder", "sphere"):
        start, gap = widest_gap(x / composition.scale)
        full = 2 * math.pi * composition.scale
        if gap < math.radians(30) and _sees_pole(layer):
            x = np.array([-full / 2, full / 2])
            top, bottom = -math.pi / 2 * composition.scale, math.pi / 2 * composition.scale
            y = np.r_[y, top if layer.camera.rotation[2, 1] < 0 else bottom]
        elif gap > 0:
            # the photo begins where the gap ends, and is unrolled from there
            left = (start + gap + math.pi) % (2 * math.pi) - math.pi
            x = (x / composition.scale - left) % (2 * math.pi) * composition.scale
            x = np.where(x > full - 1e-6 * full, 0, x) + left * composition.scale
    margin = 2 + 0.02 * max(float(np.nanmax(x) - np.nanmin(x)), float(np.nanmax(y) - np.nanmin(y)))
    low_x, high_x = np.nanmin(x) - composition.origin[0], np.nanmax(x) - composition.origin[0]
    low_y, high_y = np.nanmin(y) - composition.origin[1], np.nanmax(y) - composition.origin[1]
    rect = Rect(
        math.floor(low_x - margin), math.floor(low_y - margin),
        math.ceil(high_x + margin) + 1, math.ceil(high_y + margin) + 1,
    )  # fmt: skip
    y0, y1 = max(rect.y0, 0), min(rect.y1, composition.height)
    if not composition.closed:
        return Rect(max(rect.x0, 0), y0, min(rect.x1, composition.width), y1)
    if rect.width >= composition.width:
        return Rect(0, y0, composition.width, y1)
    shift = rect.x0 // composition.width * composition.width
    return Rect(rect.x0 - shift, y0, rect.x1 - shift, y1)


def _sees_pole(layer: Layer) -> bool:
    """Tell whether straight up or straight down lies in the photo."""
    down = layer.camera.rotation[:, 1]
    reach = math.hypot(layer.photo.width, layer.photo.height) / 2 / layer.camera.focal_px
    return bool(abs(down[2]) > 1e-6 and math.hypot(down[0], down[1]) / abs(down[2]) < reach * 1.1)


def magnification(composition: Composition, layer: Layer) -> tuple[float, float]:
    """Return how many canvas pixels one of the photo's covers: at its centre, and where it covers most."""
    plain = composition.scale / layer.camera.focal_px
    if not composition.flat:
        return plain, plain
    depth = photo_directions(layer.photo, layer.camera, 3)[:, 2]
    local = plain * np.sqrt(1 / abs(np.linalg.det(layer.camera.rotation)) / np.maximum(depth, 1e-3) ** 3)
    return float(local[4]), float(local.max())


def reduced(composition: Composition, step: int) -> Composition:
    """Return the same composition on a canvas with one pixel for each step x step cell."""
    shift = (step - 1) / (2 * step)
    small = replace(
        composition,
        width=-(-composition.width // step),
        height=-(-composition.height // step),
        scale=composition.scale / step,
        origin=(composition.origin[0] / step + shift, composition.origin[1] / step + shift),
        patches=(),
    )
    return placed(small)


def placed(composition: Composition) -> Composition:
    """Return a composition whose layers know their rectangles on its canvas."""
    layers = tuple(replace(la, rect=layer_rect(composition, la)) for la in composition.layers)
    return replace(composition, layers=layers)
