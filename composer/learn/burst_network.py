"""The recurrent network that takes a burst's frames one after another and weighs them.

After Godard, Matzen and Uyttendaele, "Deep burst denoising", ECCV 2018.
What it remembers of the frames is their weighted sum in linear light, the sums of weights and of their
squares, and some planes of its own, kept by a gate as in a recurrent unit. All weights begin alike: so before
it has learned anything it gives the mean.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pixel_shuffle, pixel_unshuffle

from composer.learn.network import Block

__all__ = ["MEMORY", "SEEN", "STATE", "Merge", "beginning", "encoded", "linear", "mean_of"]

MEMORY = 8  # planes of its own at full size, four times as many at half
STATE = 5 + MEMORY
SEEN = 10 + STATE  # first frame, this frame, noise, whether it shows anything here, state
FARTHEST = 6.0  # standard deviations beyond which differences count alike


class Merge(nn.Module):
    """Take one frame: how much it counts at each pixel, and what is remembered of it.

    Parameters
    ----------
    width : int
        Channels at half the resolution.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4 * 15, width, 3, padding=1)
        self.look = nn.Sequential(Block(width), Block(width))
        self.gates = nn.Conv2d(width + 4 * MEMORY, 8 * MEMORY, 1)
        self.weigh = nn.Conv2d(width + 4 * MEMORY, 4, 3, padding=1)
        nn.init.zeros_(self.weigh.weight)
        nn.init.constant_(self.weigh.bias, 2.0)

    def forward(self, planes: Tensor) -> Tensor:
        """Return the state (N, 13, H, W) after a frame; `planes` (N, 23, H, W), sides multiples of 2."""
        first, frame, noise, shown, state = planes.split((3, 3, 3, 1, STATE), 1)
        light, count, squares, memory = state.split((3, 1, 1, MEMORY), 1)
        mean = mean_of(state)
        gaps = [((frame - p) / noise).clamp(-FARTHEST, FARTHEST) / 2 for p in (first, mean)]
        near = [nn.functional.avg_pool2d(gap, 5, 1, 2, count_include_pad=False) for gap in gaps[:1]]
        seen = [mean - 0.5, *gaps, *near, 8 * noise.mean(1, True), shown, torch.rsqrt(count)]
        x = self.look(leaky_relu(self.stem(pixel_unshuffle(torch.cat(seen, 1), 2)), 0.1))
        before = pixel_unshuffle(memory, 2)
        keep, new = self.gates(torch.cat([x, before], 1)).chunk(2, 1)
        keep = torch.sigmoid(keep)
        now = keep * before + (1 - keep) * torch.tanh(new)
        weight = shown * torch.sigmoid(pixel_shuffle(self.weigh(torch.cat([x, now], 1)), 2))
        sums = [light + weight * linear(frame), count + weight, squares + weight * weight]
        return torch.cat([*sums, pixel_shuffle(now, 2)], 1)


def beginning(first: Tensor) -> Tensor:
    """Return the state when only the first frame (N, 3, H, W) has been seen, which counts fully."""
    one = torch.ones_like(first[:, :1])
    return torch.cat([linear(first), one, one, (0 * one).repeat(1, MEMORY, 1, 1)], 1)


def mean_of(state: Tensor) -> Tensor:
    """Return the picture that a state holds."""
    return encoded(state[:, :3] / state[:, 3:4])


def linear(values: Tensor) -> Tensor:
    """Turn sRGB-encoded values into linear light."""
    high = ((values.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(values <= 0.04045, values / 12.92, high)


def encoded(light: Tensor) -> Tensor:
    """Turn linear light into sRGB-encoded values."""
    high = 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(light <= 0.0031308, 12.92 * light, high)
