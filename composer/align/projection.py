"""Canvas and photographs: where a canvas pixel lies in a photo, and the other way round."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.canvas import (
    ROUND,
    canvas_directions,
    directions_at,
    directions_to_canvas,
    shown,
    widest_gap,
)
from composer.align.lens import STEEP, project, rays, seen_at, steepest
from composer.align.nodes import STEP, all_around, between_nodes, nodes_around
from composer.backend import remap
from composer.records import NOWHERE, Camera, Composition, Layer, Photo, Rect

Array = NDArray[Any]

GENTLE = 400.0  # canvas pixels a radian from which on positions are interpolated
NODE = 3  # pixels between those that a plan's map is computed at

__all__ = [
    "layer_rect",
    "on_nodes",
    "photo_directions",
    "photo_map",
    "placed",
    "reduced",
    "sees",
    "smooth_map",
]


def photo_map(xp: Any, composition: Composition, layer: Layer, rect: Rect) -> tuple[Any, Any, Any]:
    """Return where each canvas pixel of `rect` lies in the layer's photo.

    Parameters
    ----------
    xp : array namespace

    Returns
    -------
    u, v : (h, w) float32, photo pixels; inside : (h, w) bool, whether the photo has that point.
    """
    photo = layer.photo
    if _gentle(composition, layer):
        return _map_between_nodes(xp, composition, layer, rect)
    directions = canvas_directions(xp, composition, rect, layer.camera.rotation)
    u, v, inside = project(xp, photo, layer.camera, directions)
    if layer.mesh is None:
        return u, v, inside
    return _shifted(photo, (u, v, inside), on_nodes(xp, photo, layer.mesh, (u, v), linear=True))


def _within(photo: Photo, u: Any, v: Any) -> Any:
    """Tell which positions lie in a photo."""
    return (u >= -0.5) & (u <= photo.width - 0.5) & (v >= -0.5) & (v <= photo.height - 0.5)


def _gentle(composition: Composition, layer: Layer) -> bool:
    """Tell whether a layer's positions bend so little that nodes tell them to a thousandth of a pixel.

    Then, too, no cell between nodes reaches from the photo to where the camera sees nothing.
    """
    return (
        composition.scale >= GENTLE
        and composition.projection != "homography"
        and layer.camera.optics == "rectilinear"
        and steepest(layer.photo, layer.camera) < STEEP / 2
    )


def _map_between_nodes(xp: Any, composition: Composition, layer: Layer, rect: Rect) -> tuple[Any, Any, Any]:
    """Return what `photo_map` does, interpolated between nodes of the canvas."""
    photo, (x, y) = layer.photo, nodes_around(rect)
    u, v, ahead = seen_at(photo, layer.camera, directions_at(composition, x, y, layer.camera.rotation))
    nodes = [u, v]
    if layer.mesh is not None:
        shift = on_nodes(np, photo, layer.mesh, (u.astype(np.float32), v.astype(np.float32)), linear=True)
        nodes = [u + shift[:, :, 0], v + shift[:, :, 1], u, v]
    margin = STEP  # of the photo's pixels: what a cubic may leave its nodes' range by, and more
    across, down = nodes[::2], nodes[1::2]
    if ahead.all() and all(
        n.min() > margin and n.max() < size - margin
        for some, size in ((across, photo.width), (down, photo.height))
        for n in some
    ):
        found = between_nodes(xp, np.stack(nodes[:2]), rect)
        return found[0, :, :], found[1, :, :], xp.ones((rect.height, rect.width), dtype=xp.bool)
    found = between_nodes(xp, np.stack(nodes), rect)
    inside = _within(photo, found[0, :, :], found[1, :, :])
    if layer.mesh is not None:
        inside = inside & _within(photo, found[2, :, :], found[3, :, :])
    if not ahead.all():
        inside = inside & xp.asarray(all_around(ahead, rect))
    return found[0, :, :], found[1, :, :], inside


def smooth_map(composition: Composition, layer: Layer, rect: Rect) -> tuple[Array, Array, Array]:
    """Return `photo_map` for plans: computed at every third pixel, interpolated between.

    That is off by a hundredth of a pixel. A fisheye's map, which ends where its picture does, is exact.
    """
    if layer.camera.optics != "rectilinear":
        return photo_map(np, composition, layer, rect)
    left, top = (s + k + (NODE - 1) / 2 for s, k in zip(composition.origin, rect[:2], strict=True))
    coarse = replace(composition, scale=composition.scale / NODE, origin=(left / NODE, top / NODE))
    around = Rect(-2, -2, -(-rect.width // NODE) + 2, -(-rect.height // NODE) + 2)
    bare = replace(layer, mesh=None)
    u, v, seen = photo_map(np, coarse, bare, around)
    near = cv2.dilate(seen.astype(np.float32), np.ones((3, 3), np.uint8))  # what is farther may be behind

    def between(nodes: Array) -> Array:
        size = nodes.shape[1] * NODE, nodes.shape[0] * NODE
        found = cv2.resize(nodes, size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(found[2 * NODE :, 2 * NODE :][: rect.height, : rect.width])

    shift = (
        None if layer.mesh is None else between(on_nodes(np, layer.photo, layer.mesh, (u, v), linear=True))
    )
    u, v = between(u), between(v)
    inside = (between(near) > 0.9) & _within(layer.photo, u, v)
    return (u, v, inside) if shift is None else _shifted(layer.photo, (u, v, inside), shift)


def _shifted(photo: Photo, maps: tuple[Any, Any, Any], shift: Any) -> tuple[Any, Any, Any]:
    """Return a map moved by a mesh's displacements (h, w, 2)."""
    u, v = maps[0] + shift[:, :, 0], maps[1] + shift[:, :, 1]
    return u, v, maps[2] & _within(photo, u, v)


