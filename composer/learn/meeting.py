"""Two views of one scene brought to meet: how far they lie apart, how their light differs, the way between.

All of it is differentiable, and local: what a pixel becomes depends on REACH pixels around it, so that tiles
equal the whole.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, pad

__all__ = ["blurred", "brightness", "displacement", "meeting", "warped"]

RADIUS = 2  # quarter-size pixels that the search goes in each direction
NEAR = 2e-4  # what a pixel of displacement costs
CLOSER = 2e-3  # by how much a displacement of two pixels more must fit better
SHARP = 600.0  # how much the best match counts more than the next
STEADY = 1e-5  # pulls towards no displacement where nothing can be seen
DARK = 0.02  # light is compared as ratios above this


def blurred(x: Tensor, size: int = 9) -> Tensor:
    """Return the mean of size x size pixels (an odd size), of those that are there at the borders."""
    beside = size // 2
    total = _summed(_summed(pad(x, (beside,) * 4), size, 3), size, 2)
    height, width = (_counted(x.shape[axis], size, x) for axis in (2, 3))
    return total / height[:, None] / width


def _summed(x: Tensor, size: int, axis: int) -> Tensor:
    """Return sums of `size` neighbours, by sums of half as many: pooling takes ten times as long."""
    if size == 1:
        return x
    half, count = _summed(x, size // 2, axis), x.shape[axis] - size + 1
    total = half.narrow(axis, 0, count) + half.narrow(axis, size // 2, count)
    return total + x.narrow(axis, size - 1, count) if size % 2 else total


def _counted(length: int, size: int, like: Tensor) -> Tensor:
    """Return how many of each pixel's `size` neighbours along an axis are there."""
    place = torch.arange(length, device=like.device, dtype=like.dtype)
    return torch.clamp(place, max=size // 2) + torch.clamp(length - 1 - place, max=size // 2) + 1


def _detail(picture: Tensor) -> Tensor:
    """Return the grey picture (N, 1, h, w) without its local mean: exposure matters little then."""
    grey = torch.log(picture.mean(1, keepdim=True).clamp(min=0) + 0.1)
    return grey - blurred(grey, 9)


def warped(picture: Tensor, shift: Tensor) -> Tensor:
    """Return a picture (N, C, H, W) read at each pixel's place plus `shift` (N, 2, H, W), x and y."""
    height, width = picture.shape[2:]
    y = torch.arange(height, device=picture.device, dtype=picture.dtype)[None, :, None]
    x = torch.arange(width, device=picture.device, dtype=picture.dtype)[None, None, :]
    where = torch.stack(
        [(x + shift[:, 0]) * (2 / (width - 1)) - 1, (y + shift[:, 1]) * (2 / (height - 1)) - 1], 3
    )
    return grid_sample(picture, where, mode="bicubic", padding_mode="border", align_corners=True)


def displacement(first: Tensor, second: Tensor, both: Tensor) -> Tensor:
    """Return where `first` shows what `second` shows: second(p) is about first(p + d).

    A search at a quarter of the size, each displacement weighed by how well it fits, then steps of Lucas and
    Kanade (1981) at half and whole size; where nothing can be seen it is that of the surroundings. The next
    place of what repeats itself may be one where the search looks, and its own lie between two of them: so at
    half the size steps from no displacement at all are taken beside, and their end where it fits better.

    Parameters
    ----------
    first, second : (N, 3, H, W)
    both : (N, 1, H, W)
        1 where both are valid.

    Returns
    -------
    (N, 2, H, W) pixels, x and y.
    """
    a, b = (_detail(avg_pool2d(p, 4)) for p in (first, second))
    found = _twice(_searched(a, b, avg_pool2d(both, 4)))
    a, b = (_detail(avg_pool2d(p, 2)) for p in (first, second))
    seen = avg_pool2d(both, 2)
    a, b, seen = (torch.cat([p, p]) for p in (a, b, seen))
    ways = _followed(a, b, seen, torch.cat([found, 0 * found]), 3)
    (far, near), (misfit, nearby) = ways.chunk(2), _misfit(a, b, seen, ways).chunk(2)
    found = far + torch.sigmoid(SHARP * (misfit - nearby)) * (near - far)
    return _followed(_detail(first), _detail(second), both, _twice(found), 2)


def _twice(shift: Tensor) -> Tensor:
    """Return displacements for twice the size."""
    return 2 * interpolate(shift, scale_factor=2.0, mode="bilinear", align_corners=False)


def _followed(a: Tensor, b: Tensor, seen: Tensor, start: Tensor, steps: int) -> Tensor:
    """Return displacements after some steps from a start."""
    for _ in range(steps):
        start = blurred(start + _step(warped(a, start), b, seen), 5)
    return start


def _misfit(a: Tensor, b: Tensor, seen: Tensor, shift: Tensor) -> Tensor:
    """Return how badly a displaced a fits b around each pixel, (N, 1, h, w); near is better than far."""
    wrong = blurred((warped(a, shift) - b).abs().clamp(max=0.2) * seen)
    return wrong + CLOSER * shift.square().sum(1, keepdim=True).add(1e-6).sqrt()


def _searched(a: Tensor, b: Tensor, seen: Tensor) -> Tensor:
    """Return the mean of all displacements within RADIUS, weighed by how well each fits."""
    height, width = a.shape[2:]
    wide = pad(a, (RADIUS,) * 4, mode="replicate")
    steps = [(dx, dy) for dy in range(-RADIUS, RADIUS + 1) for dx in range(-RADIUS, RADIUS + 1)]
    moved = [wide[..., RADIUS + y : RADIUS + y + height, RADIUS + x : RADIUS + x + width] for x, y in steps]
    table = torch.tensor(steps, dtype=a.dtype, device=a.device)
    costs = blurred((torch.cat(moved, 1) - b).abs().clamp(max=0.2) * seen)
    costs = costs + NEAR * table.norm(dim=1)[None, :, None, None]
    chance = torch.softmax(-SHARP * costs, 1)
    found = torch.cat([(chance * table[None, :, k, None, None]).sum(1, keepdim=True) for k in range(2)], 1)
    certain = (costs.mean(1, keepdim=True) - costs.amin(1, keepdim=True)) * seen + 1e-5
    return blurred(found * certain, 7) / blurred(certain, 7)


def _step(a: Tensor, b: Tensor, seen: Tensor) -> Tensor:
    """Return the small displacement that brings a closer to b, by least squares in windows."""
    mean = (a + b) / 2
    gx = pad((mean[..., 2:] - mean[..., :-2]) / 2, (1, 1))
    gy = pad((mean[..., 2:, :] - mean[..., :-2, :]) / 2, (0, 0, 1, 1))
    gap = (b - a).clamp(-0.1, 0.1)
    parts = torch.cat([gx * gx, gy * gy, gx * gy, gx * gap, gy * gap], 1)
    xx, yy, xy, xg, yg = blurred(parts * seen).split(1, 1)
    xx, yy = xx + STEADY, yy + STEADY
    det = xx * yy - xy * xy
    return torch.cat([yy * xg - xy * yg, xx * yg - xy * xg], 1).div(det).clamp(-1, 1)


def brightness(first: Tensor, second: Tensor, both: Tensor) -> Tensor:
    """Return the logarithm of second's light over first's, (N, 3, H, W), smooth over some 24 pixels."""
    gap = (torch.log(second.clamp(min=0) + DARK) - torch.log(first.clamp(min=0) + DARK)).clamp(-0.5, 0.5)
    plain = (first.amax(1, keepdim=True) < 0.99) & (second.amax(1, keepdim=True) < 0.99)
    trust = both * plain * (second.clamp(min=0).mean(1, keepdim=True) + 0.05)
    sums, weights = (avg_pool2d(x, 8) for x in (gap * trust, trust))
    for _ in range(2):
        sums, weights = blurred(sums, 3), blurred(weights, 3)
    return interpolate(sums / (weights + 1e-3), scale_factor=8.0, mode="bilinear", align_corners=False)


def meeting(rgb: Tensor, other: Tensor, seam: Tensor, both: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take two views each as far as the seam asks towards the other, in place and light.

    Parameters
    ----------
    rgb, other : (N, 3, H, W)
        The composite, and the view that each of its pixels does not come from.
    seam : (N, 1, H, W)
        -1 where the composite is to stay the first view, 1 the second, 0 on the seam.
    both : (N, 1, H, W)
        1 where both views are valid.

    Returns
    -------
    first, second : (N, 3, H, W)
        The first view and the second; alike where they show the same.
    light : (N, 3, H, W)
        The logarithm of the second's light over the first's.
    """
    first, second = torch.where(seam < 0, rgb, other), torch.where(seam < 0, other, rgb)
    way = 0.5 + 0.5 * seam
    way = way * way * (3 - 2 * way)
    apart = displacement(first, second, both)
    light = brightness(warped(first, apart), second, both)
    first = (warped(first, way * apart) + DARK) * torch.exp(way * light) - DARK
    second = (warped(second, (way - 1) * apart) + DARK) * torch.exp((way - 1) * light) - DARK
    return first, second, light
