"""Score composer on a known world: views of an equirectangular photograph through an imperfect camera.

    python benchmarks/world.py WORLD.jpg --columns 12 --seeds 1 2 3 --json benchmarks/results/world.json

A virtual camera turns in the middle of the world, with jittered angles, radial distortion, exposure steps
in linear light, vignetting, noise and JPEG 93. The views come shuffled and without EXIF data.
The views are stitched with projection "sphere", and the largest panorama is scored against the truth:

used        photos in that panorama, of those given
width_deg   its width; 360 where the circle closed
error_px    after one global rotation, how far the estimated camera puts what the true camera saw at a grid of
            points of every photo (edges included), in pixels of the photos: mean, median, p95. Focal length,
            distortion and rotations all count.
ssim, psnr  against the true world resampled to the canvas, after one gain a channel in linear light
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import facts
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

import composer
from composer.records import Camera, Composition, Layer, to_encoded, to_linear

Array = NDArray[Any]

SUPERSAMPLE = 2
JPEG_QUALITY = 93


@dataclass(frozen=True)
class View:
    """The true camera of one photo: r_seen = r (1 + k1 r^2), r the ideal radius in focal lengths."""

    turn: Array  # world to camera
    focal_px: float
    k1: float
    gain: float
    size: tuple[int, int]

    def directions(self, points: Array) -> Array:
        """Return the world directions (..., 3) seen at pixels (..., 2)."""
        seen = (points - (np.array(self.size) - 1) / 2) / self.focal_px
        radius = np.linalg.norm(seen, axis=-1, keepdims=True)
        table = np.linspace(0, 2, 20001)
        bent = table * (1 + self.k1 * table**2)
        grows = np.append(np.diff(bent) > 0, False)
        end = len(table) if grows[:-1].all() else int(grows.argmin())
        if radius.max() > bent[:end].max():
            raise SystemExit(f"--k1 {self.k1} folds back inside the photo; give one nearer to zero")
        ideal = np.interp(radius, bent[:end], table[:end])
        flat = seen * np.where(radius > 0, ideal / np.maximum(radius, 1e-12), 1)
        return np.concatenate([flat, np.ones_like(radius)], -1) @ self.turn


def turn_of(yaw: float, pitch: float, roll: float) -> Array:
    """Return the world-to-camera rotation of a camera turned right, then up, then rolled (radians)."""
    about = [cv2.Rodrigues(np.array(v))[0] for v in ((0.0, yaw, 0.0), (pitch, 0.0, 0.0), (0.0, 0.0, roll))]
    return np.asarray((about[0] @ about[1] @ about[2]).T)


def draw_views(given: argparse.Namespace, random: np.random.Generator) -> list[View]:
    """Draw the cameras of one set, in shuffled order."""
    width, height = given.size
    focal = width / 2 / math.tan(math.radians(given.hfov) / 2)
    step = 0.6 * math.degrees(2 * math.atan(height / 2 / focal))
    views = []
    for row in range(given.rows):
        for column in range(given.columns):
            aim = np.array([column * given.span / given.columns, (row - (given.rows - 1) / 2) * step, 0.0])
            yaw, pitch, roll = np.radians(aim + random.normal(0, given.jitter, 3))
            zoom = 1 + random.normal(0, given.focal_jitter) / 100
            gain = 2 ** random.uniform(-given.ev, given.ev)
            turn = turn_of(yaw, pitch, roll)
            views.append(View(turn, focal * zoom, given.k1, gain, (width, height)))
    return [views[k] for k in random.permutation(len(views))]


def look_up(world: Array, directions: Array) -> Array:
    """Resample the world (equirectangular, uint8) where directions (h, w, 3) point: x right, y down."""
    x, y, z = np.moveaxis(directions, -1, 0)
    height, width = world.shape[:2]
    u = (np.arctan2(x, z) / (2 * np.pi) + 0.5) * width - 0.5
    v = (np.arctan2(y, np.hypot(x, z)) / np.pi + 0.5) * height - 0.5
    wrap = cv2.BORDER_WRAP
    return np.asarray(
        cv2.remap(world, u.astype(np.float32), v.astype(np.float32), cv2.INTER_CUBIC, borderMode=wrap)
    )


def photograph(
    world: Array, view: View, vignetting: float, noise: float, random: np.random.Generator
) -> Array:
    """Return the photo (h, w, 3) uint8 that the view's camera takes."""
    width, height = view.size
    fine = np.stack(np.meshgrid(np.arange(width * SUPERSAMPLE), np.arange(height * SUPERSAMPLE)), -1)
    seen = look_up(world, view.directions((fine + 0.5) / SUPERSAMPLE - 0.5))
    light = cv2.resize(to_linear(seen / 255), (width, height), interpolation=cv2.INTER_AREA)
    x, y = np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2
    r2 = (x**2 + y[:, None] ** 2) / (width**2 + height**2) * 4
    light = light * (view.gain * (1 - vignetting * r2))[:, :, None]
    codes = 255 * to_encoded(np.clip(light, 0, 1)) + random.normal(0, noise, light.shape)
    return np.clip(np.rint(codes), 0, 255).astype(np.uint8)


