"""Small photo sets with known truth: views of a made-up gallery, and a real pair with parallax.

The gallery is a room whose walls show photographs that ship inside scikit-image; a virtual camera with
a real lens's faults takes pictures of it. Nothing is downloaded, nothing copied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from composer.align.lens import pixel_to_plane

Array = NDArray[Any]

__all__ = ["View", "circle", "gallery", "motorcycle", "photograph", "picture", "room", "rotation"]

PICTURES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg", "ihc.png",
            "retina.jpg", "motorcycle_left.png")  # fmt: skip
DISTORTION = (0.0, -0.012, 0.0)


@dataclass(frozen=True)
class View:
    """A photograph of a known world: pixels (H, W, 3) uint8 and the camera's truth."""

    pixels: Array
    rotation: Array
    focal_px: float
    gain: float


def picture(name: str) -> Array:
    """Return a photograph that ships inside scikit-image, (H, W, 3) uint8 RGB."""
    data = (resources.files("skimage.data") / name).read_bytes()
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(found[:, :, ::-1])


def motorcycle() -> list[Array]:
    """Return a real pair of photographs of a motorcycle, from two places: it has parallax."""
    return [picture("motorcycle_left.png"), picture("motorcycle_right.png")]


def room() -> list[Array]:
    """Return three overlapping photographs of the gallery, 150 degrees in all."""
    views = [
        photograph(yaw, pitch, 1.5, gain=gain)
        for yaw, pitch, gain in ((-40, 2, 0.9), (0, -1, 1), (38, 1, 1.15))
    ]
    return [v.pixels for v in views]


def circle(count: int = 10, seed: int = 0) -> list[View]:
    """Return photographs all around the gallery, hand-held: a few degrees off level, exposure varying."""
    rng = np.random.default_rng(seed)
    views = []
    for k in range(count):
        yaw, pitch, roll = 360 / count * k + rng.normal(0, 2), rng.normal(0, 2), rng.normal(0, 1.5)
        views.append(photograph(yaw, pitch, roll, gain=2 ** rng.uniform(-0.3, 0.3), seed=seed + k))
    return views


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Array:
    """Return the world-to-camera rotation of Hugin's angles: its transpose is Ry(yaw) Rx(pitch) Rz(roll)."""
    y, p, r = np.radians([yaw_deg, pitch_deg, roll_deg])
    about_y = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
    about_z = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    return np.asarray((about_y @ about_x @ about_z).T)


def photograph(
    yaw_deg: float,
    pitch_deg: float = 0.0,
    roll_deg: float = 0.0,
    hfov_deg: float = 66.0,
    size: tuple[int, int] = (480, 400),
    gain: float = 1.0,
    vignetting: float = 0.1,
    seed: int = 0,
) -> View:
    """Photograph the gallery with a barrel-distorting, vignetting, slightly noisy camera.

    Parameters
    ----------
    yaw_deg, pitch_deg, roll_deg : float
        Hugin's angles.
    hfov_deg : float
        Horizontal field of view of the undistorted photograph.
    size : (width, height)
    gain : float
        Exposure, a factor on the encoded values.
    vignetting : float
        Share of brightness lost at half the width from the centre.
    seed : int
        Of the noise.
    """
    width, height = size
    focal = width / 2 / math.tan(math.radians(hfov_deg) / 2)
    turn = rotation(yaw_deg, pitch_deg, roll_deg)
    fine = 2  # rendered twice as large and averaged
    y, x = np.mgrid[0 : height * fine, 0 : width * fine]
    points = np.stack([(x + 0.5) / fine - width / 2, (y + 0.5) / fine - height / 2], -1).reshape(-1, 2)
    plane = pixel_to_plane(points, DISTORTION, min(size) / 2) / focal
    rays = np.c_[plane, np.ones(len(plane))] @ turn
    world = gallery()
    high, wide = world.shape[:2]
    u = (np.arctan2(rays[:, 0], rays[:, 2]) / (2 * np.pi) + 0.5) * wide - 0.5
    v = (np.arctan2(rays[:, 1], np.hypot(rays[:, 0], rays[:, 2])) / np.pi + 0.5) * high - 0.5
    u, v = (a.reshape(height * fine, width * fine).astype(np.float32) for a in (u, v))
    seen = cv2.remap(world, u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)
    seen = cv2.resize(seen, size, interpolation=cv2.INTER_AREA).astype(np.float64)
    y, x = np.mgrid[0:height, 0:width]
    r2 = ((x + 0.5 - width / 2) ** 2 + (y + 0.5 - height / 2) ** 2) / (width / 2) ** 2
    seen = seen * gain * (1 - vignetting * r2)[:, :, None]
    seen += np.random.default_rng(seed).normal(0, 1.5, seen.shape)
    return View(np.clip(np.round(seen), 0, 255).astype(np.uint8), turn, focal, gain)


