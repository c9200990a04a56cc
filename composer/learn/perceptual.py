"""ST-LPIPS: how different two pictures look, to a network that small shifts do not mislead.

Ghildyal and Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022: AlexNet's five convolutions, each
reduced by blurring first, compared feature by feature. The authors' weights (BSD) are read from their
package.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, max_pool2d, pad, relu

from composer.learn.published import ST_LPIPS, read_published

Array = NDArray[Any]

__all__ = ["LEAST", "st_lpips"]

LEAST = 24  # pixels that a side must have
TILE = 768  # pixels: larger pictures are looked at in parts, since a megapixel takes 0.7 GB
_CONVOLUTIONS = ("slice1.0", "slice2.5", "slice3.9", "slice4.11", "slice5.13")


def st_lpips(picture: Array, reference: Array, where: Array | None = None) -> float:
    """Return the distance of two pictures, 0 for equal ones.

    Parameters
    ----------
    picture, reference : (H, W, 3) float32, 0..1
        At least 24 pixels each way. Of large ones the mean over parts is taken.
    where : (H, W) bool or None
        Where to look; features count by their share of it.

    Raises
    ------
    WeightsError
        The extra `metrics` is not installed.
    """
    total = weight = 0.0
    inside = np.ones(picture.shape[:2], bool) if where is None else where
    for part in _parts(*picture.shape[:2]):
        counted = int(np.count_nonzero(inside[part]))
        if counted:
            total += counted * _distance(picture[part], reference[part], inside[part])
            weight += counted
    return total / weight


def _parts(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yield even parts of at most TILE pixels each way."""
    rows, columns = (
        np.linspace(0, length, -(-length // TILE) + 1).round().astype(int) for length in (height, width)
    )
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            yield slice(int(top), int(bottom)), slice(int(left), int(right))


def _distance(picture: Array, reference: Array, where: Array) -> float:
    weights = _weights()
    both = np.stack([np.moveaxis(np.clip(p, 0, 1), 2, 0) for p in (picture, reference)])
    x = 2 * torch.from_numpy(np.ascontiguousarray(both, np.float32)) - 1
    inside = torch.from_numpy(where.astype(np.float32))[None, None]
    found = 0.0
    with torch.no_grad():
        x = (x - weights["scaling_layer.shift"]) / weights["scaling_layer.scale"]
        for k, features in enumerate(_features(x, weights)):
            unit = features / (torch.sqrt((features**2).sum(1, keepdim=True)) + 1e-10)
            gap = conv2d((unit[:1] - unit[1:]) ** 2, weights[f"lin{k}.model.1.weight"])
            share = interpolate(inside, gap.shape[2:], mode="area")
            found += float((gap * share).sum() / share.sum())
    return found


def _features(x: Tensor, weights: dict[str, Tensor]) -> Iterator[Tensor]:
    """Yield what each of the five convolutions finds, (2, C, h, w)."""
    for k, name in enumerate(_CONVOLUTIONS):
        kernel, bias = weights[f"net.{name}.weight"], weights[f"net.{name}.bias"]
        if k in (1, 2):
            x = _reduced(max_pool2d(x, 3, 1))
        x = conv2d(x, kernel, bias, padding=min(2, kernel.shape[2] // 2))
        x = relu(_reduced(x) if k == 0 else x)
        yield x


def _reduced(x: Tensor) -> Tensor:
    """Blur with 1 2 1 each way and keep every other pixel."""
    line = torch.tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(line, line).expand(x.shape[1], 1, 3, 3)
    return conv2d(pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=x.shape[1])


@lru_cache(maxsize=1)
def _weights() -> dict[str, Tensor]:
    return read_published(ST_LPIPS)
