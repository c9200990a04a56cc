"""Plant faults on clean photographs by seed, and say where they are and how strong.

Contrast is what a fault adds, divided by the local noise: the standard deviation, within 31 x 31 pixels, of
the photo less itself blurred by 2 px (grain and fine texture alike), and no less than one of 255 levels.
Of scratches and specks it is also told by the standard deviation of the photo itself within that square: by
what is around, coarse texture and all, against which a faint mark cannot be told from the scene's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Random = np.random.Generator

WINDOW = 31
BLUR = 2.0
FLOOR = 1 / 255


@dataclass(frozen=True)
class Planted:
    """One fault: `mask` (h, w) bool with its upper left pixel at (x, y), contrast, and width in pixels.

    A scratch is as wide as it was drawn, a speck as a disc of its area; other kinds have none. `standing` is
    the contrast of these two by the standard deviation of what is around.
    """

    x: int
    y: int
    mask: Array
    contrast: float
    width: float = np.inf
    standing: float = np.inf


def local_noise(luma: Array) -> Array:
    """Return the local noise of (H, W) float32."""
    detail = luma - cv2.GaussianBlur(luma, (0, 0), BLUR)
    return np.maximum(np.sqrt(np.maximum(cv2.blur(detail * detail, (WINDOW, WINDOW)), 0)), FLOOR)


def local_spread(luma: Array) -> Array:
    """Return the standard deviation of what is around each pixel of (H, W) float32."""
    mean, square = (cv2.blur(p, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT) for p in (luma, luma * luma))
    return np.maximum(np.sqrt(np.maximum(square - mean * mean, 0)), FLOOR)


def luma_of(pixels: Array) -> Array:
    """Return (H, W) brightness of (H, W, 3)."""
    return pixels @ np.array([0.299, 0.587, 0.114], np.float32)


def _cut(whole: Array, contrast: float, width: float = np.inf) -> Planted:
    ys, xs = np.nonzero(whole)
    x, y = xs.min(), ys.min()
    return Planted(int(x), int(y), whole[y : ys.max() + 1, x : xs.max() + 1], float(contrast), float(width))


def _strength(random: Random) -> float:
    return float(2 * 16 ** random.random())  # 2 to 32, evenly in logarithms


def _sign(random: Random, level: float, step: float) -> float:
    """Return a sign, turned where the step would leave 0..1 one way but not the other."""
    sign = random.choice([-1.0, 1.0])
    return -sign if not 0 <= level + sign * step <= 1 and 0 <= level - sign * step <= 1 else sign


def holes(pixels: Array, random: Random) -> tuple[Array, list[Planted]]:
    """Cut out one to three polygons, half of them at the border."""
    out, found = pixels.copy(), []
    height, width = pixels.shape[:2]
    noise = local_noise(luma_of(pixels))
    for _ in range(random.integers(1, 4)):
        radius = float(np.exp(random.uniform(np.log(6), np.log(120))))
        x, y = random.uniform(0, width), random.uniform(0, height)
        if random.random() < 0.5:
            x, y = ((x, random.choice([0, height])), (random.choice([0, width]), y))[random.integers(2)]
        turn = np.sort(random.uniform(0, 2 * np.pi, random.integers(5, 14)))
        reach = radius * random.uniform(0.5, 1, len(turn))
        corners = np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], 1)
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
        if mask.sum() < 30 or any((m.contrast == 0) for m in found):
            continue
        ring = (cv2.dilate(mask, np.ones((9, 9), np.uint8)) > 0) & (mask == 0)
        if not ring.any() or (out[mask > 0] == 0).all(1).any():
            continue
        out[mask > 0] = 0
        found.append(_cut(mask > 0, float(np.median(luma_of(pixels)[ring] / noise[ring]))))
    return out, found


def bad_pixels(pixels: Array, random: Random) -> tuple[Array, list[Planted]]:
    """Change 5 to 40 single pixels, in all channels or in one."""
    out, found = pixels.copy(), []
    height, width = pixels.shape[:2]
    noise = np.max([local_noise(np.ascontiguousarray(pixels[:, :, c])) for c in range(3)], 0)
    for _ in range(random.integers(5, 41)):
        x, y = int(random.integers(width)), int(random.integers(height))
        step = _strength(random) * noise[y, x]
        channels = slice(0, 3) if random.random() < 0.5 else slice(k := int(random.integers(3)), k + 1)
        step *= _sign(random, float(pixels[y, x, channels].mean()), step)
        out[y, x, channels] = np.clip(pixels[y, x, channels] + step, 0, 1)
        reached = np.abs(out[y, x] - pixels[y, x]).max() / noise[y, x]
        found.append(Planted(x, y, np.ones((1, 1), bool), float(reached)))
    return out, found


def lines(pixels: Array, random: Random) -> tuple[Array, list[Planted]]:
    """Shift one to three rows or columns, whole or from a place to an edge, or set them to one value."""
    out, found = pixels.copy(), []
    noise = local_noise(luma_of(pixels))
    for _ in range(random.integers(1, 4)):
        flip = random.random() < 0.3
        view, level, around = (out, pixels, noise)
        if flip:
            view, level, around = view.swapaxes(0, 1), level.swapaxes(0, 1), around.T
        length, k = view.shape[0], int(random.integers(1, view.shape[1] - 1))
        start = 0 if random.random() < 0.5 else int(random.integers(0, 2 * length // 3))
        rows = slice(start, length) if random.random() < 0.5 else slice(0, length - start)
        if random.random() < 0.3:
            view[rows, k] = random.choice([0.0, 1.0, random.random()])
        else:
            step = _strength(random) * np.median(around[rows, k])
            step *= _sign(random, float(level[rows, k].mean()), step)
            view[rows, k] = np.clip(level[rows, k] + step, 0, 1)
        change = np.abs(view[rows, k] - level[rows, k]).mean(1) / around[rows, k]
        mask = np.zeros(view.shape[:2], bool)
        mask[rows, k] = True
        found.append(_cut(mask.T if flip else mask, float(np.median(change))))
    return out, found


def impulses(pixels: Array, random: Random) -> tuple[Array, list[Planted]]:
    """Set 0.2 to 10 % of the pixels to black or white, grey or in each channel by itself."""
    density = 0.002 * 50 ** random.random()
    noise = local_noise(luma_of(pixels))
    drawn = random.random(pixels.shape if random.random() < 0.3 else (*pixels.shape[:2], 1))
    out = np.where(drawn < density / 2, 0, np.where(drawn > 1 - density / 2, 1, pixels)).astype(np.float32)
    change = np.abs(out - pixels).max(2) / noise
    ys, xs = np.nonzero(change > 0)
    one = np.ones((1, 1), bool)
    return out, [Planted(int(x), int(y), one, float(change[y, x])) for y, x in zip(ys, xs, strict=True)]


def _stroke(shape: tuple[int, int], points: Array, width: float) -> Array:
    """Draw a polyline with soft edges, as coverage 0..1."""
    drawn = np.zeros(shape, np.uint8)
    at = np.round((points + 0.5) * 8 - 4).astype(np.int32)[None]
    if width < 1.5:
        cv2.polylines(drawn, at, False, 255, 1, cv2.LINE_AA, 3)
        return (drawn / np.float32(255)).astype(np.float32)
    x0, y0 = np.floor(points.min(0) - width - 2).astype(int)
    x1, y1 = np.ceil(points.max(0) + width + 3).astype(int)
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, shape[1]), min(y1, shape[0])
    fine = np.zeros(((y1 - y0) * 4, (x1 - x0) * 4), np.uint8)
    cv2.polylines(
        fine, np.round((points - [x0, y0] + 0.5) * 4).astype(np.int32)[None], False, 255, round(width * 4)
    )
    out = np.zeros(shape, np.float32)
    out[y0:y1, x0:x1] = cv2.resize(fine, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA) / np.float32(255)
    return out


def _walk(random: Random, shape: tuple[int, int], length: float) -> Array:
    """Return the points of a gently bent line inside a picture."""
    height, width = shape
    steps = max(int(length / 6), 3)
    for _ in range(50):
        heading = random.uniform(0, 2 * np.pi) + np.cumsum(
            random.normal(0, random.uniform(0.005, 0.06), steps)
        )
        path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1) * length / steps, 0)
        path += random.uniform([3, 3], [width - 3, height - 3])
        if (path > 3).all() and (path < [width - 4, height - 4]).all():
            return path
    return path


def scratches(pixels: Array, random: Random) -> tuple[Array, list[Planted]]:
    """Draw one to eight long thin lines, 40 to 400 px long and 1 to 3 wide, mostly of one sign."""
    out, found = pixels.copy(), []
    luma, shape = luma_of(pixels), pixels.shape[:2]
    noise, spread = local_noise(luma), local_spread(luma)
    main = random.choice([-1.0, 1.0], p=[0.3, 0.7])
    for _ in range(random.integers(1, 9)):
        path = _walk(random, shape, float(np.exp(random.uniform(np.log(40), np.log(400)))))
        width = random.uniform(1, 3)
        cover = _stroke(shape, path, width)
        core = cover > 0.4
        if core.sum() < 20:
            continue
        sign = main if random.random() < 0.8 else -main
        step = sign * _strength(random) * float(np.median(noise[core]))
        wave = cv2.resize(random.uniform(0.7, 1.3, (9, 12)).astype(np.float32), shape[::-1])
        new = np.clip(out + (step * cover * wave)[:, :, None], 0, 1)
        reached = np.abs(luma_of(new) - luma_of(out))[core]
        out = new
        whole = _cut(core, float(np.median(reached / noise[core])), width)
        found.append(replace(whole, standing=float(np.median(reached / spread[core]))))
    return out, found


def dust(pixels: Array, random: Random) -> tuple[Array, list[Planted]]:
    """Drop 5 to 60 specks, 2 to 10 px across, mostly of one sign."""
    out, found = pixels.copy(), []
    luma, (height, width) = luma_of(pixels), pixels.shape[:2]
    noise, spread = local_noise(luma), local_spread(luma)
    main = random.choice([-1.0, 1.0], p=[0.3, 0.7])
    for _ in range(random.integers(5, 61)):
        size = float(np.exp(random.uniform(np.log(2), np.log(10))))
        x, y = random.uniform(8, width - 9), random.uniform(8, height - 9)
        turn = np.linspace(0, 2 * np.pi, 9)[:-1] + random.uniform(0, 1)
        reach = (
            size
            / 2
            * random.uniform(0.75, 1.25, 8)
            * np.where(np.arange(8) % 4 < 2, 1, random.uniform(0.6, 1))
        )
        ix, iy = int(x) - 8, int(y) - 8
        corners = np.stack([x - ix + 0.5 + reach * np.cos(turn), y - iy + 0.5 + reach * np.sin(turn)], 1)
        fine = np.zeros((17 * 8, 17 * 8), np.uint8)
        cv2.fillPoly(fine, [np.round(corners * 8).astype(np.int32)], 255)
        cover = cv2.resize(fine, (17, 17), interpolation=cv2.INTER_AREA) / np.float32(255)
        core = cover > 0.4
        if not core.any():
            continue
        at = slice(iy, iy + 17), slice(ix, ix + 17)
        sign = main if random.random() < 0.9 else -main
        step = sign * _strength(random) * float(noise[at][8, 8])
        new = np.clip(out[at] + (step * cover)[:, :, None], 0, 1)
        reached = np.abs(luma_of(new) - luma_of(out[at]))[core]
        out[at] = new
        across = 2 * float(np.sqrt(cover.sum() / np.pi))
        whole = _cut(core, float(np.median(reached / noise[at][core])), across)
        standing = float(np.median(reached / spread[at][core]))
        found.append(replace(whole, x=whole.x + ix, y=whole.y + iy, standing=standing))
    return out, found


def blocking(pixels: Array, random: Random) -> tuple[Array, list[Planted]]:
    """Compress the photo as JPEG of quality 10 to 40 and cut it off its grid."""
    coded = cv2.imencode(
        ".jpg",
        np.round(pixels * 255).astype(np.uint8),
        [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(10, 41))],
    )[1]
    out = cv2.imdecode(coded, cv2.IMREAD_COLOR).astype(np.float32) / 255
    y, x = random.integers(0, 8, 2)
    out = np.ascontiguousarray(out[y:, x:])
    return out, [Planted(0, 0, np.ones(out.shape[:2], bool), 4.0)]


def seams(pixels: Array, random: Random) -> tuple[Array, list[Planted]]:
    """Brighten one side of a line or a wavy curve through the photo, all of it or fading over 150 px."""
    turned = random.random() < 0.4
    image = pixels.swapaxes(0, 1) if turned else pixels
    height, width = image.shape[:2]
    luma, rows = luma_of(image), np.arange(height)
    bend = random.uniform(0, 40) * random.integers(0, 2)
    path = random.uniform(0.1, 0.9) * width + random.uniform(-0.2, 0.2) * (rows - height / 2)
    path = path + bend * np.sin(rows / random.uniform(40, 150) + random.uniform(0, 6))
    side = np.arange(width)[None] - path[:, None]
    near = np.abs(side) <= 2.5
    step = min(
        _strength(random) * float(np.median(local_noise(luma)[near])) / max(float(luma[near].mean()), 0.05),
        0.6,
    )
    fade = np.exp(-np.abs(side) / 150) if random.random() < 0.5 else np.ones_like(side)
    gain = np.where(side > 0, 1 + random.choice([-1, 1]) * step * fade, 1).astype(np.float32)
    out = np.clip(image * gain[:, :, None], 0, 1)
    there = near & (side > 0)
    contrast = (
        float(np.median((np.abs(luma_of(out) - luma) / local_noise(luma))[there])) if there.any() else 0.0
    )
    truth = _cut(near.T if turned else near, contrast)
    return np.ascontiguousarray(out.swapaxes(0, 1) if turned else out), [truth]


def ghosts(pixels: Array, random: Random) -> tuple[Array, list[Planted]]:
    """Lay a shifted copy over one part of the photo, half and half; contrast is the change's (RMS)."""
    height, width = pixels.shape[:2]
    size = random.uniform(130, 350, 2)
    x, y = random.uniform(size / 2, np.array([width, height]) - size / 2)
    mask = np.zeros((height, width), np.uint8)
    box = (float(x), float(y)), (float(size[0]), float(size[1])), 0.0
    cv2.ellipse(mask, box, 1, -1)
    turn, far = random.uniform(0, 2 * np.pi), random.uniform(4, 16)
    move = np.float32([[1, 0, far * np.cos(turn)], [0, 1, far * np.sin(turn)]])
    copy = cv2.warpAffine(
        pixels, move, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3)[:, :, None] * np.float32(
        random.uniform(0.4, 0.5)
    )
    out = np.clip(pixels + soft * (copy - pixels), 0, 1).astype(np.float32)
    change = luma_of(out - pixels)[mask > 0]
    floor = float(np.median(local_noise(luma_of(pixels))))
    return out, [_cut(mask > 0, float(np.sqrt((change**2).mean())) / floor * 4)]


