"""Pictures to learn from: photographs with scratches, cracks, hairs and specks drawn over them, by seed.

Other than planting.py, which the finders are scored on, this varies what is drawn as widely as damage does:
soft and sharp, added and painted, neutral and tinted, on photographs in colour and in grey, reduced, blurred,
faded, noisy and compressed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from planting import local_noise, luma_of

Array = NDArray[Any]
Random = np.random.Generator

FINE = 4  # times as fine, that shapes are drawn
CLEAN = 0.28  # of the pictures
FAINT = 3.0  # contrast below which a thing counts as neither there nor not
RIM = 0.3  # the weight of pixels beside a thing
GREY = 0.25  # of the pictures
NEUTRAL = 0.75  # of what is laid over
SCANNED = 0.3  # of the pictures: blurred and noisy after the damage
SMALL = 40.0  # pixels below which those of a thing weigh more
ROUGH = 0.2  # of what is laid over: it comes and goes, as cracks of old prints do
HEAVY = 0.1  # of the pictures with scratches: many of them


@dataclass
class Scene:
    """A picture (H, W, 3), RGB; its truth (2, H, W) bool, scratches and specks; and weights (2, H, W)."""

    pixels: Array
    truth: Array
    weight: Array


def sample(photo: Array, seed: int, size: int = 160, near: tuple[int, int] | None = None) -> Scene:
    """Draw one picture from a photo (H, W, 3) uint8, with its pixel `near` (row, column) in it if given."""
    random = np.random.default_rng(seed)
    pixels = _varied(random, _cut(random, photo, size, near))
    scene = Scene(pixels, np.zeros((2, size, size), bool), np.ones((2, size, size), np.float32))
    if random.random() > CLEAN:
        _damage(random, scene)
    if random.random() < SCANNED:
        scene.pixels = _scanned(random, scene.pixels)
    levels = np.round(scene.pixels * 255).astype(np.uint8)
    if random.random() < 0.35:
        quality = int(random.integers(50, 98))
        coded = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        levels = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    scene.pixels = levels.astype(np.float32) / 255
    return scene


def _cut(random: Random, photo: Array, size: int, near: tuple[int, int] | None) -> Array:
    """Cut out a square, reduced by chance, in colour, with colours exchanged, or as a mix of them."""
    scale = float(np.exp(random.uniform(np.log(0.45), np.log(1.15)))) if random.random() < 0.6 else 1.0
    need = int(np.ceil(size / scale)) + 2
    if min(photo.shape[:2]) < need:
        scale, need = 1.0, size
    y, x = (int(random.integers(0, n - need + 1)) for n in photo.shape[:2])
    if near is not None:
        y, x = (
            int(np.clip(at - random.integers(need), 0, n - need))
            for at, n in zip(near, photo.shape[:2], strict=True)
        )
    pixels = photo[y : y + need, x : x + need].astype(np.float32) / 255
    if scale != 1:
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=way)
    pixels = np.rot90(np.clip(pixels[:size, :size], 0, 1), int(random.integers(4)))
    if random.random() < 0.5:
        pixels = pixels[:, ::-1]
    if random.random() < GREY:
        mix = random.dirichlet([2, 2, 2]).astype(np.float32)
        return np.repeat((pixels @ mix)[:, :, None], 3, 2)
    return pixels[:, :, random.permutation(3)] if random.random() < 0.3 else pixels


def _varied(random: Random, pixels: Array) -> Array:
    """Change tone, contrast, sharpness and grain by chance."""
    if random.random() < 0.4:
        pixels = pixels ** float(np.exp(random.normal(0, 0.35)))
    if random.random() < 0.35:
        low, high = random.uniform(0, 0.25), random.uniform(0.6, 1)
        pixels = low + (high - low) * pixels
    if random.random() < 0.2:
        pixels = cv2.GaussianBlur(pixels, (0, 0), random.uniform(0.4, 1.3))
    if random.random() < 0.25:
        planes = 1 if random.random() < 0.5 else 3
        grain = random.normal(0, random.uniform(0.5, 6) / 255, (*pixels.shape[:2], planes))
        grain = grain.astype(np.float32)
        if random.random() < 0.5:
            grain = 1.6 * cv2.GaussianBlur(grain, (0, 0), 0.6).reshape(grain.shape)
        pixels = pixels + grain
    return np.ascontiguousarray(np.clip(pixels, 0, 1), np.float32)


def _scanned(random: Random, pixels: Array) -> Array:
    """Blur what is damaged a little, and add grain by chance."""
    pixels = cv2.GaussianBlur(pixels, (0, 0), random.uniform(0.35, 1.1))
    if random.random() < 0.5:
        grain = random.normal(0, random.uniform(0.5, 4) / 255, (*pixels.shape[:2], 1))
        pixels = pixels + grain.astype(np.float32)
    return np.clip(pixels, 0, 1)


def _damage(random: Random, scene: Scene) -> None:
    """Draw one to four curves or many, up to thirteen specks, or both, mostly of one sign."""
    main = 1 if random.random() < 0.65 else -1
    soft = 0 if random.random() < 0.6 else random.uniform(0.3, 0.9)
    what = random.random()
    curves = int(random.integers(5, 12) if random.random() < HEAVY else random.integers(1, 5))
    for _ in range(curves if what < 0.62 else 0):
        sign = main if random.random() < 0.8 else -main
        _lay(random, scene, 0, _curve(random, len(scene.pixels)), sign, soft)
    for _ in range(int(random.integers(1, 14)) if what > 0.45 else 0):
        sign = main if random.random() < 0.9 else -main
        _lay(random, scene, 1, _speck(random, len(scene.pixels)), sign, soft)


def _curve(random: Random, size: int) -> Array:
    """Draw a scratch, a crack, a hair or a wide line, as coverage 0..1."""
    chance, length = random.random(), float(np.exp(random.uniform(np.log(35), np.log(400))))
    fine = np.zeros((size * FINE, size * FINE), np.uint8)
    if chance < 0.5:
        path = _path(random, size, length, random.uniform(0.005, 0.06))
        _stroke(fine, path, np.full(len(path), random.uniform(0.8, 3.5)))
    elif chance < 0.77:
        _crack(random, fine, _path(random, size, length, random.uniform(0.03, 0.4)), random.uniform(0.8, 5))
    elif chance < 0.88:
        path = _path(random, size, min(length, 200), random.uniform(0.08, 0.3))
        _stroke(fine, path, np.full(len(path), random.uniform(0.8, 2.5)))
    else:
        path = _path(random, size, 2 * length, random.uniform(0, 0.01))
        _stroke(fine, path, np.full(len(path), random.uniform(3, 9)))
    return cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA) / np.float32(255)


def _crack(random: Random, fine: Array, path: Array, wide: float) -> None:
    """Draw a jagged line of changing width, and up to three that branch off it."""
    ways = [(path, wide)]
    for _ in range(int(random.integers(0, 4)) if random.random() < 0.6 else 0):
        branch = _path(random, 0, random.uniform(15, 150), random.uniform(0.05, 0.4))
        start = path[random.integers(len(path))]
        ways.append((branch - branch[0] + start, wide * random.uniform(0.4, 1)))
    for points, width in ways:
        change = np.convolve(random.normal(0, random.uniform(0.2, 0.9), len(points)), np.ones(4) / 4, "same")
        _stroke(fine, points + random.normal(0, random.uniform(0.2, 1), points.shape), width * np.exp(change))


def _stroke(fine: Array, path: Array, width: Array) -> None:
    """Draw a line of changing width on a picture `FINE` times as fine."""
    at = np.clip(np.round((path + 0.5) * FINE), -4000, 8000).astype(int)
    for start, end, wide in zip(at[:-1], at[1:], width, strict=False):
        cv2.line(fine, start.tolist(), end.tolist(), 255, max(round(wide * FINE), 1))


def _path(random: Random, size: int, length: float, bend: float) -> Array:
    """Return the points of a bent line, one of them in the square."""
    steps = max(int(length / 5), 3)
    heading = random.uniform(0, 2 * np.pi) + np.cumsum(random.normal(0, bend, steps))
    path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1) * length / steps, 0)
    return path - path[random.integers(steps)] + random.uniform(0, size, 2)


def _speck(random: Random, size: int) -> Array:
    """Draw a speck 2 to 18 px across, as coverage 0..1."""
    across = float(np.exp(random.uniform(np.log(1.8), np.log(18 if random.random() < 0.3 else 10))))
    turn = np.linspace(0, 2 * np.pi, 11)[:-1]
    reach, flat = across / 2 * random.uniform(0.65, 1.3, 10), np.exp(random.uniform(-0.6, 0))
    angle = random.uniform(0, np.pi)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.stack([reach * np.cos(turn), reach * flat * np.sin(turn)], 1) @ rotation
    fine = np.zeros((size * FINE, size * FINE), np.uint8)
    at = corners + random.uniform(0, size, 2) + 0.5
    cv2.fillPoly(fine, [np.round(at * FINE).astype(np.int32)], 255)
    return cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA) / np.float32(255)


def _lay(random: Random, scene: Scene, kind: int, cover: Array, sign: int, soft: float) -> None:
    """Lay a shape over the picture, added or painted, and note where it is."""
    before, core = luma_of(scene.pixels), cover > 0.4
    if core.sum() < 2:
        return
    noise = local_noise(before)
    if soft > 0:
        cover = cv2.GaussianBlur(cover, (0, 0), soft)
    cells, least, most = (7, 0.6, 1.3) if random.random() > ROUGH else (int(random.integers(20, 80)), 0, 1.5)
    wave = random.uniform(least, most, (cells, cells)).astype(np.float32)
    cover = cover * cv2.resize(wave, before.shape[::-1], interpolation=cv2.INTER_CUBIC)
    step = sign * 2.5 * 16 ** random.random() * float(np.median(noise[core]))
    drawn = _drawn(random, scene.pixels, cover, step, float(before[core].mean()))
    after = luma_of(drawn)
    contrast = float(np.median(np.abs(after - before)[core] / noise[core]))
    if contrast <= 0:
        return
    scene.pixels = drawn
    rim = cv2.dilate((cover > 0.02).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    scene.weight[:, rim & ~core] = np.minimum(scene.weight[:, rim & ~core], RIM)
    if contrast < FAINT:
        scene.weight[:, rim] = 0
    else:
        scene.truth[kind] |= core
        scene.weight[kind, core] = np.clip((SMALL / core.sum()) ** 0.5, 1, 3)
        scene.weight[1 - kind, rim] = 0


def _drawn(random: Random, pixels: Array, cover: Array, step: float, level: float) -> Array:
    """Return the picture with `step` added where a shape covers it, or with the shape painted over it."""
    tint = np.ones(3) if random.random() < NEUTRAL else random.uniform(0.2, 1.2, 3)
    if random.random() < 0.65:
        if not 0 <= level + 0.7 * step <= 1.1:
            step = -step
        drawn = pixels + cover[:, :, None] * (step * tint).astype(np.float32)
    else:
        tone = random.uniform(0.75, 1.0) if step > 0 else random.uniform(0, 0.25)
        paint = (tone * np.minimum(tint / tint.mean(), 1.25)).astype(np.float32)
        share = np.float32(random.uniform(0.5, 1)) * np.clip(cover, 0, 1)
        drawn = pixels + share[:, :, None] * (paint - pixels)
    return (np.round(np.clip(drawn, 0, 1) * 255) / 255).astype(np.float32)
