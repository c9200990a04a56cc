"""The refiner's networks: a residual U-Net that works in tiles, and the discriminator that trains it.

No layer looks at statistics of the whole picture (no batch or instance normalisation, no global pooling), so
that tiles with enough around them equal the whole. Upwards by 1 x 1 convolution and pixel shuffle: transposed
convolutions leave a checkerboard.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, pixel_shuffle, pixel_unshuffle

from composer.learn.meeting import blurred, meeting

__all__ = ["INPUTS", "Discriminator", "Refiner"]

INPUTS = 11
ENLARGED = 16.0  # differences between pictures are small beside the pictures
MET = 10  # what is seen of the views where they meet


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
    """Correct a composite by the way between its views, more or less of the other, exposure, and a rest.

    The views are first made to meet (`meeting`), by rule; the network says where that, or anything else, is
    better than what is there. A second, smaller network looks at what the first proposes, and says at every
    pixel how sure it is that something is gained.

    Parameters
    ----------
    width : int
        Channels at a quarter of the resolution; twice as many at an eighth.
    """

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.width = width
        self.stem = nn.Conv2d(16 * (INPUTS + MET), width, 3, padding=1)
        self.before = nn.Sequential(Block(width), Block(width))
        self.down = nn.Conv2d(4 * width, 2 * width, 1)
        self.deep = nn.Sequential(Block(2 * width), Block(2 * width))
        self.coarse = nn.Conv2d(2 * width, 6, 1)
        self.up = nn.Conv2d(2 * width, 4 * width, 1)
        self.after = nn.Sequential(Block(width), Block(width))
        self.head = nn.Conv2d(width, 16 * 6, 3, padding=1)
        self.look = nn.Conv2d(16 * (INPUTS + MET + 3), width, 3, padding=1)
        self.weigh = nn.Sequential(Block(width), Block(width))
        self.gate = nn.Conv2d(width, 1, 3, padding=1)
        for last in (self.coarse, self.head, self.gate):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Return what to add to the composite (N, 3, H, W), and the gate's logit (N, 1, H, W).

        `planes` is (N, 11, H, W) as `simulator.planes_of` makes them, sides multiples of 16.
        """
        rgb, other, both = planes[:, :3], planes[:, 6:9], planes[:, 9:10]
        first, second, light = meeting(rgb, other, planes[:, 4:5], both)
        gap = (first - second).abs().mean(1, keepdim=True)
        met = torch.cat([first - rgb, second - rgb, light, blurred(gap)], 1) * both
        seen = pixel_unshuffle(torch.cat([planes, ENLARGED * met], 1), 4)
        change = self.proposed(planes, met, seen)
        x = torch.cat([seen, pixel_unshuffle(ENLARGED * change.detach(), 4)], 1)
        x = self.weigh(leaky_relu(self.look(x), 0.1))
        return change, interpolate(self.gate(x), scale_factor=4.0, mode="bilinear", align_corners=False)

    def proposed(self, planes: Tensor, met: Tensor, seen: Tensor) -> Tensor:
        """Return what to add to the composite (N, 3, H, W); `seen` is all of it at a quarter of the size."""
        rgb, seam, other, both = planes[:, :3], planes[:, 4:5], planes[:, 6:9], planes[:, 9:10]
        x = self.before(leaky_relu(self.stem(seen), 0.1))
        deep = self.deep(leaky_relu(self.down(pixel_unshuffle(x, 2)), 0.1))
        exposure = nn.functional.avg_pool2d(self.coarse(deep), 2)
        exposure = interpolate(exposure, scale_factor=16.0, mode="bilinear", align_corners=False)
        x = self.after(x + pixel_shuffle(self.up(deep), 2))
        rest, share, side, more = pixel_shuffle(self.head(x), 4).split((3, 1, 1, 1), 1)
        side = torch.sigmoid(side + 6 * seam)
        between = met[:, :3] * (1 - side) + met[:, 3:6] * side
        slow = rgb * (torch.exp(0.3 * torch.tanh(exposure[:, :3])) - 1) + 0.1 * torch.tanh(exposure[:, 3:])
        return (
            torch.sigmoid(share - 1) * between + torch.tanh(more) * both * (other - rgb)
            + slow + 0.5 * torch.tanh(rest)
        )  # fmt: skip


class Discriminator(nn.Module):
    """Judge patches of 70 x 70 pixels (Isola et al., CVPR 2017): whether a change is the right one.

    It sees the composite, the mask, the seam, and the change made, enlarged: spectral normalisation bounds
    what a difference of some grey levels can do, and from the pictures themselves it could not tell. Scores
    (N, 1, h, w) are for the hinge loss.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        sizes = [(8, width, 2), (width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 4 * width, 1)]
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.spectral_norm(nn.Conv2d(i, o, 4, s, 1)) for i, o, s in sizes
        )
        self.last = nn.utils.parametrizations.spectral_norm(nn.Conv2d(4 * width, 1, 4, 1, 1))

    def forward(self, picture: Tensor, planes: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return scores and the features of each layer, for matching."""
        x, features = torch.cat([planes[:, :5], ENLARGED * (picture - planes[:, :3])], 1), []
        for layer in self.layers:
            x = leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.last(x), features
