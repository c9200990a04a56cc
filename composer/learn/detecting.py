"""The detector at work: from a composite to a mask of what is to be refined."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend.onnx import onnx_session
from composer.errors import WeightsError
from composer.learn.runtime import cut, torch_network
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
    onnx = home.with_suffix(".onnx")
    if runtime != "torch" and onnx.exists() and importlib.util.find_spec("onnxruntime"):
        session = onnx_session(onnx)
        return lambda planes: _likelihood(session.run(None, {"planes": planes[None]})[0][0, 0])
    if runtime != "onnx" and importlib.util.find_spec("torch"):
        from composer.learn.detector import Detector

        arrays, about = read_weights(home, "detector")
        return detecting_of(torch_network(Detector(int(about["width"])), arrays, home))
    raise WeightsError(
        "finding what to refine needs onnxruntime or torch, and neither is installed; "
        "run pip install 'composer-cv[onnx]' (small) or 'composer-cv[learn]', or give a mask"
    )


def detecting_of(net: Any) -> Detecting:
    """Return a torch module as a function on arrays."""
    import torch

    device = next(net.parameters()).device

    def run(planes: Array) -> Array:
        with torch.no_grad():
            return _likelihood(net(torch.from_numpy(planes)[None].to(device))[0, 0].float().cpu().numpy())

    return run


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