def place(camera: Camera, size: tuple[int, int], directions: Array) -> Array:
    """Return the pixels (N, 2) where an estimated camera has world directions (N, 3); NaN if behind it.

    Written from the conventions in composer.records, not from the code under test.
    """
    half = min(size) / 2
    x, y, z = camera.rotation @ directions.T
    flat = np.stack([x, y], 1) / np.where(z > 0, z, np.nan)[:, None] * camera.focal_px / half
    r = np.linalg.norm(flat, axis=1, keepdims=True)
    a, b, c = camera.distortion
    return np.asarray(flat * (a * r**3 + b * r**2 + c * r + 1 - a - b - c) * half + (np.array(size) - 1) / 2)


def nearest_turn(pairs: list[tuple[Array, Array]]) -> Array:
    """Return the rotation G that brings estimated rotations E G nearest to true ones T, for pairs (E, T)."""
    total = sum(estimated.T @ true for estimated, true in pairs)
    u, _, vt = np.linalg.svd(total)
    return np.asarray(u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt)


def misplacement(layer: Layer, view: View, turn: Array, steps: int = 17) -> Array:
    """Return how far (px) the estimate puts what a grid of the photo's pixels saw."""
    width, height = view.size
    across, down = np.linspace(-0.5, width - 0.5, steps), np.linspace(-0.5, height - 0.5, steps)
    points = np.stack(np.meshgrid(across, down), -1).reshape(-1, 2)
    found = place(layer.camera, view.size, view.directions(points) @ turn.T)
    lost = float(np.hypot(width, height))  # behind the camera: as wrong as can be
    return np.nan_to_num(np.linalg.norm(found - points, axis=1), nan=lost)


