"""Spoiled composites with known truth, made from photographs by the toolkit's own operators.

Two views of one piece of a photograph are spoiled on their own (exposure, colour, fall-off, place, blur,
noise) and put together along a seam by one of several operators. What the composite should have been is the
scene itself, its exposure and place passing evenly from the one view's to the other's across the seam: so
truth and composite agree at the mask's edge, and what is learned leaves no step there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.blend.feather import feather
from composer.blend.multiband import multiband
from composer.learn.band import seam_of
from composer.records import Rect, Tile

Array = NDArray[Any]

__all__ = ["KINDS", "OPERATORS", "Sample", "planes_of", "simulate", "smooth"]

KINDS = ("exposure", "misregistration", "ghost", "inpainting", "halo", "noise", "all", "clean")
OPERATORS = ("multiband", "hard", "average", "bleed", "feather")
MARGIN = 16  # pixels around a sample that views are taken from


@dataclass(frozen=True)
class Sample:
    """A spoiled composite and what it should have been, (S, S, C) float32 0..1.

    Attributes
    ----------
    composite, other, truth : (S, S, 3)
        `other` is the view that each pixel of the composite does not come from.
    mask : (S, S)
        Where to refine: 1 near the seam or in a fill, fading to 0.
    seam : (S, S)
        From -1, where the composite is to stay the first view, to 1, where the second; 0 on the seam.
    distance : (S, S)
        Pixels to the seam, negative on one side; 32 in fills, which have none.
    valid, other_valid, synthetic : (S, S) bool
        `synthetic` marks fills.
    kind, operator : str
        What was spoiled, and how the views were put together.
    """

    composite: Array
    other: Array
    truth: Array
    mask: Array
    seam: Array
    distance: Array
    valid: Array
    other_valid: Array
    synthetic: Array
    kind: str
    operator: str


def planes_of(
    composite: Array, mask: Array, seam: Array, valid: Array,
    other: Array | None = None, other_valid: Array | None = None, synthetic: Array | None = None,
) -> Array:  # fmt: skip
    """Return what the network sees, (11, H, W) float32: composite, mask, seam, validity, other, flags."""
    nothing = np.zeros(mask.shape, np.float32)
    seen = nothing if other_valid is None else other_valid.astype(np.float32)
    colours = np.zeros_like(composite) if other is None else other * seen[:, :, None]
    flags = nothing if synthetic is None else synthetic
    stacked = [
        *np.moveaxis(composite, 2, 0), mask, seam, valid,
        *np.moveaxis(colours, 2, 0), seen, flags,
    ]  # fmt: skip
    return np.stack(stacked).astype(np.float32)


def simulate(
    photo: Array, rng: np.random.Generator, size: int = 128, *, kind: str = "", operator: str = ""
) -> Sample:
    """Make one sample from a photograph.

    Parameters
    ----------
    photo : (H, W, 3) uint8
    rng : numpy.random.Generator
        Every draw comes from it.
    size : int
        Pixels across and down.
    kind, operator : str
        One of KINDS, one of OPERATORS; "" draws them (operators but the last, which is held out).
    """
    kind = kind or str(rng.choice(KINDS, p=[0.16, 0.16, 0.16, 0.12, 0.08, 0.08, 0.14, 0.1]))
    operator = operator or str(rng.choice(OPERATORS[:-1], p=[0.6, 0.2, 0.12, 0.08]))
    pieces = [_piece(photo, rng, size + 2 * MARGIN) for _ in range(2)]
    elsewhere, scene = sorted(pieces, key=np.std)  # little can be seen to go wrong in a sky
    if kind == "inpainting":
        return _filled(scene, rng, size)
    distance = _seam(rng, size)
    reach = float(rng.uniform(16, 44))
    share = smooth(0.5 + distance / (2 * reach))  # of the second view
    shift = _shift(rng, size) if kind in ("misregistration", "all") else np.zeros((size, size, 2), np.float32)
    where = [_warped(scene, part, size) for part in (shift * 0, shift)]
    light = [_light(rng, size) if kind in ("exposure", "all") else np.ones((size, size, 3), np.float32)]
    light.append(_light(rng, size) if kind in ("exposure", "all") else light[0])
    truth = _warped(scene, shift * share[:, :, None], size)
    truth = truth * light[0] ** (1 - share[:, :, None]) * light[1] ** share[:, :, None]
    views = [view * gain for view, gain in zip(where, light, strict=True)]
    if kind == "ghost":
        views = _with_ghost(views, rng, distance, elsewhere)
    if kind in ("noise", "all"):
        views = [_noisy(view, rng) for view in views]
    views = [np.clip(v, 0, 1).astype(np.float32) for v in views]
    composite = _composed(views, distance, operator, rng)
    if kind == "halo":
        composite = _with_halo(composite, rng, distance)
    second = distance > 0
    other = np.where(second[:, :, None], views[0], views[1])
    everywhere = np.ones((size, size), bool)
    band = smooth(2 * (1 - np.abs(distance) / reach)).astype(np.float32)
    return Sample(
        composite, other, np.clip(truth, 0, 1).astype(np.float32), band, seam_of(distance, reach), distance,
        everywhere, everywhere, ~everywhere, kind, operator,
    )  # fmt: skip


def _piece(photo: Array, rng: np.random.Generator, size: int) -> Array:
    """Cut a square out of a photograph, reduced by up to three and mirrored at random; float32 0..1."""
    scale = float(np.exp(rng.uniform(0, np.log(3))))
    side = min(round(size * scale), *photo.shape[:2])
    y, x = (int(rng.integers(0, n - side + 1)) for n in photo.shape[:2])
    piece = photo[y : y + side, x : x + side]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    return np.asarray(
        cv2.resize(np.ascontiguousarray(piece), (size, size), interpolation=cv2.INTER_AREA), np.float32
    ) / np.float32(255)


def smooth(t: Array) -> Array:
    """Return 0 below 0, 1 above 1, and an even passage between (3 t^2 - 2 t^3)."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def _waves(rng: np.random.Generator, size: int, cells: int, channels: int) -> Array:
    """Return smooth noise (size, size, channels) of standard deviation about 1."""
    grid = rng.standard_normal((cells + 3, cells + 3, channels)).astype(np.float32)
    found = cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    return found.reshape(size, size, channels)


