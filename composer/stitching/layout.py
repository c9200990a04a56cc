"""Lay out the canvas: which projection, how large, looking where."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.canvas import ROUND, directions_to_canvas, shown, widest_gap
from composer.align.projection import photo_directions, placed, sees
from composer.errors import OptionError
from composer.records import FLAT, Composition, Layer, Projection

Array = NDArray[Any]

__all__ = ["View", "choose_projection", "fit_canvas", "rescaled", "view_rotation", "without_unseen"]

CLOSED_GAP_DEG = 6.0
PLANE_FOV_DEG = 75.0
ALIGN = 64


@dataclass(frozen=True)
class View:
    """Where a canvas looks and how much of it is kept, in degrees.

    `yaw` to the right of the photos' middle, `pitch` above the horizon (None: the horizon, on a plane
    the photos' middle), `roll` clockwise, `fov` across and down (0: all that was photographed).
    """

    yaw: float = 0.0
    pitch: float | None = None
    roll: float = 0.0
    fov: tuple[float, float] = (0.0, 0.0)


def choose_projection(layers: tuple[Layer, ...]) -> Projection:
    """Choose how to unroll a panorama of levelled cameras.

    Plane for a narrow view, sphere for a closed circle or several rows, cylinder for a wide row.
    """
    points = [directions_to_canvas(photo_directions(la.photo, la.camera), "sphere") for la in layers]
    every = np.concatenate(points)
    across = 360 - math.degrees(widest_gap(every[:, 0])[1])
    down = math.degrees(float(np.ptp(every[:, 1])))
    if across <= PLANE_FOV_DEG and down <= PLANE_FOV_DEG:
        return "plane"
    axes = np.array([la.camera.rotation[2] for la in layers])
    pitch = np.degrees(np.arcsin(np.clip(axes[:, 1], -1, 1)))
    height = math.degrees(float(np.median([np.ptp(p[:, 1]) for p in points])))
    rows = float(np.ptp(pitch)) > 0.5 * height
    closed = across > 360 - CLOSED_GAP_DEG
    return "sphere" if closed or rows or down > 110 else "cylinder"


def fit_canvas(layers: tuple[Layer, ...], projection: Projection, view: View | None = None) -> Composition:
    """Lay out a canvas at the photos' resolution: all of every layer, or what a view asks for.

    Raises
    ------
    OptionError
        The projection cannot show the photos, or the view.
    """
    view = view or View()
    layers = _turned(layers, projection, view)
    poles = [np.array([[0.0, end, 0.0]]) for end in (-1, 1)]
    poles = [p for p in poles if projection not in FLAT and any(sees(la, p) for la in layers)]
    directions = np.concatenate([*(photo_directions(la.photo, la.camera) for la in layers), *poles])
    _check_shown(directions, projection, view)
    every = directions_to_canvas(directions[shown(directions, projection)], projection)
    scale = float(np.median([la.camera.focal_px for la in layers]))
    closed = projection in ROUND and math.degrees(widest_gap(every[:, 0])[1]) < CLOSED_GAP_DEG
    low, high = _within(every, projection, view)
    closed = closed and not 0 < view.fov[0] < 360
    if closed:
        width = ALIGN * max(1, round(2 * math.pi * scale / ALIGN))
        scale = width / (2 * math.pi)
        left, top = -width // 2, math.floor(low[1] * scale)
    else:
        # whole pixels from the middle of the view, as Hugin and GPano count
        left, top = math.floor(low[0] * scale), math.floor(low[1] * scale)
        width = max(1, math.ceil(high[0] * scale) - left)
    height = max(1, math.ceil(high[1] * scale) - top)
    origin = (left + 0.5, top + 0.5)
    return placed(Composition(layers, projection, width, height, scale, origin, closed=closed))


def _check_shown(directions: Array, projection: Projection, view: View) -> None:
    """Refuse a plane for photos all around, unless a view says what part to show."""
    if not shown(directions, projection).any():
        raise OptionError(
            f"the view shows no photo; look elsewhere (yaw {view.yaw:g}, pitch {view.pitch or 0:g})"
        )
    if projection == "plane" and not view.fov[0] and not shown(directions, projection).all():
        raise OptionError(
            "the photos span more than a plane can show (150 degrees); use --projection cylinder or "
            "sphere, or say with --fov how much to show"
        )


def _within(points: Array, projection: Projection, view: View) -> tuple[Array, Array]:
    """Return the lowest and highest canvas coordinates of the points that a view's field shows."""
    low, high = np.full(2, -np.inf), np.full(2, np.inf)
    for axis, degrees in enumerate(view.fov):
        if not degrees:
            continue
        most = 360 if projection in ROUND and axis == 0 else 180 if projection != "stereographic" else 360
        if degrees > most:
            raise OptionError(f"{projection} cannot show {degrees:g} degrees; {most} is the most")
        edge = _edge(math.radians(degrees / 2), axis, projection)
        low[axis], high[axis] = -edge, edge
    inside = (points >= low) & (points <= high)
    if not inside.all(1).any():
        raise OptionError("the view shows no photo; look elsewhere with --yaw and --pitch, or widen --fov")
    columns, rows = points[inside[:, 1], 0], points[inside[:, 0], 1]
    low = np.maximum(low, [columns.min(), rows.min()])
    return low, np.minimum(high, [columns.max(), rows.max()])