def fringes(pixels: Array, random: Random) -> tuple[Array, list[Planted]]:
    """Draw red and blue at other scales than green; contrast is 8 for each pixel apart in the corners."""
    height, width = pixels.shape[:2]
    apart = random.uniform(0.25, 3) * random.choice([-1, 1]), random.uniform(-3, 3)
    out = pixels.copy()
    for channel, px in zip((0, 2), apart, strict=True):
        scale = 1 + px / (np.hypot(height, width) / 2)
        middle = (width - 1) / 2, (height - 1) / 2
        move = np.array(
            [[scale, 0, (1 - scale) * middle[0]], [0, scale, (1 - scale) * middle[1]]], np.float32
        )
        out[:, :, channel] = cv2.warpAffine(
            pixels[:, :, channel], move, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
    most = float(max(abs(a) for a in apart))
    return np.clip(out, 0, 1), [Planted(0, 0, np.ones((height, width), bool), 8 * most)]


PLANTS: dict[str, Callable[[Array, Random], tuple[Array, list[Planted]]]] = {
    "hole": holes,
    "pixel": bad_pixels,
    "line": lines,
    "impulse": impulses,
    "scratch": scratches,
    "dust": dust,
    "blocking": blocking,
    "seam": seams,
    "ghost": ghosts,
    "fringe": fringes,
}


def plant(pixels: Array, kind: str, seed: int) -> tuple[Array, list[Planted]]:
    """Plant one kind of fault on (H, W, 3) float32 0..1; the result holds whole levels of 255."""
    out, found = PLANTS[kind](pixels, np.random.default_rng(seed))
    return np.round(out * 255).astype(np.float32) / 255, found