def on_nodes(xp: Any, photo: Photo, nodes: Array, at: tuple[Any, Any], linear: bool = False) -> Any:
    """Return (h, w, n) float32: values of nodes spread from one edge of a photo to the other, at (u, v)."""
    u, v = at
    rows, columns = nodes.shape[:2]
    at_x, at_y = (u + 0.5) * ((columns - 1) / photo.width), (v + 0.5) * ((rows - 1) / photo.height)
    return remap(xp.asarray(nodes), at_x, at_y, linear)


def photo_directions(photo: Photo, camera: Camera, steps: int = 33) -> Array:
    """Return up to steps^2 world directions (N, 3) of a grid that covers a photo, edges included."""
    x = np.linspace(-0.5, photo.width - 0.5, steps)
    y = np.linspace(-0.5, photo.height - 0.5, steps)
    points = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    return rays(points, photo, camera) @ np.linalg.inv(camera.rotation).T


def layer_rect(composition: Composition, layer: Layer) -> Rect:
    """Return the canvas rectangle that a layer can touch, unrolled past the edge of a closed canvas."""
    directions = photo_directions(layer.photo, layer.camera)
    if not shown(directions, composition.projection).any():
        return NOWHERE
    x, y = directions_to_canvas(directions, composition.projection).T * composition.scale
    if composition.projection in ROUND:
        x, y = _unrolled(composition, layer, x, y)
    reach = 0.0 if layer.mesh is None else float(np.abs(layer.mesh).max())
    margin = 2 + 0.02 * max(float(np.ptp(x)), float(np.ptp(y)))
    margin += reach * composition.scale / layer.camera.focal_px
    left, top = composition.origin
    rect = Rect(
        math.floor(x.min() - left - margin), math.floor(y.min() - top - margin),
        math.ceil(x.max() - left + margin) + 1, math.ceil(y.max() - top + margin) + 1,
    )  # fmt: skip
    y0, y1 = max(rect.y0, 0), min(rect.y1, composition.height)
    if y0 >= y1:
        return NOWHERE
    if not composition.closed:
        x0, x1 = _on_open_canvas(composition, rect)
        return Rect(x0, y0, x1, y1) if x0 < x1 else NOWHERE
    if rect.width >= composition.width:
        return Rect(0, y0, composition.width, y1)
    shift = rect.x0 // composition.width * composition.width
    return Rect(rect.x0 - shift, y0, rect.x1 - shift, y1)


def _on_open_canvas(composition: Composition, rect: Rect) -> tuple[int, int]:
    """Return the columns of a canvas that is not closed which a rectangle touches, also a turn away."""
    full = round(2 * math.pi * composition.scale)
    turns = (-full, 0, full) if composition.projection in ROUND else (0,)
    ends = [(max(rect.x0 + t, 0), min(rect.x1 + t, composition.width)) for t in turns]
    there = [(x0, x1) for x0, x1 in ends if x0 < x1]
    return (min(x0 for x0, _ in there), max(x1 for _, x1 in there)) if there else (0, 0)


def _unrolled(composition: Composition, layer: Layer, x: Array, y: Array) -> tuple[Array, Array]:
    """Return a layer's canvas coordinates without a jump where the longitude turns over."""
    start, gap = widest_gap(x / composition.scale)
    full = 2 * math.pi * composition.scale
    poles = [end for end in (-1.0, 1.0) if sees(layer, np.array([[0.0, end, 0.0]]), 0.05)]
    if poles:
        ends = directions_to_canvas(np.array([[0.0, end, 0.0] for end in poles]), composition.projection)
        return np.array([-full / 2, full / 2]), np.r_[y, ends[:, 1] * composition.scale]
    if gap <= 0:
        return x, y
    # the photo begins where the gap ends, and is unrolled from there
    left = (start + gap + math.pi) % (2 * math.pi) - math.pi
    x = (x / composition.scale - left) % (2 * math.pi) * composition.scale
    return np.where(x > full - 1e-6 * full, 0, x) + left * composition.scale, y


def sees(layer: Layer, directions: Array, margin: float = 0.0) -> bool:
    """Tell whether any of (N, 3) directions lies in a photo, or within `margin` of its size around it."""
    photo, grown = layer.photo, 1 + 2 * margin
    larger = replace(photo, width=round(photo.width * grown), height=round(photo.height * grown))
    ideal = replace(layer.camera, distortion=(0.0, 0.0, 0.0))
    x, y, z = (directions @ ideal.rotation.T).astype(np.float32).T
    return bool(project(np, larger, ideal, (x, y, z))[2].any())


def magnification(composition: Composition, layer: Layer) -> tuple[float, float]:
    """Return how many canvas pixels one of the photo's covers: at its centre, and where it covers most."""
    plain = composition.scale / layer.camera.focal_px
    if not composition.flat:
        return plain, plain
    local = plain / math.sqrt(abs(np.linalg.det(layer.camera.rotation)))
    if composition.projection == "affine":
        return local, local
    depth = photo_directions(layer.photo, layer.camera, 3)[:, 2]
    there = local / np.sqrt(np.maximum(depth, 1e-3) ** 3)
    return float(there[4]), float(there.max())


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
