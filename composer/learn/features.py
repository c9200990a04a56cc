"""What EfficientNet-Lite0 sees in pictures: 1280 numbers each, to compare folders by.

Tan and Le, "EfficientNet", ICML 2019; Lite0 is Google's form without squeezing and with ReLU6. The weights
(Apache 2.0) are read from the package that publishes them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, pad, relu6

from composer.learn.published import LITE0, read_published

Array = NDArray[Any]

__all__ = ["SIDE", "network_input", "picture_features"]

SIDE = 224
_MEAN, _SPREAD = 127 / 255, 128 / 255
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)  # of the sixteen blocks


def network_input(picture: Array) -> Array:
    """Return a picture (H, W, C) float32 0..1 as the network takes it, (3, 224, 224): whole, so squeezed."""
    shrinks = min(picture.shape[:2]) >= SIDE
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    small = np.clip(cv2.resize(picture, (SIDE, SIDE), interpolation=how), 0, 1).reshape(SIDE, SIDE, -1)
    planes = np.moveaxis((small - _MEAN) / _SPREAD, 2, 0)
    return np.ascontiguousarray(np.broadcast_to(planes, (3, SIDE, SIDE)), np.float32)


def picture_features(inputs: Array) -> Array:
    """Return the features (N, 1280) float32 of pictures (N, 3, 224, 224), from `network_input`.

    Raises
    ------
    WeightsError
        The extra `metrics` is not installed.
    """
    weights = _weights()
    with torch.no_grad():
        x = relu6(_step(torch.from_numpy(inputs), weights, "_conv_stem", "_bn0", 2))
        for k, stride in enumerate(_STRIDES):
            x = _block(x, weights, f"_blocks.{k}.", stride)
        x = relu6(_step(x, weights, "_conv_head", "_bn1"))
        return np.asarray(x.mean((2, 3)).numpy())


def _block(x: Tensor, weights: dict[str, Tensor], name: str, stride: int) -> Tensor:
    """Return an inverted bottleneck: wider, filtered a channel at a time, narrow again; and a short cut."""
    y = x
    if name + "_expand_conv.weight" in weights:
        y = relu6(_step(y, weights, name + "_expand_conv", name + "_bn0"))
    y = relu6(_step(y, weights, name + "_depthwise_conv", name + "_bn1", stride, y.shape[1]))
    y = _step(y, weights, name + "_project_conv", name + "_bn2")
    return x + y if x.shape == y.shape else y


def _step(
    x: Tensor, weights: dict[str, Tensor], convolution: str, norm: str, stride: int = 1, groups: int = 1
) -> Tensor:
    """Convolve and normalise."""
    kernel = weights[convolution + ".weight"]
    scale = weights[norm + ".weight"] / torch.sqrt(weights[norm + ".running_var"] + 1e-3)
    bias = weights[norm + ".bias"] - weights[norm + ".running_mean"] * scale
    radius = kernel.shape[2] // 2
    before = (
        radius - stride // 2
    )  # where pixels are left out, TensorFlow, which trained it, pads one less before
    x = pad(x, (before, radius, before, radius))
    return conv2d(x, kernel * scale[:, None, None, None], bias, stride, groups=groups)


@lru_cache(maxsize=1)
def _weights() -> dict[str, Tensor]:
    return read_published(LITE0)