def likeness(
    canvas: Composition, picture: Array, valid: Array, world: Array, turn: Array
) -> tuple[float, float]:
    """Return SSIM (of grey) and PSNR of the panorama (RGB, uint8) against the world seen on its canvas."""
    lon = (np.arange(canvas.width) + canvas.origin[0]) / canvas.scale
    lat = (np.arange(canvas.height) + canvas.origin[1])[:, None] / canvas.scale
    here = np.stack(
        np.broadcast_arrays(np.cos(lat) * np.sin(lon), np.sin(lat), np.cos(lat) * np.cos(lon)), -1
    )
    inside = cv2.erode(valid.astype(np.uint8), np.ones((9, 9), np.uint8), borderValue=0) > 0
    true = to_linear(look_up(world, here @ turn) / 255)
    made = to_linear(picture / 255)
    for c in range(3):
        a, b = true[:, :, c][inside].astype(float), made[:, :, c][inside].astype(float)
        true[:, :, c] *= (a @ b) / (a @ a)
    wanted, got = 255 * to_encoded(np.clip(true, 0, 1)).astype(float), picture.astype(float)
    _, each = structural_similarity(  # type: ignore[no-untyped-call]
        wanted.mean(2), got.mean(2), data_range=255, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    psnr = 10 * math.log10(255**2 / np.mean((wanted - got)[inside] ** 2))
    return float(each[inside].mean()), psnr


def score(world: Array, views: dict[str, View], photos: list[Path]) -> dict[str, Any]:
    """Stitch the photos and score the panorama with the most of them."""
    start = time.perf_counter()
    try:
        stitched = composer.stitch(photos, projection="sphere")
    except composer.ComposerError as error:
        return {"photos": len(photos), "used": 0, "status": type(error).__name__}
    seconds = time.perf_counter() - start
    best = max(stitched.panoramas, key=lambda p: len(p.photos))
    canvas = best.composition
    pairs = [(layer, views[Path(layer.photo.name).name]) for layer in canvas.layers]
    turn = nearest_turn([(layer.camera.rotation, view.turn) for layer, view in pairs])
    errors = np.concatenate([misplacement(layer, view, turn) for layer, view in pairs])
    ssim, psnr = likeness(canvas, best.image, np.asarray(best.valid), world, turn)
    central = [la.camera.focal_px * (1 - sum(la.camera.distortion)) / view.focal_px for la, view in pairs]
    return {
        "photos": len(photos),
        "used": len(pairs),
        "panoramas": [len(p.photos) for p in stitched.panoramas],
        "status": "ok",
        "size": [canvas.width, canvas.height],
        "width_deg": round(canvas.fov_deg[0], 2),
        "error_px": {
            "mean": round(float(errors.mean()), 3),
            "median": round(float(np.median(errors)), 3),
            "p95": round(float(np.percentile(errors, 95)), 3),
        },
        "focal_error_percent": round(100 * (float(np.mean(central)) - 1), 3),
        "rms_px_claimed": round(best.rms_px, 3),
        "ssim": round(ssim, 4),
        "psnr": round(psnr, 2),
        "seconds": round(seconds, 2),
    }


def run(world: Array, given: argparse.Namespace, seed: int, folder: Path) -> dict[str, Any]:
    """Take one set of photos into a folder, stitch and score it."""
    random = np.random.default_rng(seed)
    views = {}
    for k, view in enumerate(draw_views(given, random)):
        name = f"view{k:03d}.jpg"
        photo = photograph(world, view, given.vignetting, given.noise, random)
        cv2.imwrite(str(folder / name), photo[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        views[name] = view
    return {"seed": seed, **score(world, views, [folder / name for name in views])}


def pair_of_ints(text: str) -> tuple[int, int]:
    width, height = text.lower().split("x")
    return int(width), int(height)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("world", type=Path, help="an equirectangular photograph, 360 x 180 degrees")
    parser.add_argument("--columns", type=int, default=12)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--span", type=float, default=360, help="degrees of yaw the columns cover")
    parser.add_argument("--hfov", type=float, default=60, help="degrees")
    parser.add_argument("--size", type=pair_of_ints, default=(768, 576), metavar="WxH")
    parser.add_argument("--jitter", type=float, default=3, help="degrees, in yaw, pitch and roll")
    parser.add_argument("--focal-jitter", type=float, default=0, help="percent, photo to photo")
    parser.add_argument("--k1", type=float, default=-0.06, help="radial distortion")
    parser.add_argument("--ev", type=float, default=0.5, help="exposure steps, up to plus or minus this")
    parser.add_argument("--vignetting", type=float, default=0.25, help="light lost in the corners, 0 to 1")
    parser.add_argument("--noise", type=float, default=2, help="standard deviation, of 255")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the views, a folder for each seed")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    loaded = cv2.imread(str(given.world), cv2.IMREAD_COLOR)
    if loaded is None:
        parser.error(f"{given.world}: not a picture")
    world = np.ascontiguousarray(loaded[:, :, ::-1])
    options = {k: v for k, v in vars(given).items() if k not in ("world", "seeds", "keep", "json")}
    record = {"benchmark": "world", **facts(), "world": given.world.stem, "options": options, "sets": []}
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as scratch:
            folder = given.keep / f"{given.world.stem}-{seed}" if given.keep else Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            record["sets"].append(run(world, given, seed, folder))
        print(f"{given.world.stem}:", json.dumps(record["sets"][-1]), flush=True)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
