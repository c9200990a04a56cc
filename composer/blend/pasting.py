"""Pasting without solving: alpha in linear light, feathering, and multiband, each inside its mask only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.backend import distance_transform, label, namespace, pyr_up, to_numpy
from composer.blend.multiband import weighted_bands
from composer.records import to_encoded, to_linear

Array = NDArray[Any]

__all__ = ["paste_alpha", "paste_feathered", "paste_multiband"]


def paste_alpha(source: Array, target: Array, cover: Array, target_alpha: Array) -> tuple[Array, Array]:
    """Lay a source over a target in linear light (Porter and Duff, 1984).

    Parameters
    ----------
    source, target : (H, W, C) float32, 0..1
    cover, target_alpha : (H, W) float32, 0..1
        How much of the target the source covers, and the target's own alpha.

    Returns
    -------
    Pixels and alpha; the target's where nothing covers it, the source's where all is covered.
    """
    alpha = cover + target_alpha * (1 - cover)
    pixels = np.where((cover >= alpha)[:, :, None] & (cover > 0)[:, :, None], source, target)
    soft = (cover > 0) & (cover < alpha)
    share = (cover[soft] / alpha[soft])[:, None]
    pixels[soft] = to_encoded(to_linear(source[soft]) * share + to_linear(target[soft]) * (1 - share))
    return pixels, alpha


def paste_feathered(source: Any, target: Any, mask: Any, radius: int) -> Any:
    """Fade from the target at the mask's border to the source `radius` pixels inside.

    Parts of the mask that are not so thick reach the source where they are thickest.

    Parameters
    ----------
    source, target : (H, W, C) float32
    mask : (H, W) bool
    """
    xp = namespace(target)
    inside, reach = _depths(mask, radius)
    return target + (source - target) * xp.clip(inside / (reach + 1), 0, 1)[:, :, None]


def paste_multiband(source: Any, target: Any, mask: Any, radius: int) -> Any:
    """Blend detail over short and tones over long distances, up to `radius` (Burt and Adelson, 1983).

    The seam runs half a radius inside the mask, less in parts that are not so thick; what the widest band
    would carry beyond the border fades out.

    Parameters
    ----------
    source, target : (H, W, C) float32
    mask : (H, W) bool
    """
    xp = namespace(target)
    inside, reach = _depths(mask, radius)
    levels = max(1, round(math.log2(max(radius, 2))) - 2)
    weight = xp.astype(inside > reach / 2, xp.float32)
    bands = weighted_bands(source - target, weight, levels)
    change = bands[-1]
    for band in reversed(bands[:-1]):
        change = pyr_up(change, band.shape[:2]) + band
    return target + change * xp.clip(inside / (reach / 4 + 1), 0, 1)[:, :, None]


def _depths(mask: Any, radius: int) -> tuple[Any, Any]:
    """Return each pixel's distance to the mask's border, and `radius` or what its part of the mask has."""
    inside = distance_transform(mask)
    labels, count = label(mask)
    labels, depth = to_numpy(labels), to_numpy(inside)
    deepest = np.zeros(count + 1, np.float32)
    np.maximum.at(deepest, labels.ravel(), depth.ravel())
    return inside, namespace(inside).asarray(np.minimum(deepest, np.float32(radius))[labels])
