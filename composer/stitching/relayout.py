"""A composition on another canvas: seams, low bands and patches are carried over, nothing is solved anew."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.canvas import ROUND, canvas_directions, directions_to_canvas, shown
from composer.align.projection import placed, reduced
from composer.align.warp import seam_step
from composer.records import Composition, Patch, Rect
from composer.stitching.layout import view_rotation

Array = NDArray[Any]

__all__ = ["FACES", "carried_over", "cube_face", "face_patch", "reaching_pole"]

FACES = {
    "front": (0, 0), "right": (90, 0), "back": (180, 0), "left": (-90, 0), "up": (0, 90), "down": (0, -90),
}  # yaw and pitch in degrees  # fmt: skip
CHANGED = 8 / 255  # a retouched pixel differs by more than this
FADE_PX = 4


def carried_over(old: Composition, canvas: Composition) -> Composition:
    """Give a canvas the seams, low bands, white and patches of a composition of the same layers.

    Parameters
    ----------
    old : Composition
    canvas : Composition
        The same layers, only turned, laid out.
    """
    new = replace(canvas, white=old.white, rms_px=old.rms_px, links=old.links, project=old.project)
    if old.seams is not None:
        step = seam_step(new)
        x, y = _positions(reduced(new, step), old)
        seams = _looked_up(old, old.seams, (x + 0.5) / old.seam_step - 0.5, (y + 0.5) / old.seam_step - 0.5)
        new = replace(new, seams=seams, seam_step=step)
    if old.low_bands is not None:
        new = _with_low_bands(old, new)
    return replace(new, patches=tuple(q for p in old.patches if (q := _moved(old, p, new)) is not None))


def _positions(canvas: Composition, old: Composition, rect: Rect | None = None) -> tuple[Array, Array]:
    """Return where the pixels of a canvas, or of its `rect`, lie on the old one, in its pixels (h, w)."""
    rect = rect or Rect(0, 0, canvas.width, canvas.height)
    turn = np.linalg.inv(old.layers[0].camera.rotation) @ canvas.layers[0].camera.rotation
    directions = np.stack(canvas_directions(np, canvas, rect, turn), -1).reshape(-1, 3)
    points = directions_to_canvas(directions, old.projection) * old.scale - old.origin
    points[~shown(directions, old.projection)] = -1e6
    x, y = points.T.reshape(2, rect.height, rect.width)
    if old.projection in ROUND:
        full = 2 * math.pi * old.scale
        x = np.where(x < -0.5, x + full, x)
    return x, y


def _looked_up(old: Composition, cells: Array, x: Array, y: Array) -> Array:
    """Return the cells nearest to positions in units of cells."""
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    height, width = cells.shape[:2]
    column = column % width if old.closed else np.clip(column, 0, width - 1)
    return np.ascontiguousarray(cells[np.clip(row, 0, height - 1), column])


def _with_low_bands(old: Composition, new: Composition) -> Composition:
    """Sample the old low bands on a grid as coarse on the new canvas."""
    assert old.low_bands is not None
    halvings = round(math.log2(old.low_bands_step / old.seam_step))
    step, shift = new.seam_step * 2**halvings, (new.seam_step - 1) / 2
    height, width = math.ceil(new.height / step), math.ceil(new.width / step)
    # the cells' centres lie on the new canvas at k * step + shift: a canvas of that grid has them as pixels
    origin = (new.origin[0] + shift) / step, (new.origin[1] + shift) / step
    grid = replace(new, width=width, height=height, scale=new.scale / step, origin=origin)
    x, y = _positions(grid, old)
    offset = (old.seam_step - 1) / 2
    u, v = ((p - offset) / old.low_bands_step for p in (x, y))
    found = _sampled(old.low_bands, u, v, old.closed)
    return replace(new, low_bands=found, low_bands_step=step)


def _sampled(image: Array, u: Array, v: Array, closed: bool = False) -> Array:
    """Sample (H, W[, C]) float32 bilinearly; columns go round where `closed`."""
    margin = 2
    sides = ((0, 0), (margin, margin), *(((0, 0),) if image.ndim == 3 else ()))
    padded = np.pad(image, sides, mode="wrap" if closed else "edge")
    u = (u % image.shape[1] if closed else np.clip(u, -1, image.shape[1])) + margin
    at = u.astype(np.float32), np.clip(v, -1, image.shape[0]).astype(np.float32)
    found = cv2.remap(padded, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found if found.ndim == image.ndim else found[..., None]


def _moved(old: Composition, patch: Patch, new: Composition) -> Patch | None:
    """Return a patch as it lies on the new canvas; None where it is not seen there."""
    step = max(1, seam_step(new))
    small = reduced(new, step)
    x, y = _positions(small, old)
    rect = patch.rect.grown(2 * step)
    inside = (x >= rect.x0) & (x < rect.x1) & (y >= rect.y0) & (y < rect.y1)
    if not inside.any():
        return None
    rows, columns = np.flatnonzero(inside.any(1)) * step, np.flatnonzero(inside.any(0)) * step
    there = Rect(
        max(0, int(columns[0]) - step), max(0, int(rows[0]) - step),
        min(new.width, int(columns[-1]) + 2 * step), min(new.height, int(rows[-1]) + 2 * step),
    )  # fmt: skip
    x, y = _positions(new, old, there)
    u, v = x - patch.rect.x0, y - patch.rect.y0
    alpha = np.pad(patch.alpha, 1)  # nothing beyond the patch
    around = _sampled(alpha, u + 1, v + 1)
    return Patch(there, _sampled(patch.pixels, u, v), around, patch.by)


def cube_face(composition: Composition, face: str) -> Composition:
    """Return one face of the cube around a panorama, at the resolution of its middle.

    `face` is one of `FACES`; 90 degrees each way, pixel edges on the cube's edges.
    """
    yaw, pitch = (math.radians(a) for a in FACES[face])
    turn = view_rotation(yaw, pitch, 0.0)
    size = 2 * round(composition.scale)
    layers = tuple(
        replace(la, camera=replace(la.camera, rotation=la.camera.rotation @ turn))
        for la in composition.layers
    )
    corner = -size / 2 + 0.5
    canvas = placed(Composition(layers, "plane", size, size, size / 2, (corner, corner)))
    return carried_over(composition, canvas)


def reaching_pole(composition: Composition, face: str) -> Composition:
    """Return a sphere whose canvas goes up to the zenith or down to the nadir; others as they are."""
    if composition.projection != "sphere" or face not in ("up", "down"):
        return composition
    quarter = math.pi / 2 * composition.scale
    top = composition.origin[1] - 0.5
    bottom = top + composition.height
    top, bottom = (-quarter, bottom) if face == "up" else (top, quarter)
    height = math.ceil(bottom - top - 1e-6)
    canvas = replace(composition, height=height, origin=(composition.origin[0], top + 0.5), patches=())
    return carried_over(composition, placed(canvas))


def face_patch(composition: Composition, face: str, before: Array, after: Array) -> Patch | None:
    """Turn what was changed on a cube face into a patch of the panorama; None where nothing was.

    Parameters
    ----------
    composition : Composition
    face : str
    before, after : (N, N, C) float32
        The face as rendered and as retouched.
    """
    changed = (np.abs(after - before).max(2) > CHANGED).astype(np.uint8)
    if not changed.any():
        return None
    near = cv2.dilate(changed, np.ones((2 * FADE_PX + 1,) * 2, np.uint8)).astype(np.float32)
    alpha = cv2.GaussianBlur(near, (0, 0), FADE_PX / 2)
    canvas = cube_face(replace(composition, seams=None, low_bands=None, patches=()), face)
    patch = Patch(Rect(0, 0, len(after), len(after)), after, alpha, f"face {face}")
    moved = _moved(canvas, patch, composition)
    return None if moved is None else _trimmed(moved)


def _trimmed(patch: Patch) -> Patch:
    """Cut a patch down to where it covers anything."""
    rows, columns = np.flatnonzero(patch.alpha.any(1)), np.flatnonzero(patch.alpha.any(0))
    y, x = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    left, top = patch.rect.x0 + int(columns[0]), patch.rect.y0 + int(rows[0])
    pixels = np.ascontiguousarray(patch.pixels[y, x])
    rect = Rect(left, top, left + pixels.shape[1], top + pixels.shape[0])
    return Patch(rect, pixels, np.ascontiguousarray(patch.alpha[y, x]), patch.by)