@lru_cache(maxsize=1)
def gallery() -> Array:
    """Return the gallery as an equirectangular picture, (1024, 2048, 3) uint8 RGB.

    An octagonal room: eight plastered walls with a photograph on each, a carpet, clouds above. No two
    places look alike.
    """
    height, width = 1024, 2048
    lon = (np.arange(width) + 0.5) / width * 2 * np.pi - np.pi
    lat = (np.arange(height) + 0.5) / height * np.pi - np.pi / 2
    side = np.floor(lon / (np.pi / 4) + 0.5)
    turn = lon - side * (np.pi / 4)
    across = np.tan(turn)[None, :].repeat(height, 0)  # on a wall at distance 1, -0.41 .. 0.41
    down = np.tan(lat)[:, None] / np.cos(turn)[None, :]
    wall = np.abs(down) < 0.7
    world = np.where(wall[:, :, None], _walls(across + side[None, :], down), _floor_and_ceiling(lon, lat))
    for k, name in enumerate(PICTURES):
        mine = (side % 8 == k)[None, :] & (np.abs(across) < 0.3) & (np.abs(down) < 0.36)
        x, y = np.broadcast_arrays(across / 0.6 + 0.5, down / 0.72 + 0.5)
        world = np.where(mine[:, :, None], _hung(picture(name), x, y), world)
    world.setflags(write=False)
    return world


def _walls(x: Array, y: Array) -> Array:
    """Return the plaster at wall coordinates."""
    tints = np.array([[205, 190, 165], [180, 195, 200], [200, 180, 175], [185, 195, 170]])
    tint = tints[np.round(x).astype(int) % 4]
    grain = _grain(x * 400 + 1700, y * 400 + 350, 1)
    return np.clip(tint * grain[:, :, None], 0, 255).astype(np.uint8)


def _floor_and_ceiling(lon: Array, lat: Array) -> Array:
    """Return a carpet below and clouds above, seen in perspective."""
    away = np.minimum(0.7 / np.maximum(np.abs(np.tan(lat)), 1e-3), 2)[:, None]
    x, y = away * np.sin(lon)[None, :], away * np.cos(lon)[None, :]
    carpet = _grain(x * 180 + 400, y * 180 + 400, 2)
    clouds = cv2.GaussianBlur(_grain(x * 180 + 400, y * 180 + 400, 3), (0, 0), 3)
    below = carpet[:, :, None] * np.array([150, 85, 70])
    above = clouds[:, :, None] * np.array([120, 110, 80]) + np.array([60, 80, 140])
    return np.clip(np.where((lat > 0)[:, None, None], below, above), 0, 255).astype(np.uint8)


def _grain(x: Array, y: Array, seed: int) -> Array:
    """Sample noise of several grain sizes that repeats nowhere, as factors about 1."""
    rng = np.random.default_rng(seed)
    noise = np.zeros((800, 3600), np.float32)
    for sigma in (1.2, 3, 9, 30):
        grain = cv2.GaussianBlur(rng.standard_normal(noise.shape, np.float32), (0, 0), sigma)
        noise += grain / grain.std()
    u, v = np.broadcast_arrays(x.astype(np.float32), y.astype(np.float32))
    found = cv2.remap(noise, u.copy(), v.copy(), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(np.clip(1 + 0.09 * found, 0.5, 1.5))


def _hung(photo: Array, x: Array, y: Array) -> Array:
    """Sample a framed photograph at (x, y), each (h, w) with 0..1 across the frame."""
    edge = 0.04
    height, width = photo.shape[:2]
    size = (min(width, 500), min(height, 600))
    photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    u = ((x - edge) / (1 - 2 * edge) * size[0] - 0.5).astype(np.float32)
    v = ((y - edge) / (1 - 2 * edge) * size[1] - 0.5).astype(np.float32)
    found = cv2.remap(photo, u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    frame = (np.minimum(x, 1 - x) < edge) | (np.minimum(y, 1 - y) < edge)
    return np.where(frame[:, :, None], np.array([60, 45, 35], np.uint8), found)
