"""Noise and JPEG compression taken out of photographs with known truth, beside OpenCV and scikit-image.

    python benchmarks/restore.py PHOTO... --json benchmarks/results/restore.json

Each photograph is halved, so that it has no compression or noise of its own. Noise is Gaussian, clipped and
rounded to 8 bits; composer is not told its level, the peers are, and each is shown at several strengths.
Compression is Pillow's. PSNR is that of 8-bit RGB, seconds are those of the CPU, one thread.
PyWavelets is needed for scikit-image's wavelets.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import facts
from numpy.typing import NDArray
from PIL import Image
from skimage import restoration

import composer

Array = NDArray[Any]

SIGMAS = (10, 25, 50)
QUALITIES = (10, 20, 30, 40)


def psnr(found: Array, truth: Array) -> float:
    return float(-10 * np.log10(((found.astype(float) - truth) ** 2).mean() / 255**2))


def as_bytes(values: Array) -> Array:
    return np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)


def denoisers(sigma: float, slow: bool) -> dict[str, Callable[[Array], Array]]:
    """Return what takes noise of `sigma` (of 255) out of (H, W, 3) uint8."""
    part = sigma / 255

    def nlm(h: float) -> Callable[[Array], Array]:
        return lambda seen: as_bytes(
            restoration.denoise_nl_means(
                seen / np.float32(255), 5, 6, h=h * part, sigma=part, fast_mode=True, channel_axis=2
            )
        )

    def fast(h: float) -> Callable[[Array], Array]:
        return lambda seen: cv2.fastNlMeansDenoisingColored(seen, None, h * sigma, h * sigma, 7, 21)

    def wavelet(method: str) -> Callable[[Array], Array]:
        return lambda seen: as_bytes(
            restoration.denoise_wavelet(
                seen / 255, sigma=part, method=method, convert2ycbcr=True, rescale_sigma=True, channel_axis=2
            )
        )

    def tv(weight: float) -> Callable[[Array], Array]:
        return lambda seen: as_bytes(
            restoration.denoise_tv_chambolle(seen / 255, weight=weight * part, channel_axis=2)
        )

    def bilateral(seen: Array) -> Array:
        return as_bytes(restoration.denoise_bilateral(seen / 255, sigma_color=2 * part, channel_axis=2))

    return {
        "composer": lambda seen: composer.repair(seen, faults="noise", workers=1).image,
        **{f"opencv fastNlMeans, h {h} sigma": fast(h) for h in (0.6, 0.8, 1.0)},
        **{f"skimage nl_means, h {h} sigma": nlm(h) for h in (0.6, 0.8)},
        **{f"skimage wavelet {m}": wavelet(m) for m in ("BayesShrink", "VisuShrink")},
        **{f"skimage tv_chambolle, weight {w} sigma": tv(w) for w in (0.8, 1.2)},
        **({"skimage bilateral": bilateral} if slow else {}),
    }


def denoise(photos: dict[str, Array], slow: bool) -> dict[str, Any]:
    """Compare denoisers; PSNR by photo for composer, means for all."""
    found = {}
    for sigma in SIGMAS:
        scores: dict[str, list[float]] = {"noisy": []}
        seconds: dict[str, list[float]] = {}
        for k, truth in enumerate(photos.values()):
            added = truth + np.random.default_rng(k).normal(0, sigma, truth.shape)
            seen = np.clip(np.rint(added), 0, 255).astype(np.uint8)
            scores["noisy"].append(psnr(seen, truth))
            for name, does in denoisers(sigma, slow).items():
                begun = time.process_time()
                result = does(seen)
                seconds.setdefault(name, []).append((time.process_time() - begun) / truth[..., 0].size * 1e6)
                scores.setdefault(name, []).append(psnr(result, truth))
        found[str(sigma)] = table(scores, seconds)
    return found


def table(scores: dict[str, list[float]], seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Return means, and all values of composer."""
    for name, values in scores.items():
        took = f"{np.mean(seconds[name]):6.2f} s/MP" if name in seconds else ""
        print(f"  {name:38s} {np.mean(values):6.2f} dB {took}", flush=True)
    return {
        name: {
            "psnr": round(float(np.mean(values)), 3),
            **({"cpu_s_per_megapixel": round(float(np.mean(seconds[name])), 2)} if name in seconds else {}),
            **({"each": [round(v, 2) for v in values]} if name == "composer" else {}),
        }
        for name, values in scores.items()
    }


def reapplied(seen: Array, quality: int) -> Array:
    """Compress again at all 64 shifts and average (Nosratinia, 2001), the quality given."""
    padded = np.pad(seen, ((8, 8), (8, 8), (0, 0)), "edge")
    height, width = seen.shape[:2]
    total = np.zeros(seen.shape)
    for y in range(8):
        for x in range(8):
            again = compressed(padded[y : y + height + 8, x : x + width + 8], quality)
            total += np.asarray(Image.open(again))[8 - y :, 8 - x :][:height, :width]
    return np.rint(total / 64).astype(np.uint8)


def compressed(pixels: Array, quality: int) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file


def deblock(photos: dict[str, Array]) -> dict[str, Any]:
    """Compare ways to take compression out: gains in PSNR."""
    found = {}
    for quality in QUALITIES:
        gains: dict[str, list[float]] = {}
        seconds: dict[str, list[float]] = {}
        for truth in photos.values():
            file = compressed(truth, quality)
            seen = np.asarray(Image.open(file))
            for name, does in deblockers(file, quality).items():
                begun = time.process_time()
                result = does(seen)
                seconds.setdefault(name, []).append((time.process_time() - begun) / truth[..., 0].size * 1e6)
                gains.setdefault(name, []).append(psnr(result, truth) - psnr(seen, truth))
        print("quality", quality)
        found[str(quality)] = {
            name: {
                "gain": round(float(np.mean(values)), 3),
                "least": round(min(values), 3),
                "cpu_s_per_megapixel": round(float(np.mean(seconds[name])), 2),
            }
            for name, values in gains.items()
        }
        for name, values in found[str(quality)].items():
            print(f"  {name:38s} {values}", flush=True)
    return found


def deblockers(file: io.BytesIO, quality: int) -> dict[str, Callable[[Array], Array]]:
    """Return what takes compression out; the first is given the file, the second its pixels only."""

    def by_file(_: Array) -> Array:
        with tempfile.NamedTemporaryFile(suffix=".jpg") as kept:
            kept.write(file.getvalue())
            kept.flush()
            return composer.repair(kept.name, faults="blocking", workers=1).image

    return {
        "composer, file": by_file,
        "composer, pixels": lambda seen: composer.repair(seen, faults="blocking", workers=1).image,
        "compressed again, 64 shifts": lambda seen: reapplied(seen, quality),
        "opencv fastNlMeans, h 5": lambda seen: cv2.fastNlMeansDenoisingColored(seen, None, 5, 5, 7, 21),
        "skimage tv_chambolle, weight 0.02": lambda seen: as_bytes(
            restoration.denoise_tv_chambolle(seen / 255, weight=0.02, channel_axis=2)
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--slow", action="store_true", help="bilateral filters, too")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")
    photos = {}
    for path in given.photos:
        whole = np.asarray(Image.open(path).convert("RGB"))
        photos[path.name] = cv2.resize(whole, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    found = {"photos": list(photos), "noise": denoise(photos, given.slow), "blocking": deblock(photos)}
    if given.json:
        given.json.write_text(json.dumps({**facts(), **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
