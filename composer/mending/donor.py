"""Fill holes from another photo of the same scene: laid over this one, its light adapted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.features import Features, find_features, to_grey8
from composer.align.homography import find_homography
from composer.align.matching import distinct_places, match_descriptors
from composer.backend import remap
from composer.backend.channels import mean_channel
from composer.media.picture import as_float
from composer.mending.diffusion import harmonic
from composer.records import Rect

Array = NDArray[Any]

__all__ = ["Donor", "covers", "from_donor", "landmarks", "registered"]

MEGAPIXELS = 1.0  # at which features are looked for
THRESHOLD_PX = 3.0
RING = 24  # pixels around a hole that the donor is compared with
CELLS = 1 << 14  # of the grid on which its light is adapted, at most


@dataclass(frozen=True)
class Donor:
    """Another photo (h, w, C) of any type, which of its pixels may be used, and how points come to it.

    `matrix` (3, 3) takes points (x, y) of the photo with the holes to the donor.
    """

    pixels: Array
    valid: Array
    matrix: Array


def landmarks(pixels: Array, valid: Array) -> Features:
    """Find features of a photo (H, W, C), none that looks at what is not valid (H, W)."""
    found = find_features(to_grey8(pixels), MEGAPIXELS, 3000)
    away = cv2.distanceTransform(valid.astype(np.uint8), cv2.DIST_L2, 3)
    x, y = np.rint(found.points).astype(int).T
    kept = away[y.clip(0, len(away) - 1), x.clip(0, away.shape[1] - 1)] > found.sizes / 2
    return Features(found.points[kept], found.descriptors[kept], found.sizes[kept], found.scale)


def registered(features: Features, pixels: Array, valid: Array) -> Donor | None:
    """Lay a donor over the photo whose features are given; None where the two share too little."""
    theirs = landmarks(pixels, valid)
    matches = match_descriptors(features.descriptors, theirs.descriptors)
    here, there = features.points[matches[:, 0]], theirs.points[matches[:, 1]]
    apart = distinct_places(here, there)
    found = find_homography(here[apart], there[apart], THRESHOLD_PX / min(features.scale, theirs.scale))
    return None if found is None else Donor(pixels, valid, found[0])


def covers(donor: Donor, x: Array, y: Array) -> bool:
    """Tell whether the donor shows all points (x, y) of the photo."""
    u, v, front = _mapped(donor.matrix, x, y)
    height, width = donor.valid.shape
    inside = front & (u >= 1) & (v >= 1) & (u <= width - 2) & (v <= height - 2)
    if not inside.all():
        return False
    return bool(donor.valid[np.rint(v).astype(int), np.rint(u).astype(int)].all())


def from_donor(image: Array, hole: Array, valid: Array, where: Rect, donor: Donor) -> Array:
    """Fill a hole with what a donor shows there.

    The donor is brought to the hole's surroundings by a small affine motion (ECC; Evangelidis and Psarakis,
    PAMI 2008), its light by a gain, and what still differs along the hole's edge is spread over the hole by
    a membrane, which leaves no seam (Perez et al., SIGGRAPH 2003).

    Parameters
    ----------
    image : (H, W, C) float32
    hole, valid : (H, W) bool
    where : Rect
        What `image` shows of the photo.
    donor : Donor
        Must cover the hole.

    Returns
    -------
    (H, W, C) float32, equal to `image` outside the hole.
    """
    near = cv2.dilate(hole.astype(np.uint8), np.ones((2 * RING + 1,) * 2, np.uint8)) > 0
    seen, shown = _shown(donor, where, np.eye(2, 3), image.shape[2])
    motion = _motion(image, seen, valid & shown & near)
    if motion is not None:
        moved, still = _shown(donor, where, motion, image.shape[2])
        if still[hole].all():
            seen, shown = moved, still
    both = valid & shown & near
    if both.any():
        seen = seen * np.clip(_level(image[both]) / _level(seen[both]), 0.25, 4).astype(np.float32)
        seen = seen + _spread(np.where(both[:, :, None], image - seen, 0), hole, both)
    return np.where(hole[:, :, None], seen, image)


def _level(values: Array) -> Array:
    """Return the mean (C,) of values (n, C), their darkest and brightest tenths apart."""
    low, high = np.quantile(values, [0.1, 0.9], axis=0)
    inside = (values >= low) & (values <= high)
    return np.maximum((values * inside).sum(0) / np.maximum(inside.sum(0), 1), 1e-4)


def _mapped(matrix: Array, x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Return where points lie in the donor, and whether in front of it."""
    a, b, c = (row[0] * x + row[1] * y + row[2] for row in matrix)
    front = c * matrix[2, 2] > 0
    c = np.where(front, c, 1)
    return a / c, b / c, front


