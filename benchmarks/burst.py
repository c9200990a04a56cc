"""Merge made-up bursts of real photographs: the recurrent network, what `fuse` has beside it, and peers.

    python benchmarks/burst.py PHOTO... --json benchmarks/results/burst.json [--weights RUN/burst.safetensors]

Photos that the network was not trained on, halved (so that they are sharp and without noise of their own),
are taken again and again by a hand that shakes: up to 12 pixels, half a degree, a little perspective.
Sensors' noise is that of `composer.learn.bursts`, at three strengths, recorded in 8 bits; in moving scenes
three things cut out of the next photo pass through. All tools get the same frames, aligned as `fuse` does;
the truth is the first frame without noise. `first` is that frame as recorded, `+ repair` the toolkit's
own noise restorer on what comes before, `OpenCV` is fastNlMeansDenoisingColoredMulti on the aligned frames,
the first in the middle, with the strength that is best of three (known to nobody but the truth). PSNR and
SSIM leave 24 pixels along the border out; `passing_db` is PSNR where anything passes in any frame, and four
pixels around.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import facts

from composer.api.training import reduced_photo
from composer.fusion.aligning import aligned
from composer.fusion.methods import METHODS, Settings
from composer.fusion.stack import Stack, part
from composer.learn.bursting import merged_burst
from composer.learn.bursts import Shake, noisy
from composer.media.decode import PhotoStore
from composer.media.header import photo_from_array
from composer.mending.noise import denoise, estimate
from composer.quality.metrics import compared
from composer.records import Context, Rect

BORDER = 24
COUNTS = (2, 4, 8, 16)
NOISES = {"faint": (5e-4, 1e-3), "middling": (3e-3, 3e-3), "loud": (1.2e-2, 8e-3)}
STRENGTHS = (0.6, 1.0, 1.6)  # of non-local means, times the noise that the first frame has
Frames = list[Any]


@dataclass(frozen=True)
class Scene:
    """A burst (N of (H, W, 3) uint8), its first frame without noise, and where anything passes."""

    frames: Frames
    truth: Any
    passing: Any


def burst(photo: Any, other: Any, noise: tuple[float, float], moving: bool, seed: int) -> Scene:
    """Make the longest burst of a photo (H, W, 3) uint8; shorter ones are its beginnings."""
    rng, count = np.random.default_rng(seed), COUNTS[-1]
    height, width = (n // 2 for n in photo.shape[:2])
    shake = Shake(*noise)
    scene = photo[: 2 * height, : 2 * width] / np.float32(255) * np.float32(0.8)
    things = [outline(rng, (height, width)) for _ in range(3 if moving else 0)]
    cover = cv2.resize(other, (2 * width, 2 * height)) / np.float32(255)
    frames, views, passing = [], [], np.zeros((height, width), bool)
    for k in range(count):
        seen = scene
        for thing, speed in things:
            x, y = 2 * k * speed
            shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
            where, what = (cv2.warpAffine(p, shift, (2 * width, 2 * height)) for p in (thing, cover))
            seen = seen + where[:, :, None] * (what - seen)
            passing |= where[::2, ::2] > 0.02
        shown = looked_at(seen, hand(rng, (height, width)) if k else np.eye(3))
        views.append(shown)
        frames.append(np.rint(noisy(shown, rng, shake) * 255).astype(np.uint8))
    passing = cv2.dilate(passing.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    return Scene(frames, views[0], passing)


def outline(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Any, Any]:
    """Return a thing's outline (2H, 2W) and its speed in pixels a frame (x, y)."""
    mask = np.zeros((2 * shape[0], 2 * shape[1]), np.float32)
    middle = rng.uniform(0.1, 0.9, 2) * mask.shape[::-1]
    for _ in range(3):
        place = tuple(int(v) for v in middle + rng.normal(0, 15, 2))
        axes = tuple(int(v) for v in rng.uniform(10, 50, 2))
        cv2.ellipse(mask, place, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA)
    return cv2.GaussianBlur(mask, (0, 0), 1.0), rng.normal(0, 6, 2)


def hand(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    """Return what takes a frame's pixels to the first's."""
    (y, x), angle = (n / 2 for n in shape), rng.normal(0, 0.004)
    c, s = np.cos(angle), np.sin(angle)
    to = np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])
    turn = np.array([[c, -s, 0], [s, c, 0], [*rng.normal(0, 2e-6, 2), 1.0]])
    turn[:2, 2] = rng.uniform(-12, 12, 2)
    return to @ turn @ np.linalg.inv(to)


def looked_at(scene: Any, turn: Any) -> Any:
    """Return a view half as large of a scene, from where a hand holds the camera."""
    twice = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1.0]])
    size = scene.shape[1] // 2, scene.shape[0] // 2
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    soft = cv2.GaussianBlur(scene, (0, 0), 0.7)
    return cv2.warpPerspective(soft, twice @ turn, size, flags=how, borderMode=cv2.BORDER_REFLECT)


