"""Bursts with known truth, made from photographs: hands that shake, things that move, sensors' noise.

Each frame shows the scene from where the hand was, has noise of its own, is stored in 8 bits and laid on the
first as `fuse` lays photos, though not quite: what is left of the movement, and parallax, are in the samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.backend import remap
from composer.learn.burst_noise import KNOTS, LEAST, deviations
from composer.records import to_encoded, to_linear

Array = NDArray[Any]

__all__ = ["Burst", "Shake", "noisy", "sensor_table", "simulate_burst"]

MARGIN = 8  # pixels around a sample that hands may shake
FINER = 2  # times the scene's pixels
_NORMAL = np.array([-2.0, -1.4, -1.1, -0.85, -0.62, -0.41, -0.2, 0, 0.2, 0.41, 0.62, 0.85, 1.1, 1.4, 2.0])


@dataclass(frozen=True)
class Burst:
    """A burst laid on its first frame.

    Attributes
    ----------
    frames : (N, S, S, 3) float32 0..1
    clean : (N, S, S, 3) float32
        The same without noise; the first is the truth.
    deviation : (S, S, 3) float32
        Of the first frame's noise.
    """

    frames: Array
    clean: Array
    deviation: Array


@dataclass(frozen=True)
class Shake:
    """How much goes wrong in a sample.

    Attributes
    ----------
    shot, read : float
        Variance of photon noise at white, and standard deviation of a sensor's own, in linear light.
    grain : float
        Pixels over which noise is alike.
    off : float
        Pixels by which frames are laid wrongly.
    parallax : float
        Pixels by which parts of a frame lie elsewhere.
    moving : bool
        Whether a thing passes through.
    flicker : float
        By how much exposures differ.
    lost : float
        Share of frames that were not aligned at all.
    """

    shot: float
    read: float
    grain: float = 0.0
    off: float = 0.0
    parallax: float = 0.0
    moving: bool = False
    flicker: float = 0.0
    lost: float = 0.0

    @staticmethod
    def drawn(rng: np.random.Generator, moving: float = 0.6) -> Shake:
        """Return what a burst may be like; `moving` is the share of those through which something passes."""
        return Shake(
            shot=float(np.exp(rng.uniform(np.log(1e-4), np.log(2e-2)))),
            read=float(np.exp(rng.uniform(np.log(5e-4), np.log(1e-2)))),
            grain=float(rng.uniform(0.4, 0.9)) if rng.random() < 0.3 else 0.0,
            off=float(rng.choice([0.05, 0.15, 0.4], p=[0.4, 0.4, 0.2])),
            parallax=float(rng.uniform(0.3, 2.5)) if rng.random() < 0.3 else 0.0,
            moving=bool(rng.random() < moving),
            flicker=0.02 if rng.random() < 0.3 else 0.0,
            lost=0.4 if rng.random() < 0.15 else 0.0,
        )


def simulate_burst(
    photos: tuple[Array, Array], rng: np.random.Generator, size: int, count: int, shake: Shake
) -> Burst:
    """Make a burst.

    Parameters
    ----------
    photos : two (H, W, 3) uint8
        Of the scene, and of what moves through it.
    rng : numpy.random.Generator
        Every draw comes from it.
    size, count : int
        Pixels across and down; frames.
    shake : Shake
    """
    wide = size + 2 * MARGIN
    light = np.float32(np.exp(rng.uniform(-1.6, 0.2)))  # bursts are taken where light is short
    scene, other = (to_encoded(to_linear(_piece(p, rng, FINER * wide)) * light) for p in photos)
    thing, path = _thing(rng, FINER * wide), _path(rng, wide, count, shake.moving)
    frames: list[Array] = []
    clean: list[Array] = []
    for k, place in enumerate(path):
        seen = scene if place is None else _with_thing(scene, other, thing, place)
        pair = _first(seen, wide, rng, shake) if k == 0 else _later(seen, wide, rng, shake)
        for kept, picture in zip((frames, clean), pair, strict=True):
            kept.append(np.clip(picture, 0, 1)[MARGIN:-MARGIN, MARGIN:-MARGIN])
    table = sensor_table(shake) * np.exp(rng.normal(0, 0.15))
    deviation = deviations(np.ascontiguousarray(frames[0]), np.repeat(table[None], 3, 0))
    return Burst(np.stack(frames), np.stack(clean), deviation)


def _first(scene: Array, wide: int, rng: np.random.Generator, shake: Shake) -> tuple[Array, Array]:
    """Return the first frame of a scene, with and without noise."""
    y, x = np.mgrid[:wide, :wide].astype(np.float32)
    shown = _sampled(scene, x, y)
    return noisy(shown, rng, shake), shown


def _later(scene: Array, wide: int, rng: np.random.Generator, shake: Shake) -> tuple[Array, Array]:
    """Return another frame of a scene, laid on the first, with and without noise."""
    y, x = np.mgrid[:wide, :wide].astype(np.float32)
    turn = np.eye(3) if rng.random() < 0.2 else _turn(rng, wide)
    waves = _waves(rng, wide, shake.parallax if rng.random() < 0.7 else 0.0)
    u, v = _through(np.linalg.inv(turn), x, y)
    light = to_linear(_sampled(scene, u + waves, v - waves))
    shown = to_encoded(light * np.float32(np.exp(rng.normal(0, shake.flicker))))
    u, v = _through(turn, x, y)
    off = MARGIN / 2 if rng.random() < shake.lost else shake.off
    aside = rng.normal(0, off, 2).astype(np.float32)
    noise, shown = (remap(p, u + aside[0], v + aside[1]) for p in (noisy(shown, rng, shake), shown))
    return noise, shown


def noisy(shown: Array, rng: np.random.Generator, shake: Shake) -> Array:
    """Return (h, w, 3) float32 as a sensor records it in 8 bits."""
    light = to_linear(shown)
    noise = rng.standard_normal(light.shape, np.float32)
    if shake.grain:
        noise = cv2.GaussianBlur(noise, (0, 0), shake.grain)
        noise /= noise.std()
    light = light + noise * np.sqrt(np.float32(shake.shot) * light + np.float32(shake.read**2))
    return np.round(np.clip(to_encoded(light), 0, 1) * np.float32(255)) / np.float32(255)


def sensor_table(shake: Shake) -> Array:
    """Return the standard deviation (KNOTS,) of recorded values around each of KNOTS, cut off as they are."""
    light = to_linear(np.linspace(0, 1, KNOTS))[:, None]
    spread = np.sqrt(shake.shot * light + shake.read**2) * _NORMAL
    recorded = np.clip(to_encoded(light + spread), 0, 1)
    return np.asarray(np.maximum(recorded.std(1) / _NORMAL.std(), LEAST), np.float32)


def _piece(photo: Array, rng: np.random.Generator, size: int) -> Array:
    """Cut a square out of a photograph, mirrored and reduced at random; (size, size, 3) float32."""
    side = min(round(size * float(np.exp(rng.uniform(0, np.log(2))))), *photo.shape[:2])
    y, x = (int(rng.integers(0, n - side + 1)) for n in photo.shape[:2])
    piece = photo[y : y + side, x : x + side]
    piece = np.ascontiguousarray(piece[:, ::-1] if rng.random() < 0.5 else piece)
    how = cv2.INTER_AREA if side >= size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(piece, (size, size), interpolation=how), np.float32) / np.float32(255)


def _sampled(scene: Array, u: Array, v: Array) -> Array:
    """Return what pixels at (u, v) see of a finer scene."""
    soft = cv2.GaussianBlur(scene, (0, 0), 0.7)
    half = np.float32((FINER - 1) / 2)
    found = cv2.remap(
        soft, FINER * u + half, FINER * v + half, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(found)


def _turn(rng: np.random.Generator, wide: int) -> Array:
    """Return how a hand moved the camera: (3, 3), within the margin."""
    angle, scale = rng.normal(0, 0.01), np.exp(rng.normal(0, 0.004))
    c, s, middle = scale * np.cos(angle), scale * np.sin(angle), (wide - 1) / 2
    shift = rng.uniform(-0.5, 0.5, 2) * MARGIN
    about = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    to = np.array([[1, 0, middle], [0, 1, middle], [0, 0, 1.0]])
    turn = to @ about @ np.linalg.inv(to)
    turn[:2, 2] += shift
    return turn


def _through(matrix: Array, x: Array, y: Array) -> tuple[Array, Array]:
    u, v = (row[0] * x + row[1] * y + row[2] for row in matrix[:2])
    return u.astype(np.float32), v.astype(np.float32)


def _waves(rng: np.random.Generator, wide: int, most: float) -> Array:
    """Return a smooth field (wide, wide) of displacements, or one that is near in places only."""
    if not most:
        return np.zeros((wide, wide), np.float32)
    cells = int(rng.integers(3, 6))
    field = cv2.resize(rng.standard_normal((cells, cells)).astype(np.float32), (wide, wide))
    if rng.random() < 0.5:
        field = cv2.GaussianBlur((field > 0.3).astype(np.float32), (0, 0), 1.0)
    return np.asarray(field * np.float32(most * rng.choice([-1, 1])))


def _thing(rng: np.random.Generator, side: int) -> Array:
    """Return the outline of a thing (side, side) float32 0..1, in the middle."""
    mask = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        middle = tuple(int(v) for v in side / 2 + rng.normal(0, 0.06, 2) * side)
        axes = tuple(int(v) for v in np.exp(rng.uniform(np.log(0.03), np.log(0.22), 2)) * side)
        cv2.ellipse(mask, middle, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA)
    return cv2.GaussianBlur(mask, (0, 0), 1.0)


def _path(rng: np.random.Generator, wide: int, count: int, moving: bool) -> list[Array | None]:
    """Return where a thing is in each frame, in pixels from the middle; None where it is not."""
    if not moving:
        return [None] * count
    start, speed = rng.uniform(-0.4, 0.4, 2) * wide, rng.normal(0, 0.12, 2) * wide
    places: list[Array | None] = [start + k * speed + rng.normal(0, 0.5, 2) for k in range(count)]
    kind = rng.random()
    if kind < 0.2:  # the first alone shows it
        places[1:] = [None] * (count - 1)
    elif kind < 0.4:  # it comes later
        places[0] = None
    elif kind < 0.5:  # it stops
        places = [start + min(k, 1) * speed for k in range(count)]
    return places


def _with_thing(scene: Array, other: Array, thing: Array, place: Array) -> Array:
    """Return the scene with a thing in its place."""
    shift = np.array([[1, 0, FINER * place[0]], [0, 1, FINER * place[1]]], np.float32)
    size = scene.shape[1::-1]
    share = cv2.warpAffine(thing, shift, size)[:, :, None]
    shown = cv2.warpAffine(other, shift, size, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(scene + share * (shown - scene))