def _shown(donor: Donor, where: Rect, motion: Array, channels: int) -> tuple[Array, Array]:
    """Return what the donor shows of a rectangle (h, w, C) float32, and where it shows anything."""
    y, x = np.mgrid[where.y0 : where.y1, where.x0 : where.x1].astype(np.float64)
    dx, dy = x - where.x0, y - where.y0
    x, y = (row[0] * dx + row[1] * dy + row[2] + o for row, o in zip(motion, where[:2], strict=True))
    u, v, front = _mapped(donor.matrix, x, y)
    height, width = donor.valid.shape
    inside = front & (u >= 1) & (v >= 1) & (u <= width - 2) & (v <= height - 2)
    if not inside.any():
        return np.zeros((where.height, where.width, channels), np.float32), inside
    x0, y0 = max(int(u[inside].min()) - 2, 0), max(int(v[inside].min()) - 2, 0)
    part = slice(y0, int(v[inside].max()) + 4), slice(x0, int(u[inside].max()) + 4)
    u, v = ((np.where(inside, k, 0) - o).astype(np.float32) for k, o in ((u, x0), (v, y0)))
    pixels = np.nan_to_num(as_float(donor.pixels[part]))
    if pixels.shape[2] != channels:
        pixels = np.repeat(pixels.mean(2, keepdims=True), channels, 2)
    usable = cv2.erode(donor.valid[part].astype(np.uint8), np.ones((3, 3), np.uint8))
    whole = remap(usable[:, :, None].astype(np.float32), u, v)[:, :, 0] > 0.99
    return remap(np.ascontiguousarray(pixels), u, v), inside & whole


def _motion(image: Array, seen: Array, both: Array) -> Array | None:
    """Return the affine motion (2, 3) from the photo's to the donor's pixels; None where none is found."""
    here, there = (mean_channel(np.nan_to_num(k)) for k in (image, seen))
    criteria = cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4
    try:
        _, motion = cv2.findTransformECC(
            here, there, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, criteria, both.astype(np.uint8), 3
        )
    except cv2.error:  # not textured enough, or nothing alike
        return None
    corners = np.array([[0, 0, 1], [here.shape[1], 0, 1], [0, here.shape[0], 1]])
    far = np.abs(corners @ motion.T - corners[:, :2]).max()
    return np.asarray(motion) if far < RING else None


def _spread(difference: Array, hole: Array, both: Array) -> Array:
    """Return a smooth field (H, W, C) that meets the difference around the hole."""
    height, width = hole.shape
    step = max(1, int(np.ceil(np.sqrt(hole.size / CELLS))))
    size = max(1, width // step), max(1, height // step)
    weight = cv2.resize(both.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(difference, size, interpolation=cv2.INTER_AREA).reshape(*size[::-1], -1)
    known = weight > 0
    cells = total / np.where(known, weight, 1)[:, :, None]
    field = harmonic(cells.astype(np.float32), ~known, known)
    field = cv2.resize(cv2.GaussianBlur(field, None, 1), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(field.reshape(difference.shape))
