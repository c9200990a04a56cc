"""How likely each pixel lies under a scratch or a speck, by a small network that OpenCV runs.

What lies over a picture is told from what is in it by its surroundings: it ends suddenly where nothing in the
scene does, crosses things, keeps its own colour over theirs, and is sharper than they are. The network (a
U-Net of 226,000 weights, at half the resolution and below) was trained on photographs over which scratches,
cracks, hairs and specks were drawn; benchmarks/train_damage.py is its training, `damage.md` its card.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.mending.regions import brightness

Array = NDArray[Any]

__all__ = ["damage", "network_input"]

WEIGHTS = Path(__file__).with_name("damage.onnx")
TILE = 960
HALO = 96
ALIGNED = 16  # px: the network's coarsest pixel


def damage(pixels: Array) -> Array:
    """Return the log-odds (2, H, W) float32 of scratches and of specks on (H, W, C) float32, 0..1.

    Memory beside the result is that of a tile.
    """
    height, width = pixels.shape[:2]
    network = cv2.dnn.readNetFromONNX(str(WEIGHTS))  # each call its own: one cannot be shared by threads
    result = np.empty((2, height, width), np.float32)
    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            top, left = max(y - HALO, 0), max(x - HALO, 0)
            part = pixels[top : y + TILE + HALO, left : x + TILE + HALO]
            odds = _seen_twice(network, part)[:, y - top :, x - left :]
            core = result[:, y : y + TILE, x : x + TILE]
            core[:] = odds[:, : core.shape[1], : core.shape[2]]
    return result


def network_input(pixels: Array) -> Array:
    """Return what the network looks at (4, H, W) float32 on (H, W, 3).

    These are brightness, and the detail of brightness and of red and blue less green by what is usual around:
    what is laid over a picture seldom has the colours of what it crosses.
    """
    red, green, blue = cv2.split(pixels)
    luma = brightness(pixels)
    fine = np.abs(luma - cv2.GaussianBlur(luma, (0, 0), 2.0))
    mean = cv2.blur(fine, (31, 31))
    usual = 8 * cv2.blur(np.minimum(fine, 2 * mean), (31, 31)) + np.float32(5.6 / 255)
    details = [np.clip((p - cv2.blur(p, (15, 15))) / usual, -2, 2) for p in (luma, red - green, blue - green)]
    return np.stack([luma * 2 - 1, *details]).astype(np.float32)


def _seen_twice(network: Any, pixels: Array) -> Array:
    """Return the mean log-odds of a tile as it is and by a quarter turned: what is damage is so both ways."""
    turned = np.ascontiguousarray(pixels[::-1].swapaxes(0, 1))
    return (_log_odds(network, pixels) + _log_odds(network, turned).swapaxes(1, 2)[:, ::-1]) / 2


def _log_odds(network: Any, pixels: Array) -> Array:
    """Return the log-odds of one tile."""
    height, width = pixels.shape[:2]
    colour = pixels if pixels.shape[2] == 3 else np.repeat(pixels[:, :, :1], 3, 2)
    by = -height % ALIGNED, -width % ALIGNED
    seen = network_input(cv2.copyMakeBorder(colour, 0, by[0], 0, by[1], cv2.BORDER_REPLICATE))
    rows, columns = (height + by[0]) // 2, (width + by[1]) // 2
    network.setInput(
        seen.reshape(4, rows, 2, columns, 2).transpose(0, 2, 4, 1, 3).reshape(1, 16, rows, columns)
    )
    given = network.forward().reshape(2, 2, 2, rows, columns)
    odds = given.transpose(0, 3, 1, 4, 2).reshape(2, 2 * rows, 2 * columns)
    return np.asarray(odds[:, :height, :width])
