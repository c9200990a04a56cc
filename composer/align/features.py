"""Local features: SIFT points with RootSIFT descriptors, spread over the photograph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.media.masks import mask_of
from composer.records import Photo, scale_points

Array = NDArray[Any]

__all__ = ["Features", "find_features", "outside_mask", "spread", "to_grey8", "within_circle"]


@dataclass(frozen=True)
class Features:
    """Features of one photograph, strongest first.

    `points` (N, 2) float64 in pixels of the full photograph, `descriptors` (N, 128) float32 of unit
    length, `sizes` (N,) in full pixels, `scale` is working size over full size.
    """

    points: Array
    descriptors: Array
    sizes: Array
    scale: float

    def only(self, kept: Array) -> Features:
        """Return those features that `kept` (N,) bool names."""
        return Features(self.points[kept], self.descriptors[kept], self.sizes[kept], self.scale)


def to_grey8(pixels: Array) -> Array:
    """Return (H, W) uint8 grey of (H, W, C) pixels of any supported type; alpha is ignored.

    16-bit and float values are stretched between their 0.5 and 99.5 percentiles: features need
    contrast, not calibrated light.
    """
    colours = 3 if pixels.shape[2] >= 3 else 1
    grey = pixels[:, :, 0]
    if colours == 3:
        grey = cv2.cvtColor(np.ascontiguousarray(pixels[:, :, :3]), cv2.COLOR_RGB2GRAY)
    if grey.dtype == np.uint8:
        return np.ascontiguousarray(grey)
    low, high = np.nanpercentile(grey[::4, ::4], [0.5, 99.5])
    stretched = (np.nan_to_num(grey).astype(np.float32) - low) * (255 / max(high - low, 1e-6))
    return np.clip(stretched, 0, 255).astype(np.uint8)


def find_features(
    grey: Array, megapixels: float = 0.16, count: int = 700, full: tuple[int, int] | None = None
) -> Features:
    """Find SIFT features (Lowe, IJCV 2004) with RootSIFT descriptors (Arandjelovic, CVPR 2012).

    Parameters
    ----------
    grey : (H, W) uint8
    megapixels : float
        Size at which to look; larger photographs are reduced to it.
    count : int
        At most so many features, the strongest of each part of a 6 x 6 grid first.
    full : (width, height) or None
        Size of the photograph where `grey` is reduced already.

    Returns
    -------
    Features
    """
    width, height = full or (grey.shape[1], grey.shape[0])
    scale = min(1.0, math.sqrt(megapixels * 1e6 / (width * height)))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    growth = np.array([width / grey.shape[1], height / grey.shape[0]])  # rounded, so not quite equal
    empty = Features(np.zeros((0, 2)), np.zeros((0, 128), np.float32), np.zeros(0), scale)
    if min(grey.shape) < 16:
        return empty
    for contrast in (0.02, 0.004):  # of a dark or hazy photo the faint ones too
        sift = cv2.SIFT_create(contrastThreshold=contrast, enable_precise_upscale=True)
        found = sift.detect(grey, None)
        if len(found) >= count / 2:
            break
    if not found:
        return empty
    points = np.array([k.pt for k in found], np.float64)
    kept = spread(points, np.array([k.response for k in found]), grey.shape, count)
    found, descriptors = sift.compute(grey, [found[i] for i in kept])  # most of the work is to describe
    points = np.array([k.pt for k in found], np.float64)
    sizes = np.array([k.size for k in found]) / scale
    descriptors = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-9))
    return Features(scale_points(points, growth), descriptors.astype(np.float32), sizes, scale)


def within_circle(features: Features, photo: Photo) -> Features:
    """Keep the features of a circular fisheye's picture, not those of the circle itself."""
    centre = (photo.width - 1) / 2, (photo.height - 1) / 2
    away = np.hypot(*(features.points - centre).T) + 2 * features.sizes
    kept = away < (photo.circle_px or np.inf)
    return features.only(kept)


def outside_mask(features: Features, photo: Photo) -> Features:
    """Keep the features that do not look at what is excluded from a photo."""
    if photo.exclude is None:
        return features
    away = cv2.distanceTransform(
        (~mask_of(photo.exclude, photo.height, photo.width)).astype(np.uint8), cv2.DIST_L2, 3
    )
    x, y = np.rint(features.points).astype(int).T
    kept = away[y.clip(0, photo.height - 1), x.clip(0, photo.width - 1)] > features.sizes
    return features.only(kept)


def spread(points: Array, response: Array, shape: tuple[int, ...], count: int) -> Array:
    """Choose `count` of points (N, 2) by rank of response within the cells of a 6 x 6 grid; their indices."""
    cell = (points[:, 1] * 6 // shape[0]).astype(int) * 6 + (points[:, 0] * 6 // shape[1]).astype(int)
    order = np.lexsort((points[:, 0], points[:, 1], -response, cell))
    first = np.searchsorted(cell[order], cell[order])
    rank = np.empty(len(points), int)
    rank[order] = np.arange(len(points)) - first
    return np.lexsort((points[:, 0], points[:, 1], -response, rank))[:count]
