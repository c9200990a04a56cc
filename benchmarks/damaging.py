"""Pictures to learn from: photographs with scratches, cracks, hairs and specks drawn over them, by seed.

Other than planting.py, which the finders are scored on, this varies what is drawn as widely as damage does:
soft and sharp, added and painted, on photographs reduced, blurred, faded, noisy and compressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from planting import local_noise

Array = NDArray[Any]
Random = np.random.Generator

FINE = 4  # times as fine, that shapes are drawn
CLEAN = 0.28  # of the pictures
FAINT = 3.0  # contrast below which a thing counts as neither there nor not
RIM = 0.3  # the weight of pixels beside a thing


@dataclass
class Scene:
    """A picture (H, W) with its truth (2, H, W) bool, scratches and specks, and weights (2, H, W)."""

    luma: Array
    truth: Array
    weight: Array


def sample(photos: Sequence[Array], seed: int, size: int = 160) -> Scene:
    """Draw one picture from photos (H, W, 3) uint8."""
    random = np.random.default_rng(seed)
    luma = _varied(random, _cut(random, photos[random.integers(len(photos))], size))
    scene = Scene(luma, np.zeros((2, size, size), bool), np.ones((2, size, size), np.float32))
    if random.random() > CLEAN:
        _damage(random, scene)
    if random.random() < 0.35:
        quality = int(random.integers(60, 98))
        code = cv2.imencode(
            ".jpg", np.round(scene.luma * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality]
        )
        scene.luma = cv2.imdecode(code[1], cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255
    scene.luma = np.round(scene.luma * 255).astype(np.float32) / 255
    return scene


def _cut(random: Random, photo: Array, size: int) -> Array:
    """Cut out a square, reduced by chance, as a mix of its channels."""
    scale = float(np.exp(random.uniform(np.log(0.45), np.log(1.15)))) if random.random() < 0.6 else 1.0
    need = int(np.ceil(size / scale)) + 2
    if min(photo.shape[:2]) < need:
        scale, need = 1.0, size
    y, x = (int(random.integers(0, n - need + 1)) for n in photo.shape[:2])
    mix = np.array([0.114, 0.587, 0.299]) if random.random() < 0.6 else random.dirichlet([2, 2, 2])
    luma = photo[y : y + need, x : x + need].astype(np.float32) / 255 @ mix.astype(np.float32)
    if scale != 1:
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        luma = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=way)
    luma = np.rot90(np.clip(luma[:size, :size], 0, 1), int(random.integers(4)))
    return np.ascontiguousarray(luma[:, ::-1] if random.random() < 0.5 else luma)


def _varied(random: Random, luma: Array) -> Array:
    """Change tone, contrast, sharpness and grain by chance."""
    if random.random() < 0.4:
        luma = luma ** float(np.exp(random.normal(0, 0.35)))
    if random.random() < 0.35:
        low, high = random.uniform(0, 0.25), random.uniform(0.6, 1)
        luma = low + (high - low) * luma
    if random.random() < 0.2:
        luma = cv2.GaussianBlur(luma, (0, 0), random.uniform(0.4, 1.3))
    if random.random() < 0.25:
        grain = random.normal(0, random.uniform(0.5, 6) / 255, luma.shape).astype(np.float32)
        luma = luma + (cv2.GaussianBlur(grain, (0, 0), 0.6) * 1.6 if random.random() < 0.5 else grain)
    return np.ascontiguousarray(np.clip(luma, 0, 1), np.float32)


def _damage(random: Random, scene: Scene) -> None:
    """Draw one to four curves, up to thirteen specks, or both, mostly of one sign."""
    main = 1 if random.random() < 0.65 else -1
    soft = 0 if random.random() < 0.6 else random.uniform(0.3, 0.9)
    what = random.random()
    for _ in range(int(random.integers(1, 5)) if what < 0.62 else 0):
        sign = main if random.random() < 0.8 else -main
        _lay(random, scene, 0, _curve(random, len(scene.luma)), sign, soft)
    for _ in range(int(random.integers(1, 14)) if what > 0.45 else 0):
        sign = main if random.random() < 0.9 else -main
        _lay(random, scene, 1, _speck(random, len(scene.luma)), sign, soft)


def _curve(random: Random, size: int) -> Array:
    """Draw a scratch, a jagged crack of changing width, a hair or a wide line, as coverage 0..1."""
    chance, length = random.random(), float(np.exp(random.uniform(np.log(35), np.log(400))))
    if chance < 0.55:
        path = _path(random, size, length, random.uniform(0.005, 0.06))
        width = np.full(len(path), random.uniform(0.8, 3.5))
    elif chance < 0.75:
        path = _path(random, size, length, random.uniform(0.1, 0.4))
        path += random.normal(0, 0.4, path.shape)
        change = np.convolve(random.normal(0, 0.5, len(path)), np.ones(4) / 4, "same")
        width = random.uniform(0.8, 4) * np.exp(change)
    elif chance < 0.87:
        path = _path(random, size, min(length, 200), random.uniform(0.08, 0.3))
        width = np.full(len(path), random.uniform(0.8, 2.5))
    else:
        path = _path(random, size, 2 * length, random.uniform(0, 0.01))
        width = np.full(len(path), random.uniform(3, 9))
    fine = np.zeros((size * FINE, size * FINE), np.uint8)
    at = np.clip(np.round((path + 0.5) * FINE), -4000, 8000).astype(int)
    for start, end, wide in zip(at[:-1], at[1:], width, strict=False):
        cv2.line(fine, start.tolist(), end.tolist(), 255, max(round(wide * FINE), 1))
    return cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA) / np.float32(255)


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
    luma, core = scene.luma, cover > 0.4
    if core.sum() < 3:
        return
    noise = local_noise(luma)
    if soft > 0:
        cover = cv2.GaussianBlur(cover, (0, 0), soft)
    wave = random.uniform(0.6, 1.3, (7, 7)).astype(np.float32)
    cover = cover * cv2.resize(wave, luma.shape[::-1], interpolation=cv2.INTER_CUBIC)
    if random.random() < 0.65:
        step = sign * 2.5 * 16 ** random.random() * float(np.median(noise[core]))
        if not 0 <= float(luma[core].mean()) + 0.7 * step <= 1.1:
            step = -step
        drawn = np.clip(luma + np.float32(step) * cover, 0, 1)
    else:
        tone = random.uniform(0.75, 1.0) if sign > 0 else random.uniform(0, 0.25)
        drawn = luma + np.float32(random.uniform(0.5, 1)) * (np.float32(tone) - luma) * np.clip(cover, 0, 1)
    drawn = np.round(drawn * 255) / 255
    contrast = float(np.median(np.abs(drawn - luma)[core] / noise[core]))
    if contrast <= 0:
        return
    scene.luma = drawn.astype(np.float32)
    rim = cv2.dilate((cover > 0.02).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    scene.weight[:, rim & ~core] = np.minimum(scene.weight[:, rim & ~core], RIM)
    if contrast < FAINT:
        scene.weight[:, rim] = 0
    else:
        scene.truth[kind] |= core
        scene.weight[1 - kind, rim] = 0
