"""The detector at work: from a composite to a mask of what is to be refined."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.learn.runtime import cut, opened, outputs_of, torch_network
from composer.learn.weights import read_weights
from composer.records import Rect

Array = NDArray[Any]
Detecting = Callable[[Array], Array]

__all__ = ["Detecting", "fault_map", "load_detector", "mask_of", "planes_of"]

HALO = 80  # pixels around a tile that the network looks at: its radius is below
TILE = 384
SURE = 0.5  # how likely a fault must be
GROWN, SOFT = 17, 4.0  # pixels around what is found, and how softly it ends


def planes_of(
    composite: Array, valid: Array, other: Array | None = None, other_valid: Array | None = None
) -> Array:
    """Return what the network sees, (8, H, W) float32: composite, validity, other view, its validity."""
    nothing = np.zeros(valid.shape, np.float32)
    seen = nothing if other is None or other_valid is None else other_valid.astype(np.float32)
    colours = np.zeros_like(composite) if other is None else other * seen[:, :, None]
    here = valid.astype(np.float32)
    parts = [*np.moveaxis(composite * here[:, :, None], 2, 0), here, *np.moveaxis(colours, 2, 0), seen]
    return np.stack(parts).astype(np.float32)


@lru_cache(maxsize=2)
def load_detector(path: str, runtime: str = "auto") -> Detecting:
    """Return the network as a function from planes (8, H, W) to likelihoods (H, W).

    Parameters
    ----------
    path : str
        Weights as `train` writes them (.safetensors, its .onnx beside it); none come with the package.
    runtime : "auto", "onnx" or "torch"

    Raises
    ------
    WeightsError
        Neither onnxruntime nor torch is installed, or the weights cannot be used.
    """
    home = Path(path)
    run = opened(home, runtime, "finding what to refine without a mask", lambda: _detector(home))
    return lambda planes: _likelihood(run(planes)[0][0])


def _detector(path: Path) -> Any:
    from composer.learn.detector import Detector

    arrays, about = read_weights(path, "detector")
    return torch_network(Detector(int(about["width"])), arrays, path)


def detecting_of(net: Any) -> Detecting:
    """Return the detector's torch module as `load_detector` does."""
    run = outputs_of(net)
    return lambda planes: _likelihood(run(planes)[0][0])


def _likelihood(logits: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def fault_map(
    detecting: Detecting, planes: Array, over: Callable[[Callable[[Rect], Array], list[Rect]], list[Array]]
) -> Array:
    """Return how likely a fault is, (H, W) float32 0..1; tiles lie on an absolute grid.

    Parameters
    ----------
    detecting : as `load_detector` returns it
    planes : (8, H, W) float32
    over : callable
        Maps a function over rectangles, on as many threads as are wanted.
    """
    _, height, width = planes.shape
    found = np.zeros((height, width), np.float32)
    tiles = [
        Rect(x, y, x + TILE, y + TILE) for y in range(0, height, TILE) for x in range(0, width, TILE)
    ]  # fmt: skip

    def work(tile: Rect) -> Array:
        return detecting(cut(planes, tile.grown(HALO)))[HALO:-HALO, HALO:-HALO]

    for tile, part in zip(tiles, over(work, tiles), strict=True):
        rows, columns = min(tile.y1, height) - tile.y0, min(tile.x1, width) - tile.x0
        found[tile.y0 : tile.y0 + rows, tile.x0 : tile.x0 + columns] = part[:rows, :columns]
    return found


def mask_of(likelihood: Array, valid: Array) -> Array:
    """Return a soft mask (H, W) float32 0..1 around what is likely to be wrong."""
    found = (likelihood > SURE).astype(np.uint8)
    grown = cv2.dilate(found, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (GROWN, GROWN)))
    return np.asarray(cv2.GaussianBlur(grown.astype(np.float32), None, SOFT) * valid)
