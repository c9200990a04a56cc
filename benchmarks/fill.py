"""Fill holes cut into photographs with composer and its peers; compare with what was there.

    python benchmarks/fill.py --json benchmarks/results/fill.json

Photographs come with scikit-image. Holes are thin (scratches of 3 and 7 px, text) or large (blobs of 5, 10
and 20 % of the picture), drawn by seed. Peers: OpenCV's Telea and Navier-Stokes, scikit-image's biharmonic,
and, where the contrib wheel is installed, xphoto's shift-map. PSNR is over the hole's pixels, SSIM the mean
of its map there. `roughness` is the mean gradient in the hole, of the truth's: a smeared fill has little.
Seconds are CPU time, so that a busy machine says the same; one thread each.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import facts
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from skimage.restoration import inpaint_biharmonic

import composer
from composer.samples import picture

Array = NDArray[Any]
PHOTOS = ("astronaut.png", "coffee.png", "chelsea.png", "gravel.png", "brick.png", "grass.png")
THIN, LARGE = ("scratch-3", "scratch-7", "text"), ("blob-5", "blob-10", "blob-20")
SIDE = 300


def holes(kind: str, random: np.random.Generator) -> Array:
    """Return a mask (SIDE, SIDE) bool."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    name, _, size = kind.partition("-")
    if name == "scratch":
        for _ in range(6):
            points = random.uniform(0, SIDE, (3, 2))
            t = np.linspace(0, 1, 50)[:, None]
            curve = (1 - t) ** 2 * points[0] + 2 * t * (1 - t) * points[1] + t**2 * points[2]
            cv2.polylines(mask, [np.rint(curve).astype(np.int32)], False, 1, int(size))
    elif name == "text":
        for y in range(40, SIDE, 50):
            at = int(random.integers(5, 40)), y
            cv2.putText(mask, "All that is written", at, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1, 3)
    else:
        radius = np.sqrt(float(size) / 100 * SIDE**2 / np.pi)
        y, x = np.mgrid[:SIDE, :SIDE] - random.uniform(0.42, 0.58, 2)[:, None, None] * SIDE
        angle = np.arctan2(y, x)
        waves = sum(random.uniform(0, 0.12) * np.cos(k * angle + random.uniform(0, 6)) for k in range(2, 6))
        mask[np.hypot(x, y) < radius * (1 + waves)] = 1
    return mask > 0


def shift_map(image: Array, mask: Array) -> Array:
    """Fill with xphoto's shift-map, in Lab as its documentation advises."""
    lab, filled = cv2.cvtColor(image, cv2.COLOR_RGB2Lab), np.zeros_like(image)
    cv2.xphoto.inpaint(lab, np.where(mask, 0, 255).astype(np.uint8), filled, cv2.xphoto.INPAINT_SHIFTMAP)
    return np.asarray(cv2.cvtColor(filled, cv2.COLOR_Lab2RGB))


def operators() -> dict[str, Callable[[Array, Array], Array]]:
    """Return composer's fills and its peers': from an image (H, W, 3) uint8 and a mask to an image."""

    def ours(fill: str) -> Callable[[Array, Array], Array]:
        return lambda image, mask: composer.repair(image, mask, fill=fill, workers=1).image

    def marching(how: int) -> Callable[[Array, Array], Array]:
        return lambda image, mask: np.asarray(cv2.inpaint(image, mask.astype(np.uint8), 5, how))

    def plate(image: Array, mask: Array) -> Array:
        filled = inpaint_biharmonic(image, mask, channel_axis=2)
        return np.asarray(np.clip(np.rint(filled * 255), 0, 255).astype(np.uint8))

    found = {
        f"composer {fill}": ours(fill) for fill in ("auto", "harmonic", "biharmonic", "edges", "patches")
    }
    found |= {"cv2 telea": marching(cv2.INPAINT_TELEA), "cv2 navier-stokes": marching(cv2.INPAINT_NS)}
    found["skimage biharmonic"] = plate
    if hasattr(cv2, "xphoto"):
        found["xphoto shift-map"] = shift_map
    return found


def roughness(image: Array, mask: Array) -> float:
    """Return the mean gradient over the mask."""
    grey = image.astype(np.float32).mean(2)
    return float(np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))[mask].mean())


def measured(truth: Array, mask: Array, fill: Callable[[Array, Array], Array]) -> dict[str, float]:
    """Fill a hole and return how well and how fast that went."""
    damaged = np.where(mask[:, :, None], 255, truth).astype(np.uint8)
    started = time.process_time()
    found = fill(damaged, mask)
    seconds = time.process_time() - started
    error = (found.astype(float) - truth)[mask]
    _, likeness = structural_similarity(found, truth, channel_axis=2, full=True)
    return {
        "psnr": float(10 * np.log10(255**2 / (error**2).mean())),
        "ssim": float(likeness[mask].mean()),
        "roughness": roughness(found, mask) / roughness(truth, mask),
        "cpu_s": seconds,
    }


def speed() -> dict[str, float]:
    """Return CPU seconds for a round hole of 31,000 pixels in a photo of 1.5 MP."""
    image = cv2.resize(picture("coffee.png"), (1500, 1000), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:1000, :1500]
    mask = np.hypot(x - 700, y - 500) < np.sqrt(31000 / np.pi)
    return {name: round(measured(image, mask, fill)["cpu_s"], 2) for name, fill in operators().items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--kinds", nargs="*", default=[*THIN, *LARGE])
    parser.add_argument("--photos", nargs="*", default=PHOTOS)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    rows, about = [], facts()  # now: the tree may change while this runs
    for number, photo in enumerate(given.photos):
        whole = picture(photo)
        truth = np.ascontiguousarray(whole[:SIDE, -SIDE:])
        for kind in given.kinds:
            mask = holes(kind, np.random.default_rng(number))
            for name, fill in operators().items():
                rows.append({"photo": photo, "holes": kind, "fill": name} | measured(truth, mask, fill))
    table = {}
    for kind in given.kinds:
        for name in operators():
            some = [r for r in rows if r["holes"] == kind and r["fill"] == name]
            table[f"{kind}, {name}"] = mean = {
                k: round(float(np.mean([r[k] for r in some])), 3)
                for k in ("psnr", "ssim", "roughness", "cpu_s")
            }
            print(f"{kind:<10} {name:<20} " + "  ".join(f"{k} {v:.3f}" for k, v in mean.items()), flush=True)
    quick = speed()
    print("31k pixels in 1.5 MP, CPU s:", quick)
    if given.json:
        answer = about | {"means": table, "speed_cpu_s": quick, "rows": rows}
        given.json.write_text(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
