"""Faded and tinted photographs: dyes that have paled, each in its own measure.

A print that fades keeps less and less of each dye: blacks rise, whites yellow. Each channel's darkest and
lightest values are spread to black and white again, as one does with "levels". A sunset is tinted too, and a
foggy morning pale, and nothing in the pixels tells them from old prints: so a person has to ask for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from composer.media.picture import as_float, as_stored
from composer.records import Fault, Rect

Array = NDArray[Any]

__all__ = ["find_fading", "levels", "spread"]

OUTSIDE = 0.005  # of the pixels on either side: dust, and lights that are to stay lights
LEAST = 0.05  # of the range: lost less, a photo has not faded
NARROWEST = 0.1  # range of a channel that is spread
ENOUGH = 1_000_000  # pixels


def find_fading(pixels: Array, valid: Array | None = None) -> list[Fault]:
    """Find out whether (H, W, C) float32 has faded: one fault "fading", or none.

    Its strength is the share of the channels' range that is lost.
    """
    low, high = levels(pixels, valid)
    lost = 1 - float((high - low).mean())
    if lost < LEAST:
        return []
    height, width = pixels.shape[:2]
    return [Fault("fading", Rect(0, 0, width, height), min(1.0, 0.5 + lost), strength=lost)]


def levels(pixels: Array, valid: Array | None = None) -> tuple[Array, Array]:
    """Return each channel's black and white (C,) in (H, W, C) float32; 0 and 1 where it shows too little."""
    apart = max(1, int((pixels.shape[0] * pixels.shape[1] / ENOUGH) ** 0.5))
    few = pixels[::apart, ::apart]
    seen = few.reshape(-1, few.shape[2]) if valid is None else few[valid[::apart, ::apart]]
    if not len(seen):
        return np.zeros(pixels.shape[2]), np.ones(pixels.shape[2])
    low, high = np.clip(np.quantile(seen, (OUTSIDE, 1 - OUTSIDE), axis=0), 0, 1)
    enough = high - low >= NARROWEST
    return np.where(enough, low, 0.0), np.where(enough, high, 1.0)


def spread(pixels: Array, low: Array, high: Array) -> Array:
    """Spread the channels of (H, W, C) uint8, uint16 or float32 from `low`..`high` (C,) to black..white."""
    result = np.empty_like(pixels)
    for c, (black, white) in enumerate(zip(low, high, strict=True)):
        values = (as_float(pixels[:, :, c]) - np.float32(black)) / np.float32(white - black)
        result[:, :, c] = as_stored(np.clip(values, 0, 1), pixels.dtype)
    return result