def _edge(half: float, axis: int, projection: Projection) -> float:
    """Return the canvas coordinate that lies `half` radians from the middle, along x (0) or y (1)."""
    turned = np.array([math.sin(half), 0.0, math.cos(half)])
    point = turned if axis == 0 else turned[[1, 0, 2]]
    if axis == 0 and half >= math.pi - 1e-9 and projection in ROUND:
        return math.pi
    return float(directions_to_canvas(point[None], projection)[0, axis])


def _turned(layers: tuple[Layer, ...], projection: Projection, view: View) -> tuple[Layer, ...]:
    """Turn the world so that the canvas looks where the view says, and at the photos' middle without one.

    The view's angles are Hugin's: camera to world is Ry(yaw) Rx(pitch) Rz(roll). A flat scene is only rolled.
    """
    if projection in FLAT:
        if view.yaw or view.pitch:
            raise OptionError("a flat scene is seen from the front; leave out yaw and pitch (roll turns it)")
        return _spun(layers, view_rotation(0.0, 0.0, math.radians(view.roll))) if view.roll else layers
    directions = [photo_directions(la.photo, la.camera, 9) for la in layers]
    sphere = directions_to_canvas(np.concatenate(directions), "sphere")
    start, gap = widest_gap(sphere[:, 0])
    yaw = start + gap / 2 + math.pi if math.degrees(gap) >= CLOSED_GAP_DEG else 0.0
    pitch = -float(sphere[:, 1].max() + sphere[:, 1].min()) / 2 if projection == "plane" else 0.0
    if view.pitch is not None:
        pitch = math.radians(view.pitch)
    spin = view_rotation(yaw + math.radians(view.yaw), pitch, math.radians(view.roll))
    return _spun(layers, spin)


def _spun(layers: tuple[Layer, ...], spin: Array) -> tuple[Layer, ...]:
    """Turn the world under the layers' cameras."""
    return tuple(replace(la, camera=replace(la.camera, rotation=la.camera.rotation @ spin)) for la in layers)


def view_rotation(yaw: float, pitch: float, roll: float) -> Array:
    """Return Ry(yaw) Rx(pitch) Rz(roll), radians: from a view that is so turned to the world."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    spin = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    tilt = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    bank = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(spin @ tilt @ bank)


def without_unseen(composition: Composition) -> Composition:
    """Leave out layers that lie wholly outside the canvas."""
    kept = [k for k, la in enumerate(composition.layers) if la.rect.width > 0]
    at = {k: n for n, k in enumerate(kept)}
    links = tuple(
        replace(li, i=at[li.i], j=at[li.j]) for li in composition.links if li.i in at and li.j in at
    )
    seams = composition.seams
    if seams is not None:  # what a dropped layer owns nobody covers: anyone may have it
        seams = np.array([at.get(k, 0) for k in range(len(composition.layers))], np.int16)[seams]
    layers = tuple(
        replace(la, bracket=None if la.bracket is None else at.get(la.bracket))
        for la in (composition.layers[k] for k in kept)
    )
    return replace(composition, layers=layers, links=links, seams=seams)


def rescaled(composition: Composition, width: int) -> Composition:
    """Return the same composition on a canvas `width` pixels wide, seams and all."""
    factor = width / composition.width
    height = max(1, round(composition.height * factor))
    x, y = composition.origin
    larger = replace(
        composition,
        width=width,
        height=height,
        scale=composition.scale * factor,
        origin=((x - 0.5) * factor + 0.5, (y - 0.5) * factor + 0.5),
        seam_step=composition.seam_step * factor,
        low_bands_step=composition.low_bands_step * factor,
    )
    return placed(larger)
