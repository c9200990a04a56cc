"""Measure what `clone --refine` gains where source and target show one scene, displaced and in other light.

    python benchmarks/join.py PHOTO... --count 16 --json benchmarks/results/join.json

Give photographs that the refiner was not trained on. Of each a piece is taken twice, the second time moved by
some pixels (deviation 1.5 each way) and lit otherwise (8 %, and 2 % by channel), and a part of the second is
cloned into the first. Truth is the scene with its place, and where nothing was levelled its light, passing
evenly over the band. Then a source that shows another scene is cloned, and must stay as it was.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import facts
from numpy.typing import NDArray

import composer
from composer.api.cloning import JOINED
from composer.api.training import reduced_photo
from composer.learn.joining import REACH, border
from composer.learn.simulator import smooth

Array = NDArray[Any]
SIZE, ROOM, RADIUS = 256, 16, 32


def drawn(photo: Array, rng: np.random.Generator) -> Array:
    """Return a piece of a photograph, with room to move."""
    side = SIZE + 2 * ROOM
    y, x = (int(rng.integers(0, n - side + 1)) for n in photo.shape[:2])
    return photo[y : y + side, x : x + side].astype(np.float32) / np.float32(255)


def moved(piece: Array, shift: Array) -> Array:
    """Return a piece (SIZE, SIZE, 3) read at each place plus shift (SIZE, SIZE, 2)."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) + np.float32(ROOM)
    return cv2.remap(piece, x + shift[:, :, 0], y + shift[:, :, 1], cv2.INTER_CUBIC)


def blob(rng: np.random.Generator) -> Array:
    """Return an irregular disc (SIZE, SIZE) bool."""
    noise = cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)).astype(np.float32), None, 25)
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    return np.asarray(np.hypot(y, x) + 10 * noise / noise.std() < 70)


def psnr(picture: Array, truth: Array, where: Array) -> float:
    """Return decibels, at most 80."""
    return float(-10 * np.log10(max(float(((picture - truth)[where] ** 2).mean()), 1e-8)))


def compared(photos: list[Array], k: int, mode: str) -> tuple[float, float, float, bool]:
    """Return decibels along the border before and after, detail's error after over before, and alien kept."""
    rng = np.random.default_rng((7, k))
    piece, alien = drawn(photos[k % len(photos)], rng), drawn(photos[(k + 5) % len(photos)], rng)
    mask, nowhere = blob(rng), np.zeros((SIZE, SIZE, 2), np.float32)
    gain = np.exp(rng.normal(0, 0.08) + rng.normal(0, 0.02, 3)).astype(np.float32)
    shift = nowhere + rng.normal(0, 1.5, 2).astype(np.float32)
    distance, band = border(mask, RADIUS / 2 if mode == "multiband" else 0.0)
    way = smooth(np.float32(0.5) + distance / np.float32(2 * REACH))[:, :, None]
    truth = moved(piece, shift * way) * (gain**way if mode != "normal" else 1)
    views = [moved(piece, shift) * gain, moved(piece, nowhere), moved(alien, nowhere)]
    source, target, other = ((np.clip(v, 0, 1) * 255 + 0.5).astype(np.uint8) for v in views)
    made, found = (
        composer.clone(source, target, mask, mode=mode, radius=RADIUS, refine=refine, workers=1).image
        / np.float32(255)
        for refine in (False, True)
    )
    truth, inside = np.clip(truth, 0, 1), band > 0.5
    wrong = [float(np.abs(cv2.Laplacian(p - truth, cv2.CV_32F))[inside].mean()) for p in (made, found)]
    plain, kept = (composer.clone(other, target, mask, mode=mode, refine=r, workers=1) for r in (False, True))
    same = bool(np.array_equal(plain.image, kept.image))
    return psnr(made, truth, inside), psnr(found, truth, inside), wrong[1] / max(wrong[0], 1e-6), same


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    photos = [p for p in map(reduced_photo, options.photos) if p is not None]
    report: dict[str, Any] = {"photographs": [p.name for p in options.photos], "count": options.count}
    for mode in JOINED:
        rows = np.array([compared(photos, k, mode) for k in range(options.count)])
        gains = rows[:, 1] - rows[:, 0]
        report[mode] = {
            "before_db": round(float(rows[:, 0].mean()), 2), "gain_db": round(float(gains.mean()), 2),
            "worst_db": round(float(gains.min()), 2),
            "worse_by_0.1_db_share": round(float((gains < -0.1).mean()), 3),
            "detail_error": round(float(rows[:, 2].mean()), 3), "other_scenes_kept": float(rows[:, 3].mean()),
        }  # fmt: skip
        print(mode, json.dumps(report[mode]), flush=True)
        if options.json:
            options.json.write_text(json.dumps({**facts(), **report}, indent=1) + "\n")


if __name__ == "__main__":
    main()
