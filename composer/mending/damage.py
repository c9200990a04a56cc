"""How likely each pixel lies under a scratch or a speck, by a small network that OpenCV runs.

What lies over a picture is told from what is in it by its surroundings: it ends suddenly where nothing in the
scene does, crosses things, and is sharper than they are. The network (a U-Net of 134,000 weights, at half the
resolution and below) was trained on photographs over which scratches, cracks, hairs and specks were drawn;
benchmarks/train_damage.py is its training, `damage.md` its card.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

__all__ = ["damage", "network_input"]

WEIGHTS = Path(__file__).with_name("damage.onnx")
TILE = 960
HALO = 64
ALIGNED = 8  # px: the network's coarsest pixel


def damage(luma: Array) -> Array:
    """Return the log-odds (2, H, W) float32 of scratches and of specks on (H, W) float32, 0..1.

    Memory beside the result is that of a tile.
    """
    height, width = luma.shape
    network = cv2.dnn.readNetFromONNX(str(WEIGHTS))  # each call its own: one cannot be shared by threads
    result = np.empty((2, height, width), np.float32)
    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            top, left = max(y - HALO, 0), max(x - HALO, 0)
            part = luma[top : y + TILE + HALO, left : x + TILE + HALO]
            odds = _log_odds(network, part)[:, y - top :, x - left :]
            core = result[:, y : y + TILE, x : x + TILE]
            core[:] = odds[:, : core.shape[1], : core.shape[2]]
    return result


def network_input(luma: Array) -> Array:
    """Return what the network looks at (2, H, W) float32: brightness, and detail by what is usual around."""
    detail = luma - cv2.blur(luma, (15, 15))
    fine = np.abs(luma - cv2.GaussianBlur(luma, (0, 0), 2.0))
    mean = cv2.blur(fine, (31, 31))
    mean = cv2.blur(np.minimum(fine, 2 * mean), (31, 31)) + np.float32(0.7 / 255)
    return np.stack([luma * 2 - 1, np.clip(detail / (8 * mean), -2, 2)]).astype(np.float32)


def _log_odds(network: Any, luma: Array) -> Array:
    """Return the log-odds of one tile."""
    height, width = luma.shape
    by = -height % ALIGNED, -width % ALIGNED
    seen = network_input(cv2.copyMakeBorder(luma, 0, by[0], 0, by[1], cv2.BORDER_REPLICATE))
    rows, columns = (height + by[0]) // 2, (width + by[1]) // 2
    network.setInput(
        seen.reshape(2, rows, 2, columns, 2).transpose(0, 2, 4, 1, 3).reshape(1, 8, rows, columns)
    )
    given = network.forward().reshape(2, 2, 2, rows, columns)
    odds = given.transpose(0, 3, 1, 4, 2).reshape(2, 2 * rows, 2 * columns)
    return np.asarray(odds[:, :height, :width])
