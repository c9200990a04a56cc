"""Measure what the refiner in the package gains on photographs that it was not trained on.

    python benchmarks/refine.py PHOTO... --json benchmarks/results/refine.json

Of each photograph composites are made with every kind of fault, by every operator, one of which training
never saw (composer/learn/validation.py). Gains are decibels of PSNR in the seam band, the mean over samples;
"alone" is without the other view. Seconds are those of `composer.refine` on a picture of 4 megapixels whose
whole area is masked, and on one with a band of 64 pixels, one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import facts

import composer
from composer.api.training import reduced_photo
from composer.learn.perceptual import st_lpips
from composer.learn.runtime import load_refiner
from composer.learn.validation import refined, samples, validated

EACH = 40  # samples of each kind


def seconds(width: int) -> dict[str, float]:
    """Return how long refining a band of a 4-megapixel picture takes, and per megapixel of mask."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (2048, 2048, 3), np.uint8)
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[:, :width] = 255
    started = time.perf_counter()
    composer.refine(picture, mask, other=picture[::-1], workers=1)
    spent = time.perf_counter() - started
    return {"seconds": round(spent, 2), "per_masked_megapixel": round(spent / (mask.mean() / 255 * 4.194), 2)}


def perceived(photos: tuple[Any, ...]) -> dict[str, float]:
    """Return ST-LPIPS in the band of composites by our own blend, before and after (extra `metrics`)."""
    network, found = load_refiner("", "torch"), []
    for sample in samples(photos, 128, EACH):
        if sample.operator == "multiband" and sample.kind != "clean":
            inside = sample.mask > 0.5
            pictures = sample.composite, refined(network, sample)
            found.append([st_lpips(picture, sample.truth, inside) for picture in pictures])
    before, after = np.mean(found, 0)
    return {"before": round(float(before), 4), "after": round(float(after), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    photos = tuple(p for p in map(reduced_photo, options.photos) if p is not None)
    found: dict[str, Any] = {
        "photographs": [p.name for p in options.photos],
        "refiner": validated(load_refiner("", "torch"), photos, 128, EACH),
        "st_lpips_multiband": perceived(photos),
        "whole": seconds(2048),
        "band": seconds(64),
    }
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps({**facts(), **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
