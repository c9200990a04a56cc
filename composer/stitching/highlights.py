"""Blown highlights: places where one photo is clipped and another, exposed for less light, is not.

Once exposures are evened a clipped sky is grey, or takes the colour of the channels that were not clipped.
Where a photo of lesser exposure shows the place, that one has the say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.warp import meeting, place_in, shared_rect, window_of
from composer.backend.channels import max_channel
from composer.records import Composition, Tile

Array = NDArray[Any]

__all__ = ["exposed_apart", "without_clipped"]

CLIPPED = 0.98  # stored values from which a channel says nothing: averages of what is clipped and what is not
APART = 1.25  # gains that differ less leave no step to be seen
ROOM = 0.2  # of the way from a photo's edge to its centre
SMALLEST = 3  # cells across: glints may stay


def exposed_apart(composition: Composition) -> bool:
    """Tell whether exposures differ by so much that clipped places do not fit in."""
    gains = _gains(composition)
    return max(gains) >= APART * min(gains)


def without_clipped(small: Composition, tiles: Sequence[Tile], raw: Sequence[Tile]) -> list[Tile]:
    """Return layers that are not valid where they are clipped and one that was exposed less is not.

    Parameters
    ----------
    small : Composition
        The reduced composition that the tiles were warped for.
    tiles : sequence of Tile
    raw : sequence of Tile
        The same layers, their exposure not corrected.
    """
    clipped = [_clipped(t) for t in raw]
    seen = [replace(t, valid=t.valid & ~c) for t, c in zip(tiles, clipped, strict=True)]
    better = [np.zeros(c.shape, np.float32) for c in clipped]
    gains = _gains(small)
    for pair in meeting(small, tiles):
        brighter, darker = sorted(pair, key=lambda k: (gains[k], k))
        if gains[darker] < APART * gains[brighter]:
            continue
        window = shared_rect(tiles[brighter].rect, tiles[darker].rect, small)
        if window is not None:
            there = window_of(seen[darker], window, small)
            here = better[brighter][place_in(tiles[brighter], window, small)]
            np.maximum(here, np.where(there.valid, there.weight, 0), out=here)
    return [
        replace(t, valid=t.valid & ~_gone(t.valid & c, b))
        for t, c, b in zip(tiles, clipped, better, strict=True)
    ]


def _gone(clipped: Array, better: Array) -> Array:
    """Return where a clipped layer gives way to better ones; `better` is how deep inside their photos.

    Not close to their edges where it alone shows what lies beyond: blending needs room for the step.
    """
    alone = (clipped & (better <= 0)).astype(np.uint8)
    far = cv2.distanceTransform(1 - alone, cv2.DIST_L2, 5) > ROOM / 2 * math.sqrt(clipped.size)
    return np.asarray(clipped & (better > 0) & (far | (better > ROOM)))


def _gains(composition: Composition) -> list[float]:
    return [float(np.mean(la.gain)) for la in composition.layers]


def _clipped(tile: Tile) -> Array:
    """Return (h, w) bool: where a layer is clipped in larger patches, and a cell around them."""
    bright = ((max_channel(tile.image) >= CLIPPED) & tile.valid).astype(np.uint8)
    patches = cv2.morphologyEx(bright, cv2.MORPH_OPEN, np.ones((SMALLEST, SMALLEST), np.uint8))
    return cv2.dilate(patches, np.ones((3, 3), np.uint8)) > 0