def laid(frames: Frames) -> tuple[Stack, Context]:
    """Lay frames on the first, as `fuse` does by default."""
    photos = tuple(photo_from_array(f, f"photo {k + 1}") for k, f in enumerate(frames))
    context = Context(photos=PhotoStore.for_photos(photos, 1 << 30))
    return aligned(photos, 0, "homography", context)[0], context


def repaired(picture: Any) -> Any:
    """Return a picture after the toolkit's noise restorer, whatever is told of it."""
    noise, valid = estimate(picture / np.float32(255)), np.ones(picture.shape[:2], bool)
    return picture if noise is None else denoise(picture, valid, noise, Context())


def non_local(stack: Stack, context: Context, truth: Any) -> Any:
    """Return the best of three strengths of OpenCV's non-local means over aligned frames."""
    frame, count = Rect(0, 0, stack.shape[1], stack.shape[0]), len(stack.photos)
    frames = [np.ascontiguousarray(part(stack, k, frame, context)[0]) for k in range(count)]
    odd = min(count - 1 + count % 2, 5)
    ordered = [*frames[1 : odd // 2 + 1], frames[0], *frames[odd // 2 + 1 : odd]]
    spread = float(np.std(frames[0] / 255 - truth)) * 255
    found = []
    for strength in STRENGTHS:
        h = strength * spread
        found.append(cv2.fastNlMeansDenoisingColoredMulti(ordered, odd // 2, odd, None, h, h, 5, 11))
    return max(found, key=lambda p: -float(np.mean((p / 255 - truth) ** 2)))


def pictures(stack: Stack, context: Context, truth: Any, weights: str) -> Iterator[tuple[str, Any, float]]:
    """Yield every tool's name, picture and CPU seconds, alignment apart."""
    first = context.photos.pixels(stack.photos[0])
    settings = Settings(weights=weights)
    made: dict[str, tuple[Any, float]] = {}

    def run(name: str, make: Callable[[], Any], of: str = "") -> None:
        begun = time.process_time()
        picture = make()
        before = made[of][1] if of else 0.0
        made[name] = picture, time.process_time() - begun + before

    run("first", lambda: first)
    run("first + repair", lambda: repaired(first))
    for name, method in (("mean", "average"), ("median", "median"), ("sigma-clip", "sigma-clip")):
        run(name, lambda method=method: METHODS[method](stack, settings, context))
        run(f"{name} + repair", lambda name=name: repaired(made[name][0]), name)
    if len(stack.photos) > 2:
        run("OpenCV", lambda: non_local(stack, context, truth))
    run("burst", lambda: merged_burst(stack, settings, context))
    for name, (picture, seconds) in made.items():
        yield name, picture, seconds


def measured(picture: Any, scene: Scene) -> dict[str, float]:
    """Return PSNR and SSIM within the border, and PSNR where things pass."""
    inner = np.s_[BORDER:-BORDER, BORDER:-BORDER]
    made, truth = picture[inner] / np.float32(255), np.ascontiguousarray(scene.truth[inner])
    found = compared(made, truth, None)
    figures = {"psnr_db": found["psnr_db"], "ssim": found["ssim"]}
    where = scene.passing[inner]
    if where.any():
        figures["passing_db"] = -10 * np.log10(float(((made - truth)[where] ** 2).mean()))
    return figures


def runs(photos: list[Any], k: int, weights: str) -> Iterator[dict[str, Any]]:
    """Yield the figures of every picture made of the k-th photo."""
    for moving in (False, True):
        for name, noise in NOISES.items():
            scene = burst(photos[k], photos[(k + 1) % len(photos)], noise, moving, seed=100 + k)
            whole, context = laid(scene.frames)
            for count in COUNTS:
                stack = Stack(whole.photos[:count], whole.matrices[:count])
                what = {"moving": moving, "noise": name, "frames": count, "photo": k}
                for tool, picture, seconds in pictures(stack, context, scene.truth, weights):
                    yield {**what, "tool": tool, **measured(picture, scene), "cpu_s": seconds}


def summed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return means over photographs by scene, noise, count and tool."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        scene = "moving" if row["moving"] else "still"
        groups.setdefault(f"{scene} {row['noise']} {row['frames']:>2} {row['tool']}", []).append(row)
    names = ("psnr_db", "ssim", "passing_db", "cpu_s")
    return {
        key: {n: round(float(np.mean([r[n] for r in some])), 4) for n in names if n in some[0]}
        for key, some in groups.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--weights", default="")
    parser.add_argument("--crop", type=int, default=640, help="pixels of each photo's middle, before halving")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    photos = []
    for path in options.photos:
        photo = reduced_photo(path)
        if photo is None:
            raise SystemExit(f"{path}: cannot be read")
        y, x = (max(0, (n - options.crop) // 2) for n in photo.shape[:2])
        photos.append(np.ascontiguousarray(photo[y : y + options.crop, x : x + options.crop]))
    rows = []
    for k in range(len(photos)):
        for row in runs(photos, k, options.weights):
            rows.append(row)
            print(" ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()), flush=True)
        names = [p.name for p in options.photos[: k + 1]]
        found = {"photographs": names, "crop": options.crop, "means": summed(rows)}
        if options.json:
            options.json.write_text(json.dumps({"benchmark": "burst", **facts(), **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
