"""pix2pix as published (Isola et al., Image-to-image translation with conditional adversarial nets, 2017).

Batch normalisation uses the statistics of what it is given, in training and in use, as in the paper: so a
picture is translated whole, never in tiles. Against the paper, dropout is off in use: the same picture gives
the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, relu

from composer.learn.runtime import torch_network
from composer.learn.weights import read_weights

Array = NDArray[Any]

__all__ = ["ALIGN", "Generator", "Patches", "load_pix2pix", "translating"]

ALIGN = 256  # eight halvings: sides are multiples of it


class Generator(nn.Module):
    """Eight halvings and eight doublings with short cuts between those of one size (U-Net).

    Parameters
    ----------
    inputs : int
        Channels of what is translated.
    width : int
        Channels after the first halving; 64 in the paper.
    """

    def __init__(self, inputs: int = 3, width: int = 64) -> None:
        super().__init__()
        down = [width * k for k in (1, 2, 4, 8, 8, 8, 8, 8)]
        up = [*down[-2::-1], 3]
        joined = [down[-1], *(2 * o for o in up[:-1])]
        self.down = nn.ModuleList(
            nn.Conv2d(i, o, 4, 2, 1) for i, o in zip([inputs, *down[:-1]], down, strict=True)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(i, o, 4, 2, 1) for i, o in zip(joined, up, strict=True))
        self.norm_down = nn.ModuleList(_norm(o) for o in down[1:-1])  # the last may be a single pixel
        self.norm_up = nn.ModuleList(_norm(o) for o in up[:-1])
        self.dropout = nn.Dropout(0.5)
        self.apply(_begin)

    def forward(self, planes: Tensor) -> Tensor:
        """Return (N, 3, H, W) within -1..1; `planes` (N, inputs, H, W), sides multiples of 256."""
        x, kept = self.down[0](planes), list[Tensor]()
        for k, layer in enumerate(self.down[1:]):
            kept.append(x)
            x = layer(leaky_relu(x, 0.2))
            x = self.norm_down[k](x) if k < len(self.norm_down) else x
        for k, layer in enumerate(self.up[:-1]):
            x = self.norm_up[k](layer(relu(x)))
            x = torch.cat([self.dropout(x) if k < 3 else x, kept.pop()], 1)
        return torch.tanh(self.up[-1](relu(x)))


class Patches(nn.Module):
    """Judge patches of 70 x 70 pixels of a picture, beside what it was made from: is it real?"""

    def __init__(self, inputs: int = 3, width: int = 64) -> None:
        super().__init__()
        sizes = [
            (inputs + 3, width, 2),
            (width, 2 * width, 2),
            (2 * width, 4 * width, 2),
            (4 * width, 8 * width, 1),
        ]
        self.layers = nn.ModuleList(nn.Conv2d(i, o, 4, s, 1) for i, o, s in sizes)
        self.norms = nn.ModuleList(_norm(o) for _, o, _ in sizes[1:])
        self.last = nn.Conv2d(8 * width, 1, 4, 1, 1)
        self.apply(_begin)

    def forward(self, planes: Tensor, picture: Tensor) -> Tensor:
        """Return logits (N, 1, h, w), positive where a patch looks real."""
        x = leaky_relu(self.layers[0](torch.cat([planes, picture], 1)), 0.2)
        for layer, norm in zip(self.layers[1:], self.norms, strict=True):
            x = leaky_relu(norm(layer(x)), 0.2)
        scores: Tensor = self.last(x)
        return scores


def _norm(width: int) -> nn.Module:
    return nn.BatchNorm2d(width, track_running_stats=False)


def _begin(module: nn.Module) -> None:
    """Begin with Gaussian weights of standard deviation 0.02, as in the paper."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def load_pix2pix(path: Path) -> tuple[Callable[[Array], Array], int]:
    """Return a trained generator as `translating` does, and how many planes it takes: 3 are colours alone.

    Raises
    ------
    WeightsError
    """
    arrays, about = read_weights(path, "pix2pix")
    inputs = int(about["inputs"])
    return translating(torch_network(Generator(inputs, int(about["width"])), arrays, path)), inputs


def translating(net: Any) -> Callable[[Array], Array]:
    """Return a generator as a function from planes (C, H, W) to colours (H, W, 3), 0..1.

    Sides are made multiples of 256 by mirroring.
    """
    device = next(net.parameters()).device

    def run(planes: Array) -> Array:
        _, height, width = planes.shape
        padded = np.pad(planes, ((0, 0), (0, -height % ALIGN), (0, -width % ALIGN)), "symmetric")
        with torch.no_grad():
            found = net(torch.from_numpy(2 * padded - 1)[None].to(device))[0, :, :height, :width]
        return np.asarray(0.5 + 0.5 * np.moveaxis(found.float().cpu().numpy(), 0, 2), np.float32)

    return run
