"""Lay out the canvas: which projection, how large, looking where."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.align.projection import (
    MAX_PLANE_TANGENT,
    directions_to_canvas,
    photo_directions,
    placed,
    widest_gap,
)
from composer.errors import OptionError
from composer.records import Composition, Layer, Projection

Array = NDArray[Any]

__all__ = ["choose_projection", "fit_canvas", "rescaled"]

CLOSED_GAP_DEG = 6.0
PLANE_FOV_DEG = 75.0
ALIGN = 64


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


def fit_canvas(layers: tuple[Layer, ...], projection: Projection, rms_px: float) -> Composition:
    """Lay out the canvas that shows every layer whole, at the photos' resolution.

    Raises
    ------
    OptionError
        The projection cannot show the photos.
    """
    layers = _turned(layers, projection)
    points = [directions_to_canvas(photo_directions(la.photo, la.camera), projection) for la in layers]
    every = np.concatenate(points)
    _check_projection(every, projection)
    scale = float(np.median([la.camera.focal_px for la in layers]))
    round_trip = projection in ("cylinder", "sphere")
    closed = round_trip and math.degrees(widest_gap(every[:, 0])[1]) < CLOSED_GAP_DEG
    low, high = np.nanmin(every, 0), np.nanmax(every, 0)
    if closed:
        width = ALIGN * max(1, round(2 * math.pi * scale / ALIGN))
        scale = width / (2 * math.pi)
        low[0], high[0] = -math.pi, math.pi
        origin_x = -width / 2 + 0.5
    else:
        width = math.ceil((high[0] - low[0]) * scale)
        origin_x = float(low[0]) * scale + 0.5
    height = max(1, math.ceil((high[1] - low[1]) * scale))
    origin = (origin_x, float(low[1]) * scale + 0.5)
    return placed(Composition(layers, projection, width, height, scale, origin, closed=closed, rms_px=rms_px))


def _check_projection(points: Array, projection: Projection) -> None:
    if projection != "plane":
        return
    if np.isnan(points).any() or (np.abs(points[:, 0]) >= MAX_PLANE_TANGENT).any():
        raise OptionError(
            "the photos span more than a plane can show (150 degrees); use --projection cylinder or sphere"
        )


def _turned(layers: tuple[Layer, ...], projection: Projection) -> tuple[Layer, ...]:
    """Turn the world so that no photo is cut: a plane looks at the middle of the view."""
    if projection in ("affine", "homography"):
        return layers
    directions = [photo_directions(la.photo, la.camera, 9) for la in layers]
    sphere = directions_to_canvas(np.concatenate(directions), "sphere")
    start, gap = widest_gap(sphere[:, 0])
    yaw = start + gap / 2 + math.pi if math.degrees(gap) >= CLOSED_GAP_DEG else 0.0
    pitch = float(sphere[:, 1].max() + sphere[:, 1].min()) / 2 if projection == "plane" else 0.0
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    spin = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    tilt = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    return tuple(
        replace(la, camera=replace(la.camera, rotation=la.camera.rotation @ spin @ tilt)) for la in layers
    )


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
