"""The detector's network: where a composite has seams, ghosts, fills or misplaced edges.

Like the refiner it looks no further than 80 pixels and has no normalisation, so that tiles equal the whole.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu, pixel_shuffle, pixel_unshuffle

from composer.learn.network import Block

__all__ = ["Detector"]

PLANES = 8  # composite, its validity, the other view, its validity
SHARPENED = 17  # planes that the network makes of them first
LOUD = 6.0  # faults are a few hundredths: how much what may show them is amplified


class Detector(nn.Module):
    """Say for every pixel whether something is wrong, from the composite and another view where there is one.

    Parameters
    ----------
    width : int
        Channels at half the resolution; twice as many at a quarter, three and a third times at an eighth.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        middle, deep = 2 * width, 10 * width // 3
        self.stem = nn.Conv2d(4 * SHARPENED, width, 3, padding=1)
        self.fine = Block(width)
        self.down = nn.Conv2d(4 * width, middle, 1)
        self.before = nn.Sequential(Block(middle), Block(middle))
        self.further = nn.Conv2d(4 * middle, deep, 1)
        self.deep = nn.Sequential(Block(deep), Block(deep))
        self.up = nn.Conv2d(deep, 4 * middle, 1)
        self.after = Block(middle)
        self.head = nn.Conv2d(middle, 1, 3, padding=1)
        nn.init.constant_(self.head.bias, -2.0)  # most of a picture is good

    def forward(self, planes: Tensor) -> Tensor:
        """Return logits (N, 1, H, W), made at a quarter of the size; sides are to be multiples of 8."""
        x = self.fine(leaky_relu(self.stem(pixel_unshuffle(_sharpened(planes), 2)), 0.1))
        x = self.before(leaky_relu(self.down(pixel_unshuffle(x, 2)), 0.1))
        deep = self.deep(leaky_relu(self.further(pixel_unshuffle(x, 2)), 0.1))
        x = self.after(x + pixel_shuffle(self.up(deep), 2))
        logits: Tensor = interpolate(self.head(x), scale_factor=4.0, mode="bilinear", align_corners=False)
        return logits


def _sharpened(planes: Tensor) -> Tensor:
    """Return the composite, what stands out in it, and what differs from the other view, loud enough."""
    here, seen = planes[:, 3:4], planes[:, 7:8]
    composite = planes[:, :3] * here
    gap = LOUD * (planes[:, 4:7] - composite) * seen * here
    fine, edges = (p - avg_pool2d(p, 5, 1, 2) for p in (LOUD * composite, gap))
    return torch.cat([composite - 0.5, fine, gap, edges, gap.abs(), here, seen], 1)


def dice(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return one minus twice what is found and wanted over what is found plus what is wanted."""
    found = torch.sigmoid(logits)
    both = (found * wanted).sum()
    return 1 - (2 * both + 1) / (found.sum() + wanted.sum() + 1)
