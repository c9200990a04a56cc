"""The refiner's networks: a residual U-Net that works in tiles, and the discriminator that trains it.

No layer looks at statistics of the whole picture (no batch or instance normalisation, no global pooling), so
that tiles with enough around them equal the whole. Upwards by 1 x 1 convolution and pixel shuffle: transposed
convolutions leave a checkerboard.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, pixel_shuffle, pixel_unshuffle

__all__ = ["ALIGN", "INPUTS", "Discriminator", "Refiner"]

INPUTS = 11
ALIGN = 16  # tiles start on multiples of it: the grid of the coarse correction


class Block(nn.Module):
    """Two convolutions beside a short cut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return x with what the convolutions add."""
        return x + self.second(leaky_relu(self.first(x), 0.1))


class Refiner(nn.Module):
    """Correct a composite by three things: a share of the other view, exposure on a coarse grid, a residual.

    A gate says at every pixel how sure it is that something is wrong.

    Parameters
    ----------
    width : int
        Channels at a quarter of the resolution; twice as many at an eighth.
    """

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.width = width
        self.stem = nn.Conv2d(16 * INPUTS, width, 3, padding=1)
        self.before = nn.Sequential(Block(width), Block(width))
        self.down = nn.Conv2d(4 * width, 2 * width, 1)
        self.deep = nn.Sequential(Block(2 * width), Block(2 * width))
        self.coarse = nn.Conv2d(2 * width, 6, 1)
        self.up = nn.Conv2d(2 * width, 4 * width, 1)
        self.after = nn.Sequential(Block(width), Block(width))
        self.head = nn.Conv2d(width, 16 * 5, 3, padding=1)
        for last in (self.coarse, self.head):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        nn.init.constant_(self.head.bias[64:], -3.0)  # nothing of the other view to begin with

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Return what to add to the composite (N, 3, H, W), and the gate's logit (N, 1, H, W).

        `planes` is (N, 11, H, W) as `simulator.planes_of` makes them, sides multiples of 16.
        """
        x = self.before(leaky_relu(self.stem(pixel_unshuffle(planes, 4)), 0.1))
        deep = self.deep(leaky_relu(self.down(pixel_unshuffle(x, 2)), 0.1))
        exposure = nn.functional.avg_pool2d(self.coarse(deep), 2)
        exposure = interpolate(exposure, scale_factor=16.0, mode="bilinear", align_corners=False)
        x = self.after(x + pixel_shuffle(self.up(deep), 2))
        fine = pixel_shuffle(self.head(x), 4)
        rgb, other = planes[:, :3], planes[:, 6:9]
        share = torch.sigmoid(fine[:, 4:]) * planes[:, 9:10]
        slow = rgb * (torch.exp(0.3 * torch.tanh(exposure[:, :3])) - 1) + 0.1 * torch.tanh(exposure[:, 3:])
        return share * (other - rgb) + slow + 0.5 * torch.tanh(fine[:, :3]), fine[:, 3:4]


class Discriminator(nn.Module):
    """Judge patches of 70 x 70 pixels (Isola et al., CVPR 2017), given the mask and the seam's distance.

    Spectral normalisation keeps it in bounds; scores (N, 1, h, w) are for the hinge loss.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        sizes = [(5, width, 2), (width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 4 * width, 1)]
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.spectral_norm(nn.Conv2d(i, o, 4, s, 1)) for i, o, s in sizes
        )
        self.last = nn.utils.parametrizations.spectral_norm(nn.Conv2d(4 * width, 1, 4, 1, 1))

    def forward(self, picture: Tensor, planes: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return scores and the features of each layer, for matching."""
        x, features = torch.cat([picture, planes[:, 3:5]], 1), []
        for layer in self.layers:
            x = leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.last(x), features