def _seam(rng: np.random.Generator, size: int) -> Array:
    """Return the signed distance (size, size) to a wavy line near the middle."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size, :size].astype(np.float32) - (size - 1) / 2
    line = x * np.cos(angle) + y * np.sin(angle) + rng.uniform(-0.2, 0.2) * size
    side = line + rng.uniform(0, 6) * _waves(rng, size, int(rng.integers(2, 8)), 1)[:, :, 0] > 0
    if side.all() or not side.any():
        side = line > np.median(line)
    to = [cv2.distanceTransform(s.astype(np.uint8), cv2.DIST_L2, 5) for s in (side, ~side)]
    return np.where(side, to[0] - 0.5, 0.5 - to[1]).astype(np.float32)


def _shift(rng: np.random.Generator, size: int) -> Array:
    """Return how far the second view is off, (size, size, 2) pixels: shift, flow, near things."""
    whole = rng.uniform(-3, 3, 2) * rng.random()
    field = whole + rng.uniform(0, 1.5) * _waves(rng, size, int(rng.integers(1, 4)), 2)
    if rng.random() < 0.3:
        near = _waves(rng, size, 4, 1) > 0.5
        field = field + cv2.GaussianBlur(near.astype(np.float32), None, 2)[:, :, None] * rng.uniform(-3, 3, 2)
    return np.clip(field, -MARGIN + 4, MARGIN - 4).astype(np.float32)


def _warped(scene: Array, shift: Array, size: int) -> Array:
    y, x = np.mgrid[:size, :size].astype(np.float32) + MARGIN
    return np.asarray(cv2.remap(scene, x + shift[:, :, 0], y + shift[:, :, 1], cv2.INTER_CUBIC))


def _light(rng: np.random.Generator, size: int) -> Array:
    """Return factors (size, size, 3): exposure within a tenth, white balance, and a slow fall-off."""
    gain = np.exp(rng.uniform(-0.1, 0.1) + rng.uniform(-0.04, 0.04, 3))
    slow = 0.03 * rng.random() * _waves(rng, size, 1, 1)
    return (gain * np.exp(slow)).astype(np.float32)


def _with_ghost(
    views: list[Array], rng: np.random.Generator, distance: Array, elsewhere: Array
) -> list[Array]:
    """Put a thing near the seam into one view only; not where that view is shown, so truth has none.

    It has a colour of its own, or shows `elsewhere`, at least as large.
    """
    size = len(distance)
    near = np.argwhere(np.abs(distance) < 12)
    y, x = near[rng.integers(len(near))]
    thing = np.zeros((size, size), np.float32)
    axes = (int(rng.integers(4, 18)), int(rng.integers(4, 18)))
    cv2.ellipse(thing, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA)
    k = int(rng.integers(2))
    where = thing * smooth(0.5 + (distance if k == 0 else -distance) / 4)
    colour = rng.uniform(0, 1, 3) + 0.1 * _waves(rng, size, 12, 3)
    if rng.random() < 0.5:
        colour = elsewhere[:size, :size]
    found = list(views)
    found[k] = views[k] + where[:, :, None] * (colour - views[k])
    return found


def _with_halo(composite: Array, rng: np.random.Generator, distance: Array) -> Array:
    """Lay a bright or dark rim along the seam, or overshoots about its edges."""
    fade = np.exp(-np.abs(distance) / rng.uniform(2, 8))[:, :, None]
    if rng.random() < 0.5:
        found = composite * np.exp(rng.uniform(-0.25, 0.25) * fade)
    else:
        slow = cv2.GaussianBlur(composite, None, float(rng.uniform(2, 6)))
        found = composite + rng.uniform(0.3, 1.0) * (composite - slow) * fade
    return np.clip(found, 0, 1).astype(np.float32)


def _noisy(view: Array, rng: np.random.Generator) -> Array:
    """Blur, compress or add noise, or some of these."""
    if rng.random() < 0.4:
        view = cv2.GaussianBlur(view, None, float(rng.uniform(0.3, 1.0)))
    if rng.random() < 0.6:
        view = view + rng.standard_normal(view.shape) * rng.uniform(0, 4 / 255)
    if rng.random() < 0.4:
        eight = (np.clip(view, 0, 1) * 255 + 0.5).astype(np.uint8)
        _, data = cv2.imencode(".jpg", eight, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 93))])
        view = cv2.imdecode(data, cv2.IMREAD_COLOR) / np.float32(255)
    return np.asarray(view, np.float32)


def _composed(views: list[Array], distance: Array, operator: str, rng: np.random.Generator) -> Array:
    """Put two views together along the seam."""
    size = len(distance)
    share = np.clip(distance + 0.5, 0, 1).astype(np.float32)
    tiles = [
        Tile(Rect(0, 0, size, size), view, np.ones((size, size), bool), weight)
        for view, weight in zip(views, (1 - share, share), strict=True)
    ]
    if operator == "feather":
        found = feather(tiles, int(rng.integers(2, 31)))
    elif operator == "average":
        radius = float(rng.uniform(4, 16))
        weight = np.clip(0.5 + distance / (2 * radius), 0, 1)
        weight = np.where(np.abs(weight - 0.5) < 0.499, 0.5, weight)[:, :, None]
        found = views[0] * (1 - weight) + views[1] * weight
    elif operator == "multiband":
        found = multiband(tiles, 3)
    else:
        found = np.where((distance > 0)[:, :, None], views[1], views[0])
        if operator == "bleed":
            gap = cv2.GaussianBlur(views[1] - views[0], None, 6)
            fade = np.exp(-np.abs(distance) / rng.uniform(6, 20))[:, :, None] * np.sign(distance)[:, :, None]
            found = found - 0.5 * gap * fade
    return np.clip(found, 0, 1).astype(np.float32)


def _filled(scene: Array, rng: np.random.Generator, size: int) -> Sample:
    """Return a sample whose faults are fills: scribbles closed by inpainting."""
    truth = np.ascontiguousarray(scene[MARGIN : MARGIN + size, MARGIN : MARGIN + size])
    hole = np.zeros((size, size), np.uint8)
    for _ in range(int(rng.integers(1, 5))):
        points = np.cumsum(rng.normal(0, 14, (6, 2)), 0) + rng.uniform(0.2, 0.8, 2) * size
        line = np.clip(points, 0, size - 1).astype(np.int32)
        cv2.polylines(hole, [line], False, 255, int(rng.integers(2, 9)))
    eight = (truth * 255 + 0.5).astype(np.uint8)
    method = cv2.INPAINT_TELEA if rng.random() < 0.5 else cv2.INPAINT_NS
    found = cv2.inpaint(eight, hole, 4, method) / np.float32(255)
    composite = np.where(hole[:, :, None] > 0, found, truth).astype(np.float32)
    soft = cv2.GaussianBlur(cv2.dilate(hole, np.ones((5, 5), np.uint8)) / np.float32(255), None, 1)
    everywhere = np.ones((size, size), bool)
    has_other = everywhere & bool(rng.random() < 0.4)
    other = np.clip(truth * _light(rng, size), 0, 1)
    return Sample(
        composite, other, truth, soft, np.ones((size, size), np.float32),
        np.full((size, size), 32, np.float32), everywhere, has_other,
        hole > 0, "inpainting", "fill",
    )  # fmt: skip
