"""Carry edges on into a hole: image inpainting based on coherence transport."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend import namespace

Array = NDArray[Any]

__all__ = ["coherence_transport"]

RADIUS = 5  # pixels that a new pixel looks at
SHARPNESS = 25.0  # of the beam along an edge (the paper's kappa)
QUANTUM = 1 / 255  # gradients below it do not count as an edge (the paper's delta)
RHO = 2.5  # over which the direction of edges is averaged, in pixels
FAR = 1 << 20
CHUNK = 1 << 15


def coherence_transport(image: Any, hole: Array, valid: Array) -> Any:
    """Fill a hole from its edge inwards, each pixel from known ones along the edges seen there.

    Bornemann and Maerz, JMIV 2007, by layers of one pixel in place of single pixels: a layer depends on
    the layers before it only, so that its pixels are computed together.

    Parameters
    ----------
    image : (H, W, C) float32
        An array of any library; where things lie is worked out on the host.
    hole, valid : (H, W) bool, NumPy
        What to fill, and what may be looked at.

    Returns
    -------
    (H, W, C) float32, equal to `image` outside the hole; pixels that nothing known reaches stay as they are.
    """
    xp = namespace(image)
    layer, ready = _layers(hole, valid)
    padded = layer.shape
    flat = np.arange(hole.size).reshape(hole.shape)
    slot = np.pad(flat, RADIUS).ravel()  # where a pixel's value lies in `values`
    slope_slot = np.zeros(slot.size, np.int64)
    values = xp.reshape(image, (-1, image.shape[2]))
    values = xp.where(xp.isfinite(values), values, xp.zeros_like(values))
    slopes = xp.zeros((1, 4), dtype=values.dtype)
    right, down = _disc()
    steps = down * padded[1] + right
    order = np.flatnonzero((layer > 0) & (layer < FAR))
    order = order[np.argsort(layer.ravel()[order], kind="stable")]
    near = cv2.dilate((np.pad(hole, RADIUS)).astype(np.uint8), np.ones((2 * RADIUS + 1,) * 2, np.uint8))
    for step in range(1, int(layer.ravel()[order].max(initial=0)) + 1):
        fresh = np.flatnonzero((ready == step - 1) & (near.ravel() > 0))
        slope_slot[fresh] = slopes.shape[0] + np.arange(len(fresh))
        slopes = xp.concat([slopes, _slopes(xp, values, slot, fresh, padded[1])])
        todo = order[layer.ravel()[order] == step]
        for k in range(0, len(todo), CHUNK):
            part = todo[k : k + CHUNK]
            around = part[:, None] + steps
            known = layer.ravel()[around] < step
            sloping = np.where(ready[around] < step, slope_slot[around], 0)
            weight = _weights(xp, xp.take(slopes, xp.asarray(sloping.ravel()), axis=0), right, down)
            found = _beam(xp, xp.take(values, xp.asarray(slot[around].ravel()), axis=0), known, weight)
            slot[part] = values.shape[0] + np.arange(len(part))
            values = xp.concat([values, found])
    inside = slot.reshape(padded)[RADIUS:-RADIUS, RADIUS:-RADIUS]
    filled = xp.reshape(xp.take(values, xp.asarray(inside.ravel()), axis=0), image.shape)
    return xp.where(xp.asarray(hole[:, :, None]), filled, image)


def _layers(hole: Array, valid: Array) -> tuple[Array, Array]:
    """Return when each pixel becomes known and when its slope does, padded: 0 from the start, FAR never."""
    known = np.pad(valid & ~hole, RADIUS)
    away = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    reached = np.pad(hole, RADIUS) & known.any()
    layer = np.where(known, 0, np.where(reached, np.maximum(np.rint(away), 1), FAR)).astype(np.int32)
    ready = cv2.dilate(layer.astype(np.float32), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    return layer, ready.astype(np.int32).ravel()


def _disc() -> tuple[Array, Array]:
    """Return the steps (right, down) to all pixels within RADIUS, the centre apart."""
    down, right = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    inside = (down**2 + right**2 <= RADIUS**2) & ((down != 0) | (right != 0))
    return right[inside], down[inside]


def _slopes(xp: Any, values: Any, slot: Array, pixels: Array, width: int) -> Any:
    """Return the products (n, 4) of Sobel slopes (xx, xy, yy) and 1, at pixels whose neighbours are known."""
    if not len(pixels):
        return xp.zeros((0, 4), dtype=values.dtype)
    beside = pixels[:, None] + np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
    v = xp.mean(xp.take(values, xp.asarray(slot[beside].ravel()), axis=0), axis=1)
    v = xp.reshape(v, beside.shape)
    x = (v[:, 2] + 2 * v[:, 4] + v[:, 7] - v[:, 0] - 2 * v[:, 3] - v[:, 5]) / 8
    y = (v[:, 5] + 2 * v[:, 6] + v[:, 7] - v[:, 0] - 2 * v[:, 1] - v[:, 2]) / 8
    return xp.stack([x * x, x * y, y * y, xp.ones_like(x)], axis=1)


def _weights(xp: Any, slopes: Any, right: Array, down: Array) -> Any:
    """Return how much each pixel around counts (n, K): the nearer to the line along the edge, the more."""
    weight = np.exp(-(right**2 + down**2) / (2 * RHO**2)).astype(np.float32)
    slopes = xp.sum(xp.reshape(slopes, (-1, len(right), 4)) * xp.asarray(weight[:, None]), axis=1)
    xx, xy, yy = (slopes[:, k] / (slopes[:, 3] + 1e-12) for k in range(3))
    strength = xp.sqrt((xx - yy) ** 2 + 4 * xy**2)
    mu = 1 + SHARPNESS * xp.exp(-(QUANTUM**4) / (strength**2 + 1e-20))
    angle = xp.atan2(2 * xy, xx - yy) / 2
    step = xp.cos(angle)[:, None] * xp.asarray(right.astype(np.float32))
    step = step + xp.sin(angle)[:, None] * xp.asarray(down.astype(np.float32))
    reach = xp.asarray((1 / np.hypot(right, down)).astype(np.float32))
    return mu[:, None] * reach * xp.exp(-((mu[:, None] * step / RADIUS) ** 2) / 2)


def _beam(xp: Any, values: Any, known: Array, weight: Any) -> Any:
    """Return the weighted mean (n, C) of the known values around each pixel."""
    weight = xp.where(xp.asarray(known), weight + 1e-9, xp.zeros_like(weight))
    values = xp.reshape(values, (*known.shape, -1))
    return xp.sum(values * weight[:, :, None], axis=1) / xp.sum(weight, axis=1)[:, None]
